//! Base backups.
//!
//! ```text
//!   pg_backup_start ─► wait for the segment before it: archiving works
//!        └─► walk ─► units ─► workers: read, check pages, compare, compress, seal
//!                                          │ packs, in parts, while the next frame is made
//!   pg_backup_stop  ◄── all packs durable ◄┘
//!        └─► wait for the write-ahead log up to the end ─► manifest: now there is a backup
//! ```
//!
//! Killed anywhere before the last arrow there is no backup, only objects that no manifest names;
//! the server forgets the backup when its session ends. The next attempt has another name.

mod collect;
mod pack;
mod parent;
mod units;
mod walk;
mod worker;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::{Arc, mpsc};
use std::thread;

use boma_instance::InstanceId;
use boma_instance::backup::BackupKind;
use boma_instance::wal::{Lsn, Segment};
use boma_postgres::control::ControlError;
use boma_postgres::sql::backup::{BackupSession, Began};
use boma_postgres::sql::{Socket, SqlError};
use boma_problem::{Class, IntoProblem, Problem};
use jiff::Timestamp;
use tokio::runtime::Handle;

use self::collect::{Collected, Collector, PackTable};
use self::pack::{Destination, Ending, Packs, WriteError};
use self::parent::{Comparison, Parent};
use self::walk::Listing;
use self::worker::{Shared, Worker, WorkerError};
use crate::format::frame::FrameError;
use crate::format::label::Label;
use crate::format::manifest::{
    DamagedPage, Directory, File, Frame, Manifest, Pack, ServerFacts, Span, Tablespace,
};
use crate::format::names::{ObjectName, Prefix};
use crate::meter::{Cancelled, Meter};
use crate::store::{Put, Repository, StoreError};

pub use walk::WalkError;

/// What to back up.
#[derive(Clone, Debug)]
pub struct Job {
    /// The data directory.
    pub data: PathBuf,
    /// Where its server listens.
    pub socket: Socket,
    /// Whose it is.
    pub prefix: Prefix,
    /// Identity of the database in words, for people.
    pub identity: String,
    /// Name of the database inside PostgreSQL.
    pub database: String,
    /// The backup to compare with; none: a full one is taken.
    pub parent: Option<Arc<Manifest>>,
    /// Threads that read, compress and seal; at least 1.
    pub workers: usize,
    /// When it begins, by the agent's clock; later than every earlier backup's.
    pub now: Timestamp,
}

impl Job {
    /// Whose data it is.
    pub fn instance(&self) -> InstanceId {
        self.prefix.instance
    }

    fn kind(&self) -> BackupKind {
        match self.parent {
            Some(_) => BackupKind::Incremental,
            None => BackupKind::Full,
        }
    }
}

/// Waits until the write-ahead log that a backup needs is in the repository. The agent's archive
/// does this; a backup of a server without one would be worth nothing.
pub trait Archive: Sync {
    /// Returns when a segment is durable, or says why it is not.
    fn await_segment(
        &self,
        segment: Segment,
        segment_size: u32,
    ) -> impl Future<Output = Result<(), Problem>> + Send;
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The server did not begin or end it.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The data directory could not be listed.
    #[error("list the data directory")]
    Walk(#[source] WalkError),
    /// A file could not be read.
    #[error("read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The control file could not be read.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The repository did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A frame could not be made.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// There is a backup of this name.
    #[error("there is a backup {label} already")]
    Exists {
        /// Its name.
        label: Label,
    },
    /// The write-ahead log that it needs is not in the repository.
    #[error("the write-ahead log of backup {label} is not archived: {}", why.message)]
    NotArchived {
        /// Its name.
        label: Label,
        /// Why.
        why: Box<Problem>,
    },
    /// It was told to stop.
    #[error("the backup was told to stop")]
    Cancelled,
    /// A thread of it panicked.
    #[error("a thread of the backup ended in a panic")]
    Panicked,
}

impl IntoProblem for BackupError {
    fn problem(&self) -> Problem {
        match self {
            Self::Sql(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Control(error) => error.problem(),
            Self::Walk(_) | Self::Read { .. } => {
                Problem::from_error(Class::Transient, "backup-cannot-read", self)
                    .hint("The data directory must belong to the user that servers run as. It is tried again by itself.")
            }
            Self::NotArchived { why, .. } => why
                .hints
                .iter()
                .fold(
                    Problem::from_error(Class::Transient, "backup-not-archived", self),
                    |problem, hint| problem.hint(hint.clone()),
                )
                .hint("`boma describe` shows what the archive waits for."),
            Self::Exists { .. } | Self::Cancelled => {
                Problem::from_error(Class::Transient, "backup-given-up", self)
                    .hint("The next one is taken by its schedule, or with `boma backup create`.")
            }
            Self::Frame(_) | Self::Panicked => {
                Problem::from_error(Class::Internal, "backup-broken", self)
                    .hint("Please report this, with the log of the agent: `boma logs --agent`.")
            }
        }
    }
}

impl From<Cancelled> for BackupError {
    fn from(_cancelled: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl From<WriteError> for BackupError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Store(error) => Self::Store(error),
            WriteError::Frame(error) => Self::Frame(error),
            WriteError::Ended => Self::Panicked,
        }
    }
}

impl From<WorkerError> for BackupError {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Read { path, source } => Self::Read { path, source },
            WorkerError::Control(error) => Self::Control(error),
            WorkerError::Write(error) => error.into(),
            WorkerError::Parent(error) => Self::Store(error),
            WorkerError::Cancelled(_) => Self::Cancelled,
            WorkerError::NobodyListens => Self::Panicked,
        }
    }
}

/// Takes a base backup of a running server.
///
/// # Guarantees
/// - There is a backup when this returns `Ok`, and only then: its manifest is written last, after
///   every pack and all of the write-ahead log that it needs is durable. The store was asked for the
///   length of each object, and gave the manifest back.
/// - Nothing is copied before a segment that was completed just now is in the archive.
/// - Memory does not depend on the size of the database, but for some 30 bytes for each MiB of it.
///
/// # Errors
/// The data directory, the server or the repository failed, or `meter` was told to stop. What was
/// written until then is no backup and may be deleted.
pub async fn back_up(
    repository: &Repository,
    job: &Job,
    archive: &impl Archive,
    meter: &Meter,
) -> Result<Manifest, BackupError> {
    let label = Label::new(job.now, job.kind());
    let session = BackupSession::begin(&job.socket, label.as_str()).await?;
    let began = session.began().clone();
    // Where archiving does not work a backup would be copied in vain, and the server's disk fills.
    if let Some(before) = segment_before(&began) {
        await_segment(archive, &label, (before, began.segment_size)).await?;
    }
    let to = Destination {
        repository: repository.clone(),
        prefix: job.prefix,
        label: label.clone(),
        runtime: Handle::current(),
        next: Arc::new(AtomicU32::new(1)),
    };
    let checked_from = began.checksums.then_some(began.start);
    let contents = copy(job.clone(), to, checked_from, meter.clone()).await?;
    let ended = session.end().await?;
    let span = Span {
        timeline: began.timeline,
        start: began.start,
        stop: ended.stop,
        started_at: job.now,
        stopped_at: Timestamp::now(),
    };
    for segment in span.segments(began.segment_size) {
        await_segment(archive, &label, (segment, began.segment_size)).await?;
    }
    let manifest = Manifest {
        label: label.clone(),
        server: ServerFacts {
            instance: job.instance(),
            identity: job.identity.clone(),
            database: job.database.clone(),
            system_identifier: job.prefix.system_identifier,
            version: began.version,
            segment_size: began.segment_size,
        },
        span,
        backup_label: ended.backup_label,
        tablespace_map: ended.tablespace_map,
        directories: contents.directories,
        tablespaces: contents.tablespaces,
        files: contents.files,
        packs: contents.packs,
        map: contents.map,
        damaged: contents.damaged,
        stored_bytes: contents.stored_bytes,
    };
    let name = job.prefix.manifest(&label);
    let encoded = manifest.encode();
    match repository.put_new(&name, &encoded).await? {
        Put::Stored if repository.get(&name).await?.as_ref() == Some(&encoded) => Ok(manifest),
        Put::Stored => Err(StoreError::cut(&name).into()),
        Put::Exists => Err(BackupError::Exists { label }),
    }
}

/// The segment that was completed as the backup began.
fn segment_before(began: &Began) -> Option<Segment> {
    let first = began.start.segment(began.timeline, began.segment_size);
    let number = first.number.checked_sub(1)?;
    Some(Segment { number, ..first })
}

async fn await_segment(
    archive: &impl Archive,
    label: &Label,
    (segment, segment_size): (Segment, u32),
) -> Result<(), BackupError> {
    let awaited = archive.await_segment(segment, segment_size).await;
    awaited.map_err(|why| BackupError::NotArchived {
        label: label.clone(),
        why: Box::new(why),
    })
}

/// What the files of a backup came to.
struct Contents {
    directories: Vec<Directory>,
    tablespaces: Vec<Tablespace>,
    files: Vec<File>,
    packs: Vec<Pack>,
    map: Vec<Frame>,
    damaged: Vec<DamagedPage>,
    stored_bytes: u64,
}

/// Copies all files, on threads of its own, and waits until everything is durable.
async fn copy(
    job: Job,
    to: Destination,
    checked_from: Option<Lsn>,
    meter: Meter,
) -> Result<Contents, BackupError> {
    let label = to.label.clone();
    let parent = job.parent.clone();
    let (repository, prefix) = (to.repository.clone(), to.prefix);
    let work = move || copy_files(&job, &to, checked_from, &meter);
    let copied = tokio::task::spawn_blocking(work)
        .await
        .map_err(|_panicked| BackupError::Panicked)??;
    let mut own = Vec::new();
    for ending in copied.packs {
        let pack = ending.finish().await?;
        let name = prefix.pack(&label, pack.number);
        confirm(&repository, &name, pack.bytes).await?;
        own.push(pack);
    }
    let map = copied.collected.map.finish().await?;
    confirm(&repository, &prefix.map(&label), map.bytes).await?;
    let stored_bytes = map.bytes + own.iter().map(|pack| pack.bytes).sum::<u64>();
    let mut table = PackTable::new(label, own, parent);
    let files = copied
        .collected
        .files
        .into_iter()
        .map(|(file, pieces)| File {
            extents: table.extents(&pieces),
            ..file
        })
        .collect();
    Ok(Contents {
        directories: copied.listing.directories,
        tablespaces: copied.listing.tablespaces,
        files,
        packs: table.packs(),
        map: map.frames,
        damaged: copied.collected.damaged,
        stored_bytes,
    })
}

/// A store that says that it has all of an object, and has not, is believed only once it was asked.
async fn confirm(repository: &Repository, name: &ObjectName, bytes: u64) -> Result<(), StoreError> {
    if repository.size(name).await? == Some(bytes) {
        Ok(())
    } else {
        Err(StoreError::cut(name))
    }
}

/// What the threads did; the packs are still to be waited for.
struct Copy {
    listing: Listing,
    collected: Collected,
    packs: Vec<Ending>,
}

fn copy_files(
    job: &Job,
    to: &Destination,
    checked_from: Option<Lsn>,
    meter: &Meter,
) -> Result<Copy, BackupError> {
    let listing = walk::walk(&job.data).map_err(BackupError::Walk)?;
    meter.expect(listing.files.iter().map(|file| file.size).sum());
    let units = units::cut(&listing.files);
    let shared = Shared {
        data: &job.data,
        files: &listing.files,
        units: &units,
        next: AtomicUsize::new(0),
        checked_from,
        meter,
    };
    let parent = job.parent.clone().map(Parent::new);
    let mut collector = Collector::new(&listing.files, to)?;
    let packs = thread::scope(|scope| -> Result<Vec<Ending>, BackupError> {
        let (sender, results) = mpsc::channel();
        let mut threads = Vec::new();
        for _ in 0..job.workers.max(1) {
            let packs = Packs::new(to.clone())?;
            let comparison = parent
                .clone()
                .map(|parent| Comparison::new(parent, to))
                .transpose()?;
            let worker = Worker::new(&shared, packs, comparison, sender.clone());
            threads.push(scope.spawn(move || worker.run()));
        }
        drop(sender);
        for copied in results {
            collector.take(copied)?;
        }
        let mut packs = Vec::new();
        for thread in threads {
            packs.extend(thread.join().map_err(|_panic| BackupError::Panicked)??);
        }
        Ok(packs)
    })?;
    Ok(Copy {
        collected: collector.end()?,
        listing,
        packs,
    })
}
