//! Files back out of the repository, and those that PostgreSQL will ask for next fetched meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boma_instance::wal::{Segment, WalFile};
use tokio::sync::{Semaphore, watch};

use super::error::GetError;
use super::object;
use crate::format::names::Prefix;
use crate::store::Repository;

/// Bytes that may lie ready beside the instance.
const SPOOL_BYTES: u64 = 128 << 20;

/// Segments that are fetched at once: replaying one takes about as long as opening one, so what
/// more would hide is the distance to the store only.
const AT_ONCE: usize = 3;

/// Whether a file was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It is where it was wanted.
    Written,
    /// The repository answers, and does not have it.
    NotThere,
}

/// Fetches the write-ahead log of one instance for a server that recovers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Restorer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    repository: Repository,
    prefix: Prefix,
    segment_size: u32,
    spool: PathBuf,
    turns: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whole and in the spool.
    ready: BTreeSet<Segment>,
    /// On their way into the spool.
    coming: BTreeMap<Segment, watch::Receiver<bool>>,
    /// Where the archive was seen to end: nothing behind it is asked for ahead.
    end: Option<Segment>,
}

impl Restorer {
    /// Prepares. `spool` is a directory of its own beside the instance; what an earlier agent left
    /// there is removed, since nobody knows whether it is whole.
    pub fn new(
        repository: &Repository,
        prefix: Prefix,
        segment_size: u32,
        spool: &Path,
    ) -> Result<Self, GetError> {
        let failed = |source| write_failed(spool, source);
        match fs::remove_dir_all(spool) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        fs::create_dir_all(spool).map_err(failed)?;
        Ok(Self(Arc::new(Inner {
            repository: repository.clone(),
            prefix,
            segment_size,
            spool: spool.to_owned(),
            turns: Semaphore::new(AT_ONCE),
            state: Mutex::default(),
        })))
    }

    /// Puts a file where PostgreSQL wants it: whole, or not at all. That it is not there is said
    /// only when the repository has answered so just now; nothing else is ever taken for it.
    pub async fn fetch(&self, name: &str, to: &Path) -> Result<Fetched, GetError> {
        let file = WalFile::parse(name, self.0.segment_size)?;
        let segment = match file {
            WalFile::Segment(segment) => Some(segment),
            WalFile::Partial(_) | WalFile::History(_) | WalFile::Label(..) => None,
        };
        if let Some(segment) = segment
            && self.take(segment, to).await
        {
            self.go_ahead(segment);
            return Ok(Fetched::Written);
        }
        let Some(content) = self.read(file).await? else {
            return Ok(Fetched::NotThere);
        };
        if let Some(segment) = segment {
            self.go_ahead(segment);
        }
        let to = to.to_owned();
        run(move || write(&to, &content)).await?;
        Ok(Fetched::Written)
    }

    async fn read(&self, file: WalFile) -> Result<Option<Vec<u8>>, GetError> {
        let Inner {
            repository,
            prefix,
            segment_size,
            ..
        } = &*self.0;
        object::read(repository, prefix, (file, *segment_size)).await
    }

    /// Takes a segment out of the spool. One that cannot be moved is fetched again.
    async fn take(&self, segment: Segment, to: &Path) -> bool {
        let coming = self.lock().coming.get(&segment).cloned();
        if let Some(mut coming) = coming {
            // Cut off or done: the spool says which.
            let _either = coming.wait_for(|done| *done).await;
        }
        if !self.lock().ready.remove(&segment) {
            return false;
        }
        let (from, to, expected) = (self.spooled(segment), to.to_owned(), self.0.segment_size);
        run(move || move_whole(&from, &to, expected)).await.is_ok()
    }

    /// Starts to fetch what follows a segment, as far as the spool has room.
    fn go_ahead(&self, asked: Segment) {
        let room = (SPOOL_BYTES / u64::from(self.0.segment_size)).max(1);
        let mut state = self.lock();
        self.forget_behind(&mut state, asked);
        let mut next = asked;
        let mut begun = Vec::new();
        for _ in 0..room {
            next = next.next();
            let full = (state.ready.len() + state.coming.len()) as u64 >= room;
            let behind_end = state
                .end
                .is_some_and(|end| end.timeline == next.timeline && end.number <= next.number);
            if full || behind_end {
                break;
            }
            if !state.ready.contains(&next) && !state.coming.contains_key(&next) {
                let (done, coming) = watch::channel(false);
                state.coming.insert(next, coming);
                begun.push((next, done));
            }
        }
        drop(state);
        for (segment, done) in begun {
            let restorer = self.clone();
            tokio::spawn(async move {
                restorer.fetch_ahead(segment).await;
                let _nobody_waits = done.send(true);
            });
        }
    }

    /// Makes room: recovery goes forward, on whatever timeline. What was fetched of a timeline
    /// that it has left goes with what it has passed.
    fn forget_behind(&self, state: &mut State, asked: Segment) {
        let passed: Vec<_> = state
            .ready
            .iter()
            .filter(|one| one.number < asked.number)
            .copied()
            .collect();
        for segment in passed {
            state.ready.remove(&segment);
            // What cannot be removed is removed with the spool.
            let _left = fs::remove_file(self.spooled(segment));
        }
        if state.end.is_some_and(|end| end.number <= asked.number) {
            state.end = None;
        }
    }

    async fn fetch_ahead(&self, segment: Segment) {
        let found = self.fetch_to_spool(segment).await;
        let mut state = self.lock();
        state.coming.remove(&segment);
        match found {
            Ok(Fetched::Written) => {
                state.ready.insert(segment);
            }
            Ok(Fetched::NotThere) => {
                let nearer = state.end.is_none_or(|end| segment < end);
                if nearer {
                    state.end = Some(segment);
                }
            }
            // It is asked for again, and what goes wrong then is told.
            Err(error) => tracing::debug!(?segment, %error, "a segment was not fetched ahead"),
        }
    }

    async fn fetch_to_spool(&self, segment: Segment) -> Result<Fetched, GetError> {
        let turn = self.0.turns.acquire().await;
        let _turn = turn.map_err(|_closed| GetError::Interrupted)?;
        let Some(content) = self.read(WalFile::Segment(segment)).await? else {
            return Ok(Fetched::NotThere);
        };
        let to = self.spooled(segment);
        run(move || write(&to, &content)).await?;
        Ok(Fetched::Written)
    }

    fn spooled(&self, segment: Segment) -> PathBuf {
        self.0.spool.join(segment.file_name(self.0.segment_size))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(work: impl FnOnce() -> Result<(), GetError> + Send + 'static) -> Result<(), GetError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_panicked| GetError::Interrupted)?
}

/// Writes a file under another name first, so that it is never there in part.
fn write(to: &Path, content: &[u8]) -> Result<(), GetError> {
    let failed = |source| write_failed(to, source);
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".boma");
    let temporary = to.with_file_name(name);
    File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, to))
        .map_err(failed)
}

/// Moves a file out of the spool; copies it where that is another file system.
fn move_whole(from: &Path, to: &Path, expected: u32) -> Result<(), GetError> {
    let failed = |source| write_failed(to, source);
    let length = fs::metadata(from).map_err(failed)?.len();
    if length != u64::from(expected) {
        return Err(failed(io::ErrorKind::UnexpectedEof.into()));
    }
    match fs::rename(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            write(to, &fs::read(from).map_err(failed)?)?;
            fs::remove_file(from).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn write_failed(path: &Path, source: io::Error) -> GetError {
    GetError::Write {
        path: path.to_owned(),
        source,
    }
}
