//! Directories that go away with the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use rustix::fs::{StatVfsMountFlags, statvfs};
use tempfile::TempDir;

use crate::account::unprivileged;

/// How often a place is cleared for what is put back there.
const PUT_BACK_TRIES: usize = 10;

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

/// Brings a directory back that was renamed to `away`, as a disk is mounted again: what was written
/// in its place meanwhile is not seen any more.
pub fn put_back(away: &Path, place: &Path) -> anyhow::Result<()> {
    // Somebody may write there at this very moment; who is refused once looks before the next time.
    let mut put = std::fs::rename(away, place);
    for _ in 0..PUT_BACK_TRIES {
        if put.is_ok() {
            break;
        }
        drop(std::fs::remove_dir_all(place));
        put = std::fs::rename(away, place);
    }
    put.with_context(|| format!("put `{}` back", place.display()))
}

/// A server that was killed leaves its segment of System V shared memory, and a system has 4,096 of
/// these: after some runs of the tests no server would start any more.
impl Drop for ScratchDir {
    fn drop(&mut self) {
        let mut segments = Vec::new();
        find_segments(self.path(), DEEPEST, &mut segments);
        for segment in segments {
            // One that a server has removed itself is gone, as it should be.
            let removed = Command::new("ipcrm").args(["-m", &segment]).output();
            drop(removed);
        }
    }
}

/// How many levels below a scratch directory data directories are.
const DEEPEST: usize = 8;

/// Finds what killed servers below a directory have left.
fn find_segments(directory: &Path, levels: usize, found: &mut Vec<String>) {
    let pid_file = std::fs::read_to_string(directory.join("postmaster.pid"));
    found.extend(pid_file.ok().as_deref().and_then(segment));
    let is_cluster = directory.join("PG_VERSION").exists();
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|_| levels > 0 && !is_cluster) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find_segments(&entry.path(), levels - 1, found);
        }
    }
}

/// The segment that a server notes in its pid file: key and identifier, in the seventh line.
fn segment(pid_file: &str) -> Option<String> {
    let line = pid_file.lines().nth(6)?;
    line.split_whitespace().nth(1).map(str::to_owned)
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
    fn the_segment_of_a_server_is_in_its_pid_file() {
        let text = "4711\n/d\n1763800000\n5432\n/run\n127.0.0.1\n  18190439      1234\nready   \n";
        assert_eq!(segment(text).as_deref(), Some("1234"));
        assert_eq!(segment("4711\n/d\n"), None);
    }

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
