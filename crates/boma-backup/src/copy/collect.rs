//! Puts together what workers copied: files out of parts, the map out of hashes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::pack::{Destination, Ending, Stream, WriteError, Written};
use super::walk::FoundFile;
use super::worker::{Copied, Piece};
use crate::format::frame::{FRAME_BYTES, FrameWriter};
use crate::format::label::Label;
use crate::format::manifest::{DamagedPage, Extent, File, Frame, HashesAt, Manifest, Pack};

/// Gathers parts. A file is closed, and its hashes go to the map, as soon as its last part is here:
/// what is held of it is a few bytes for each frame.
pub(super) struct Collector<'a> {
    files: &'a [FoundFile],
    open: HashMap<usize, Vec<Copied>>,
    closed: BTreeMap<usize, Closed>,
    damaged: Vec<DamagedPage>,
    map: MapWriter,
}

struct Closed {
    crc32c: u32,
    pieces: Vec<Piece>,
    hashes: HashesAt,
}

/// All that was collected.
pub(super) struct Collected {
    pub(super) files: Vec<(File, Vec<Piece>)>,
    pub(super) damaged: Vec<DamagedPage>,
    pub(super) map: Ending,
}

impl<'a> Collector<'a> {
    pub(super) fn new(files: &'a [FoundFile], to: &Destination) -> Result<Self, WriteError> {
        Ok(Self {
            files,
            open: HashMap::new(),
            closed: BTreeMap::new(),
            damaged: Vec::new(),
            map: MapWriter::new(to)?,
        })
    }

    /// Takes a part.
    pub(super) fn take(&mut self, copied: Copied) -> Result<(), WriteError> {
        let file = copied.file;
        let found = &self.files[file];
        self.damaged
            .extend(copied.damaged.iter().map(|page| DamagedPage {
                path: found.path.clone(),
                page: *page,
            }));
        let parts = self.open.entry(file).or_default();
        parts.push(copied);
        let here: u64 = parts.iter().map(|part| part.length).sum();
        if here < found.size {
            return Ok(());
        }
        let mut parts = self.open.remove(&file).unwrap_or_default();
        parts.sort_by_key(|part| part.offset);
        let mut closed = Closed {
            crc32c: 0,
            pieces: Vec::new(),
            hashes: self.map.place(),
        };
        let mut hashes = Vec::new();
        for part in parts {
            let length = usize::try_from(part.length).unwrap_or(usize::MAX);
            closed.crc32c = crc32c::crc32c_combine(closed.crc32c, part.crc32c, length);
            closed.pieces.extend(part.pieces);
            hashes.extend_from_slice(&part.hashes);
        }
        closed.hashes = self.map.add(&hashes)?;
        self.closed.insert(file, closed);
        Ok(())
    }

    /// Ends the map. Files of which not everything is here are those that vanished.
    pub(super) fn end(mut self) -> Result<Collected, WriteError> {
        self.damaged
            .sort_by(|one, other| (&one.path, one.page).cmp(&(&other.path, other.page)));
        let files = self
            .closed
            .into_iter()
            .map(|(index, closed)| {
                let found = &self.files[index];
                let file = File {
                    path: found.path.clone(),
                    size: found.size,
                    mode: found.mode,
                    modified_at: found.modified_at,
                    crc32c: closed.crc32c,
                    extents: Vec::new(),
                    hashes: closed.hashes,
                };
                (file, closed.pieces)
            })
            .collect();
        Ok(Collected {
            files,
            damaged: self.damaged,
            map: self.map.end()?,
        })
    }
}

/// Writes the map while files are copied: a database of a terabyte has half a gigabyte of hashes.
struct MapWriter {
    stream: Stream,
    writer: FrameWriter,
    frame: Vec<u8>,
}

impl MapWriter {
    fn new(to: &Destination) -> Result<Self, WriteError> {
        Ok(Self {
            stream: Stream::begin(to, to.prefix.map(&to.label), 0)?,
            writer: FrameWriter::new(to.repository.compression_level())?,
            frame: Vec::with_capacity(FRAME_BYTES),
        })
    }

    fn place(&self) -> HashesAt {
        HashesAt {
            frame: self.stream.next_frame(),
            at: u32::try_from(self.frame.len())
                .expect("should be: a frame of hashes is flushed at 1 MiB"),
        }
    }

    /// Adds the hashes of one file, which stay together in one frame.
    fn add(&mut self, hashes: &[u8]) -> Result<HashesAt, WriteError> {
        if !self.frame.is_empty() && self.frame.len() + hashes.len() > FRAME_BYTES {
            self.flush()?;
        }
        let place = self.place();
        self.frame.extend_from_slice(hashes);
        if self.frame.len() >= FRAME_BYTES {
            self.flush()?;
        }
        Ok(place)
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.stream.add(&mut self.writer, &self.frame)?;
        self.frame.clear();
        Ok(())
    }

    fn end(mut self) -> Result<Ending, WriteError> {
        if !self.frame.is_empty() {
            self.flush()?;
        }
        self.stream.end(&mut self.writer)
    }
}

/// Turns pieces into extents, and lists the packs and frames that they need.
pub(super) struct PackTable {
    parent: Option<Arc<Manifest>>,
    own: HashMap<u32, Written>,
    label: Label,
    packs: Vec<Pack>,
    places: HashMap<(Label, u32), u32>,
    frames: HashMap<(u32, u64), u32>,
}

impl PackTable {
    pub(super) fn new(label: Label, own: Vec<Written>, parent: Option<Arc<Manifest>>) -> Self {
        let mut table = Self {
            parent,
            own: HashMap::new(),
            label,
            packs: Vec::new(),
            places: HashMap::new(),
            frames: HashMap::new(),
        };
        for pack in own {
            table.list(&pack);
            table.own.insert(pack.number, pack);
        }
        table
    }

    /// Lists a pack of this backup with all of its frames, the empty one at its end as well, so
    /// that whoever restores the backup notices every change of it.
    fn list(&mut self, written: &Written) {
        let pack = self.pack(self.label.clone(), written.number, written.bytes);
        for frame in &written.frames {
            self.frame(pack, *frame);
        }
    }

    /// Extents of a file; neighbours in one frame become one.
    pub(super) fn extents(&mut self, pieces: &[Piece]) -> Vec<Extent> {
        let mut extents: Vec<Extent> = Vec::new();
        for piece in pieces {
            let Some(next) = self.extent(piece) else {
                continue;
            };
            match extents.last_mut() {
                Some(last)
                    if (last.pack, last.frame) == (next.pack, next.frame)
                        && last.at + last.length == next.at =>
                {
                    last.length += next.length;
                }
                Some(_) | None => extents.push(next),
            }
        }
        extents
    }

    fn extent(&mut self, piece: &Piece) -> Option<Extent> {
        let (label, number, bytes, frame, at, length) = match piece {
            Piece::New(stored, length) => {
                let pack = self.own.get(&stored.pack)?;
                let frame = *pack.frames.get(stored.frame as usize)?;
                (
                    self.label.clone(),
                    stored.pack,
                    pack.bytes,
                    frame,
                    stored.at,
                    *length,
                )
            }
            Piece::Old(extent) => {
                let pack = self.parent.as_ref()?.packs.get(extent.pack as usize)?;
                let frame = *pack.frames.get(extent.frame as usize)?;
                (
                    pack.backup.clone(),
                    pack.number,
                    pack.bytes,
                    frame,
                    extent.at,
                    extent.length,
                )
            }
        };
        let pack = self.pack(label, number, bytes);
        let frame = self.frame(pack, frame);
        Some(Extent {
            pack,
            frame,
            at,
            length,
        })
    }

    fn pack(&mut self, backup: Label, number: u32, bytes: u64) -> u32 {
        let packs = &mut self.packs;
        *self
            .places
            .entry((backup.clone(), number))
            .or_insert_with(|| {
                packs.push(Pack {
                    backup,
                    number,
                    bytes,
                    frames: Vec::new(),
                });
                count(packs.len() - 1)
            })
    }

    fn frame(&mut self, pack: u32, frame: Frame) -> u32 {
        let frames = &mut self.packs[pack as usize].frames;
        *self.frames.entry((pack, frame.index)).or_insert_with(|| {
            frames.push(frame);
            count(frames.len() - 1)
        })
    }

    /// The packs, with those of their frames that are needed.
    pub(super) fn packs(self) -> Vec<Pack> {
        self.packs
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).expect("should be: 2^32 frames of 1 MiB are 4 PiB, beyond any server")
}
