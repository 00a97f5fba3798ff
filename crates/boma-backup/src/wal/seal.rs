//! Compressing and sealing one file with two threads. The database waits for this: PostgreSQL
//! keeps a segment until its `archive_command` has answered, and asks for one at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::PutPayload;
use tokio::sync::Semaphore;

use super::error::PushError;
use super::object::{Digest, Head, Part};
use super::source::Source;
use crate::format::envelope::{Envelope, Position};
use crate::format::frame::{FRAME_BYTES, FrameError, FrameWriter};
use crate::format::names::ObjectName;
use crate::store::{Repository, StoreError};

/// Threads that compress at once, for all files: more would take time from queries, and a segment
/// of 16 MiB takes some 30 ms with two.
const THREADS: usize = 2;

/// Seals files; keeps compression contexts, which cost a millisecond each to make.
#[derive(Debug)]
pub(super) struct Sealer {
    turns: Arc<Semaphore>,
    workers: Mutex<Vec<Worker>>,
    level: u8,
}

/// A compression context and room for what is read.
#[derive(Debug)]
struct Worker {
    writer: FrameWriter,
    part: Vec<u8>,
}

/// One file that is being sealed, shared by the threads that do it.
#[derive(Debug)]
struct Job {
    source: Source,
    envelope: Envelope,
    name: ObjectName,
    /// The next frame that nobody has taken.
    next: AtomicU64,
    frames: u64,
}

/// One frame, ready to be stored.
#[derive(Debug)]
struct Frame {
    index: u64,
    sealed: Bytes,
    part: Part,
}

/// A sealed file, with the digest of its content.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) payload: PutPayload,
    pub(super) head: Head,
}

impl Sealer {
    pub(super) fn new(level: u8) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(THREADS)),
            workers: Mutex::new(Vec::new()),
            level,
        }
    }

    /// Reads, compresses and seals a whole file. `about` is its head, but for the digest.
    pub(super) async fn seal(
        self: &Arc<Self>,
        repository: &Repository,
        name: &ObjectName,
        (source, mut about): (Source, Head),
    ) -> Result<Sealed, PushError> {
        let job = Arc::new(Job {
            envelope: repository.seal(name)?,
            name: name.clone(),
            next: AtomicU64::new(0),
            frames: source.length().div_ceil(FRAME_BYTES as u64),
            source,
        });
        let (mut frames, others) =
            tokio::try_join!(self.help(Arc::clone(&job)), self.help(Arc::clone(&job)))?;
        frames.extend(others);
        job.source.check_unchanged()?;
        frames.sort_by_key(|frame| frame.index);
        let mut digest = Digest::default();
        for frame in &frames {
            digest.put(frame.index, frame.part);
        }
        about.digest = digest.finish().to_hex().to_string();
        let first = self.seal_head(&job, &about)?;
        let payload = std::iter::once(first)
            .chain(frames.into_iter().map(|frame| frame.sealed))
            .collect();
        Ok(Sealed {
            payload,
            head: about,
        })
    }

    /// Takes frames of a job as long as there are any, on a thread of its own.
    async fn help(self: &Arc<Self>, job: Arc<Job>) -> Result<Vec<Frame>, PushError> {
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|_closed| PushError::Interrupted)?;
        let sealer = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let frames = sealer.seal_frames(&job);
            drop(turn);
            frames
        })
        .await
        .map_err(|_panicked| PushError::Interrupted)?
    }

    fn seal_frames(&self, job: &Job) -> Result<Vec<Frame>, PushError> {
        let mut frames = Vec::new();
        if job.next.load(Ordering::Relaxed) >= job.frames {
            return Ok(frames);
        }
        let mut worker = self.worker(&job.name)?;
        loop {
            let index = job.next.fetch_add(1, Ordering::Relaxed);
            if index >= job.frames {
                break;
            }
            frames.push(worker.seal(job, index)?);
        }
        self.lock().push(worker);
        Ok(frames)
    }

    fn seal_head(&self, job: &Job, head: &Head) -> Result<Bytes, PushError> {
        let text = head.to_json();
        let mut worker = self.worker(&job.name)?;
        let mut object = job.envelope.header().to_vec();
        worker
            .writer
            .write(&job.envelope, (0, Position::Inner), &text, &mut object)
            .map_err(|source| not_sealed(&job.name, source))?;
        self.lock().push(worker);
        Ok(object.into())
    }

    fn worker(&self, name: &ObjectName) -> Result<Worker, PushError> {
        if let Some(worker) = self.lock().pop() {
            return Ok(worker);
        }
        Ok(Worker {
            writer: FrameWriter::new(self.level).map_err(|source| not_sealed(name, source))?,
            part: vec![0; FRAME_BYTES],
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    fn seal(&mut self, job: &Job, index: u64) -> Result<Frame, PushError> {
        let start = index * FRAME_BYTES as u64;
        let bytes = usize::try_from(job.source.length() - start)
            .unwrap_or(usize::MAX)
            .min(FRAME_BYTES);
        let part = &mut self.part[..bytes];
        job.source.read_at(part, start)?;
        let position = if index + 1 == job.frames {
            Position::Last
        } else {
            Position::Inner
        };
        let mut sealed = Vec::new();
        self.writer
            .write(&job.envelope, (index + 1, position), part, &mut sealed)
            .map_err(|source| not_sealed(&job.name, source))?;
        Ok(Frame {
            index,
            sealed: sealed.into(),
            part: Part::of(index, part),
        })
    }
}

fn not_sealed(name: &ObjectName, source: FrameError) -> PushError {
    StoreError::Damaged {
        name: name.to_string(),
        source,
    }
    .into()
}
