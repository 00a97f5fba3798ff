//! How an object is sealed.
//!
//! ```text
//!   header, 48 bytes      "BOMA" · version 1 · kind · 0 0 · key id (8) · salt (32)
//!   frame                 length sealed, u32 · length plain, u32 · sealed bytes (tag at the end)
//!   frame …               the last frame of an object has the top bit of its first length set
//! ```
//!
//! Numbers are little-endian. The key of an object is HKDF-SHA256(repository key, salt, its kind
//! and whole name), so that an object that is moved, renamed or swapped for another does not open.
//! Frames are AES-256-GCM with the frame's place in the object as nonce and its two lengths as
//! additional data: a frame that is moved, cut, repeated or dropped does not open either. The
//! nonce cannot come twice under one key, since each object has a salt of its own.

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};

use super::key::{KEY_BYTES, KeyId, RepositoryKey};
use super::names::ObjectName;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 48;

/// Bytes before each frame.
pub const FRAME_HEADER_BYTES: usize = 8;

/// Bytes that sealing adds to a frame.
pub const TAG_BYTES: usize = 16;

/// Bytes of a salt; random for each object.
pub const SALT_BYTES: usize = 32;

/// Longest frame, sealed or plain; more is damage, and nothing is allocated for it.
pub const LONGEST_FRAME: usize = 64 << 20;

const MAGIC: &[u8; 4] = b"BOMA";
const VERSION: u8 = 1;
const LAST: u32 = 1 << 31;

/// What an object is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Contents of files.
    Pack,
    /// Hashes of blocks.
    Map,
    /// What a base backup consists of.
    Manifest,
    /// A file of the write-ahead log.
    Wal,
    /// Who writes to an instance's part.
    Owner,
    /// The result of a drill.
    Drill,
    /// A restore that goes on.
    Lease,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Pack => 1,
            Self::Map => 2,
            Self::Manifest => 3,
            Self::Wal => 4,
            Self::Owner => 5,
            Self::Drill => 6,
            Self::Lease => 7,
        }
    }
}

/// Whether a frame ends its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// More frames follow.
    Inner,
    /// Nothing follows.
    Last,
}

/// Why an object, or a frame of it, does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It is no envelope, or its header is damaged.
    #[error("the header is not one of Boma's")]
    NotAnEnvelope,
    /// A newer Boma wrote it.
    #[error("the format is version {found}; this Boma reads version {VERSION}")]
    NewerVersion {
        /// What it says.
        found: u8,
    },
    /// It is sealed under another key.
    #[error("sealed under key {found}; the key that was given is {given}")]
    OtherKey {
        /// What it says.
        found: KeyId,
        /// What was given.
        given: KeyId,
    },
    /// It ends too early, or goes on after its end.
    #[error("the length is wrong: something is missing or too much")]
    WrongLength,
    /// It was changed after it was sealed, or is not the object that its name says.
    #[error("the seal is broken: frame {index} was changed, or belongs to another object")]
    Broken {
        /// Which frame.
        index: u64,
    },
}

/// Seals and opens the frames of one object.
#[derive(Debug)]
pub struct Envelope {
    key: LessSafeKey,
    header: [u8; HEADER_BYTES],
}

/// A frame's lengths and place, as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the sealed frame without this header.
    pub sealed: u32,
    /// Bytes after opening and decompressing.
    pub plain: u32,
    /// Whether it ends its object.
    pub position: Position,
}

impl FrameHeader {
    /// Reads the bytes before a frame.
    pub fn read(bytes: [u8; FRAME_HEADER_BYTES]) -> Result<Self, EnvelopeError> {
        let both = u64::from_le_bytes(bytes);
        let half = |shift: u32| u32::try_from(both >> shift & u64::from(u32::MAX));
        let (Ok(sealed), Ok(plain)) = (half(0), half(32)) else {
            return Err(EnvelopeError::WrongLength);
        };
        let header = Self {
            sealed: sealed & !LAST,
            plain,
            position: if sealed & LAST == 0 {
                Position::Inner
            } else {
                Position::Last
            },
        };
        let too_long = header.sealed.max(header.plain) as usize > LONGEST_FRAME;
        if too_long || (header.sealed as usize) < TAG_BYTES {
            return Err(EnvelopeError::WrongLength);
        }
        Ok(header)
    }

    fn write(self) -> [u8; FRAME_HEADER_BYTES] {
        let last = match self.position {
            Position::Inner => 0,
            Position::Last => LAST,
        };
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[..4].copy_from_slice(&(self.sealed | last).to_le_bytes());
        bytes[4..].copy_from_slice(&self.plain.to_le_bytes());
        bytes
    }
}

impl Envelope {
    /// Begins a new object. `salt` is random and never used again.
    pub fn seal(key: &RepositoryKey, name: &ObjectName, salt: [u8; SALT_BYTES]) -> Self {
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(MAGIC);
        header[4] = VERSION;
        header[5] = name.kind().code();
        header[8..16].copy_from_slice(&key.id().0);
        header[16..].copy_from_slice(&salt);
        Self {
            key: object_key(key, name, &salt),
            header,
        }
    }

    /// Opens an object by its header.
    pub fn open(
        key: &RepositoryKey,
        name: &ObjectName,
        header: &[u8],
    ) -> Result<Self, EnvelopeError> {
        let header: [u8; HEADER_BYTES] = header
            .get(..HEADER_BYTES)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(EnvelopeError::WrongLength)?;
        if &header[..4] != MAGIC || header[6..8] != [0, 0] {
            return Err(EnvelopeError::NotAnEnvelope);
        }
        if header[4] != VERSION {
            return Err(EnvelopeError::NewerVersion { found: header[4] });
        }
        if header[5] != name.kind().code() {
            return Err(EnvelopeError::NotAnEnvelope);
        }
        let mut found = KeyId([0; 8]);
        found.0.copy_from_slice(&header[8..16]);
        let Some(sealed_under) = key.with_id(found) else {
            return Err(EnvelopeError::OtherKey {
                found,
                given: key.id(),
            });
        };
        Ok(Self {
            key: object_key(&sealed_under, name, &header[16..]),
            header,
        })
    }

    /// What stands at the beginning of the object.
    pub fn header(&self) -> &[u8; HEADER_BYTES] {
        &self.header
    }

    /// Seals the frame that `object` ends with, from byte `start` on: [`FRAME_HEADER_BYTES`] of
    /// room, then the compressed bytes. `plain` is their length when decompressed.
    pub fn seal_frame(
        &self,
        (index, position): (u64, Position),
        plain: u32,
        object: &mut Vec<u8>,
        start: usize,
    ) {
        let (_before, frame) = object.split_at_mut(start);
        let (place, body) = frame.split_at_mut(FRAME_HEADER_BYTES);
        let header = FrameHeader {
            sealed: u32::try_from(body.len() + TAG_BYTES)
                .expect("should be: a frame is at most 64 MiB, held by the frame writer"),
            plain,
            position,
        }
        .write();
        place.copy_from_slice(&header);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(index), Aad::from(header), body)
            .expect("should be: AES-GCM seals up to 64 GiB");
        object.extend_from_slice(tag.as_ref());
    }

    /// Opens a frame in place and returns the compressed bytes. `frame` is what follows its
    /// header.
    pub fn open_frame<'a>(
        &self,
        index: u64,
        header: FrameHeader,
        frame: &'a mut [u8],
    ) -> Result<&'a [u8], EnvelopeError> {
        if frame.len() != header.sealed as usize {
            return Err(EnvelopeError::WrongLength);
        }
        self.key
            .open_in_place(nonce(index), Aad::from(header.write()), frame)
            .map(|plain| &*plain)
            .map_err(|_unspecified| EnvelopeError::Broken { index })
    }
}

fn object_key(key: &RepositoryKey, name: &ObjectName, salt: &[u8]) -> LessSafeKey {
    let mut bytes = [0; KEY_BYTES];
    let mut info = vec![name.kind().code()];
    info.extend_from_slice(name.as_str().as_bytes());
    key.derive(salt, &info, &mut bytes);
    let key = UnboundKey::new(&aead::AES_256_GCM, &bytes)
        .expect("should be: an AES-256 key has 32 bytes");
    LessSafeKey::new(key)
}

fn nonce(index: u64) -> Nonce {
    let mut bytes = [0; aead::NONCE_LEN];
    bytes[4..].copy_from_slice(&index.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}
