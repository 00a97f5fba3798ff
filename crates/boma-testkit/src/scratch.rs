//! Directories that go away with the test.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{StatVfsMountFlags, statvfs};
use tempfile::TempDir;

use crate::account::unprivileged;

/// A directory that the ordinary user owns, removed when dropped.
///
/// Its path is short (about twenty bytes), because the path of a Unix socket may not be longer
/// than about a hundred.
#[derive(Debug)]
pub struct ScratchDir(TempDir);

impl ScratchDir {
    /// Makes one where it is quickest: in memory, if there is plenty. A cluster is 46 MB in 1300
    /// files, and a disk that others write to as well makes times vary tenfold.
    /// `BOMA_TEST_SCRATCH` names another place.
    pub fn new() -> anyhow::Result<Self> {
        let place = match std::env::var_os("BOMA_TEST_SCRATCH") {
            Some(place) => PathBuf::from(place),
            None if is_roomy(Path::new("/dev/shm")) => PathBuf::from("/dev/shm"),
            None => PathBuf::from("/tmp"),
        };
        Self::make_in(&place)
    }

    /// Makes one on a disk, for a test of what only file systems on disks can do.
    pub fn on_disk() -> anyhow::Result<Self> {
        // TMPDIR may be long, and is not always open to the ordinary user.
        Self::make_in(Path::new("/tmp"))
    }

    fn make_in(place: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("boma-")
            .tempdir_in(place)
            .with_context(|| format!("make a scratch directory in `{}`", place.display()))?;
        let account = unprivileged()?;
        std::os::unix::fs::chown(directory.path(), Some(account.uid), Some(account.gid))
            .context("give the scratch directory to the ordinary user")?;
        Ok(Self(directory))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Whether there is room for many clusters, and programs may be run.
fn is_roomy(place: &Path) -> bool {
    const ROOM: u64 = 4 << 30;
    statvfs(place).is_ok_and(|found| {
        found.f_bavail * found.f_frsize >= ROOM && !found.f_flag.contains(StatVfsMountFlags::NOEXEC)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_directory_is_gone_afterwards() -> anyhow::Result<()> {
        for scratch in [ScratchDir::new()?, ScratchDir::on_disk()?] {
            let path = scratch.path().to_owned();
            std::fs::write(path.join("file"), "")?;
            drop(scratch);
            assert!(!path.exists());
        }
        Ok(())
    }
}
