//! One file of a directory: whether it has changed, and what is in it.

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use boma_manifest::{LARGEST_FILE, SourceFile, may_hold_manifest, parse_file};

use super::walk::Candidate;
use super::{File, SourceError};

/// How long after a change a file is looked into again even if it looks the same: a second change
/// within one tick of the file system's clock leaves no other trace. The coarsest clocks in use
/// (FAT, some network file systems) tick every two seconds.
const TICK: Duration = Duration::from_secs(2);

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Which file it is, whatever its name.
    pub(super) fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// Whether the file could have changed again after `now` without another stamp.
    fn is_fresh(&self, now: SystemTime) -> bool {
        let newest = self.modified.0.max(self.changed.0);
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let since = i64::try_from(now.as_secs())
            .unwrap_or(i64::MAX)
            .saturating_sub(newest);
        since <= i64::try_from(TICK.as_secs()).unwrap_or(i64::MAX)
    }
}

/// What is known of a file from the last look.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) stamp: Stamp,
    /// Whether the stamp says enough: it was old when the file was read.
    pub(super) settled: bool,
    /// Whether a link led to it.
    pub(super) is_link: bool,
    /// The file; none: it is larger than any manifest and holds none.
    pub(super) file: Option<Arc<File>>,
}

/// Looks at a file; reads and parses it if it may have changed. None if it has vanished meanwhile.
pub(super) fn look(
    candidate: &Candidate,
    known: Option<&Known>,
    now: SystemTime,
) -> Result<Option<Known>, SourceError> {
    let stamp = Stamp::of(&candidate.metadata);
    if let Some(known) = known.filter(|known| known.settled && known.stamp == stamp) {
        return Ok(Some(known.clone()));
    }
    let path = || candidate.name.clone();
    let (bytes, metadata) = match read(&candidate.path) {
        Ok(read) => read,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => {
            return Err(SourceError::Unreadable {
                path: path(),
                cause,
            });
        }
    };
    let is_large = bytes.len() > LARGEST_FILE;
    if is_large && may_hold_manifest(&bytes) {
        return Err(SourceError::TooLarge {
            path: path(),
            bytes: metadata.len(),
        });
    }
    let file = (!is_large).then(|| {
        let former = known.and_then(|known| known.file.as_ref());
        let same = former.filter(|file| *file.source.bytes == *bytes);
        same.map_or_else(|| parsed(&candidate.name, bytes), Arc::clone)
    });
    let stamp = Stamp::of(&metadata);
    let settled = !stamp.is_fresh(now);
    Ok(Some(Known {
        stamp,
        settled,
        is_link: candidate.is_link,
        file,
    }))
}

fn parsed(name: &str, bytes: Vec<u8>) -> Arc<File> {
    let source = SourceFile::new(name, bytes);
    let parsed = Arc::new(parse_file(&source));
    Arc::new(File { source, parsed })
}

/// The bytes of a file, at most one more than the largest that is read.
///
/// The file is opened without following a link that was put in its place since it was looked at,
/// and without waiting for a pipe's other end.
fn read(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let most = LARGEST_FILE as u64 + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(most)).unwrap_or(0));
    file.take(most).read_to_end(&mut bytes)?;
    Ok((bytes, metadata))
}
