//! The assignment that the agent has accepted, on disk.
//!
//! An assignment is stored with fsync and rename before it is acknowledged, so what the agent said
//! yes to survives `kill -9` and a power cut. An older generation is refused, as is an assignment
//! for another instance: an engine that was away for a while cannot turn a server back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use boma_instance::{Assignment, Correction, InstanceId};
use boma_problem::{Class, IntoProblem, Problem};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::plan::Reached;

const ASSIGNMENT: &str = "assignment.json";
const MADE: &str = "made";
const REACHED: &str = "reached.json";
const CORRECTIONS: &str = "corrections.json";

/// Corrections that are kept; whoever watches has told them long before there are as many.
const CORRECTIONS_KEPT: usize = 16;

/// What the agent keeps in its instance directory, beside the data.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    current: Option<Assignment>,
    reached: Option<Reached>,
    corrections: Corrections,
}

/// What was put right, and what is about to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Corrections {
    done: Vec<Correction>,
    doing: Option<Correction>,
}

/// Why an assignment is not accepted, or could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The engine that sent it knows less than the agent.
    #[error("generation {requested} is older than the accepted generation {current}")]
    Outdated {
        /// The accepted generation.
        current: u64,
        /// The refused one.
        requested: u64,
    },
    /// One generation, two contents: two engines are at work.
    #[error("generation {generation} was accepted before with another content")]
    Conflicting {
        /// The generation.
        generation: u64,
    },
    /// The assignment is for another instance.
    #[error("the assignment is for instance {requested}, this agent serves {current}")]
    OtherInstance {
        /// Whom this agent serves.
        current: InstanceId,
        /// Whom the assignment is for.
        requested: InstanceId,
    },
    /// The stored assignment cannot be read.
    #[error("read stored assignment `{}`", path.display())]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The stored assignment is damaged.
    #[error("parse stored assignment `{}`", path.display())]
    Parse {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It could not be stored.
    #[error("store `{}`", path.display())]
    Store {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl IntoProblem for LedgerError {
    fn problem(&self) -> Problem {
        match self {
            Self::Outdated { .. } => Problem::from_error(Class::User, "assignment-outdated", self)
                .hint("Another engine has changed this instance since. Plan again."),
            Self::Conflicting { .. } | Self::OtherInstance { .. } => {
                Problem::from_error(Class::Config, "assignment-conflict", self)
                    .hint("Let only one `boma serve` manage a state directory.")
            }
            Self::Read { .. } | Self::Parse { .. } => {
                Problem::from_error(Class::Config, "assignment-unreadable", self).hint(
                    "Remove the file: the engine writes it again at its next pass. The data is \
                     not touched.",
                )
            }
            Self::Store { .. } => {
                Problem::from_error(Class::Transient, "assignment-not-stored", self)
                    .hint("Check free space and permissions of the instance directory.")
            }
        }
    }
}

impl Ledger {
    /// Opens the ledger of an instance directory.
    ///
    /// # Errors
    /// When an assignment is stored and cannot be read. The agent then waits for a new one rather
    /// than act on half a spec.
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        let path = dir.join(ASSIGNMENT);
        let current = match fs::read(&path) {
            Ok(bytes) => {
                Some(
                    serde_json::from_slice(&bytes).map_err(|source| LedgerError::Parse {
                        path: path.clone(),
                        source,
                    })?,
                )
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(LedgerError::Read { path, source }),
        };
        Ok(Self {
            dir: dir.to_owned(),
            current,
            reached: remembered(dir, REACHED),
            corrections: remembered(dir, CORRECTIONS).unwrap_or_default(),
        })
    }

    /// A ledger without a readable assignment; the next one accepted replaces what is stored.
    pub fn empty(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            current: None,
            reached: remembered(dir, REACHED),
            corrections: remembered(dir, CORRECTIONS).unwrap_or_default(),
        }
    }

    /// The accepted assignment.
    pub fn current(&self) -> Option<&Assignment> {
        self.current.as_ref()
    }

    /// Stores an assignment and makes it the current one. Repeating the current one is fine and
    /// writes nothing.
    pub fn accept(&mut self, assignment: Assignment) -> Result<(), LedgerError> {
        if let Some(current) = &self.current {
            let (old, new) = (&current.spec, &assignment.spec);
            if old.id != new.id {
                return Err(LedgerError::OtherInstance {
                    current: old.id,
                    requested: new.id,
                });
            }
            if new.generation < old.generation {
                return Err(LedgerError::Outdated {
                    current: old.generation,
                    requested: new.generation,
                });
            }
            if new.generation == old.generation && new != old {
                return Err(LedgerError::Conflicting {
                    generation: new.generation,
                });
            }
            if *current == assignment {
                return Ok(());
            }
        }
        self.write(ASSIGNMENT, &assignment)?;
        self.current = Some(assignment);
        Ok(())
    }

    /// What the server was last seen to be in all of.
    pub fn reached(&self) -> Option<&Reached> {
        self.reached.as_ref()
    }

    /// Remembers what the server was seen to be in all of; writes nothing when that is known.
    pub fn remember_reached(&mut self, now: Reached) -> Result<(), LedgerError> {
        if self.reached.as_ref() == Some(&now) {
            return Ok(());
        }
        self.write(REACHED, &now)?;
        self.reached = Some(now);
        Ok(())
    }

    /// What was put right, oldest first; the newest few.
    pub fn corrections(&self) -> &[Correction] {
        &self.corrections.done
    }

    /// Remembers what is about to be put right. What was begun before and not ended failed.
    pub fn begin_correction(&mut self, correction: Correction) -> Result<(), LedgerError> {
        self.corrections.doing = Some(correction);
        self.write(CORRECTIONS, &self.corrections)
    }

    /// Remembers that what was begun is done; writes nothing when nothing was.
    pub fn end_correction(&mut self) -> Result<(), LedgerError> {
        let Some(done) = self.corrections.doing.take() else {
            return Ok(());
        };
        self.corrections.done.push(done);
        let surplus = self.corrections.done.len().saturating_sub(CORRECTIONS_KEPT);
        self.corrections.done.drain(..surplus);
        self.write(CORRECTIONS, &self.corrections)
    }

    fn write(&self, name: &str, content: &impl Serialize) -> Result<(), LedgerError> {
        let path = self.dir.join(name);
        let written = serde_json::to_vec(content)
            .map_err(io::Error::from)
            .and_then(|bytes| store(&path, &bytes));
        written.map_err(|source| LedgerError::Store { path, source })
    }

    /// Whether a data directory was ever made here. If so, a missing one is a loss to be looked
    /// at, and never replaced by an empty one.
    pub fn was_made(&self) -> bool {
        self.dir.join(MADE).exists()
    }

    /// Remembers that the data directory was made.
    pub fn remember_made(&self) -> Result<(), LedgerError> {
        let path = self.dir.join(MADE);
        store(&path, b"").map_err(|source| LedgerError::Store { path, source })
    }
}

/// What was remembered of the server. A file that cannot be read is none: then a change by hand is
/// taken for something that was never brought about, once.
fn remembered<T: DeserializeOwned>(dir: &Path, name: &str) -> Option<T> {
    serde_json::from_slice(&fs::read(dir.join(name)).ok()?).ok()
}

/// Replaces a file so that after a crash either the old or the new content is there, whole.
pub(crate) fn store(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = write_beside(path, bytes)?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Replaces several files like [`store`] does, in their order. They are synced at the same time,
/// which the file system makes one write of its journal.
pub(crate) fn store_all(files: &[(PathBuf, &[u8])]) -> Result<(), (PathBuf, io::Error)> {
    let written: Vec<_> = thread::scope(|scope| {
        let writing: Vec<_> = files
            .iter()
            .map(|(path, bytes)| scope.spawn(|| write_beside(path, bytes)))
            .collect();
        writing.into_iter().map(ended).collect()
    });
    // What is renamed later speaks for what is renamed earlier: no directory is behind another.
    let mut behind = None;
    for ((path, _), beside) in files.iter().zip(written) {
        if behind != path.parent() {
            sync_directory(behind)?;
        }
        behind = path.parent();
        let renamed = beside.and_then(|beside| fs::rename(beside, path));
        renamed.map_err(|error| (path.clone(), error))?;
    }
    sync_directory(behind)
}

fn sync_directory(path: Option<&Path>) -> Result<(), (PathBuf, io::Error)> {
    let Some(path) = path else { return Ok(()) };
    let synced = File::open(path).and_then(|open| open.sync_all());
    synced.map_err(|error| (path.to_owned(), error))
}

fn ended<T>(thread: thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(beside)
}

#[cfg(test)]
mod tests;
