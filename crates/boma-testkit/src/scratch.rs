//! Directories that go away with the test.

use std::path::Path;

use anyhow::Context;
use tempfile::TempDir;

use crate::account::unprivileged;

/// A directory that the ordinary user owns, removed when dropped.
///
/// Its path is short (about twenty bytes), because the path of a Unix socket may not be longer
/// than about a hundred.
#[derive(Debug)]
pub struct ScratchDir(TempDir);

impl ScratchDir {
    /// Makes one.
    pub fn new() -> anyhow::Result<Self> {
        // TMPDIR may be long, and is not always open to the ordinary user.
        let directory = tempfile::Builder::new()
            .prefix("boma-")
            .tempdir_in("/tmp")
            .context("make a scratch directory")?;
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
