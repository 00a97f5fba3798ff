//! Starting agents.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use boma_problem::{Class, IntoProblem, Problem};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::client::{self, AgentError};
use super::{AgentCommand, PrepareCommand};
use crate::user::SystemUser;

/// How long a new agent may take to listen. It does nothing before that but open its files; this
/// is for machines under heavy load.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// An agent that ended may have found that another one was started for the same instance at the
/// same time; that one listens within this time.
const OTHER_ONE: Duration = Duration::from_secs(1);

/// How often is looked whether it listens: first and longest. In between, a look may be late by
/// a sixteenth of what it has taken so far.
const LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
const LATE: u32 = 16;

/// Lines of the log that tell why an agent did not start.
const LAST_LINES: usize = 5;

/// What of Boma's own environment an agent gets: what programs need to run, nothing that may be a
/// secret of whoever typed the command.
const ENVIRONMENT: [&str; 8] = [
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "BOMA_LOG",
    "RUST_BACKTRACE",
];

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Its log could not be opened.
    #[error("open the agent's log `{path}`")]
    Log {
        /// The log.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program could not be started.
    #[error("start `{program}`")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended before it listened.
    #[error("the agent ended at once ({status}){}", quoted(.last_lines))]
    Ended {
        /// How it ended.
        status: String,
        /// What it wrote last.
        last_lines: String,
        /// Its log.
        log: PathBuf,
    },
    /// It does not listen.
    #[error("the agent does not listen after {:.0} s", START_DEADLINE.as_secs_f32())]
    Deadline {
        /// Its log.
        log: PathBuf,
    },
    /// An agent runs, and does not answer.
    #[error(transparent)]
    Silent(#[from] AgentError),
}

fn quoted(lines: &str) -> String {
    if lines.is_empty() {
        String::new()
    } else {
        format!(": {lines}")
    }
}

impl IntoProblem for SpawnError {
    fn problem(&self) -> Problem {
        let problem = |class, code| Problem::from_error(class, code, self);
        match self {
            Self::Log { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                problem(Class::Config, "disk-full").hint(crate::files::FREE_SPACE)
            }
            Self::Log { .. } => problem(Class::Config, "agent-log"),
            Self::Start { .. } => problem(Class::Config, "agent-not-started"),
            Self::Ended { log, .. } | Self::Deadline { log } => {
                problem(Class::Transient, "agent-not-started")
                    .hint(format!("See its log: `{}`.", log.display()))
            }
            Self::Silent(error) => error.problem(),
        }
    }
}

/// An agent to be started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// The `boma` program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) command: AgentCommand,
    /// Whom the log belongs to.
    pub(crate) user: SystemUser,
}

/// What was found or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    /// It ran already.
    Adopted,
    /// It was started.
    Started,
}

/// Makes sure that an agent runs and listens.
pub(crate) async fn ensure(launch: &Launch) -> Result<Agent, SpawnError> {
    let socket = launch.command.run_dir.join("agent.sock");
    if listens(&socket).await? {
        return Ok(Agent::Adopted);
    }
    let mut child = start(launch)?;
    let outcome = wait_until_it_listens(launch, &socket, &mut child).await;
    // It lives on without us; while we live, it must not stay a zombie when it ends.
    tokio::spawn(async move { child.wait().await });
    outcome.map(|()| Agent::Started)
}

/// Starts the making of clusters ahead and waits until it has ended, well or not.
pub(crate) async fn prepare_and_wait(
    program: &Path,
    command: &PrepareCommand,
) -> Result<(), SpawnError> {
    let ended = preparing(program, command)?.wait().await;
    ended.map(drop).map_err(|source| SpawnError::Start {
        program: program.to_owned(),
        source,
    })
}

fn preparing(program: &Path, command: &PrepareCommand) -> Result<Child, SpawnError> {
    let mut process = detached(program);
    process
        .args(command.arguments())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    spawn(program, process)
}

/// Starts the making of spare clusters and does not wait for it.
pub(crate) fn prepare(program: &Path, command: &PrepareCommand) -> Result<(), SpawnError> {
    let mut child = preparing(program, command)?;
    if let Some(pid) = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(rustix::process::Pid::from_raw)
    {
        // Spares are for later: whatever runs now goes first. Without that right it is as well.
        let _refused = rustix::process::setpriority_process(Some(pid), 10);
    }
    tokio::spawn(async move { child.wait().await });
    Ok(())
}

fn start(launch: &Launch) -> Result<Child, SpawnError> {
    let path = &launch.command.log;
    let log = open_log(path, &launch.user)
        .and_then(|log| Ok((log.try_clone()?, log)))
        .map_err(|source| SpawnError::Log {
            path: path.clone(),
            source,
        })?;
    let mut process = detached(&launch.program);
    process
        .args(launch.command.arguments())
        .stdout(log.0)
        .stderr(log.1);
    spawn(&launch.program, process)
}

fn detached(program: &Path) -> Command {
    let mut process = Command::new(program);
    process
        .env_clear()
        .envs(
            ENVIRONMENT
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .current_dir("/")
        .stdin(Stdio::null())
        // It makes a session of its own, and a leader of a process group could not: so it is
        // left in ours until then.
        .kill_on_drop(false);
    process
}

fn spawn(program: &Path, mut process: Command) -> Result<Child, SpawnError> {
    process.spawn().map_err(|source| SpawnError::Start {
        program: program.to_owned(),
        source,
    })
}

/// The log is in a directory of the system user, so a link there must not be followed: root would
/// write wherever that user likes.
fn open_log(path: &Path, user: &SystemUser) -> io::Result<File> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if user.differs() {
        std::os::unix::fs::fchown(&file, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    Ok(file)
}

/// Whether somebody listens; one that listens and does not answer is an error.
async fn listens(socket: &Path) -> Result<bool, SpawnError> {
    match client::ask_status(socket).await {
        // A new agent has no status yet and says so; it listens.
        Ok(_) | Err(AgentError::Refused(_) | AgentError::Form { .. }) => Ok(true),
        Err(AgentError::Absent) => Ok(false),
        Err(error @ (AgentError::Deadline(_) | AgentError::Connection { .. })) => Err(error.into()),
    }
}

async fn wait_until_it_listens(
    launch: &Launch,
    socket: &Path,
    child: &mut Child,
) -> Result<(), SpawnError> {
    let failed = |source| SpawnError::Start {
        program: launch.program.clone(),
        source,
    };
    let log = || launch.command.log.clone();
    let begun = Instant::now();
    let (mut deadline, mut ended) = (begun + START_DEADLINE, None);
    while Instant::now() < deadline {
        match listens(socket).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // Its socket may go away in between; only the deadline counts here.
            Err(error) => tracing::debug!(error = %error, "a new agent does not answer yet"),
        }
        if ended.is_none() {
            ended = child.try_wait().map_err(failed)?;
            deadline = if ended.is_some() {
                Instant::now() + OTHER_ONE
            } else {
                deadline
            };
        }
        tokio::time::sleep((begun.elapsed() / LATE).clamp(LOOK.0, LOOK.1)).await;
    }
    match ended {
        None => Err(SpawnError::Deadline { log: log() }),
        Some(status) => Err(SpawnError::Ended {
            status: status.to_string(),
            last_lines: last_lines(&launch.command.log, LAST_LINES),
            log: log(),
        }),
    }
}

/// The last lines of a log, as one line.
pub(crate) fn last_lines(path: &Path, count: usize) -> String {
    let text = crate::files::tail(path, 8 << 10).unwrap_or_default();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(count)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn launch(dir: &Path, script: &str) -> Launch {
        let program = dir.join("boma");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Launch {
            program,
            command: AgentCommand {
                dir: dir.to_owned(),
                run_dir: dir.to_owned(),
                store: dir.to_owned(),
                bin_dir: dir.to_owned(),
                log: dir.join("agent.log"),
                user: None,
                cgroups: Vec::new(),
            },
            user: SystemUser::for_servers(Some("nobody")).unwrap(),
        }
    }

    #[tokio::test]
    async fn an_agent_that_ends_at_once_is_told_with_its_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let launch = launch(dir.path(), "echo one; echo \"$1 $2\" >&2; exit 9");
        let problem = ensure(&launch).await.unwrap_err().problem();
        assert_eq!(problem.code, "agent-not-started");
        let dir = dir.path().display();
        assert_eq!(
            problem.message,
            format!("the agent ended at once (exit status: 9): one | agent --dir")
        );
        assert_eq!(problem.hints, [format!("See its log: `{dir}/agent.log`.")]);
    }

    #[tokio::test]
    async fn a_missing_program_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut launch = launch(dir.path(), "");
        launch.program = dir.path().join("gone");
        let problem = ensure(&launch).await.unwrap_err().problem();
        assert!(
            problem
                .to_string()
                .ends_with("/gone`: No such file or directory (os error 2)"),
            "{problem}"
        );
    }

    #[tokio::test]
    async fn a_log_that_is_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let launch = launch(dir.path(), "echo written");
        let target = dir.path().join("target");
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &launch.command.log).unwrap();
        let problem = ensure(&launch).await.unwrap_err().problem();
        assert_eq!(problem.code, "agent-log");
        assert_eq!(std::fs::read(&target).unwrap(), b"");
    }

    #[tokio::test]
    async fn spares_are_made_beside() {
        let dir = tempfile::tempdir().unwrap();
        let launch = launch(
            dir.path(),
            "echo \"$*\" > \"$3/said.new\"; mv \"$3/said.new\" \"$3/said\"",
        );
        let command = PrepareCommand {
            store: dir.path().to_owned(),
            bin_dir: "/pg/bin".into(),
            count: 2,
            after: Duration::ZERO,
            user: None,
        };
        prepare(&launch.program, &command).unwrap();
        let said = boma_testkit::eventually(Duration::from_secs(20), async || {
            std::fs::read_to_string(dir.path().join("said")).map_err(|error| error.to_string())
        });
        assert!(
            said.await
                .unwrap()
                .ends_with("--bin-dir /pg/bin --count 2 --after 0\n")
        );
    }
}
