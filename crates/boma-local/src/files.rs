//! Small durable writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What to do about a full disk.
pub(crate) const FREE_SPACE: &str = "Free space on the file system of the state directory; \
    nothing is lost, and Boma goes on by itself.";

/// Makes the entry of `path` in its directory durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent()
        .map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Replaces a file of Boma's own as a whole: readers see the old or the new text, also after a
/// crash. Not for directories that somebody else may write.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    sync_parent(path)
}

/// The last bytes of a file as text, from a line's beginning.
pub(crate) fn tail(path: &Path, bytes: u64) -> io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(bytes);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.take(bytes).read_to_end(&mut end)?;
    let text = String::from_utf8_lossy(&end).into_owned();
    match text.split_once('\n') {
        Some((_part, rest)) if from > 0 => Ok(rest.to_owned()),
        Some(_) | None => Ok(text),
    }
}
