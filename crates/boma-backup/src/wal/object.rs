//! A file of the write-ahead log as it is stored: a head that says what it is, then its content.

use blake3::Hash;
use blake3::hazmat::{self, ChainingValue, HasherExt as _, Mode};
use boma_instance::wal::WalFile;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::GetError;
use crate::format::envelope::{EnvelopeError, HEADER_BYTES, Position};
use crate::format::frame::{FRAME_BYTES, FrameError, FrameReader};
use crate::format::names::{ObjectName, Prefix};
use crate::store::{Repository, StoreError};

/// The first frame: what the object is, without reading all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// File name, as PostgreSQL gave it.
    pub file: String,
    /// `system_identifier` of the cluster that wrote it.
    pub system_identifier: u64,
    /// BLAKE3 of the content, hexadecimal.
    pub digest: String,
    /// Bytes of the content.
    pub length: u64,
    /// When PostgreSQL last wrote to it.
    pub modified_at: Timestamp,
}

impl Head {
    /// As it is stored.
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("should be: its keys are text and its numbers whole")
    }
}

/// A stored file, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// It is there and whole.
    Whole(Head, Vec<u8>),
    /// Its head is there, and what follows is cut short: a write that was torn.
    Torn(Head),
    /// It ends before the end of its head: a write that was torn at once.
    Stump,
}

/// Reads a file of the write-ahead log from a repository; none: it is not there, and the
/// repository is.
pub async fn read(
    repository: &Repository,
    prefix: &Prefix,
    (file, segment_size): (WalFile, u32),
) -> Result<Option<Vec<u8>>, GetError> {
    let name = prefix.wal(file, segment_size);
    let Some(sealed) = repository.get_sealed(&name).await? else {
        // A bucket that is gone, or a network file system that is not mounted, has no files either.
        repository.confirm().await?;
        return Ok(None);
    };
    let expected = (file.file_name(segment_size), prefix.system_identifier);
    let opened = open(repository, &name, sealed).await?;
    match opened {
        Stored::Whole(head, content) => {
            if (head.file.as_str(), head.system_identifier) != (expected.0.as_str(), expected.1) {
                return Err(GetError::NotWhatItsNameSays {
                    name: name.to_string(),
                });
            }
            Ok(Some(content))
        }
        Stored::Torn(_) | Stored::Stump => Err(StoreError::Cut {
            name: name.to_string(),
        }
        .into()),
    }
}

/// Opens a stored file on a thread where that may take a while.
pub(super) async fn open(
    repository: &Repository,
    name: &ObjectName,
    sealed: Bytes,
) -> Result<Stored, GetError> {
    let (repository, name) = (repository.clone(), name.clone());
    tokio::task::spawn_blocking(move || open_now(&repository, &name, sealed))
        .await
        .map_err(|_panicked| GetError::Interrupted)?
}

fn open_now(repository: &Repository, name: &ObjectName, sealed: Bytes) -> Result<Stored, GetError> {
    let damaged = |source: FrameError| StoreError::Damaged {
        name: name.to_string(),
        source,
    };
    if sealed.len() < HEADER_BYTES {
        return Ok(Stored::Stump);
    }
    let envelope = repository.unseal(name, &sealed)?;
    let mut sealed = Vec::from(sealed);
    let mut reader = FrameReader::new().map_err(damaged)?;
    let mut rest = &mut sealed[HEADER_BYTES..];
    let mut part = Vec::new();
    let (taken, mut position) = match reader.read(&envelope, 0, rest, &mut part) {
        Ok(read) => read,
        Err(FrameError::Envelope(EnvelopeError::WrongLength)) => return Ok(Stored::Stump),
        Err(source) => return Err(damaged(source).into()),
    };
    let strange = || GetError::NotWhatItsNameSays {
        name: name.to_string(),
    };
    let head: Head = serde_json::from_slice(&part).map_err(|_not_json| strange())?;
    rest = rest.get_mut(taken..).unwrap_or_default();
    let mut content = Vec::with_capacity(usize::try_from(head.length).unwrap_or_default());
    let mut digest = Digest::default();
    for index in 1.. {
        if position == Position::Last {
            break;
        }
        let (taken, at) = match reader.read(&envelope, index, rest, &mut part) {
            Ok(read) => read,
            Err(FrameError::Envelope(EnvelopeError::WrongLength)) => {
                return Ok(Stored::Torn(head));
            }
            Err(source) => return Err(damaged(source).into()),
        };
        digest.add(index - 1, &part);
        content.extend_from_slice(&part);
        rest = rest.get_mut(taken..).unwrap_or_default();
        position = at;
    }
    if !rest.is_empty() {
        return Err(damaged(EnvelopeError::WrongLength.into()).into());
    }
    let whole = content.len() as u64 == head.length && digest.finish().to_hex()[..] == head.digest;
    if whole {
        Ok(Stored::Whole(head, content))
    } else {
        Err(strange())
    }
}

/// BLAKE3 of a content that comes in parts of [`FRAME_BYTES`], which are subtrees of its hash
/// tree, so that several threads can hash one content.
#[derive(Debug, Default)]
pub(super) struct Digest {
    parts: Vec<(u64, Part)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// What it is when it is all there is.
    alone: Hash,
    /// What it is among others.
    subtree: ChainingValue,
}

impl Part {
    /// Hashes part `index` of a content.
    pub(super) fn of(index: u64, bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(index * FRAME_BYTES as u64);
        hasher.update(bytes);
        let alone = if index == 0 {
            hasher.finalize()
        } else {
            Hash::from_bytes([0; blake3::OUT_LEN])
        };
        Self {
            alone,
            subtree: hasher.finalize_non_root(),
        }
    }
}

impl Digest {
    fn add(&mut self, index: u64, bytes: &[u8]) {
        self.put(index, Part::of(index, bytes));
    }

    /// Adds what was hashed elsewhere; in any order.
    pub(super) fn put(&mut self, index: u64, part: Part) {
        self.parts.push((index, part));
    }

    /// The digest of all parts.
    pub(super) fn finish(mut self) -> Hash {
        self.parts.sort_by_key(|(index, _part)| *index);
        let parts: Vec<_> = self.parts.iter().map(|(_index, part)| *part).collect();
        match parts.as_slice() {
            [] => blake3::hash(&[]),
            [only] => only.alone,
            several => {
                let (left, right) = halves(several);
                hazmat::merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash)
            }
        }
    }
}

/// The left half of a tree is the largest power of two that leaves something to the right.
fn halves(parts: &[Part]) -> (&[Part], &[Part]) {
    parts.split_at(parts.len().next_power_of_two() / 2)
}

fn subtree(parts: &[Part]) -> ChainingValue {
    match parts {
        [only] => only.subtree,
        several => {
            let (left, right) = halves(several);
            hazmat::merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_in_parts_is_that_of_the_whole() {
        for bytes in [
            0,
            1,
            FRAME_BYTES,
            FRAME_BYTES + 1,
            3 * FRAME_BYTES,
            16 * FRAME_BYTES,
        ] {
            let content: Vec<u8> = (0..=250_u8).cycle().take(bytes).collect();
            let mut digest = Digest::default();
            let parts: Vec<_> = content.chunks(FRAME_BYTES).enumerate().collect();
            for (index, part) in parts.into_iter().rev() {
                digest.add(index as u64, part);
            }
            assert_eq!(digest.finish(), blake3::hash(&content), "{bytes} bytes");
        }
    }
}
