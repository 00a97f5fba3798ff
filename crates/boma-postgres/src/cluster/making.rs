//! The directory that a cluster is made in before it has its place.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::copy::make_directory;
use super::marker;
use crate::path_error::{At, PathError};
use crate::process;

/// `<parent>/<prefix><8 hex digits>/`: in it our marker, and `data`, the cluster to be. Removed
/// with what is left in it when dropped.
///
/// PostgreSQL wants tablespaces outside of its data directory and finds them by whole names, so
/// those of a cluster that is restored are where they will stay, in a directory that no other
/// attempt uses. They are half made for as long as `data` is in here, and go before it: killed
/// between the two, the next attempt sees it still.
#[derive(Debug)]
pub(super) struct Making(PathBuf);

/// The cluster in it.
const DATA: &str = "data";

/// Where tablespaces are, beside the data directory.
const TABLESPACES: &str = "tablespaces";

/// Hexadecimal digits that tell attempts apart.
const DIGITS: usize = 8;

impl Making {
    /// Makes one, with a random name: what outlives a killed process and still writes does not
    /// write into this one.
    pub(super) fn begin(parent: &Path, prefix: &str) -> Result<Self, PathError> {
        let random = uuid::Uuid::new_v4().simple().to_string();
        let path = parent.join(format!("{prefix}{}", &random[..DIGITS]));
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

    /// Where the tablespaces of the cluster are to be, one directory in it for each.
    pub(super) fn tablespaces(&self) -> PathBuf {
        tablespaces(&self.0)
    }
}

fn tablespaces(making: &Path) -> PathBuf {
    let name = making.file_name().unwrap_or_default().to_string_lossy();
    let digits = name.len().saturating_sub(DIGITS);
    let parent = making.parent().unwrap_or(Path::new("/"));
    parent.join(TABLESPACES).join(&name[digits..])
}

fn remove(making: &Path) -> io::Result<()> {
    if making.join(DATA).exists() {
        match std::fs::remove_dir_all(tablespaces(making)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    std::fs::remove_dir_all(making)
}

impl Drop for Making {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
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
        if random.is_some_and(|random| random.len() == DIGITS) && is_leftover(&entry.path())? {
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
    remove(path).at("remove", path)
}
