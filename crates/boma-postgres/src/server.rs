//! A running server: starting it, finding it again, stopping it.
//!
//! ```text
//!   Lease::acquire ──► adopt ──► Some(Running)        it outlived the agent that started it
//!                        │
//!                        └─────► None ──► start ──► Running
//!                                           │  ends orphans of a postmaster that was killed,
//!                                           │  removes a pid file that names somebody else,
//!                                           │  starts `postgres`, waits until it answers
//!                                           ▼
//!                                     exited() · reload() · stop(mode, patience)
//! ```
//!
//! The server is a child of whoever calls [`start()`], in a process group of its own, and outlives
//! it. Nothing is signalled by its number: the kernel's handle of a process (a pidfd) is taken
//! first, then the process behind it is checked to be a PostgreSQL at work in the data directory.
//!
//! # Guarantees
//! - Two servers never run on one data directory: the [`Lease`] keeps a second agent out, and
//!   [`start()`] refuses while a postmaster, or any of its children, is at work in the directory.
//! - Nothing here waits by sleeping: the kernel tells of the pid file (inotify) and of ends (pidfd).
//!
//! Needs a tokio runtime with IO and time enabled.

mod lease;
pub mod log;
mod pid_file;
mod remains;
mod start;
mod watch;

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::OnceLock;
use std::time::Duration;

use boma_problem::{Class, IntoProblem, Problem};
use rustix::process::Signal;
use tokio::io::unix::AsyncFd;

pub use lease::{Lease, LeaseError};
pub use pid_file::{PidFile, ServerState};
pub use start::{Launch, StartError, start};

use crate::path_error::{At, PathError};
use crate::process::{self, Process};

/// How to stop a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopMode {
    /// Waits until every client has gone by itself.
    Smart,
    /// Ends the clients' connections, rolls back what they do, and shuts down cleanly.
    Fast,
    /// Ends everything at once; the next start replays WAL.
    Immediate,
}

impl StopMode {
    fn signal(self) -> Signal {
        match self {
            Self::Smart => Signal::TERM,
            Self::Fast => Signal::INT,
            Self::Immediate => Signal::QUIT,
        }
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit status. None: it is not known, because the server was another process's child, or
    /// was held twice and the other handle was told.
    pub status: Option<ExitStatus>,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => status.fmt(f),
            None => f.write_str("exit status not known"),
        }
    }
}

/// A server that did not stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// It takes longer than was waited. It goes on stopping.
    #[error("server {pid} did not stop within {} s", patience.as_secs())]
    Patience {
        /// Process id.
        pid: u32,
        /// How it was told to stop.
        mode: StopMode,
        /// How long was waited.
        patience: Duration,
    },
    /// It cannot be signalled or watched.
    #[error(transparent)]
    Process(#[from] PathError),
}

impl IntoProblem for StopError {
    fn problem(&self) -> Problem {
        match self {
            Self::Patience { mode, .. } => {
                let problem = Problem::from_error(Class::Transient, "server-stops-slowly", self);
                match mode {
                    StopMode::Smart => problem.hint("It waits for its clients to go."),
                    StopMode::Fast | StopMode::Immediate => {
                        problem.hint("It writes a last checkpoint; a slow disk takes its time.")
                    }
                }
            }
            Self::Process(error) => error.problem(),
        }
    }
}

/// A server process, held: started by us or adopted. Dropping it does not stop the server.
#[derive(Debug)]
pub struct Running {
    pid: u32,
    data: PathBuf,
    /// Readable when the process has ended.
    end: AsyncFd<OwnedFd>,
    /// How it ended, once that is known.
    exit: OnceLock<Exit>,
}

impl Running {
    fn new(process: Process, data: &Path) -> Result<Self, PathError> {
        let pid = process.pid();
        let end = watch::readable(process.into_handle()).at("watch the server of", data)?;
        Ok(Self {
            pid,
            data: data.to_owned(),
            end,
            exit: OnceLock::new(),
        })
    }

    /// Process id of the postmaster.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the process has ended, and reaps it. Cancel-safe, and may be called again and
    /// from several places.
    pub async fn exited(&self) -> Exit {
        // The runtime only fails here when it shuts down; then nobody is left to be told.
        if let Ok(mut ready) = self.end.readable().await {
            // It stays readable for ever.
            ready.retain_ready();
        }
        self.exit()
    }

    /// Whether the process has ended, now; reaps it.
    pub fn try_exited(&self) -> Option<Exit> {
        process::has_ended(self.end.get_ref()).then(|| self.exit())
    }

    fn exit(&self) -> Exit {
        *self.exit.get_or_init(|| Exit {
            status: process::reap(self.end.get_ref()),
        })
    }

    /// What the server says of itself in its pid file; none: it has ended, or has just begun.
    pub fn state(&self) -> Result<Option<PidFile>, PathError> {
        Ok(PidFile::read(&self.data)?.filter(|file| file.pid == self.pid))
    }

    /// Makes it read its configuration again.
    pub fn reload(&self) -> Result<(), PathError> {
        process::signal_handle(self.end.get_ref(), Signal::HUP)
            .at("signal the server of", &self.data)
    }

    /// Stops it, and waits until it has ended. Cancelled or out of patience, it goes on stopping;
    /// a harder mode may be asked for next.
    pub async fn stop(&self, mode: StopMode, patience: Duration) -> Result<Exit, StopError> {
        process::signal_handle(self.end.get_ref(), mode.signal())
            .at("signal the server of", &self.data)?;
        tokio::time::timeout(patience, self.exited())
            .await
            .map_err(|_elapsed| StopError::Patience {
                pid: self.pid,
                mode,
                patience,
            })
    }
}

/// Takes hold of the server that already runs on a data directory, whoever started it.
///
/// None: there is none. A pid file that was left behind is recognised by what the process with
/// that number is: a PostgreSQL at work in this directory, and the first of its processes.
pub fn adopt(data: &Path) -> Result<Option<Running>, PathError> {
    let Some(file) = PidFile::read(data)? else {
        return Ok(None);
    };
    let real = std::fs::canonicalize(data).at("look at", data)?;
    let Some(process) = Process::open(file.pid).at("look at the server of", data)? else {
        return Ok(None);
    };
    if process.is_postgres_in(&real) && process.is_postmaster() {
        return Running::new(process, data).map(Some);
    }
    Ok(None)
}
