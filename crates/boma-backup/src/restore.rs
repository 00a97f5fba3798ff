//! Files of a base backup back into a data directory.
//!
//! ```text
//!   manifest ─► runs of frames ─► workers: fetch, open, write at their places
//!            ─► check sums of whole files ─► backup_label, backup_manifest ─► everything durable
//!            ─► global/pg_control, last: without it no server starts
//! ```
//!
//! Killed anywhere before the end there is a directory without a control file, which no server
//! starts on. What recovery is to do then (`recovery.signal`, settings) is the agent's.

mod postgres_manifest;
mod schedule;
mod sink;
mod worker;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::thread;

use boma_problem::{Class, IntoProblem, Problem};
use tokio::runtime::Handle;

use self::postgres_manifest::Extra;
use self::worker::{Done, Shared, Worker, WrittenPart};
use crate::format::envelope::{HEADER_BYTES, Position};
use crate::format::frame::FrameReader;
use crate::format::manifest::Manifest;
use crate::format::names::Prefix;
use crate::meter::{Cancelled, Meter};
use crate::store::{Repository, StoreError};

/// File that is written last.
const CONTROL_FILE: &str = "global/pg_control";

/// Where to restore to.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The data directory; it must be empty, or not there.
    pub data: PathBuf,
    /// Tablespaces go below it, each in a directory named by its number; those must be empty, or
    /// not there.
    pub tablespaces: PathBuf,
    /// Threads that fetch, open and write; at least 1. Each waits for the disk about as long as it
    /// works, so that twice as many as processors keep both busy.
    pub workers: usize,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What is wrong in the repository without harm to what was restored.
    pub warnings: Vec<Problem>,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is something already.
    #[error("`{}` is not empty", path.display())]
    NotEmpty {
        /// Where.
        path: PathBuf,
    },
    /// The system does not let it be written.
    #[error("write `{}`", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The repository did not give it, or it is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file came out otherwise than it went in.
    #[error("`{path}` came out of the repository otherwise than it went in")]
    Wrong {
        /// Which file.
        path: String,
    },
    /// It was told to stop.
    #[error("the restore was told to stop")]
    Cancelled,
    /// A thread of it panicked.
    #[error("a thread of the restore ended in a panic")]
    Panicked,
}

impl From<Cancelled> for RestoreError {
    fn from(_cancelled: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl IntoProblem for RestoreError {
    fn problem(&self) -> Problem {
        match self {
            Self::Store(error) => error.problem(),
            Self::NotEmpty { .. } => Problem::from_error(Class::Config, "restore-not-empty", self)
                .hint("Nothing is ever restored over files that are there. Name a new database, or move them away."),
            Self::Write { source, .. } => {
                let problem = Problem::from_error(Class::Transient, "restore-cannot-write", self);
                if source.kind() == io::ErrorKind::StorageFull {
                    problem.hint("Free space on this disk, then it is tried again by itself.")
                } else {
                    problem.hint("The instance directory must belong to the user that servers run as.")
                }
            }
            Self::Wrong { .. } => Problem::from_error(Class::Config, "repository-damaged", self)
                .hint("`boma backup verify` lists what is damaged and which backups are whole."),
            Self::Cancelled => Problem::from_error(Class::Transient, "restore-given-up", self)
                .hint("It begins again when it is asked for again."),
            Self::Panicked => Problem::from_error(Class::Internal, "restore-broken", self)
                .hint("Please report this, with the log of the agent: `boma logs --agent`."),
        }
    }
}

/// Restores the files of a backup, with PostgreSQL's `backup_label`, `tablespace_map` and
/// `backup_manifest`, so that `pg_verifybackup` accepts the directory as it is then.
///
/// # Guarantees
/// - When this returns `Ok`, everything is durable, and every file has the check sum that it had
///   when it was backed up. Before, there is no `global/pg_control`.
/// - Each frame is fetched and opened once, whatever backup it comes from.
///
/// # Errors
/// The repository or the disk failed, something is damaged, or `meter` was told to stop. The
/// directory may be thrown away then.
pub async fn restore_files(
    repository: &Repository,
    prefix: Prefix,
    manifest: &Manifest,
    layout: &Layout,
    meter: &Meter,
) -> Result<Restored, RestoreError> {
    let work = {
        let (repository, manifest) = (repository.clone(), manifest.clone());
        let (layout, meter, runtime) = (layout.clone(), meter.clone(), Handle::current());
        move || {
            let source = Source {
                repository,
                prefix,
                manifest,
                runtime,
            };
            source.restore(&layout, &meter)
        }
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_panicked| RestoreError::Panicked)?
}

struct Source {
    repository: Repository,
    prefix: Prefix,
    manifest: Manifest,
    runtime: Handle,
}

impl Source {
    fn restore(&self, layout: &Layout, meter: &Meter) -> Result<Restored, RestoreError> {
        meter.expect(self.manifest.data_bytes());
        self.make_directories(layout)?;
        let control = self
            .manifest
            .files
            .iter()
            .position(|file| file.path == CONTROL_FILE)
            .unwrap_or(usize::MAX);
        let done = self.write_files(layout, meter, control)?;
        self.check(done.parts)?;
        let extras = self.extras(layout);
        let listed: Vec<_> = extras
            .iter()
            .map(|(path, content)| Extra {
                path,
                content: content.as_bytes(),
            })
            .collect();
        let postgres_manifest = postgres_manifest::render(&self.manifest, &listed);
        for (path, content) in &extras {
            write_whole(&layout.data.join(path), content.as_bytes())?;
        }
        write_whole(
            &layout.data.join("backup_manifest"),
            postgres_manifest.as_bytes(),
        )?;
        sync(&layout.data)?;
        if !self.manifest.tablespaces.is_empty() {
            sync(&layout.tablespaces)?;
        }
        self.write_control(layout, control, done.withheld)?;
        Ok(Restored {
            warnings: self.look_at_map(),
        })
    }

    fn make_directories(&self, layout: &Layout) -> Result<(), RestoreError> {
        make_directory(&layout.data, 0o700)?;
        expect_empty(&layout.data)?;
        for directory in &self.manifest.directories {
            let path = layout.data.join(&directory.path);
            let tablespace = self
                .manifest
                .tablespaces
                .iter()
                .find(|one| directory.path == format!("pg_tblspc/{}", one.oid));
            match tablespace {
                Some(tablespace) => {
                    let real = layout.tablespaces.join(tablespace.oid.to_string());
                    fs::create_dir_all(&layout.tablespaces).map_err(write(&layout.tablespaces))?;
                    make_directory(&real, directory.mode)?;
                    expect_empty(&real)?;
                    std::os::unix::fs::symlink(&real, &path).map_err(write(&path))?;
                }
                None => make_directory(&path, directory.mode)?,
            }
        }
        Ok(())
    }

    fn write_files(
        &self,
        layout: &Layout,
        meter: &Meter,
        withheld: usize,
    ) -> Result<Done, RestoreError> {
        for file in self.manifest.files.iter().filter(|file| file.size == 0) {
            write_whole(&layout.data.join(&file.path), &[])?;
        }
        let runs = schedule::runs(&self.manifest);
        let shared = Shared {
            repository: &self.repository,
            prefix: self.prefix,
            manifest: &self.manifest,
            data: &layout.data,
            runs: &runs,
            next: AtomicUsize::new(0),
            meter,
            runtime: self.runtime.clone(),
            withheld,
        };
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for _ in 0..layout.workers.max(1) {
                let worker = Worker::new(&shared)?;
                threads.push(scope.spawn(move || worker.run()));
            }
            let mut all = Done::default();
            for thread in threads {
                let done = thread.join().map_err(|_panic| RestoreError::Panicked)??;
                all.parts.extend(done.parts);
                all.withheld.extend(done.withheld);
            }
            Ok(all)
        })
    }

    /// Holds each file against its check sum. That every byte was written is part of it.
    fn check(&self, mut parts: Vec<WrittenPart>) -> Result<(), RestoreError> {
        parts.sort_by_key(|part| (part.file, part.offset));
        let mut sums = vec![(0_u64, 0_u32); self.manifest.files.len()];
        for part in parts {
            let (length, sum) = &mut sums[part.file];
            *sum = crc32c::crc32c_combine(*sum, part.crc32c, part.length as usize);
            *length += u64::from(part.length);
        }
        let wrong = self
            .manifest
            .files
            .iter()
            .zip(sums)
            .find(|(file, found)| (file.size, file.crc32c) != *found);
        match wrong {
            Some((file, _)) => Err(RestoreError::Wrong {
                path: file.path.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Files that PostgreSQL gave when the backup ended.
    fn extras(&self, layout: &Layout) -> Vec<(&'static str, String)> {
        let mut extras = vec![("backup_label", self.manifest.backup_label.clone())];
        if !self.manifest.tablespaces.is_empty() {
            let mut map = String::new();
            for one in &self.manifest.tablespaces {
                let real = layout.tablespaces.join(one.oid.to_string());
                let text = real.display().to_string().replace('\\', "\\\\");
                // Writing to a string does not fail.
                let _infallible = writeln!(map, "{} {text}", one.oid);
            }
            extras.push(("tablespace_map", map));
        }
        extras
    }

    fn write_control(
        &self,
        layout: &Layout,
        control: usize,
        mut withheld: Vec<(u64, Vec<u8>)>,
    ) -> Result<(), RestoreError> {
        if self.manifest.files.get(control).is_none() {
            return Err(RestoreError::Wrong {
                path: CONTROL_FILE.into(),
            });
        }
        withheld.sort_by_key(|(offset, _)| *offset);
        let bytes: Vec<u8> = withheld.into_iter().flat_map(|(_, bytes)| bytes).collect();
        let path = layout.data.join(CONTROL_FILE);
        let beside = layout.data.join("global/pg_control.restored");
        write_whole(&beside, &bytes)?;
        File::open(&beside)
            .and_then(|file| file.sync_all())
            .map_err(write(&beside))?;
        fs::rename(&beside, &path).map_err(write(&path))?;
        let directory = layout.data.join("global");
        File::open(&directory)
            .and_then(|file| file.sync_all())
            .map_err(write(&directory))
    }

    /// The map is not needed to restore; when it is damaged the next backup cannot build on this
    /// one, and a person should know.
    fn look_at_map(&self) -> Vec<Problem> {
        let looked = self.runtime.block_on(self.read_map());
        looked
            .err()
            .map(|error| error.problem())
            .into_iter()
            .collect()
    }

    async fn read_map(&self) -> Result<(), StoreError> {
        let name = self.prefix.map(&self.manifest.label);
        let damaged = |source| StoreError::Damaged {
            name: name.to_string(),
            source,
        };
        let header = self
            .repository
            .get_range(&name, 0..HEADER_BYTES as u64)
            .await?;
        let envelope = self.repository.unseal(&name, &header)?;
        let mut reader = FrameReader::new().map_err(damaged)?;
        let mut plain = Vec::new();
        let mut end = None;
        for frame in &self.manifest.map {
            let range = frame.offset..frame.offset + u64::from(frame.stored);
            let mut bytes = Vec::from(self.repository.get_range(&name, range).await?);
            let (_, position) = reader
                .read(&envelope, frame.index, &mut bytes, &mut plain)
                .map_err(damaged)?;
            end = Some(position);
        }
        if end == Some(Position::Last) {
            Ok(())
        } else {
            Err(StoreError::Cut {
                name: name.to_string(),
            })
        }
    }
}

fn write(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |source| RestoreError::Write { path, source }
}

/// Makes a directory with these permission bits; one that is there is left as it is.
fn make_directory(path: &Path, mode: u32) -> Result<(), RestoreError> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(write(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What was there before would be taken for a part of what is restored.
fn expect_empty(path: &Path) -> Result<(), RestoreError> {
    let first = fs::read_dir(path).map(|mut entries| entries.next());
    match first.map_err(write(path))? {
        None => Ok(()),
        Some(_) => Err(RestoreError::NotEmpty {
            path: path.to_owned(),
        }),
    }
}

fn write_whole(path: &Path, content: &[u8]) -> Result<(), RestoreError> {
    fs::write(path, content).map_err(write(path))
}

/// Makes everything on the directory's file system durable: one call for thousands of files.
fn sync(directory: &Path) -> Result<(), RestoreError> {
    let file = File::open(directory).map_err(write(directory))?;
    rustix::fs::syncfs(&file)
        .map_err(io::Error::from)
        .map_err(write(directory))
}
