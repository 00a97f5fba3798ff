//! The repository's text files, in memory.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

/// Directories that hold nothing of ours.
const PASSED_OVER: [&str; 8] = [
    ".boma",
    ".cache",
    ".git",
    ".venv",
    "__pycache__",
    "artifacts",
    "node_modules",
    "target",
];

/// Larger files are data, not text that people wrote.
const LARGEST: u64 = 1 << 20;

/// Path below the repository's root, with `/`, to content.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Sorted, so that findings come in a stable order.
    pub(crate) files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads every text file below `root`. It walks by itself instead of asking Git, so that it
    /// works in an unpacked archive too.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            let entries = std::fs::read_dir(&directory)
                .with_context(|| format!("list {}", directory.display()))?;
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let kind = entry.file_type()?;
                if kind.is_dir() && !PASSED_OVER.contains(&name.as_str()) {
                    directories.push(entry.path());
                } else if kind.is_file() && entry.metadata()?.len() <= LARGEST {
                    tree.add(root, &entry.path())?;
                }
            }
        }
        Ok(tree)
    }

    fn add(&mut self, root: &Path, path: &Path) -> Result<()> {
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        if let Ok(text) = String::from_utf8(bytes) {
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            self.files.insert(name, text);
        }
        Ok(())
    }

    /// The Rust sources of crates and tools.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all().filter(|(path, _)| {
            Path::new(path)
                .extension()
                .is_some_and(|extension| extension == "rs")
        })
    }

    /// Every file.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// A tree for tests.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        }
    }
}

/// Whether a file holds tests only: integration tests, `tests.rs`, benches, fuzz targets, and the
/// fakes that a crate offers to tests, which are by convention its module `testing`.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.ends_with("/testing.rs")
        || ["tests", "testing", "benches", "fuzz", "fuzz_targets"]
            .iter()
            .any(|directory| path.split('/').any(|part| part == *directory))
}
