//! PostgreSQL's programs, and which version they are of.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use boma_postgres::programs::{Installation, Installations, SearchPaths};
use boma_problem::{Class, Problem};

use super::Failure;

/// The PostgreSQL in a directory.
pub(crate) fn discover(bin_dir: &Path) -> Result<Installation, Failure> {
    let found = Installations::discover(&SearchPaths::only([bin_dir.to_owned()]));
    found.newest().cloned().ok_or_else(|| {
        let why = found.broken().first().map(|broken| broken.why.to_string());
        let text = format!(
            "the PostgreSQL in `{}` cannot be used: {}",
            bin_dir.display(),
            why.unwrap_or_else(|| "it is gone".into())
        );
        let problem = Problem::new(Class::Config, "postgres-broken", text);
        problem
            .hint("Install it again; `boma postgres list` shows what this machine has.")
            .into()
    })
}

/// Inode and modification time, seconds and nanoseconds, of a file.
type Stamp = (u64, i64, i64);

/// The programs of one server. They are asked for their version when the file has changed, and a
/// first time while the agent waits for its assignment: that takes as long as a server's start.
#[derive(Debug)]
pub(super) struct Programs {
    bin_dir: PathBuf,
    /// What was found, with inode and time of the file that it was seen in.
    known: Option<(Stamp, Installation)>,
    ahead: Option<(Stamp, JoinHandle<Result<Installation, Failure>>)>,
}

impl Programs {
    /// Begins to look.
    pub(super) fn new(bin_dir: PathBuf) -> Self {
        let ahead = stamp(&bin_dir).ok().map(|seen| {
            let bin_dir = bin_dir.clone();
            (seen, thread::spawn(move || discover(&bin_dir)))
        });
        Self {
            bin_dir,
            known: None,
            ahead,
        }
    }

    /// Where they are.
    pub(super) fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The programs as they are now: a package upgrade replaces them under a running server.
    pub(super) fn now(&mut self) -> Result<Installation, Failure> {
        let stamp = stamp(&self.bin_dir)?;
        if let Some((seen, installation)) = &self.known
            && *seen == stamp
        {
            return Ok(installation.clone());
        }
        let ahead = self.ahead.take().filter(|(seen, _)| *seen == stamp);
        let found = match ahead.and_then(|(_, looking)| looking.join().ok()) {
            Some(found) => found?,
            None => discover(&self.bin_dir)?,
        };
        self.known = Some((stamp, found.clone()));
        Ok(found)
    }
}

fn stamp(bin_dir: &Path) -> Result<Stamp, Failure> {
    let meta = fs::metadata(bin_dir.join("postgres")).map_err(|error| {
        Problem::from_error(Class::Config, "postgres-program-missing", &error)
            .hint("Install it again; `boma postgres list` shows what this machine has.")
    })?;
    Ok((meta.ino(), meta.mtime(), meta.mtime_nsec()))
}
