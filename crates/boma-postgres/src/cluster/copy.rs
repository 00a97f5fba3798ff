//! Copying a directory tree, quickly, and making it durable.

use std::fs::{DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::path_error::{At, PathError};

/// More threads than this only wait for one another in the file system's journal.
const MOST_THREADS: usize = 8;

/// Copies a cluster that nothing runs on to a place where nothing is. Only its owner may enter the
/// copy, as PostgreSQL demands. Not durable before [`sync_file_system`].
pub(super) fn copy_tree(from: &Path, to: &Path) -> Result<(), PathError> {
    let mut files = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(relative) = directories.pop() {
        let (source, target) = (from.join(&relative), to.join(&relative));
        make_directory(&target)?;
        for entry in std::fs::read_dir(&source).at("read", &source)? {
            let entry = entry.at("read", &source)?;
            let kind = entry.file_type().at("look at", &entry.path())?;
            let inside = relative.join(entry.file_name());
            if kind.is_dir() {
                directories.push(inside);
            } else {
                files.push(inside);
            }
        }
    }
    copy_files(from, to, &files)
}

fn copy_files(from: &Path, to: &Path, files: &[PathBuf]) -> Result<(), PathError> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_THREADS));
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), PathError> {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let target = to.join(file);
            // The kernel copies, and on file systems that can, shares the blocks.
            std::fs::copy(from.join(file), &target).at("copy to", &target)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        helpers
            .into_iter()
            .filter_map(|helper| helper.join().ok())
            .fold(own, Result::and)
    })
}

/// Makes a directory that only its owner may enter.
pub(super) fn make_directory(path: &Path) -> Result<(), PathError> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .at("create", path)?;
    // The mode above passes through the umask, which may take even the owner's rights away.
    std::fs::set_permissions(path, Permissions::from_mode(0o700)).at("set the mode of", path)
}

/// Makes everything below a directory durable, and with it the rest of its file system: one call
/// costs less than one for each of more than a thousand new files.
pub(super) fn sync_file_system(directory: &Path) -> Result<(), PathError> {
    let file = File::open(directory).at("open", directory)?;
    rustix::fs::syncfs(&file).at("sync", directory)
}

/// Makes the names in a directory durable.
pub(super) fn sync_names(directory: &Path) -> Result<(), PathError> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .at("sync", directory)
}

#[cfg(test)]
mod tests {
    use boma_testkit::ScratchDir;

    use super::*;

    #[test]
    fn a_copy_is_the_same_and_closed_to_others() -> anyhow::Result<()> {
        let scratch = ScratchDir::new()?;
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        std::fs::create_dir_all(from.join("a/b"))?;
        std::fs::create_dir(from.join("empty"))?;
        for number in 0..100 {
            std::fs::write(from.join(format!("a/b/{number}")), number.to_string())?;
        }
        copy_tree(&from, &to)?;
        for number in 0..100 {
            let text = std::fs::read_to_string(to.join(format!("a/b/{number}")))?;
            assert_eq!(text, number.to_string());
        }
        assert!(to.join("empty").is_dir());
        assert_eq!(
            std::fs::metadata(to.join("a"))?.permissions().mode() & 0o777,
            0o700
        );
        sync_file_system(&to)?;
        sync_names(&to)?;
        Ok(())
    }

    #[test]
    fn a_failing_copy_says_which_file() -> anyhow::Result<()> {
        let scratch = ScratchDir::new()?;
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        std::fs::create_dir(&from)?;
        std::os::unix::fs::symlink("nowhere", from.join("dangling"))?;
        let error = copy_tree(&from, &to).unwrap_err();
        assert_eq!(error.path, to.join("dangling"));
        Ok(())
    }
}
