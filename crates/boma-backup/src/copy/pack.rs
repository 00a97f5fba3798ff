//! Writing packs: pieces are gathered into frames, frames go out in parts while the next are made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use object_store::PutPayload;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::format::envelope::{Envelope, Position};
use crate::format::frame::{FRAME_BYTES, FrameError, FrameWriter};
use crate::format::label::Label;
use crate::format::manifest::Frame;
use crate::format::names::{ObjectName, Prefix};
use crate::store::{Operation, Repository, StoreError};

/// Bytes of a part of an upload. S3 takes no smaller ones than 5 MiB, and 10,000 of them.
const PART_BYTES: usize = 8 << 20;

/// Bytes after which a pack is ended and the next begun. What is ended is made durable while the
/// next is written; what is expired is deleted in whole backups, so they need not be small.
const PACK_BYTES: u64 = 256 << 20;

/// Parts that may wait for the store: one, so that memory does not grow with its slowness.
const WAITING_PARTS: usize = 1;

/// Where objects of one backup go.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) repository: Repository,
    pub(super) prefix: Prefix,
    pub(super) label: Label,
    pub(super) runtime: Handle,
    /// Number of the next pack.
    pub(super) next: Arc<AtomicU32>,
}

/// Why an object could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The task that uploads is gone, and does not say why.
    #[error("the upload ended early")]
    Ended,
}

/// An object that is whole in the repository.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) number: u32,
    pub(super) bytes: u64,
    pub(super) frames: Vec<Frame>,
}

/// Where a piece is, before the manifest counts packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) pack: u32,
    pub(super) frame: u32,
    pub(super) at: u32,
}

/// An object that is written frame by frame.
pub(super) struct Stream {
    envelope: Envelope,
    number: u32,
    frames: Vec<Frame>,
    part: Vec<u8>,
    /// Bytes that went out before `part`.
    sent: u64,
    sender: mpsc::Sender<Message>,
    upload: JoinHandle<Result<(), StoreError>>,
    runtime: Handle,
}

enum Message {
    Part(Bytes),
    Complete,
}

impl Stream {
    /// Begins an object.
    pub(super) fn begin(
        to: &Destination,
        name: ObjectName,
        number: u32,
    ) -> Result<Self, WriteError> {
        let envelope = to.repository.seal(&name)?;
        let (sender, receiver) = mpsc::channel(WAITING_PARTS);
        let upload = to
            .runtime
            .spawn(upload(to.repository.clone(), name, receiver));
        let mut part = Vec::with_capacity(PART_BYTES + 2 * FRAME_BYTES);
        part.extend_from_slice(envelope.header());
        Ok(Self {
            envelope,
            number,
            frames: Vec::new(),
            part,
            sent: 0,
            sender,
            upload,
            runtime: to.runtime.clone(),
        })
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.sent + self.part.len() as u64
    }

    /// Number of the frame that comes next.
    pub(super) fn next_frame(&self) -> u32 {
        u32::try_from(self.frames.len())
            .expect("should be: an object of 256 MiB has fewer than 2^32 frames")
    }

    /// Adds a frame.
    pub(super) fn add(&mut self, writer: &mut FrameWriter, plain: &[u8]) -> Result<(), WriteError> {
        self.frame(writer, Position::Inner, plain)?;
        if self.part.len() >= PART_BYTES {
            self.send()?;
        }
        Ok(())
    }

    fn frame(
        &mut self,
        writer: &mut FrameWriter,
        position: Position,
        plain: &[u8],
    ) -> Result<(), WriteError> {
        let (index, offset) = (self.frames.len() as u64, self.bytes());
        writer.write(&self.envelope, (index, position), plain, &mut self.part)?;
        let length = |bytes: u64| {
            u32::try_from(bytes).expect("should be: the frame writer takes at most 64 MiB")
        };
        self.frames.push(Frame {
            index,
            offset,
            stored: length(self.bytes() - offset),
            plain: length(plain.len() as u64),
        });
        Ok(())
    }

    fn send(&mut self) -> Result<(), WriteError> {
        let next = Vec::with_capacity(PART_BYTES + 2 * FRAME_BYTES);
        let part = std::mem::replace(&mut self.part, next);
        self.sent += part.len() as u64;
        self.hand_over(Message::Part(part.into()))
    }

    /// Hands something to the upload. One that has ended says why.
    fn hand_over(&mut self, message: Message) -> Result<(), WriteError> {
        let Err(_closed) = self.sender.blocking_send(message) else {
            return Ok(());
        };
        match self.runtime.block_on(&mut self.upload) {
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(())) | Err(_) => Err(WriteError::Ended),
        }
    }

    /// Ends the object with an empty frame, which says that nothing is missing. It is whole when
    /// the returned [`Ending`] is.
    pub(super) fn end(mut self, writer: &mut FrameWriter) -> Result<Ending, WriteError> {
        self.frame(writer, Position::Last, &[])?;
        let written = Written {
            number: self.number,
            bytes: self.bytes(),
            frames: std::mem::take(&mut self.frames),
        };
        self.send()?;
        self.hand_over(Message::Complete)?;
        Ok(Ending {
            written,
            upload: self.upload,
        })
    }
}

/// An object that is being made durable.
pub(super) struct Ending {
    written: Written,
    upload: JoinHandle<Result<(), StoreError>>,
}

impl Ending {
    /// Waits until it is.
    pub(super) async fn finish(self) -> Result<Written, WriteError> {
        match self.upload.await {
            Ok(Ok(())) => Ok(self.written),
            Ok(Err(error)) => Err(error.into()),
            Err(_panicked) => Err(WriteError::Ended),
        }
    }
}

async fn upload(
    repository: Repository,
    name: ObjectName,
    mut parts: mpsc::Receiver<Message>,
) -> Result<(), StoreError> {
    let failed =
        |source: object_store::Error| StoreError::failed(Operation::Write, name.as_str(), source);
    let mut upload = repository.upload(&name).await?;
    loop {
        let done = match parts.recv().await {
            Some(Message::Part(part)) => upload.put_part(PutPayload::from(part)).await,
            Some(Message::Complete) => return upload.complete().await.map(drop).map_err(failed),
            // Whoever wrote it gave up. What the store keeps of it, it keeps where nobody reads.
            None => return upload.abort().await.map_err(failed),
        };
        if let Err(error) = done {
            let _first_error_counts = upload.abort().await;
            return Err(failed(error));
        }
    }
}

/// Writes packs, one after the other.
pub(super) struct Packs {
    to: Destination,
    writer: FrameWriter,
    frame: Vec<u8>,
    stream: Option<Stream>,
    ending: Vec<Ending>,
}

impl Packs {
    /// Prepares; begins no pack before there is something to write.
    pub(super) fn new(to: Destination) -> Result<Self, WriteError> {
        let writer = FrameWriter::new(to.repository.compression_level())?;
        Ok(Self {
            to,
            writer,
            frame: Vec::with_capacity(FRAME_BYTES),
            stream: None,
            ending: Vec::new(),
        })
    }

    /// Adds bytes and calls `place` for each run of them that is in one frame, with its length.
    pub(super) fn add(
        &mut self,
        mut bytes: &[u8],
        mut place: impl FnMut(Stored, u32),
    ) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                none => {
                    let number = self.to.next.fetch_add(1, Ordering::Relaxed);
                    let name = self.to.prefix.pack(&self.to.label, number);
                    none.insert(Stream::begin(&self.to, name, number)?)
                }
            };
            let room = FRAME_BYTES - self.frame.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            let small =
                |bytes: usize| u32::try_from(bytes).expect("should be: a frame has at most 1 MiB");
            place(
                Stored {
                    pack: stream.number,
                    frame: stream.next_frame(),
                    at: small(self.frame.len()),
                },
                small(now.len()),
            );
            self.frame.extend_from_slice(now);
            bytes = later;
            if self.frame.len() == FRAME_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        stream.add(&mut self.writer, &self.frame)?;
        self.frame.clear();
        if stream.bytes() >= PACK_BYTES {
            self.end_stream()?;
        }
        Ok(())
    }

    fn end_stream(&mut self) -> Result<(), WriteError> {
        if let Some(stream) = self.stream.take() {
            self.ending.push(stream.end(&mut self.writer)?);
        }
        Ok(())
    }

    /// Ends the last pack, and returns all of them to be waited for.
    pub(super) fn end(mut self) -> Result<Vec<Ending>, WriteError> {
        if !self.frame.is_empty() {
            self.flush()?;
        }
        self.end_stream()?;
        Ok(self.ending)
    }
}
