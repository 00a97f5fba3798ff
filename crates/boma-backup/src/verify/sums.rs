//! Sums of parts of frames, from which sums of files are made without reading a frame twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::label::Label;
use crate::format::manifest::{BLOCK_BYTES, Extent, File, Frame, HASH_BYTES, Manifest};
use crate::frames::Opened;

/// A part of a frame that belongs to a file: where, how long, and whether blocks of the file
/// begin and end with it.
type Part = (u32, u32, bool);

/// What is known of a part once its frame was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum {
    crc: u32,
    /// Digest of the hashes of its blocks.
    blocks: u64,
}

/// What is wanted of the frames of one pack.
#[derive(Debug, Default)]
struct Pack {
    /// Where each frame should be: several manifests may say it, and one of them wrongly.
    frames: BTreeMap<u64, Vec<Frame>>,
    parts: BTreeMap<u64, BTreeMap<Part, Option<Sum>>>,
    /// Frames that are there as somebody said.
    there: BTreeSet<(u64, u64, u32, u32)>,
}

/// What is wanted of all packs.
#[derive(Debug, Default)]
pub(super) struct Wanted(BTreeMap<(Label, u32), Pack>);

impl Wanted {
    /// Notes what a manifest wants.
    pub(super) fn add(&mut self, manifest: &Manifest) {
        for file in &manifest.files {
            for (extent, offset) in extents(file) {
                let Some((pack, frame)) = place(manifest, extent) else {
                    continue;
                };
                let wanted = self.0.entry(pack).or_default();
                let frames = wanted.frames.entry(frame.index).or_default();
                if !frames.contains(&frame) {
                    frames.push(frame);
                }
                let parts = wanted.parts.entry(frame.index).or_default();
                parts.entry(part(file, extent, offset)).or_default();
            }
        }
    }

    /// Sums up what is wanted of a frame.
    pub(super) fn sum(&mut self, label: &Label, number: u32, frame: &Opened<'_>) {
        let Some(pack) = self.0.get_mut(&(label.clone(), number)) else {
            return;
        };
        let said = pack.frames.get(&frame.index).into_iter().flatten();
        for said in said.filter(|said| is_at(said, frame)) {
            pack.there.insert((*said).into());
        }
        let parts = pack.parts.get_mut(&frame.index).into_iter().flatten();
        for ((at, length, in_blocks), sum) in parts {
            let begin = *at as usize;
            let bytes = frame.plain.get(begin..begin + *length as usize);
            *sum = bytes.map(|bytes| Sum {
                crc: crc32c::crc32c(bytes),
                blocks: if *in_blocks { digest_of(bytes) } else { 0 },
            });
        }
    }

    fn get(&self, manifest: &Manifest, file: &File, extent: Extent, offset: u64) -> Option<Sum> {
        let (pack, frame) = place(manifest, extent)?;
        let pack = self.0.get(&pack)?;
        if !pack.there.contains(&frame.into()) {
            return None;
        }
        let parts = pack.parts.get(&frame.index)?;
        *parts.get(&part(file, extent, offset))?
    }

    /// Paths of files that are not in the repository as their manifest says.
    pub(super) fn wrong_files(&self, manifest: &Manifest) -> Vec<String> {
        let wrong = |file: &&File| self.crc(manifest, file) != Some(file.crc32c);
        let files = manifest.files.iter().filter(wrong);
        files.map(|file| file.path.clone()).collect()
    }

    fn crc(&self, manifest: &Manifest, file: &File) -> Option<u32> {
        let mut whole = 0;
        for (extent, offset) in extents(file) {
            let sum = self.get(manifest, file, extent, offset)?;
            whole = crc32c::crc32c_combine(whole, sum.crc, extent.length as usize);
        }
        Some(whole)
    }

    /// Whether the hashes of a file's blocks, which are in a frame of the map, are those of what
    /// is in the packs. Extents that are not made of whole blocks are not compared, and neither is
    /// what could not be read: that is found elsewhere.
    pub(super) fn hashes_fit(&self, manifest: &Manifest, file: &File, frame: &[u8]) -> bool {
        extents(file).all(|(extent, offset)| {
            let (at, end) = (
                file.hashes.at as usize + hash_place(offset),
                file.hashes.at as usize + hash_place(offset + u64::from(extent.length)),
            );
            let Some(hashes) = frame.get(at..end) else {
                return false;
            };
            let (_, _, in_blocks) = part(file, extent, offset);
            let sum = self.get(manifest, file, extent, offset);
            !in_blocks || sum.is_none_or(|sum| sum.blocks == short(blake3::hash(hashes)))
        })
    }
}

/// Files with hashes, by the frame of the map that these are in.
pub(super) fn by_map_frame(manifest: &Manifest) -> BTreeMap<u64, Vec<&File>> {
    let mut files: BTreeMap<u64, Vec<&File>> = BTreeMap::new();
    for file in manifest.files.iter().filter(|file| file.size > 0) {
        let frame = u64::from(file.hashes.frame);
        files.entry(frame).or_default().push(file);
    }
    files
}

/// Whether a frame is where a manifest says.
pub(super) fn is_listed(said: &[Frame], frame: &Opened<'_>) -> bool {
    said.iter().any(|said| is_at(said, frame))
}

fn is_at(said: &Frame, frame: &Opened<'_>) -> bool {
    said.index == frame.index
        && said.offset == frame.offset
        && said.stored == frame.stored
        && said.plain as usize == frame.plain.len()
}

fn extents(file: &File) -> impl Iterator<Item = (Extent, u64)> {
    file.extents.iter().scan(0_u64, |next, extent| {
        let offset = *next;
        *next += u64::from(extent.length);
        Some((*extent, offset))
    })
}

fn place(manifest: &Manifest, extent: Extent) -> Option<((Label, u32), Frame)> {
    let pack = manifest.packs.get(extent.pack as usize)?;
    let frame = pack.frames.get(extent.frame as usize)?;
    Some(((pack.backup.clone(), pack.number), *frame))
}

fn part(file: &File, extent: Extent, offset: u64) -> Part {
    let end = offset + u64::from(extent.length);
    let is_edge = |at: u64| at.is_multiple_of(BLOCK_BYTES as u64);
    let in_blocks = is_edge(offset) && (is_edge(end) || end == file.size);
    (extent.at, extent.length, in_blocks)
}

/// Where the hash of the block is that begins at or behind a place.
fn hash_place(offset: u64) -> usize {
    usize::try_from(offset.div_ceil(BLOCK_BYTES as u64)).unwrap_or(usize::MAX / HASH_BYTES)
        * HASH_BYTES
}

fn digest_of(bytes: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for block in bytes.chunks(BLOCK_BYTES) {
        hasher.update(&blake3::hash(block).as_bytes()[..HASH_BYTES]);
    }
    short(hasher.finalize())
}

fn short(hash: blake3::Hash) -> u64 {
    hash.as_bytes()
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
