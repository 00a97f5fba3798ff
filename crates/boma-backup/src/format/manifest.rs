//! What a base backup consists of. It is the last object of a backup that is written: where it is
//! missing there is no backup, only the remains of an attempt.
//!
//! It stands alone: whoever has it needs no other manifest, also where the contents of files are in
//! packs of earlier backups.

use std::collections::BTreeSet;

use boma_instance::InstanceId;
use boma_instance::backup::{BackupKind, BackupSummary};
use boma_instance::wal::{Lsn, Segment, Timeline};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::label::Label;

/// Bytes of a block: what is compared with the backup before, and stored again when it differs.
/// Four pages: a change of 1 % of all pages, scattered, stores 4 % of the blocks.
pub const BLOCK_BYTES: usize = 32 << 10;

/// Bytes of a block's hash: BLAKE3, its first half. Two different blocks with one hash would take
/// 2^64 blocks to find.
pub const HASH_BYTES: usize = 16;

/// A whole base backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Its name.
    pub label: Label,
    /// The server that it was taken from.
    pub server: ServerFacts,
    /// Which part of history it is.
    pub span: Span,
    /// Content of `backup_label`, as PostgreSQL gave it.
    pub backup_label: String,
    /// Content of `tablespace_map`, where there are tablespaces.
    pub tablespace_map: Option<String>,
    /// Directories, parents first, relative to the data directory.
    pub directories: Vec<Directory>,
    /// Tablespaces.
    pub tablespaces: Vec<Tablespace>,
    /// Files, sorted by path.
    pub files: Vec<File>,
    /// Packs that its files are in, its own and those of earlier backups.
    pub packs: Vec<Pack>,
    /// Frames of its map.
    pub map: Vec<Frame>,
    /// Pages whose check sum was wrong in the data directory. The backup is what was there.
    pub damaged: Vec<DamagedPage>,
    /// Bytes of all objects that it added, without this one.
    pub stored_bytes: u64,
}

/// The server that a backup was taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerFacts {
    /// Which instance.
    pub instance: InstanceId,
    /// Its identity in words, for people.
    pub identity: String,
    /// Name of its database.
    pub database: String,
    /// `system_identifier` of its cluster.
    pub system_identifier: u64,
    /// Full version: `15.18`.
    pub version: String,
    /// Bytes of a segment of its write-ahead log.
    pub segment_size: u32,
}

/// From where to where a backup reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// On which line of history.
    pub timeline: Timeline,
    /// Where replay starts.
    pub start: Lsn,
    /// From where on the data is consistent.
    pub stop: Lsn,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; the oldest moment that it can be restored to.
    pub stopped_at: Timestamp,
}

impl Span {
    /// The segments of the write-ahead log that make the backup consistent: from the one that
    /// replay starts in to the one that holds the byte before its end.
    pub fn segments(&self, segment_size: u32) -> impl Iterator<Item = Segment> + use<> {
        let first = self.start.segment(self.timeline, segment_size);
        let last = self.stop.segment_before(self.timeline, segment_size);
        (first.number..=last.number).map(move |number| Segment { number, ..first })
    }
}

/// A directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Relative to the data directory.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
}

/// A tablespace: its files are at `pg_tblspc/<oid>/…` here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tablespace {
    /// Its number.
    pub oid: u32,
    /// Where it was.
    pub location: String,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Relative to the data directory, with `/`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// When it was last changed.
    pub modified_at: Timestamp,
    /// CRC-32C of its bytes: what `backup_manifest` says.
    pub crc32c: u32,
    /// Where its bytes are, in order and without a gap.
    pub extents: Vec<Extent>,
    /// Where the hashes of its blocks are.
    pub hashes: HashesAt,
}

/// Bytes of a file that are in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u32; 4]", into = "[u32; 4]")]
pub struct Extent {
    /// Which of [`Manifest::packs`].
    pub pack: u32,
    /// Which frame of that pack, by its place in [`Pack::frames`].
    pub frame: u32,
    /// Where in the frame's plain bytes.
    pub at: u32,
    /// How many bytes.
    pub length: u32,
}

impl From<[u32; 4]> for Extent {
    fn from([pack, frame, at, length]: [u32; 4]) -> Self {
        Self {
            pack,
            frame,
            at,
            length,
        }
    }
}

impl From<Extent> for [u32; 4] {
    fn from(extent: Extent) -> Self {
        [extent.pack, extent.frame, extent.at, extent.length]
    }
}

/// Where the hashes of a file's blocks are in the backup's map: one after the other, each of
/// [`HASH_BYTES`], one for each [`BLOCK_BYTES`] begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u32; 2]", into = "[u32; 2]")]
pub struct HashesAt {
    /// Which frame of the map.
    pub frame: u32,
    /// Where in the frame's plain bytes.
    pub at: u32,
}

impl From<[u32; 2]> for HashesAt {
    fn from([frame, at]: [u32; 2]) -> Self {
        Self { frame, at }
    }
}

impl From<HashesAt> for [u32; 2] {
    fn from(hashes: HashesAt) -> Self {
        [hashes.frame, hashes.at]
    }
}

/// An object with contents of files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pack {
    /// The backup that wrote it.
    pub backup: Label,
    /// Which of its packs.
    pub number: u32,
    /// Bytes of the whole object.
    pub bytes: u64,
    /// Those of its frames that this backup needs.
    pub frames: Vec<Frame>,
}

/// A frame of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u32, u32)", into = "(u64, u64, u32, u32)")]
pub struct Frame {
    /// Its place among the object's frames, from 0.
    pub index: u64,
    /// Where it begins in the object.
    pub offset: u64,
    /// Bytes in the object, with its header and tag.
    pub stored: u32,
    /// Bytes when opened.
    pub plain: u32,
}

impl From<(u64, u64, u32, u32)> for Frame {
    fn from((index, offset, stored, plain): (u64, u64, u32, u32)) -> Self {
        Self {
            index,
            offset,
            stored,
            plain,
        }
    }
}

impl From<Frame> for (u64, u64, u32, u32) {
    fn from(frame: Frame) -> Self {
        (frame.index, frame.offset, frame.stored, frame.plain)
    }
}

/// A page whose check sum was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedPage {
    /// The file.
    pub path: String,
    /// Which page of that file, from 0.
    pub page: u32,
}

/// What is wrong with a manifest that was sealed well: a fault of the program that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not one.
    #[error("read a backup's manifest: {why}")]
    Unreadable {
        /// What the decoder says.
        why: String,
    },
    /// It does not say where all bytes of a file are.
    #[error("the manifest does not say where all of `{path}` is")]
    Incomplete {
        /// Which file.
        path: String,
    },
    /// A path leads out of the data directory.
    #[error("the manifest names `{path}`, which is not in the data directory")]
    Outside {
        /// Which path.
        path: String,
    },
}

impl Manifest {
    /// Its bytes, to be sealed.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("should be: its keys are text and its numbers finite")
    }

    /// Reads and checks what was sealed.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| ManifestError::Unreadable {
                why: error.to_string(),
            })?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Whether it needs others.
    pub fn kind(&self) -> BackupKind {
        self.label.kind()
    }

    /// Bytes of the data directory.
    pub fn data_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Backups whose packs it needs, itself left out.
    pub fn needs(&self) -> BTreeSet<Label> {
        self.packs
            .iter()
            .map(|pack| pack.backup.clone())
            .filter(|label| *label != self.label)
            .collect()
    }

    /// What people want to know of it.
    pub fn summary(&self) -> BackupSummary {
        BackupSummary {
            label: self.label.to_string(),
            kind: self.kind(),
            started_at: self.span.started_at,
            stopped_at: self.span.stopped_at,
            start_lsn: self.span.start,
            stop_lsn: self.span.stop,
            timeline: self.span.timeline,
            data_bytes: self.data_bytes(),
            stored_bytes: self.stored_bytes,
            server_version: self.server.version.clone(),
            damaged_pages: self.damaged.len() as u64,
        }
    }

    fn check(&self) -> Result<(), ManifestError> {
        let paths = self.files.iter().map(|file| &file.path);
        for path in paths.chain(self.directories.iter().map(|directory| &directory.path)) {
            let inside = !path.is_empty()
                && path
                    .split('/')
                    .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'));
            if !inside {
                return Err(ManifestError::Outside { path: path.clone() });
            }
        }
        for file in &self.files {
            let length: u64 = file.extents.iter().map(|one| u64::from(one.length)).sum();
            let found = file.extents.iter().all(|extent| self.has(*extent));
            if length != file.size || !found {
                return Err(ManifestError::Incomplete {
                    path: file.path.clone(),
                });
            }
        }
        Ok(())
    }

    fn has(&self, extent: Extent) -> bool {
        let frame = self
            .packs
            .get(extent.pack as usize)
            .and_then(|pack| pack.frames.get(extent.frame as usize));
        frame.is_some_and(|frame| {
            u64::from(extent.at) + u64::from(extent.length) <= u64::from(frame.plain)
        })
    }
}
