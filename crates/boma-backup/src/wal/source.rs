//! A file of `pg_wal` that is about to be archived: open, and checked to be what its name says.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use boma_instance::wal::{Segment, WalFile};
use jiff::Timestamp;

use super::archive::Cluster;
use super::error::PushError;
use super::header::{Expected, HEADER_BYTES, SegmentHeader};

/// Which file it was when it was opened: PostgreSQL uses files again under other names, so the
/// name alone does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// Takes it; none: there is no such file now.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self::of_meta(&meta))
    }

    fn of_meta(meta: &std::fs::Metadata) -> Self {
        Self {
            inode: meta.ino(),
            length: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
    path: PathBuf,
    stamp: Stamp,
}

impl Source {
    /// Opens a file and checks it. Reads its first page only.
    pub(super) fn open(path: PathBuf, name: WalFile, cluster: &Cluster) -> Result<Self, PushError> {
        let failed = |source| PushError::Read {
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        let source = Self {
            file,
            stamp: Stamp::of_meta(&meta),
            path,
        };
        source.check(name, cluster)?;
        Ok(source)
    }

    fn check(&self, name: WalFile, cluster: &Cluster) -> Result<(), PushError> {
        if self.length() == 0 {
            return Err(PushError::Empty {
                path: self.path.clone(),
            });
        }
        match name {
            WalFile::Segment(segment) | WalFile::Partial(segment) => {
                self.check_segment(segment, cluster)
            }
            WalFile::History(_) | WalFile::Label(..) => Ok(()),
        }
    }

    fn check_segment(&self, segment: Segment, cluster: &Cluster) -> Result<(), PushError> {
        if self.length() != u64::from(cluster.segment_size) {
            return Err(PushError::WrongLength {
                path: self.path.clone(),
                found: self.length(),
                expected: cluster.segment_size,
            });
        }
        let mut page = [0; HEADER_BYTES];
        self.read_at(&mut page, 0)?;
        let expected = Expected {
            version: cluster.version,
            system_identifier: cluster.system_identifier,
            segment_size: cluster.segment_size,
            timeline: segment.timeline,
            start: segment.start(cluster.segment_size),
        };
        SegmentHeader::read(&page)
            .map_or(Ok(()), |header| header.check(&expected))
            .map_err(|source| PushError::NotOurs {
                path: self.path.clone(),
                source,
            })
    }

    /// Its bytes.
    pub(super) fn length(&self) -> u64 {
        self.stamp.length
    }

    /// When PostgreSQL last wrote to it.
    pub(super) fn modified_at(&self) -> Timestamp {
        let (seconds, nanoseconds) = self.stamp.modified;
        i32::try_from(nanoseconds)
            .ok()
            .and_then(|nanoseconds| Timestamp::new(seconds, nanoseconds).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Fills `buffer` from byte `offset` on.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), PushError> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|source| self.failed(source))
    }

    /// Whether it is still as it was when it was opened; a file that is written to while it is
    /// archived is none that PostgreSQL has finished.
    pub(super) fn check_unchanged(&self) -> Result<(), PushError> {
        let meta = self.file.metadata().map_err(|source| self.failed(source))?;
        if Stamp::of_meta(&meta) == self.stamp {
            Ok(())
        } else {
            Err(PushError::Changed {
                path: self.path.clone(),
            })
        }
    }

    fn failed(&self, source: io::Error) -> PushError {
        PushError::Read {
            path: self.path.clone(),
            source,
        }
    }
}
