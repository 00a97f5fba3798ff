//! Locks between the processes of one installation.
//!
//! A lock file is locked with `flock`, says who holds it, and is never removed: whoever removed
//! it could be removing the file that another one has just locked. A holder that dies, however it
//! dies, lets go; what stands in the file of a lock that nobody holds means nothing.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boma_problem::{Class, IntoProblem, Problem};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How often a lock that another one holds is tried again; flock has no way to wait that can be
/// given up.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Since when.
    pub since: Timestamp,
}

/// Why a lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another `boma serve` runs on this state directory.
    #[error("`boma serve` already runs on `{state_dir}`{}", held_by(.holder.as_ref()))]
    Serving {
        /// The state directory.
        state_dir: PathBuf,
        /// Who holds it.
        holder: Option<Holder>,
    },
    /// Another process is changing things.
    #[error("another `boma` is at work on `{state_dir}`{}", held_by(.holder.as_ref()))]
    AtWork {
        /// The state directory.
        state_dir: PathBuf,
        /// Who holds it.
        holder: Option<Holder>,
    },
    /// The lock file could not be used.
    #[error("lock `{path}`")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn held_by(holder: Option<&Holder>) -> String {
    holder.map_or_else(String::new, |holder| {
        format!(" (process {}, since {:.0})", holder.pid, holder.since)
    })
}

impl IntoProblem for LockError {
    fn problem(&self) -> Problem {
        match self {
            Self::Serving { holder, .. } => {
                let problem = Problem::from_error(Class::Config, "already-serving", self);
                match holder {
                    Some(Holder { pid, .. }) => problem.hint(format!(
                        "Leave it running, or end it with `kill {pid}`; databases go on running meanwhile."
                    )),
                    None => problem.hint("Leave it running, or end it first."),
                }
            }
            Self::AtWork { .. } => Problem::from_error(Class::Transient, "at-work", self)
                .hint("Wait until it is done and try again."),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Problem::from_error(Class::Config, "disk-full", self).hint(crate::files::FREE_SPACE)
            }
            Self::Io { .. } => Problem::from_error(Class::Config, "lock-failed", self),
        }
    }
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    _file: File,
}

/// Takes the lock, or tells who holds it.
pub(crate) fn try_hold(path: &Path) -> Result<Result<Held, Option<Holder>>, LockError> {
    let failed = |source| LockError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Err(read_holder(&mut file))),
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    write_holder(&mut file).map_err(failed)?;
    Ok(Ok(Held { _file: file }))
}

/// Takes the lock as soon as it is free, within `patience`.
pub(crate) async fn hold_within(
    path: &Path,
    patience: Duration,
) -> Result<Result<Held, Option<Holder>>, LockError> {
    let deadline = Instant::now() + patience;
    loop {
        match try_hold(path)? {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(TRY_AGAIN).await,
            outcome => return Ok(outcome),
        }
    }
}

/// Takes the lock, however long it takes; for critical sections of milliseconds.
pub(crate) fn hold(path: &Path) -> Result<Held, LockError> {
    let failed = |source| LockError::Io {
        path: path.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(Held { _file: file })
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write_holder(file: &mut File) -> io::Result<()> {
    let holder = Holder {
        pid: std::process::id(),
        since: Timestamp::now(),
    };
    file.set_len(0)?;
    file.rewind()?;
    serde_json::to_writer(&mut *file, &holder)?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serve");
        let first = try_hold(&path).unwrap().unwrap();
        let holder = try_hold(&path).unwrap().unwrap_err();
        assert_eq!(
            holder.as_ref().map(|holder| holder.pid),
            Some(std::process::id())
        );
        drop(first);
        try_hold(&path).unwrap().unwrap();
    }

    #[test]
    fn what_a_dead_holder_left_in_the_file_means_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serve");
        std::fs::write(
            &path,
            "{\"pid\":1,\"since\":\"2020-01-01T00:00:00Z\"} and more that is long",
        )
        .unwrap();
        let _held = try_hold(&path).unwrap().unwrap();
        let holder = try_hold(&path).unwrap().unwrap_err().unwrap();
        assert_eq!(holder.pid, std::process::id());
    }

    #[tokio::test]
    async fn a_lock_that_is_let_go_in_time_is_had() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pass");
        let held = try_hold(&path).unwrap().unwrap();
        assert!(
            hold_within(&path, Duration::from_millis(30))
                .await
                .unwrap()
                .is_err()
        );
        let (waiting, ()) = tokio::join!(hold_within(&path, Duration::from_secs(20)), async {
            tokio::task::yield_now().await;
            drop(held);
        });
        waiting.unwrap().unwrap();
    }

    #[test]
    fn the_text_names_process_and_time() {
        let holder = Some(Holder {
            pid: 4711,
            since: "2026-11-21T10:00:00Z".parse().unwrap(),
        });
        let problem = LockError::Serving {
            state_dir: "/var/lib/boma".into(),
            holder,
        }
        .problem();
        assert_eq!(problem.code, "already-serving");
        assert_eq!(
            problem.message,
            "`boma serve` already runs on `/var/lib/boma` (process 4711, since 2026-11-21T10:00:00Z)"
        );
        assert!(problem.hints[0].contains("kill 4711"));
        let problem = LockError::AtWork {
            state_dir: "/s".into(),
            holder: None,
        }
        .problem();
        assert_eq!(
            (problem.code.as_str(), problem.message.as_str()),
            ("at-work", "another `boma` is at work on `/s`")
        );
    }
}
