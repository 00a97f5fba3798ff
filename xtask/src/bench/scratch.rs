//! A directory for one benchmark, removed afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes it below /var/tmp, which is on a disk where /tmp may be memory.
    pub(super) fn make(name: &str) -> Result<Self> {
        let path = Path::new("/var/tmp").join(format!("boma-bench-{name}-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            println!("remove {}: {error}", self.0.display());
        }
    }
}
