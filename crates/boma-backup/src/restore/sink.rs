//! A file that is being restored.
//!
//! Large pieces go to the disk past the system's cache, where the file system allows that. A
//! restore writes more than a cache holds: through it, every byte would be copied once more, the
//! cache of whatever else runs would be lost, and in the end all would wait for the disk at once.
//! What is small, or does not begin and end where pages do, goes through the cache.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate};

/// What places, lengths and memory have to be multiples of.
pub(super) const ALIGNMENT: usize = 4096;

/// Shorter pieces go through the cache: each one past it is waited for.
const LEAST: usize = 64 << 10;

/// Files that are shorter have no piece that would go past the cache.
const LEAST_FILE: u64 = 1 << 20;

/// Pieces from here on begin to go to the disk at once when they go through the cache.
const LEAST_ADVISED: usize = 256 << 10;

/// One file, open for writing anywhere.
#[derive(Debug)]
pub(super) struct Sink {
    cached: File,
    direct: Option<File>,
    refused: Cell<bool>,
}

impl Sink {
    /// Opens a file that is to have this length; makes it when it is not there.
    pub(super) fn open(path: &Path, mode: u32, size: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(mode);
        let cached = options.open(path)?;
        let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or_default();
        let direct = (size >= LEAST_FILE)
            .then(|| options.custom_flags(flags).open(path).ok())
            .flatten();
        if direct.is_some() {
            // One piece of the disk, and no waiting for each other where the file grows. A file
            // system that cannot do it finds room as the file is written.
            let _only_quicker = fallocate(&cached, FallocateFlags::empty(), 0, size);
        }
        Ok(Self {
            cached,
            direct,
            refused: Cell::new(false),
        })
    }

    /// Writes a piece. It is durable when the file system is synced, and not before.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let fits = bytes.len() >= LEAST
            && bytes.len().is_multiple_of(ALIGNMENT)
            && offset.is_multiple_of(ALIGNMENT as u64)
            && bytes.as_ptr().addr().is_multiple_of(ALIGNMENT);
        if let Some(direct) = self.direct.as_ref().filter(|_| fits && !self.refused.get()) {
            match direct.write_all_at(bytes, offset) {
                // This disk wants other multiples.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.refused.set(true);
                }
                done => return done,
            }
        }
        self.cached.write_all_at(bytes, offset)?;
        if bytes.len() >= LEAST_ADVISED {
            // Only advice: to begin to write back now. What is not taken costs time.
            let length = NonZeroU64::new(bytes.len() as u64);
            let _not_taken = fadvise(&self.cached, offset, length, Advice::DontNeed);
        }
        Ok(())
    }
}

/// Memory that begins where a page does, so that it can go past the cache.
#[derive(Debug)]
pub(super) struct Aligned {
    bytes: Vec<u8>,
    begin: usize,
}

impl Aligned {
    /// With room for `length` bytes.
    pub(super) fn new(length: usize) -> Self {
        let bytes = vec![0; length + ALIGNMENT];
        let begin = bytes.as_ptr().align_offset(ALIGNMENT);
        Self {
            begin: if begin > ALIGNMENT { 0 } else { begin },
            bytes,
        }
    }

    /// Room for `length` bytes.
    pub(super) fn room(&mut self, length: usize) -> &mut [u8] {
        if self.bytes.len() - self.begin < length {
            *self = Self::new(length);
        }
        &mut self.bytes[self.begin..self.begin + length]
    }
}

#[cfg(test)]
mod tests {
    use boma_testkit::ScratchDir;

    use super::*;

    /// Pieces of all kinds, out of order, into a file in `directory`.
    fn write_pieces(directory: &Path) -> anyhow::Result<()> {
        let path = directory.join("file");
        let size = 3 << 20;
        let content: Vec<u8> = (0..251).cycle().take(size + 5000).collect();
        let sink = Sink::open(&path, 0o600, content.len() as u64)?;
        let mut memory = Aligned::new(1 << 20);
        let mut put = |offset: usize, length: usize| {
            let room = memory.room(length);
            room.copy_from_slice(&content[offset..offset + length]);
            sink.write(room, offset as u64)
        };
        put(size, 5000)?;
        put(1 << 20, 2 << 20)?;
        put(0, 100)?;
        put(100, 4096 * 20 - 100)?;
        put(4096 * 20, (1 << 20) - 4096 * 20)?;
        // Not where a page begins.
        let unaligned = [&[0], content[..4096 * 17].as_ref()].concat();
        sink.write(&unaligned[1..], 0)?;
        anyhow::ensure!(std::fs::read(path)? == content);
        Ok(())
    }

    #[test]
    fn pieces_past_the_cache_and_through_it_make_one_file() -> anyhow::Result<()> {
        write_pieces(ScratchDir::on_disk()?.path())?;
        write_pieces(ScratchDir::new()?.path())
    }

    #[test]
    fn memory_that_grows_begins_where_a_page_does() {
        let mut memory = Aligned::new(10);
        for length in [1, 10, 5000, 3 << 20, 7] {
            let room = memory.room(length);
            assert_eq!(room.len(), length);
            assert!(room.as_ptr().addr().is_multiple_of(ALIGNMENT));
        }
    }
}
