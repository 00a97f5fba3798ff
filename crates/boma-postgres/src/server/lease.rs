//! One agent for one data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use boma_problem::{Class, IntoProblem, Problem};

use crate::path_error::{At, PathError};

/// The right to run a server on a data directory, held by one process until it ends.
///
/// It is a lock on the file `<data directory>.lock` beside the data directory. The kernel gives it
/// back when the process ends, however it ends. The file is never removed: a process could
/// otherwise lock the removed one while another locks its successor. Children do not inherit it:
/// the server outlives the agent, and is found by [`super::adopt`].
#[derive(Debug)]
pub struct Lease {
    _file: File,
}

/// Why the lease was not given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Another process has it.
    #[error("`{}` is managed by another agent{}", data.display(), process_of(*holder))]
    Held {
        /// The data directory.
        data: PathBuf,
        /// The process that says in the file that it is the one.
        holder: Option<u32>,
    },
    /// The file cannot be opened, locked or written.
    #[error(transparent)]
    File(#[from] PathError),
}

fn process_of(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |pid| format!(", process {pid}"))
}

impl IntoProblem for LeaseError {
    fn problem(&self) -> Problem {
        match self {
            Self::Held { .. } => Problem::from_error(Class::Config, "agent-runs-already", self)
                .hint("Let that one do it, or end it first; its server keeps running."),
            Self::File(error) => error.problem(),
        }
    }
}

impl Lease {
    /// Takes the lease for a data directory, which need not be there yet. Never waits.
    pub fn acquire(data: &Path) -> Result<Self, LeaseError> {
        let mut name = data.file_name().unwrap_or_default().to_owned();
        name.push(".lock");
        let path = data.with_file_name(name);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .at("open", &path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = file.read_to_string(&mut text);
                let holder = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(LeaseError::Held {
                    data: data.to_owned(),
                    holder,
                });
            }
            Err(TryLockError::Error(error)) => Err(error).at("lock", &path)?,
        }
        // For people who look; nothing relies on it.
        file.set_len(0).at("write", &path)?;
        writeln!(file, "{}", std::process::id()).at("write", &path)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use boma_testkit::ScratchDir;

    use super::*;

    #[test]
    fn the_second_is_told_who_is_the_first() -> anyhow::Result<()> {
        let scratch = ScratchDir::new()?;
        let data = scratch.path().join("data");
        let lease = Lease::acquire(&data)?;
        let problem = Lease::acquire(&data).unwrap_err().problem();
        assert_eq!(problem.code, "agent-runs-already");
        let pid = std::process::id();
        assert_eq!(
            problem.to_string(),
            format!(
                "`{}` is managed by another agent, process {pid}",
                data.display()
            )
        );
        drop(lease);
        assert!(scratch.path().join("data.lock").exists(), "the file stays");
        drop(Lease::acquire(&data)?);
        Ok(())
    }
}
