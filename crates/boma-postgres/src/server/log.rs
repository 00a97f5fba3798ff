//! The server's log: one file that the server appends to, and that is kept short from outside.
//!
//! PostgreSQL's own collector is another process of several megabytes for each server, rotates by
//! size but never removes, and takes the log with it when it fails. Writing straight to a file that
//! is opened for appending needs none; see decision 0022. The settings that go with it are
//! `log_destination = stderr` and `logging_collector = off`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use crate::path_error::{At, PathError};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// A log longer than this is rotated.
    pub bytes: u64,
    /// How many older parts are kept: `postgres.log.1` is the youngest.
    pub parts: u32,
}

impl Default for Keep {
    /// 16 MiB, and two older parts of that size.
    fn default() -> Self {
        Self {
            bytes: 16 << 20,
            parts: 2,
        }
    }
}

/// Rotates the log if it is too long; true: it was. The server goes on writing meanwhile, and need
/// not be told.
///
/// What is old is copied to `<log>.1` and then cut out of the front of the file. File systems that
/// can do that (ext4, XFS) lose nothing; in others the file is emptied, and a line that is written
/// in that very moment is lost.
pub fn rotate(log: &Path, keep: Keep) -> Result<bool, PathError> {
    let file = match OpenOptions::new().read(true).write(true).open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        failed => failed.at("open", log)?,
    };
    let metadata = file.metadata().at("look at", log)?;
    let length = metadata.len();
    if length <= keep.bytes {
        return Ok(false);
    }
    // Only whole blocks can be cut out, and the last one must stay.
    let block = metadata.blksize().max(1);
    let cut = (length - 1) / block * block;
    let copied = copy_front(&file, log, cut)?;
    for part in (1..keep.parts).rev() {
        shift(&part_path(log, part), &part_path(log, part + 1))?;
    }
    shift(&copied, &part_path(log, 1))?;
    if cut == 0 || fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, cut).is_err() {
        file.set_len(0).at("empty", log)?;
    }
    Ok(true)
}

fn part_path(log: &Path, part: u32) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{part}"));
    PathBuf::from(name)
}

fn copy_front(file: &File, log: &Path, length: u64) -> Result<PathBuf, PathError> {
    let mut name = log.as_os_str().to_owned();
    name.push(".new");
    let path = PathBuf::from(name);
    let mut copy = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .at("create", &path)?;
    io::copy(&mut file.take(length), &mut copy).at("write", &path)?;
    Ok(path)
}

fn shift(from: &Path, to: &Path) -> Result<(), PathError> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.at("rename", from),
    }
}

/// How long the log is now; 0 where there is none.
pub(super) fn length(log: &Path) -> u64 {
    std::fs::metadata(log).map_or(0, |metadata| metadata.len())
}

/// The last lines that were written after the log was `begin` long. What cannot be read is not
/// there: this only adds to an error.
pub fn tail(log: &Path, begin: u64) -> Vec<String> {
    const LINES: usize = 8;
    const BYTES: u64 = 16 << 10;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        // It may have been rotated meanwhile.
        let begin = if begin > length { 0 } else { begin };
        file.seek(SeekFrom::Start(begin.max(length.saturating_sub(BYTES))))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(LINES)..].to_vec()
}
