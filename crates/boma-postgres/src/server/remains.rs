//! What a killed server leaves behind: children that have not noticed yet, and files that say that
//! it runs.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::pid_file::{self, PidFile};
use crate::path_error::{At, PathError};
use crate::process::{self, Process};

/// Whether a server may be started on a data directory.
#[derive(Debug)]
pub(super) enum Remains {
    /// It may.
    Cleared,
    /// No: a server is there, or a single-user one that somebody works in.
    Server(u32),
    /// No: children of a server that is gone do not end.
    Orphans(Vec<u32>),
}

/// Makes a data directory ready for a new server. Blocks while orphans end, which takes
/// milliseconds; seconds if the disk keeps them waiting.
///
/// # Safety of the data
/// Orphans are ended because they can still write: PostgreSQL refuses to start while they hold its
/// shared memory. Nothing is lost by it; with their postmaster gone, the next start replays WAL
/// anyway, and nobody was told that what they do is done.
pub(super) fn clear(data: &Path) -> Result<Remains, PathError> {
    let found = process::find_in(data).at("look for processes in", data)?;
    if let Some(server) = found.iter().find(|process| process.is_postmaster()) {
        return Ok(Remains::Server(server.pid()));
    }
    if !end(data, &found)? {
        return Ok(Remains::Orphans(found.iter().map(Process::pid).collect()));
    }
    remove_misleading_files(data)?;
    Ok(Remains::Cleared)
}

/// Ends orphans: as their postmaster would in a crash, then by force. False: they are still there.
fn end(data: &Path, orphans: &[Process]) -> Result<bool, PathError> {
    /// As long as a postmaster waits for them before it kills them.
    const PATIENCE: Duration = Duration::from_secs(5);
    if orphans.is_empty() {
        return Ok(true);
    }
    tracing::warn!(
        data = %data.display(),
        processes = orphans.len(),
        "ending processes of a server that was killed"
    );
    for signal in [Signal::QUIT, Signal::KILL] {
        for orphan in orphans {
            orphan.signal(signal).at("end the processes in", data)?;
        }
        if process::wait_all(orphans, PATIENCE).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes files of a dead server that would make PostgreSQL refuse to start: those that name a
/// process that is there, and is another one. All others PostgreSQL itself sees through, and
/// checks for shared memory still in use before it replaces them.
///
/// Only called when no server is at work in the directory.
fn remove_misleading_files(data: &Path) -> Result<(), PathError> {
    let Some(file) = PidFile::read(data)? else {
        return Ok(());
    };
    if !Path::new("/proc").join(file.pid.to_string()).exists() {
        return Ok(());
    }
    let mut misleading = vec![data.join(pid_file::NAME)];
    if let (Some(directory), Some(port)) = (&file.socket_directory, file.port) {
        let lock = directory.join(format!(".s.PGSQL.{port}.lock"));
        // Its first line is the process, its second the data directory.
        let text = std::fs::read_to_string(&lock).unwrap_or_default();
        let mut lines = text.lines();
        let same_process = lines
            .next()
            .is_some_and(|line| line.trim() == file.pid.to_string());
        if same_process && lines.next().is_some_and(|line| Path::new(line) == data) {
            misleading.push(lock);
        }
    }
    for path in misleading {
        tracing::warn!(path = %path.display(), pid = file.pid, "removing a file of a server that is gone");
        std::fs::remove_file(&path).at("remove", &path)?;
    }
    Ok(())
}
