//! Process 1 of a pod: it starts the agent, reaps what others leave behind, and starts the agent
//! again when that dies.
//!
//! ```text
//!   process 1 ─► agent ─► postgres      the server is a child of the agent, and of process 1 once
//!       ▲                    │          the agent is gone: it goes on, and the next agent adopts it
//!       └────────────────────┘
//! ```
//!
//! A pod ends with its process 1. Were that the agent itself, each crash of it would end its
//! server, and it would have to tell children of its own from those that it inherited.
//!
//! Signals are waited for by the thread that blocks them, so there must be no other one: this is
//! run before anything starts threads. For that reason it is tested where it is process 1, in the
//! tests on a Kubernetes.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use boma_problem::{Class, IntoProblem, Problem};
use nix::errno::Errno;
use nix::sys::signal::{self, SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// An agent that ran for less than this died of something that the next one will die of as well:
/// the pod ends, and Kubernetes starts it again ever more slowly, and shows that it does.
const TOO_SHORT: Duration = Duration::from_secs(10);

/// Why process 1 could not go on.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The agent could not be started.
    #[error("start `{}`", program.display())]
    Start {
        /// Which program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system refused to tell of signals or ends.
    #[error("wait for signals")]
    Wait(#[source] Errno),
}

impl IntoProblem for InitError {
    fn problem(&self) -> Problem {
        match self {
            Self::Start { .. } => Problem::from_error(Class::Config, "agent-not-started", self)
                .hint("The image of the pod does not fit the program that was copied into it."),
            Self::Wait(_) => Problem::from_error(Class::Internal, "init-failed", self),
        }
    }
}

/// How an agent ended.
enum Ended {
    With(u8),
    Killed,
}

/// Runs the agent until it ends in order, and returns its exit code.
pub fn run(program: &Path, arguments: &[OsString]) -> Result<u8, InitError> {
    // Before the first child: what comes from here on is waited for, and nothing gets lost.
    let signals = watched();
    signals.thread_block().map_err(InitError::Wait)?;
    let mut is_asked = false;
    loop {
        let begun = Instant::now();
        let agent = start(program, arguments)?;
        match attend(&signals, &agent, &mut is_asked)? {
            Ended::With(code) if code == 0 || is_asked => return Ok(code),
            Ended::With(code) if begun.elapsed() < TOO_SHORT => return Ok(code),
            Ended::Killed if is_asked || begun.elapsed() < TOO_SHORT => return Ok(1),
            Ended::With(_) | Ended::Killed => {}
        }
    }
}

/// Lets a process that process 1 has started get signals again: it blocks them for its wait, and
/// that is inherited.
pub fn unblock_signals() {
    // Only a wrong argument makes it fail.
    let _cannot_fail = watched().thread_unblock();
}

fn watched() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD]
        .into_iter()
        .collect()
}

fn start(program: &Path, arguments: &[OsString]) -> Result<Child, InitError> {
    Command::new(program)
        .args(arguments)
        .spawn()
        .map_err(|source| InitError::Start {
            program: program.to_owned(),
            source,
        })
}

/// Passes signals on and reaps until the agent has ended.
fn attend(signals: &SigSet, agent: &Child, is_asked: &mut bool) -> Result<Ended, InitError> {
    let agent = Pid::from_raw(agent.id().cast_signed());
    loop {
        // Several children that end at once are one signal, so all are asked for each time.
        if let Some(ended) = reap(agent)? {
            return Ok(ended);
        }
        let told = signals.wait().map_err(InitError::Wait)?;
        if told != Signal::SIGCHLD {
            *is_asked = true;
            // Its end, if it has just ended, is seen next.
            let _gone = signal::kill(agent, told);
        }
    }
}

/// Reaps everything that has ended; tells how the agent did, if it is among them.
fn reap(agent: Pid) -> Result<Option<Ended>, InitError> {
    let mut ended = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == agent => {
                ended = Some(Ended::With(u8::try_from(code).unwrap_or(1)));
            }
            Ok(WaitStatus::Signaled(pid, ..)) if pid == agent => ended = Some(Ended::Killed),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(ended),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(InitError::Wait(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_started_is_named() {
        let problem = run(Path::new("/nonexistent/boma"), &[])
            .unwrap_err()
            .problem();
        assert_eq!(problem.code, "agent-not-started");
        assert!(problem.message.starts_with("start `/nonexistent/boma`"));
        let problem = InitError::Wait(Errno::EINVAL).problem();
        assert_eq!(
            (problem.code.as_str(), problem.message.as_str()),
            ("init-failed", "wait for signals")
        );
    }
}
