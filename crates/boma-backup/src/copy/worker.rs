//! One worker: reads, checks, compares, and hands what is new to its packs.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use boma_instance::wal::Lsn;
use boma_postgres::control::{self, ControlError};

use super::pack::{Ending, Packs, Stored, WriteError};
use super::parent::{Before, Comparison, hash};
use super::units::{Unit, is_small};
use super::walk::{FoundFile, relation_file};
use crate::format::manifest::{BLOCK_BYTES, Extent};
use crate::format::page::{self, PAGE_BYTES, PAGES_PER_FILE, PageState};
use crate::meter::{Cancelled, Meter};
use crate::store::StoreError;

/// Bytes read at once; a whole number of blocks.
const READ_BYTES: usize = 1 << 20;

/// How often a page with a wrong check sum is read again: PostgreSQL may have been writing it.
const READ_AGAIN: usize = 3;

/// File whose copy must be whole: everything else is put right by replay.
const CONTROL_FILE: &str = "global/pg_control";

/// What all workers share.
pub(super) struct Shared<'a> {
    pub(super) data: &'a Path,
    pub(super) files: &'a [FoundFile],
    pub(super) units: &'a [Unit],
    /// Which unit is next.
    pub(super) next: AtomicUsize,
    /// Where replay starts; none: pages have no check sums.
    pub(super) checked_from: Option<Lsn>,
    pub(super) meter: &'a Meter,
}

/// Why a worker gave up.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkerError {
    #[error("read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Parent(#[from] StoreError),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("another worker gave up")]
    NobodyListens,
}

/// A part of a file, copied.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) file: usize,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) crc32c: u32,
    pub(super) hashes: Vec<u8>,
    pub(super) pieces: Vec<Piece>,
    /// Pages of the file whose check sum was wrong.
    pub(super) damaged: Vec<u32>,
}

/// A run of bytes and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// In a pack of this backup.
    New(Stored, u32),
    /// Where the backup before has it.
    Old(Extent),
}

/// One worker.
pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    packs: Packs,
    comparison: Option<Comparison>,
    results: Sender<Copied>,
    buffer: Vec<u8>,
    open: Option<(usize, File)>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        shared: &'a Shared<'a>,
        packs: Packs,
        comparison: Option<Comparison>,
        results: Sender<Copied>,
    ) -> Self {
        Self {
            shared,
            packs,
            comparison,
            results,
            buffer: vec![0; READ_BYTES],
            open: None,
        }
    }

    /// Works until there is nothing left. The packs that it wrote are still to be waited for.
    pub(super) fn run(mut self) -> Result<Vec<Ending>, WorkerError> {
        while let Some(unit) = self
            .shared
            .units
            .get(self.shared.next.fetch_add(1, Ordering::Relaxed))
        {
            match unit {
                Unit::Slice { file, bytes } => self.copy(*file, bytes.clone())?,
                Unit::Bundle(members) => {
                    for file in members.clone() {
                        let found = &self.shared.files[file];
                        if is_small(found) {
                            self.copy(file, 0..found.size)?;
                        }
                    }
                }
            }
        }
        Ok(self.packs.end()?)
    }

    fn copy(&mut self, file: usize, range: Range<u64>) -> Result<(), WorkerError> {
        let found = &self.shared.files[file];
        if found.path == CONTROL_FILE {
            return self.copy_control(file);
        }
        if !self.open(file)? {
            return Ok(());
        }
        let before = match &mut self.comparison {
            Some(comparison) => comparison.of(&found.path)?,
            None => None,
        };
        let mut copied = Copied {
            file,
            offset: range.start,
            length: range.end - range.start,
            crc32c: 0,
            hashes: Vec::new(),
            pieces: Vec::new(),
            damaged: Vec::new(),
        };
        let mut offset = range.start;
        while offset < range.end {
            self.shared.meter.check()?;
            let length = usize::try_from(range.end - offset)
                .unwrap_or(usize::MAX)
                .min(READ_BYTES);
            self.read(offset, length)?;
            self.check_pages(offset, length, &mut copied.damaged)?;
            self.take(offset, length, before.as_ref(), &mut copied)?;
            self.shared.meter.add(length as u64);
            offset += length as u64;
        }
        self.hand_over(copied)
    }

    /// The control file is overwritten in place: its check sum says whether a copy is whole.
    fn copy_control(&mut self, file: usize) -> Result<(), WorkerError> {
        let bytes = control::copy(self.shared.data)?;
        let mut copied = Copied {
            file,
            offset: 0,
            length: bytes.len() as u64,
            crc32c: 0,
            hashes: Vec::new(),
            pieces: Vec::new(),
            damaged: Vec::new(),
        };
        self.buffer[..bytes.len()].copy_from_slice(&bytes);
        self.take(0, bytes.len(), None, &mut copied)?;
        self.shared.meter.add(copied.length);
        self.hand_over(copied)
    }

    fn hand_over(&self, copied: Copied) -> Result<(), WorkerError> {
        self.results
            .send(copied)
            .map_err(|_closed| WorkerError::NobodyListens)
    }

    /// Opens a file; false: it is gone, and the write-ahead log says so too.
    fn open(&mut self, file: usize) -> Result<bool, WorkerError> {
        if self.open.as_ref().is_some_and(|(known, _)| *known == file) {
            return Ok(true);
        }
        let path = self.path(file);
        match File::open(&path) {
            Ok(opened) => {
                self.open = Some((file, opened));
                Ok(true)
            }
            // Nothing is handed over, so the manifest will not know it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(WorkerError::Read { path, source }),
        }
    }

    fn path(&self, file: usize) -> PathBuf {
        self.shared.data.join(&self.shared.files[file].path)
    }

    /// Fills the buffer. What is behind the end of a file that was truncated meanwhile is zeros:
    /// replay truncates it again.
    fn read(&mut self, offset: u64, length: usize) -> Result<(), WorkerError> {
        let Some((file, opened)) = &self.open else {
            return Ok(());
        };
        let buffer = &mut self.buffer[..length];
        read_full(opened, buffer, offset).map_err(|source| WorkerError::Read {
            path: self.shared.data.join(&self.shared.files[*file].path),
            source,
        })
    }

    fn check_pages(
        &mut self,
        offset: u64,
        length: usize,
        damaged: &mut Vec<u32>,
    ) -> Result<(), WorkerError> {
        let (Some(start), Some((file, opened))) = (self.shared.checked_from, &self.open) else {
            return Ok(());
        };
        let found = &self.shared.files[*file];
        let Some(part) = relation_file(&found.path) else {
            return Ok(());
        };
        let (pages, _partial) = self.buffer[..length].as_chunks_mut::<PAGE_BYTES>();
        let first = u32::try_from(offset / PAGE_BYTES as u64).unwrap_or(u32::MAX);
        for (number, page) in (first..).zip(pages) {
            let in_relation = part.wrapping_mul(PAGES_PER_FILE).wrapping_add(number);
            let mut tries = 0;
            while page::look(page, in_relation, start.0) == PageState::Damaged {
                if tries == READ_AGAIN {
                    damaged.push(number);
                    break;
                }
                tries += 1;
                let at = u64::from(number) * PAGE_BYTES as u64;
                read_full(opened, page, at).map_err(|source| WorkerError::Read {
                    path: self.shared.data.join(&found.path),
                    source,
                })?;
            }
        }
        Ok(())
    }

    /// Takes what is in the buffer, block by block.
    fn take(
        &mut self,
        offset: u64,
        length: usize,
        before: Option<&Before>,
        copied: &mut Copied,
    ) -> Result<(), WorkerError> {
        let bytes = &self.buffer[..length];
        copied.crc32c = crc32c::crc32c_append(copied.crc32c, bytes);
        // Blocks that differ and are neighbours go to the packs together.
        let mut fresh = 0..0;
        for (number, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
            let at = number * BLOCK_BYTES;
            let hash = hash(block);
            copied.hashes.extend_from_slice(&hash);
            let same = before.and_then(|before| before.same(offset + at as u64, block.len(), hash));
            if let Some(extents) = same {
                add(&mut self.packs, &bytes[fresh.clone()], &mut copied.pieces)?;
                copied.pieces.extend(extents.into_iter().map(Piece::Old));
                fresh = at + block.len()..at + block.len();
            } else {
                fresh.end = at + block.len();
            }
        }
        add(&mut self.packs, &bytes[fresh], &mut copied.pieces)?;
        Ok(())
    }
}

fn add(packs: &mut Packs, bytes: &[u8], pieces: &mut Vec<Piece>) -> Result<(), WriteError> {
    packs.add(bytes, |stored, length| {
        pieces.push(Piece::New(stored, length));
    })
}

fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => {
                buffer[filled..].fill(0);
                break;
            }
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
