//! How much the data directory takes, and how much its disk has left.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use boma_instance::StorageStatus;
use nix::sys::statvfs::statvfs;

/// Bytes of one block as `st_blocks` counts them, whatever the file system's own block size
/// (stat(2)).
const STAT_BLOCK: u64 = 512;

/// Measures a data directory that may take `size_bytes`. Files that vanish meanwhile are passed
/// over; the server removes some all the time.
pub(crate) fn measure(data: &Path, size_bytes: u64) -> io::Result<StorageStatus> {
    let disk = statvfs(data)?;
    Ok(StorageStatus {
        used_bytes: used(data)?,
        size_bytes,
        free_bytes: disk.blocks_available() * disk.fragment_size(),
    })
}

fn used(dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                open.push(entry.path());
            } else {
                sum += meta.blocks() * STAT_BLOCK;
            }
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_deeper_counts_too() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("base/1")).unwrap();
        fs::write(dir.path().join("base/1/1259"), vec![1; 1 << 20]).unwrap();
        let storage = measure(dir.path(), 1 << 30).unwrap();
        assert!(storage.used_bytes >= 1 << 20);
        assert!(storage.free_bytes > 0);
    }

    #[test]
    fn a_directory_that_is_not_there_is_not_taken_for_empty() {
        assert!(measure(Path::new("/nonexistent/data"), 1).is_err());
    }
}
