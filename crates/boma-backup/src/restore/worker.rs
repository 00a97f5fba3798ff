//! One worker: fetches frames, opens them, writes what is in them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::RestoreError;
use super::schedule::{Run, Target};
use super::sink::{Aligned, Sink};
use crate::format::envelope::{Envelope, HEADER_BYTES};
use crate::format::frame::{FRAME_BYTES, FrameReader};
use crate::format::manifest::Manifest;
use crate::format::names::{ObjectName, Prefix};
use crate::meter::Meter;
use crate::store::{Repository, StoreError};

/// Open files that a worker keeps: one pack writes to few files at a time.
const OPEN_FILES: usize = 32;

/// What all workers share.
pub(super) struct Shared<'a> {
    pub(super) repository: &'a Repository,
    pub(super) prefix: Prefix,
    pub(super) manifest: &'a Manifest,
    pub(super) data: &'a Path,
    pub(super) runs: &'a [Run],
    /// Which run is next.
    pub(super) next: AtomicUsize,
    pub(super) meter: &'a Meter,
    pub(super) runtime: Handle,
    /// Files that are kept in memory, not written: by index.
    pub(super) withheld: usize,
}

/// Bytes that were written, with their check sum.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenPart {
    pub(super) file: usize,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) crc32c: u32,
}

/// What a worker did.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) parts: Vec<WrittenPart>,
    /// What was withheld, with its place in the file.
    pub(super) withheld: Vec<(u64, Vec<u8>)>,
}

/// One worker.
pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    reader: FrameReader,
    envelopes: HashMap<usize, Envelope>,
    files: HashMap<usize, Sink>,
    plain: Aligned,
    done: Done,
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: &'a Shared<'a>) -> Result<Self, RestoreError> {
        Ok(Self {
            shared,
            reader: FrameReader::new().map_err(|source| StoreError::Damaged {
                name: shared.prefix.to_string(),
                source,
            })?,
            envelopes: HashMap::new(),
            files: HashMap::new(),
            plain: Aligned::new(FRAME_BYTES),
            done: Done::default(),
        })
    }

    /// Works until there is nothing left. While one run is written, the next is on its way.
    pub(super) fn run(mut self) -> Result<Done, RestoreError> {
        let mut coming = self.fetch_next();
        while let Some((run, bytes)) = coming {
            self.shared.meter.check()?;
            coming = self.fetch_next();
            let bytes = self
                .shared
                .runtime
                .block_on(bytes)
                .map_err(|_panicked| RestoreError::Panicked)??;
            self.write_run(run, bytes)?;
        }
        Ok(self.done)
    }

    fn fetch_next(&self) -> Option<(&'a Run, JoinHandle<Result<Bytes, StoreError>>)> {
        let shared = self.shared;
        let run = shared
            .runs
            .get(shared.next.fetch_add(1, Ordering::Relaxed))?;
        let (repository, range) = (shared.repository.clone(), run.range.clone());
        let name = self.pack_name(run.pack);
        let fetching = shared
            .runtime
            .spawn(async move { repository.get_range(&name, range).await });
        Some((run, fetching))
    }

    fn pack_name(&self, pack: usize) -> ObjectName {
        let pack = &self.shared.manifest.packs[pack];
        self.shared.prefix.pack(&pack.backup, pack.number)
    }

    fn write_run(&mut self, run: &Run, bytes: Bytes) -> Result<(), RestoreError> {
        let name = self.pack_name(run.pack);
        if !self.envelopes.contains_key(&run.pack) {
            let shared = self.shared;
            let header = shared
                .runtime
                .block_on(shared.repository.get_range(&name, 0..HEADER_BYTES as u64))?;
            let envelope = shared.repository.unseal(&name, &header)?;
            self.envelopes.insert(run.pack, envelope);
        }
        let mut bytes = Vec::from(bytes);
        let mut rest = bytes.as_mut_slice();
        for (frame, targets) in &run.frames {
            let (sealed, after) = rest
                .split_at_mut_checked(frame.stored as usize)
                .ok_or_else(|| cut(&name))?;
            rest = after;
            let envelope = self.envelopes.get(&run.pack).ok_or_else(|| cut(&name))?;
            let plain = self.plain.room(frame.plain as usize);
            self.reader
                .read_into(envelope, frame.index, sealed, plain)
                .map_err(|source| StoreError::Damaged {
                    name: name.to_string(),
                    source,
                })?;
            for target in targets {
                let writing = Writing {
                    shared: self.shared,
                    files: &mut self.files,
                    done: &mut self.done,
                };
                writing.write(&name, target, plain)?;
            }
        }
        Ok(())
    }
}

/// What writing a piece needs of a worker: all but the memory that the piece is in.
struct Writing<'w, 'a> {
    shared: &'a Shared<'a>,
    files: &'w mut HashMap<usize, Sink>,
    done: &'w mut Done,
}

impl Writing<'_, '_> {
    fn write(self, name: &ObjectName, target: &Target, plain: &[u8]) -> Result<(), RestoreError> {
        let at = target.at as usize;
        let bytes = plain
            .get(at..at + target.length as usize)
            .ok_or_else(|| cut(name))?;
        self.done.parts.push(WrittenPart {
            file: target.file,
            offset: target.offset,
            length: target.length,
            crc32c: crc32c::crc32c(bytes),
        });
        self.shared.meter.add(u64::from(target.length));
        if target.file == self.shared.withheld {
            self.done.withheld.push((target.offset, bytes.to_vec()));
            return Ok(());
        }
        let entry = &self.shared.manifest.files[target.file];
        let path = self.shared.data.join(&entry.path);
        let write = |source| RestoreError::Write {
            path: path.clone(),
            source,
        };
        if self.files.len() >= OPEN_FILES && !self.files.contains_key(&target.file) {
            self.files.clear();
        }
        let sink = match self.files.entry(target.file) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => {
                place.insert(Sink::open(&path, entry.mode, entry.size).map_err(write)?)
            }
        };
        sink.write(bytes, target.offset).map_err(write)
    }
}

fn cut(name: &ObjectName) -> StoreError {
    StoreError::Cut {
        name: name.to_string(),
    }
}
