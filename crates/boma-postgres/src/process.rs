//! Processes of this host, told apart by what the kernel says of them and never by their number
//! alone: a number is given to another process as soon as its own is gone.
//!
//! Each one found is held by a pidfd, opened before it is looked at: what is signalled is what was
//! looked at, or nothing.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

/// A process, held.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    handle: OwnedFd,
}

impl Process {
    /// Takes hold of a process; none: there is none with that number.
    pub(crate) fn open(pid: u32) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(handle) => Ok(Some(Self { pid, handle })),
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Gives the pidfd away; it is readable when the process has ended.
    pub(crate) fn into_handle(self) -> OwnedFd {
        self.handle
    }

    /// Signals it. A process that has ended is fine.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        signal_handle(&self.handle, signal)
    }

    /// The name of its program's file.
    fn program(&self) -> Option<String> {
        let path = std::fs::read_link(format!("/proc/{}/exe", self.pid())).ok()?;
        let name = path.file_name()?.to_str()?;
        // So the kernel calls a file that a package upgrade replaced.
        Some(name.strip_suffix(" (deleted)").unwrap_or(name).to_owned())
    }

    /// Whether it is one of PostgreSQL's own programs, at work in this directory.
    pub(crate) fn is_postgres_in(&self, directory: &Path) -> bool {
        working_directory(self.pid()).is_some_and(|cwd| cwd == directory)
            && self
                .program()
                .is_some_and(|name| name == "postgres" || name == "initdb")
    }

    /// Whether it is the server's first process: all that it starts retitle themselves.
    pub(crate) fn is_postmaster(&self) -> bool {
        std::fs::read(format!("/proc/{}/cmdline", self.pid()))
            .is_ok_and(|line| !line.is_empty() && !line.starts_with(b"postgres: "))
    }
}

/// Where a process works; none: it has ended, or belongs to somebody else.
fn working_directory(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// Signals the process behind a pidfd. One that has ended is fine.
pub(crate) fn signal_handle(handle: &OwnedFd, signal: Signal) -> io::Result<()> {
    match pidfd_send_signal(handle, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reaps a process that has ended; none: it is not a child of ours, or was reaped already.
pub(crate) fn reap(handle: &OwnedFd) -> Option<ExitStatus> {
    let found = waitid(
        WaitId::PidFd(handle.as_fd()),
        WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
    );
    let status = found.ok().flatten()?;
    // As `wait` would have told it: the code in the second byte, a signal in the first.
    let code = status.exit_status().map(|code| code << 8);
    code.or(status.terminating_signal())
        .map(ExitStatus::from_raw)
}

/// PostgreSQL's processes at work in a directory, ours to see: of this user, in this container.
pub(crate) fn find_in(directory: &Path) -> io::Result<Vec<Process>> {
    // The kernel names a working directory by its real path.
    let Ok(directory) = std::fs::canonicalize(directory) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Most processes are not ours: this look is cheaper than taking hold of each.
        if working_directory(pid).is_none_or(|cwd| cwd != directory) {
            continue;
        }
        if let Some(process) = Process::open(pid)?
            && process.is_postgres_in(&directory)
        {
            found.push(process);
        }
    }
    Ok(found)
}

/// Kills PostgreSQL's processes in a directory and waits until they are gone.
pub(crate) fn kill_all_in(directory: &Path, patience: Duration) -> io::Result<()> {
    let processes = find_in(directory)?;
    for process in &processes {
        process.signal(Signal::KILL)?;
    }
    wait_all(&processes, patience)
}

/// Waits until all of them have ended.
pub(crate) fn wait_all(processes: &[Process], patience: Duration) -> io::Result<()> {
    let end = Instant::now() + patience;
    processes
        .iter()
        .try_for_each(|process| wait(process, end.saturating_duration_since(Instant::now())))
}

/// Waits until a process has ended.
fn wait(process: &Process, patience: Duration) -> io::Result<()> {
    if ends_within(&process.handle, patience)? {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("process {} does not end", process.pid()),
    ))
}

/// Whether the process behind a pidfd has ended.
pub(crate) fn has_ended(handle: &OwnedFd) -> bool {
    ends_within(handle, Duration::ZERO).unwrap_or(false)
}

fn ends_within(handle: &OwnedFd, patience: Duration) -> io::Result<bool> {
    let timeout = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    let mut ends = [PollFd::new(handle, PollFlags::IN)];
    Ok(retry_on_intr(|| poll(&mut ends, Some(&timeout)))? > 0)
}
