//! The directory that a cluster is made in before it has its place.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::copy::make_directory;
use super::marker;
use crate::path_error::{At, PathError};
use crate::process;

/// `<parent>/<prefix><8 hex digits>/`: in it our marker, and `data`, the cluster to be. Removed
/// with what is left in it when dropped.
#[derive(Debug)]
pub(super) struct Making(PathBuf);

/// The cluster in it.
const DATA: &str = "data";

impl Making {
    /// Makes one, with a random name: what outlives a killed process and still writes does not
    /// write into this one.
    pub(super) fn begin(parent: &Path, prefix: &str) -> Result<Self, PathError> {
        let random = uuid::Uuid::new_v4().simple().to_string();
        let path = parent.join(format!("{prefix}{}", &random[..8]));
        make_directory(&path)?;
        let making = Self(path);
        let note = making.0.join(marker::FILE);
        std::fs::write(&note, "{\"making\":true}\n").at("write", &note)?;
        Ok(making)
    }

    /// Where the cluster is to be made; nothing is there yet.
    pub(super) fn data(&self) -> PathBuf {
        self.0.join(DATA)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "could not remove what was being made");
        }
    }
}

/// Removes what attempts that were killed left behind in `parent`: directories with a name and
/// with contents that only [`Making`] makes. Nobody else may be making one under this prefix.
pub(super) fn remove_leftovers(parent: &Path, prefix: &str) -> Result<(), PathError> {
    for entry in std::fs::read_dir(parent).at("read", parent)? {
        let entry = entry.at("read", parent)?;
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(prefix));
        if random.is_some_and(|random| random.len() == 8) && is_leftover(&entry.path())? {
            remove_leftover(&entry.path())?;
        }
    }
    Ok(())
}

/// Whether there is nothing in it but what [`Making`] puts there. The marker comes first, so a
/// cluster without it is not one of ours.
fn is_leftover(path: &Path) -> Result<bool, PathError> {
    let (mut marked, mut empty) = (false, true);
    if !path.symlink_metadata().at("look at", path)?.is_dir() {
        return Ok(false);
    }
    for entry in std::fs::read_dir(path).at("read", path)? {
        let name = entry.at("read", path)?.file_name();
        empty = false;
        marked |= name == marker::FILE;
        if name != marker::FILE && name != DATA {
            return Ok(false);
        }
    }
    Ok(marked || empty)
}

fn remove_leftover(path: &Path) -> Result<(), PathError> {
    /// A killed process is gone at once, unless the disk keeps it waiting.
    const PATIENCE: Duration = Duration::from_secs(5);
    tracing::info!(path = %path.display(), "removing a data directory that was half made");
    // `initdb` works in the directory, its servers in `data`.
    for place in [path.to_owned(), path.join(DATA)] {
        process::kill_all_in(&place, PATIENCE).at("end the processes in", &place)?;
    }
    std::fs::remove_dir_all(path).at("remove", path)
}
