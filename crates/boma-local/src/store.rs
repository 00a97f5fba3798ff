//! The platform's memory: one SQLite database, secrets in it sealed.
//!
//! ```text
//!   caller ── job ──► writer thread: BEGIN, job, job, job, COMMIT (one fsync) ──► every caller is answered
//!   caller ── read ─► a connection of its own; write-ahead logging lets it read meanwhile
//! ```
//!
//! What is answered is durable (`synchronous=FULL`). Jobs that arrive while a commit is under way
//! share the next one, so fifty databases at once do not wait for fifty fsyncs each. A job that
//! fails is undone alone. Other processes of the installation use the same file; SQLite's own
//! locks order them.

mod applications;
mod databases;
mod grants;
mod journal;
mod people;
mod rekey;
mod replacements;
mod repositories;
mod schema;
mod sealed;
mod secrets;

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use boma_problem::{Class, IntoProblem, Problem};
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::seal::{SealError, Sealer};

pub(crate) use applications::{ApplicationRow, ProcessRow, Role};
pub(crate) use databases::{CertificateRow, DatabaseRow, PlacementRow};
use rekey::Keyring;
pub(crate) use rekey::{fits, rekey};
pub(crate) use replacements::Exchange;
pub(crate) use schema::StoredAuthorities;

/// How long a write waits for another process that is writing.
const BUSY: Duration = Duration::from_secs(10);

/// What to do about a state that may not be written.
const NOT_WRITABLE: &str = "Run `boma` as the user that owns the state directory, on a file system \
    that can be written.";

/// Jobs in one transaction at most: bounds how long the first one waits for its answer.
const BATCH: usize = 256;

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file could not be opened as a database.
    #[error("open the state in `{path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A newer Boma wrote it.
    #[error(
        "the state in `{path}` has format {found}, and this version of Boma knows formats up to {known}"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known one.
        known: u32,
    },
    /// The file could not be made, or made private.
    #[error("protect the state in `{path}`")]
    Protect {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It was sealed with another key.
    #[error("the key does not fit the state in `{path}`")]
    WrongKey {
        /// The file.
        path: PathBuf,
    },
    /// A statement failed.
    #[error("{doing}")]
    Sql {
        /// What was to be done: a verb phrase.
        doing: &'static str,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A transaction could not begin or end; nothing of it was written.
    #[error("write the state")]
    Transaction {
        /// Why; shared by all callers whose jobs were in it.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// A secret could not be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A stored value does not have the form it should have.
    #[error("{doing}: a stored value is not as expected")]
    Form {
        /// What was to be done: a verb phrase.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A secret that an application is to be given was forgotten a moment ago.
    #[error("there is no secret {secret}")]
    NoSecret {
        /// Its full name.
        secret: String,
    },
    /// The writer has ended.
    #[error("the state is closed")]
    Closed,
}

impl StoreError {
    /// Wraps a failure of SQLite with what was being done.
    fn sql(doing: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self::Sql { doing, source }
    }

    /// Wraps a failure to read a stored value.
    fn form<E: std::error::Error + Send + Sync + 'static>(
        doing: &'static str,
    ) -> impl Fn(E) -> Self {
        move |source| Self::Form {
            doing,
            source: Box::new(source),
        }
    }
}

impl IntoProblem for StoreError {
    fn problem(&self) -> Problem {
        let problem = |class, code| Problem::from_error(class, code, self);
        match self {
            Self::Open { source, .. } | Self::Sql { source, .. } => self.sqlite_problem(source),
            Self::Transaction { source } => self.sqlite_problem(source),
            Self::Protect { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                problem(Class::Config, "disk-full").hint(crate::files::FREE_SPACE)
            }
            Self::Protect { .. } => problem(Class::Config, "state-not-writable").hint(NOT_WRITABLE),
            Self::TooNew { .. } => problem(Class::Config, "state-too-new")
                .hint("Use the version of Boma that wrote it, or a newer one."),
            Self::WrongKey { .. } => problem(Class::Config, "key-wrong")
                .hint("Bring back `key` and `boma.sqlite` from the same copy of the state directory. Nothing was changed."),
            Self::Seal(error) => error.problem(),
            Self::Form { .. } => problem(Class::Internal, "state-form"),
            Self::NoSecret { secret } => problem(Class::User, "secret-missing")
                .hint(format!("Store it: `boma secret set {secret} < FILE`.")),
            Self::Closed => problem(Class::Internal, "state-closed"),
        }
    }
}

impl StoreError {
    fn sqlite_problem(&self, source: &rusqlite::Error) -> Problem {
        let problem = |class, code| Problem::from_error(class, code, self);
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => problem(Class::Config, "disk-full")
                .hint(crate::files::FREE_SPACE),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                problem(Class::Config, "state-not-writable")
                    .hint(NOT_WRITABLE)
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => problem(Class::Transient, "state-busy"),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => problem(Class::Config, "state-damaged")
                .hint("Stop `boma serve`, keep a copy of the state directory, and bring back `boma.sqlite` from your last copy. The databases themselves are not touched by this."),
            Some(ErrorCode::SystemIoFailure | ErrorCode::OperationAborted) => problem(Class::Transient, "state-io"),
            _ => problem(Class::Internal, "state-failed"),
        }
    }
}

/// What a job may use: the connection inside its transaction, and the sealer.
pub(crate) struct Access<'a> {
    db: &'a Connection,
    sealer: &'a Sealer,
}

/// Why nothing of a transaction was written.
#[derive(Clone)]
enum NotWritten {
    /// It could not begin or end.
    Sql(Arc<rusqlite::Error>),
    /// The state was sealed with another key meanwhile, which cannot be read.
    WrongKey(PathBuf),
}

impl From<NotWritten> for StoreError {
    fn from(why: NotWritten) -> Self {
        match why {
            NotWritten::Sql(source) => Self::Transaction { source },
            NotWritten::WrongKey(path) => Self::WrongKey { path },
        }
    }
}

/// Answers a caller, told whether the transaction was begun and committed.
type Answer = Box<dyn FnOnce(Result<(), NotWritten>) + Send>;
/// Runs inside the transaction, if there is one, and leaves the answer for after its end.
type Job = Box<dyn FnOnce(Option<Access<'_>>) -> Answer + Send>;

/// The open state. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    writer: mpsc::Sender<Job>,
    reader: Arc<Mutex<Connection>>,
    keys: Arc<Keyring>,
    /// Identity of the installation, made with the state.
    pub(crate) installation: Uuid,
}

impl Store {
    /// Opens the state, making it when it is not there. The caller holds the `init` lock.
    pub(crate) fn open(path: &Path, sealer: Sealer) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        protect(path)?;
        let mut db = connect(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        )
        .map_err(failed)?;
        schema::migrate(&mut db, path)?;
        let installation = identify(&mut db, &sealer, path)?;
        let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
        let keys = Arc::new(Keyring::new(path, sealer));
        let (writer, jobs) = mpsc::channel::<Job>();
        let for_writer = Arc::clone(&keys);
        std::thread::Builder::new()
            .name("boma-state".to_owned())
            .spawn(move || write_in_turn(&mut db, &for_writer, &jobs))
            .map_err(|_no_thread| StoreError::Closed)?;
        Ok(Self {
            writer,
            reader: Arc::new(Mutex::new(reader)),
            keys,
            installation,
        })
    }

    /// Runs a job in a transaction; when this returns `Ok`, its changes are durable.
    pub(crate) async fn write<R: Send + 'static>(
        &self,
        job: impl FnOnce(Access<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |access| {
            let outcome = access.map(|access| undone_alone(access, job));
            Box::new(move |ended| {
                let outcome = match (ended, outcome) {
                    (_, Some(Err(error))) => Err(error),
                    (Err(why), _) => Err(why.into()),
                    (Ok(()), done) => done.unwrap_or(Err(StoreError::Closed)),
                };
                // A caller that went away does not want to know.
                drop(answer.send(outcome));
            })
        });
        if self.writer.send(job).is_err() {
            return Err(StoreError::Closed);
        }
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Reads one consistent state.
    pub(crate) async fn read<R: Send + 'static>(
        &self,
        job: impl FnOnce(Access<'_>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (reader, keys) = (Arc::clone(&self.reader), Arc::clone(&self.keys));
        let work = move || {
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = reader
                .transaction()
                .map_err(StoreError::sql("read the state"))?;
            let sealer = keys.fitting(&transaction)?;
            job(Access {
                db: &transaction,
                sealer: &sealer,
            })
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(outcome) => outcome,
            Err(_ended) => Err(StoreError::Closed),
        }
    }
}

/// Makes the file private before SQLite opens it: its other files take their mode from it.
fn protect(path: &Path) -> Result<(), StoreError> {
    let protect = || {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
        crate::files::sync_parent(path)
    };
    protect().map_err(|source| StoreError::Protect {
        path: path.to_owned(),
        source,
    })
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, rusqlite::Error> {
    let db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(64);
    if !flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
    }
    db.pragma_update(None, "foreign_keys", "ON")?;
    Ok(db)
}

/// Makes identity and key check of a new state; checks the key of an old one.
fn identify(db: &mut Connection, sealer: &Sealer, path: &Path) -> Result<Uuid, StoreError> {
    let doing = "identify the installation";
    let transaction = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(StoreError::sql(doing))?;
    let known = schema::meta(&transaction, "installation").map_err(StoreError::sql(doing))?;
    if let Some(sealed) = known {
        let wrong = |_: SealError| StoreError::WrongKey {
            path: path.to_owned(),
        };
        let plain = sealer.open("installation", &sealed).map_err(wrong)?;
        return Uuid::from_slice(&plain).map_err(StoreError::form(doing));
    }
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|ring::error::Unspecified| SealError::Seal {
            row: "installation".to_owned(),
        })?;
    let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
    let value = sealer.seal("installation", id.as_bytes())?;
    schema::set_meta(&transaction, "installation", &value).map_err(StoreError::sql(doing))?;
    transaction.commit().map_err(StoreError::sql(doing))?;
    Ok(id)
}

/// The writer thread: one transaction for all jobs that wait.
fn write_in_turn(db: &mut Connection, keys: &Keyring, jobs: &mpsc::Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let batch = std::iter::once(first)
            .chain(jobs.try_iter().take(BATCH - 1))
            .collect();
        write_together(db, keys, batch);
    }
}

fn write_together(db: &mut Connection, keys: &Keyring, batch: Vec<Job>) {
    let refused = |batch: Vec<Job>, why: NotWritten| {
        let answers: Vec<Answer> = batch.into_iter().map(|job| job(None)).collect();
        (answers, Err(why))
    };
    let sql = |error| NotWritten::Sql(Arc::new(error));
    let begun = db.transaction_with_behavior(TransactionBehavior::Immediate);
    let (answers, ended) = match begun.map(|begun| (keys.fitting(&begun), begun)) {
        Err(error) => refused(batch, sql(error)),
        Ok((Err(StoreError::WrongKey { path }), _)) => refused(batch, NotWritten::WrongKey(path)),
        Ok((Err(_), _)) => refused(batch, sql(aborted())),
        Ok((Ok(sealer), transaction)) => {
            // SQLite ends the whole transaction by itself when the disk is full; what comes
            // after that must not be written outside of it.
            let run = |job: Job| {
                let alive = !transaction.is_autocommit();
                job(alive.then_some(Access {
                    db: &transaction,
                    sealer: &sealer,
                }))
            };
            let answers = batch.into_iter().map(run).collect();
            let ended = if transaction.is_autocommit() {
                Err(aborted())
            } else {
                transaction.commit()
            };
            (answers, ended.map_err(sql))
        }
    };
    for answer in answers {
        answer(ended.clone());
    }
}

/// What the other jobs of a transaction are told when one of them has ended it.
fn aborted() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT), None)
}

/// Runs one job so that its failure undoes nothing but its own changes.
fn undone_alone<R>(
    access: Access<'_>,
    job: impl FnOnce(Access<'_>) -> Result<R, StoreError>,
) -> Result<R, StoreError> {
    let db = access.db;
    let run = |statement| {
        db.execute_batch(statement)
            .map_err(StoreError::sql("write the state"))
    };
    run("SAVEPOINT job")?;
    match job(access) {
        Ok(done) => run("RELEASE job").map(|()| done),
        Err(error) if db.is_autocommit() => Err(error),
        Err(error) => run("ROLLBACK TO job; RELEASE job").and(Err(error)),
    }
}

#[cfg(test)]
mod tests;
