//! Frames: compressed, then sealed.

use std::fmt;
use std::io;

use zstd::bulk::{Compressor, Decompressor};

use super::envelope::{
    Envelope, EnvelopeError, FRAME_HEADER_BYTES, FrameHeader, HEADER_BYTES, LONGEST_FRAME,
    Position, SALT_BYTES,
};
use super::key::RepositoryKey;
use super::names::ObjectName;

/// Plain bytes of a frame of a pack. Larger frames compress little better (zstd's window at its
/// usual levels is 2 MiB) and cost memory for each worker.
pub const FRAME_BYTES: usize = 1 << 20;

/// Why a frame could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Its seal, or its lengths, are wrong.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// zstd could not do it.
    #[error("compress or decompress a frame")]
    Zstd(#[source] io::Error),
    /// It does not have the length that was sealed with it.
    #[error("a frame has {found} bytes where its header says {expected}")]
    OtherLength {
        /// What it has.
        found: usize,
        /// What its header says.
        expected: usize,
    },
}

/// Compresses and seals. Holds a compression context and a buffer, which are worth keeping.
pub struct FrameWriter {
    compressor: Compressor<'static>,
    scratch: Vec<u8>,
}

impl fmt::Debug for FrameWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameWriter")
    }
}

impl FrameWriter {
    /// Prepares; `level` is zstd's, 1 to 19.
    pub fn new(level: u8) -> Result<Self, FrameError> {
        Ok(Self {
            compressor: Compressor::new(i32::from(level)).map_err(FrameError::Zstd)?,
            scratch: Vec::new(),
        })
    }

    /// Compresses and seals `plain`, at most 64 MiB, and appends the whole frame to `object`.
    pub fn write(
        &mut self,
        envelope: &Envelope,
        place: (u64, Position),
        plain: &[u8],
        object: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        let length = u32::try_from(plain.len())
            .ok()
            .filter(|length| *length as usize <= LONGEST_FRAME)
            .ok_or(EnvelopeError::WrongLength)?;
        let bound = zstd::zstd_safe::compress_bound(plain.len());
        if self.scratch.len() < bound {
            self.scratch.resize(bound, 0);
        }
        let compressed = self
            .compressor
            .compress_to_buffer(plain, self.scratch.as_mut_slice())
            .map_err(FrameError::Zstd)?;
        let start = object.len();
        object.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
        object.extend_from_slice(&self.scratch[..compressed]);
        envelope.seal_frame(place, length, object, start);
        Ok(())
    }
}

/// Opens and decompresses. Holds a decompression context, which is worth keeping.
pub struct FrameReader {
    decompressor: Decompressor<'static>,
}

impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameReader")
    }
}

impl FrameReader {
    /// Prepares.
    pub fn new() -> Result<Self, FrameError> {
        Ok(Self {
            decompressor: Decompressor::new().map_err(FrameError::Zstd)?,
        })
    }

    /// Opens the frame that `bytes` begins with, header and all, and puts what it holds into
    /// `plain`, which is cleared first. Returns the bytes it took and its position.
    pub fn read(
        &mut self,
        envelope: &Envelope,
        index: u64,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
    ) -> Result<(usize, Position), FrameError> {
        let (header, compressed) = open(envelope, index, bytes)?;
        let expected = header.plain as usize;
        plain.clear();
        plain.reserve(expected);
        let found = self
            .decompressor
            .decompress_to_buffer(compressed, plain)
            .map_err(FrameError::Zstd)?;
        taken(header, found)
    }

    /// Like [`FrameReader::read`], into memory whose place matters; it has just the length that
    /// the frame should have.
    pub fn read_into(
        &mut self,
        envelope: &Envelope,
        index: u64,
        bytes: &mut [u8],
        plain: &mut [u8],
    ) -> Result<(usize, Position), FrameError> {
        let (header, compressed) = open(envelope, index, bytes)?;
        if header.plain as usize != plain.len() {
            return Err(FrameError::OtherLength {
                found: header.plain as usize,
                expected: plain.len(),
            });
        }
        let found = self
            .decompressor
            .decompress_to_buffer(compressed, plain)
            .map_err(FrameError::Zstd)?;
        taken(header, found)
    }
}

fn open<'a>(
    envelope: &Envelope,
    index: u64,
    bytes: &'a mut [u8],
) -> Result<(FrameHeader, &'a [u8]), FrameError> {
    let (head, rest) = bytes
        .split_first_chunk_mut::<FRAME_HEADER_BYTES>()
        .ok_or(EnvelopeError::WrongLength)?;
    let header = FrameHeader::read(*head)?;
    let sealed = rest
        .get_mut(..header.sealed as usize)
        .ok_or(EnvelopeError::WrongLength)?;
    Ok((header, envelope.open_frame(index, header, sealed)?))
}

fn taken(header: FrameHeader, found: usize) -> Result<(usize, Position), FrameError> {
    let expected = header.plain as usize;
    if found == expected {
        let taken = FRAME_HEADER_BYTES + header.sealed as usize;
        Ok((taken, header.position))
    } else {
        Err(FrameError::OtherLength { found, expected })
    }
}

/// Seals a whole object in frames of [`FRAME_BYTES`]. An empty one has one empty frame.
pub fn seal_object(
    (key, name): (&RepositoryKey, &ObjectName),
    salt: [u8; SALT_BYTES],
    level: u8,
    plain: &[u8],
) -> Result<Vec<u8>, FrameError> {
    let envelope = Envelope::seal(key, name, salt);
    let mut writer = FrameWriter::new(level)?;
    let mut object = envelope.header().to_vec();
    let frames = plain.len().div_ceil(FRAME_BYTES).max(1);
    for index in 0..frames {
        let start = index * FRAME_BYTES;
        let part = &plain[start..plain.len().min(start + FRAME_BYTES)];
        let position = if index + 1 == frames {
            Position::Last
        } else {
            Position::Inner
        };
        writer.write(&envelope, (index as u64, position), part, &mut object)?;
    }
    Ok(object)
}

/// Opens a whole object. Nothing may be missing from it, nothing may follow its last frame.
pub fn open_object(
    key: &RepositoryKey,
    name: &ObjectName,
    mut object: Vec<u8>,
) -> Result<Vec<u8>, FrameError> {
    let envelope = Envelope::open(key, name, &object)?;
    let mut reader = FrameReader::new()?;
    let mut rest = object
        .get_mut(HEADER_BYTES..)
        .ok_or(EnvelopeError::WrongLength)?;
    let mut whole = Vec::new();
    let mut plain = Vec::new();
    for index in 0.. {
        let (taken, position) = reader.read(&envelope, index, rest, &mut plain)?;
        if whole.is_empty() {
            std::mem::swap(&mut whole, &mut plain);
        } else {
            whole.extend_from_slice(&plain);
        }
        rest = rest.get_mut(taken..).ok_or(EnvelopeError::WrongLength)?;
        if position == Position::Last {
            break;
        }
    }
    if rest.is_empty() {
        Ok(whole)
    } else {
        Err(EnvelopeError::WrongLength.into())
    }
}

#[cfg(test)]
mod tests {
    use boma_instance::InstanceId;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::format::key::KEY_BYTES;
    use crate::format::names::Prefix;

    fn key(byte: u8) -> RepositoryKey {
        RepositoryKey::new([byte; KEY_BYTES])
    }

    fn prefix() -> Prefix {
        Prefix {
            instance: InstanceId(Uuid::from_u128(7)),
            system_identifier: 42,
        }
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        seal_object((&key(1), &prefix().owner()), [9; SALT_BYTES], 3, plain).unwrap()
    }

    fn open(object: Vec<u8>) -> Result<Vec<u8>, FrameError> {
        open_object(&key(1), &prefix().owner(), object)
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let object = sealed(b"a small object, but with a header, lengths, a body and a tag");
        for place in 0..object.len() {
            for bit in 0..8 {
                let mut changed = object.clone();
                changed[place] ^= 1 << bit;
                assert!(open(changed).is_err(), "bit {bit} of byte {place}");
            }
        }
    }

    #[test]
    fn whatever_is_missing_or_too_much_is_found() {
        let plain = vec![5; FRAME_BYTES * 2 + 1];
        let object = sealed(&plain);
        assert_eq!(open(object.clone()).unwrap(), plain);
        for length in 0..object.len() {
            assert!(open(object[..length].to_vec()).is_err(), "cut at {length}");
        }
        let longer = [object.as_slice(), &[0]].concat();
        assert!(open(longer).is_err());
    }

    #[test]
    fn another_key_is_named() {
        let object = sealed(b"x");
        let error = open_object(&key(2), &prefix().owner(), object).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&key(1).id().to_string()), "{text}");
        assert!(text.contains("the key that was given is"), "{text}");
    }

    #[test]
    fn an_object_under_another_name_does_not_open() {
        let object = sealed(b"x");
        let other = Prefix {
            system_identifier: 43,
            ..prefix()
        };
        let error = open_object(&key(1), &other.owner(), object).unwrap_err();
        assert!(error.to_string().contains("the seal is broken"), "{error}");
    }

    #[test]
    fn frames_that_change_places_do_not_open() {
        let plain: Vec<_> = (0..FRAME_BYTES * 2)
            .map(|byte| u8::from(byte >= FRAME_BYTES))
            .collect();
        let object = sealed(&plain);
        let first = u32::from_le_bytes(object[48..52].try_into().unwrap()) as usize + 8;
        let (head, frames) = object.split_at(HEADER_BYTES);
        let (one, two) = frames.split_at(first);
        let swapped = [head, two, one].concat();
        assert!(open(swapped).is_err());
        let dropped = [head, two].concat();
        assert!(open(dropped).is_err());
    }

    #[test]
    fn a_newer_format_is_said_to_be_newer() {
        let mut object = sealed(b"x");
        object[4] = 2;
        let error = open(object).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the format is version 2; this Boma reads version 1"
        );
    }

    proptest! {
        #[test]
        fn what_was_sealed_comes_back(plain in prop::collection::vec(any::<u8>(), 0..5000)) {
            prop_assert_eq!(open(sealed(&plain)).unwrap(), plain);
        }

        #[test]
        fn any_bytes_give_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(open(bytes).is_err());
        }
    }
}
