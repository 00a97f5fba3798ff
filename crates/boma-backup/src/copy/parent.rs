//! The backup before: what is the same needs not be stored again.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::pack::Destination;
use crate::format::envelope::{Envelope, HEADER_BYTES};
use crate::format::frame::FrameReader;
use crate::format::manifest::{BLOCK_BYTES, Extent, File, Frame, HASH_BYTES, Manifest};
use crate::format::names::Prefix;
use crate::store::{Repository, StoreError};

/// Hash of a block.
pub(super) type Hash = [u8; HASH_BYTES];

/// Hashes a block.
pub(super) fn hash(block: &[u8]) -> Hash {
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(&blake3::hash(block).as_bytes()[..HASH_BYTES]);
    hash
}

/// A backup that another one is compared with. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Parent {
    manifest: Arc<Manifest>,
    by_path: Arc<HashMap<String, usize>>,
}

impl Parent {
    pub(super) fn new(manifest: Arc<Manifest>) -> Self {
        let by_path = manifest
            .files
            .iter()
            .enumerate()
            .map(|(index, file)| (file.path.clone(), index))
            .collect();
        Self {
            manifest,
            by_path: Arc::new(by_path),
        }
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.by_path
            .get(path)
            .and_then(|index| self.manifest.files.get(*index))
    }
}

/// One worker's look into the parent. It keeps the frame of hashes that it read last: files that
/// are neighbours in a backup are neighbours in its map.
pub(super) struct Comparison {
    parent: Parent,
    repository: Repository,
    prefix: Prefix,
    runtime: Handle,
    envelope: Option<Envelope>,
    reader: FrameReader,
    frame: Option<(u32, Vec<u8>)>,
}

/// What the parent has of one file.
pub(super) struct Before {
    hashes: Vec<u8>,
    size: u64,
    extents: Vec<Extent>,
    /// Where in the file each extent begins.
    starts: Vec<u64>,
}

impl Before {
    fn new(file: &File, hashes: Vec<u8>) -> Self {
        let starts = file
            .extents
            .iter()
            .scan(0, |next, extent| {
                let start = *next;
                *next += u64::from(extent.length);
                Some(start)
            })
            .collect();
        Self {
            hashes,
            size: file.size,
            extents: file.extents.clone(),
            starts,
        }
    }

    /// Where bytes `offset..offset + block` are, if they are a block that has this hash.
    pub(super) fn same(&self, offset: u64, length: usize, found: Hash) -> Option<Vec<Extent>> {
        let number = usize::try_from(offset / BLOCK_BYTES as u64).ok()?;
        let at = number * HASH_BYTES;
        let hash = self.hashes.get(at..at + HASH_BYTES)?;
        let was = self.size.checked_sub(offset)?.min(BLOCK_BYTES as u64);
        (hash == found && was == length as u64).then(|| self.cut(offset, length as u64))
    }

    /// The extents of a range that lies in the file.
    fn cut(&self, offset: u64, length: u64) -> Vec<Extent> {
        let end = offset + length;
        let first = self.starts.partition_point(|start| *start <= offset) - 1;
        let within =
            |bytes: u64| u32::try_from(bytes).expect("should be: no longer than the extent itself");
        self.starts[first..]
            .iter()
            .zip(&self.extents[first..])
            .take_while(|(start, _)| **start < end)
            .map(|(start, extent)| {
                let from = offset.max(*start) - start;
                let to = end.min(start + u64::from(extent.length)) - start;
                Extent {
                    at: extent.at + within(from),
                    length: within(to - from),
                    ..*extent
                }
            })
            .collect()
    }
}

impl Comparison {
    pub(super) fn new(parent: Parent, to: &Destination) -> Result<Self, StoreError> {
        let prefix = to.prefix;
        let reader = FrameReader::new().map_err(|source| StoreError::Damaged {
            name: prefix.map(&parent.manifest.label).to_string(),
            source,
        })?;
        Ok(Self {
            parent,
            repository: to.repository.clone(),
            prefix,
            runtime: to.runtime.clone(),
            envelope: None,
            reader,
            frame: None,
        })
    }

    /// What the parent has of a file; none: it had none of this name.
    pub(super) fn of(&mut self, path: &str) -> Result<Option<Before>, StoreError> {
        let parent = self.parent.clone();
        let Some(file) = parent.file(path).filter(|file| file.size > 0) else {
            return Ok(None);
        };
        self.load(file.hashes.frame)?;
        let start = file.hashes.at as usize;
        let bytes = file.size.div_ceil(BLOCK_BYTES as u64) * HASH_BYTES as u64;
        let hashes = self
            .frame
            .as_ref()
            .and_then(|(_, plain)| plain.get(start..)?.get(..usize::try_from(bytes).ok()?))
            .map(<[u8]>::to_vec);
        Ok(hashes.map(|hashes| Before::new(file, hashes)))
    }

    fn load(&mut self, number: u32) -> Result<(), StoreError> {
        if self
            .frame
            .as_ref()
            .is_some_and(|(known, _)| *known == number)
        {
            return Ok(());
        }
        let label = self.parent.manifest.label.clone();
        let name = self.prefix.map(&label);
        let cut = || StoreError::Cut {
            name: name.to_string(),
        };
        let frame: Frame = *self
            .parent
            .manifest
            .map
            .get(number as usize)
            .ok_or_else(cut)?;
        if self.envelope.is_none() {
            let header = self
                .runtime
                .block_on(self.repository.get_range(&name, 0..HEADER_BYTES as u64))?;
            self.envelope = Some(self.repository.unseal(&name, &header)?);
        }
        let range = frame.offset..frame.offset + u64::from(frame.stored);
        let bytes = self
            .runtime
            .block_on(self.repository.get_range(&name, range))?;
        let mut bytes = Vec::from(bytes);
        let mut plain = Vec::new();
        let envelope = self.envelope.as_ref().ok_or_else(cut)?;
        self.reader
            .read(envelope, frame.index, &mut bytes, &mut plain)
            .map_err(|source| StoreError::Damaged {
                name: name.to_string(),
                source,
            })?;
        self.frame = Some((number, plain));
        Ok(())
    }
}
