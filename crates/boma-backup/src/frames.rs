//! Reads a sealed object frame by frame, whatever its size, in the memory of a few frames.

use crate::format::envelope::{
    Envelope, EnvelopeError, FRAME_HEADER_BYTES, FrameHeader, HEADER_BYTES, Position,
};
use crate::format::frame::{FrameError, FrameReader};
use crate::format::names::ObjectName;
use crate::store::{Repository, StoreError};

/// Bytes asked for at once: few requests, little memory.
const CHUNK: u64 = 4 << 20;

/// An object that is being read from its beginning.
#[derive(Debug)]
pub struct Frames<'a> {
    repository: &'a Repository,
    name: &'a ObjectName,
    envelope: Envelope,
    reader: FrameReader,
    /// What is fetched and not opened yet begins at `begin` in `buffer`.
    buffer: Vec<u8>,
    begin: usize,
    /// Bytes of the object that are fetched.
    fetched: u64,
    bytes: u64,
    index: u64,
    ended: bool,
    plain: Vec<u8>,
}

/// One frame, opened.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// Its place among the object's frames, from 0.
    pub index: u64,
    /// Where it begins in the object.
    pub offset: u64,
    /// Bytes in the object, with its header and tag.
    pub stored: u32,
    /// What it holds.
    pub plain: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Begins to read an object of that many bytes.
    pub async fn open(
        repository: &'a Repository,
        name: &'a ObjectName,
        bytes: u64,
    ) -> Result<Self, StoreError> {
        Self::open_with(repository, name, bytes, CHUNK).await
    }

    /// Begins to read an object whose first frame alone is wanted, and is small.
    pub async fn open_head(
        repository: &'a Repository,
        name: &'a ObjectName,
        bytes: u64,
    ) -> Result<Self, StoreError> {
        Self::open_with(repository, name, bytes, 1024).await
    }

    async fn open_with(
        repository: &'a Repository,
        name: &'a ObjectName,
        bytes: u64,
        first: u64,
    ) -> Result<Self, StoreError> {
        if bytes < HEADER_BYTES as u64 {
            // A store refuses to read a part of nothing.
            return Err(damaged(name, EnvelopeError::WrongLength.into()));
        }
        let fetched = bytes.min(first);
        let buffer = repository.get_range(name, 0..fetched).await?.to_vec();
        let envelope = repository.unseal(name, &buffer)?;
        let reader = FrameReader::new().map_err(|source| damaged(name, source))?;
        Ok(Self {
            repository,
            name,
            envelope,
            reader,
            buffer,
            begin: HEADER_BYTES,
            fetched,
            bytes,
            index: 0,
            ended: false,
            plain: Vec::new(),
        })
    }

    /// Opens the next frame; none: the object ended, with its last frame and not before.
    pub async fn next(&mut self) -> Result<Option<Opened<'_>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        self.fetch(FRAME_HEADER_BYTES).await?;
        let header = self.buffer[self.begin..]
            .first_chunk()
            .map_or(Err(EnvelopeError::WrongLength), |head| {
                FrameHeader::read(*head)
            })
            .map_err(|source| damaged(self.name, source.into()))?;
        self.fetch(FRAME_HEADER_BYTES + header.sealed as usize)
            .await?;
        let offset = self.fetched - (self.buffer.len() - self.begin) as u64;
        let (taken, position) = self
            .reader
            .read(
                &self.envelope,
                self.index,
                &mut self.buffer[self.begin..],
                &mut self.plain,
            )
            .map_err(|source| damaged(self.name, source))?;
        self.begin += taken;
        self.ended = position == Position::Last;
        if self.ended && offset + taken as u64 != self.bytes {
            return Err(damaged(self.name, EnvelopeError::WrongLength.into()));
        }
        let index = self.index;
        self.index += 1;
        Ok(Some(Opened {
            index,
            offset,
            stored: u32::try_from(taken).unwrap_or(u32::MAX),
            plain: &self.plain,
        }))
    }

    /// Sees that `wanted` bytes from `begin` on are fetched.
    async fn fetch(&mut self, wanted: usize) -> Result<(), StoreError> {
        let there = self.buffer.len() - self.begin;
        if there >= wanted {
            return Ok(());
        }
        let lacking = (wanted - there) as u64;
        let end = (self.fetched + lacking.max(CHUNK)).min(self.bytes);
        if end < self.fetched + lacking {
            return Err(damaged(self.name, EnvelopeError::WrongLength.into()));
        }
        let more = self
            .repository
            .get_range(self.name, self.fetched..end)
            .await?;
        self.buffer.drain(..self.begin);
        self.begin = 0;
        self.buffer.extend_from_slice(&more);
        self.fetched = end;
        Ok(())
    }
}

fn damaged(name: &ObjectName, source: FrameError) -> StoreError {
    StoreError::Damaged {
        name: name.to_string(),
        source,
    }
}
