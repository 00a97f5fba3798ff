//! Starting a server.

use std::fs::OpenOptions;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use boma_problem::{Class, IntoProblem, Problem};
use tokio::time::Instant;

use super::pid_file::ServerState;
use super::remains::{self, Remains};
use super::watch::Watch;
use super::{Exit, Running, log};
use crate::control;
use crate::path_error::{At, PathError};
use crate::process::Process;
use crate::programs::Installation;

/// How to start a server. Everything else is in the files of its data directory.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The programs.
    pub installation: &'a Installation,
    /// The data directory, made by [`crate::cluster::make`] and with its settings written.
    pub data: &'a Path,
    /// The file that takes what the server says; see [`super::log`].
    pub log: &'a Path,
    /// The directory of its Unix socket, as its settings say.
    pub socket_directory: &'a Path,
    /// The address it listens on, as its settings say.
    pub listen: SocketAddr,
}

/// Why a server is not running, or does not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The program is not there any more.
    #[error("`{}` is not there", .0.display())]
    MissingProgram(PathBuf),
    /// The data directory belongs to another major version.
    #[error("data directory `{}` is of version {found}, not {wanted}", data.display())]
    WrongVersion {
        /// The data directory.
        data: PathBuf,
        /// What it belongs to.
        found: String,
        /// What was to be started.
        wanted: String,
    },
    /// The data directory belongs to another user.
    #[error("data directory `{}` belongs to user {owner}, not {user}", data.display())]
    WrongOwner {
        /// The data directory.
        data: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// Others may read or write the data directory, which PostgreSQL does not allow.
    #[error("data directory `{}` is open to others (mode {mode:o})", data.display())]
    OpenToOthers {
        /// The data directory.
        data: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The path of the Unix socket is longer than the system allows.
    #[error("the path of the Unix socket in `{}` is longer than {most} bytes", directory.display())]
    LongSocketPath {
        /// The directory of the socket.
        directory: PathBuf,
        /// What the system allows.
        most: usize,
    },
    /// A server runs already; [`super::adopt`] takes hold of it.
    #[error("server {pid} already runs on `{}`", data.display())]
    RunsAlready {
        /// The data directory.
        data: PathBuf,
        /// The process.
        pid: u32,
    },
    /// Processes of an earlier server do not end.
    #[error("processes {pids:?} of an earlier server on `{}` do not end", data.display())]
    Orphans {
        /// The data directory.
        data: PathBuf,
        /// The processes.
        pids: Vec<u32>,
    },
    /// Something else listens on the address.
    #[error("address {0} is in use")]
    AddressInUse(SocketAddr),
    /// This host does not have the address.
    #[error("address {0} is not one of this host")]
    NoSuchAddress(SocketAddr),
    /// The server ended instead of answering.
    #[error("the server ended while it started ({exit}): {}", said.join(" | "))]
    Ended {
        /// How.
        exit: Exit,
        /// The last lines that it said.
        said: Vec<String>,
    },
    /// The server neither ended nor answers. It is left alone, because replaying WAL after a crash
    /// takes as long as it takes; [`super::adopt`] takes hold of it.
    #[error("the server does not answer after {} s: {}", patience.as_secs(), said.join(" | "))]
    Slow {
        /// How long was waited.
        patience: Duration,
        /// The last lines that it said.
        said: Vec<String>,
    },
    /// A file operation failed.
    #[error("start the server")]
    File(#[source] PathError),
}

impl From<PathError> for StartError {
    fn from(error: PathError) -> Self {
        Self::File(error)
    }
}

impl IntoProblem for StartError {
    fn problem(&self) -> Problem {
        let of = |class, code| Problem::from_error(class, code, self);
        match self {
            Self::MissingProgram(_) => of(Class::Config, "postgres-program-missing")
                .hint("Install it again; `boma postgres list` shows what this host has."),
            Self::WrongVersion { .. } => of(Class::User, "wrong-major-version")
                .hint("Ask for the version that the data has; Boma does not change it by itself."),
            Self::WrongOwner { data, user, .. } => of(Class::Config, "wrong-owner")
                .hint(format!("`chown -R {user} {}`.", data.display())),
            Self::OpenToOthers { data, .. } => of(Class::Config, "data-directory-open-to-others")
                .hint(format!("`chmod 700 {}`.", data.display())),
            Self::LongSocketPath { .. } => of(Class::Config, "socket-path-too-long")
                .hint("Choose a state directory with a shorter path."),
            Self::RunsAlready { .. } => of(Class::Transient, "server-runs-already"),
            Self::Orphans { pids, .. } => of(Class::Transient, "orphans-remain").hint(format!(
                "They wait for the disk most likely: `ps -o pid,stat,wchan,args -p {}`.",
                pids.iter()
                    .map(u32::to_string)
                    .collect::<Vec<_>>()
                    .join(",")
            )),
            Self::AddressInUse(address) => of(Class::Config, "address-in-use").hint(format!(
                "`ss -ltnp 'sport = :{}'` shows what listens there; end it.",
                address.port()
            )),
            Self::NoSuchAddress(_) => of(Class::Config, "no-such-address")
                .hint("`ip address` shows the addresses of this host."),
            Self::Ended { .. } => of(Class::Config, "server-ended")
                .hint("The text above is what the server said last; `boma logs` shows more."),
            Self::Slow { .. } => of(Class::Transient, "server-starts-slowly")
                .hint("After a crash it replays what was written; it goes on by itself."),
            Self::File(error) => error.explain(of(Class::Transient, "server-not-started")),
        }
    }
}

/// Starts a server and waits until it answers.
///
/// Needs the [`super::Lease`] of the data directory. Processes that a killed server left behind are
/// ended first.
///
/// # Errors
/// All but [`StartError::Slow`] mean that no server of ours is left running.
pub async fn start(launch: &Launch<'_>, patience: Duration) -> Result<Running, StartError> {
    check(launch)?;
    let data = launch.data.to_owned();
    let clear = tokio::task::spawn_blocking(move || remains::clear(&data));
    match clear.await.at("look for processes in", launch.data)?? {
        Remains::Cleared => {}
        Remains::Server(pid) => {
            return Err(StartError::RunsAlready {
                data: launch.data.to_owned(),
                pid,
            });
        }
        Remains::Orphans(pids) => {
            return Err(StartError::Orphans {
                data: launch.data.to_owned(),
                pids,
            });
        }
    }
    let begin = log::length(launch.log);
    let running = spawn(launch)?;
    match running.answers(patience).await? {
        Answer::Yes => Ok(running),
        Answer::Ended(exit) => Err(why_it_ended(launch, exit, begin)),
        Answer::NotYet => {
            let said = log::tail(launch.log, begin);
            Err(StartError::Slow { patience, said })
        }
    }
}

/// What became of a server that was waited for.
enum Answer {
    Yes,
    Ended(Exit),
    NotYet,
}

impl Running {
    /// Waits until the server answers; true: it does. False: it has ended, or does not yet.
    /// For one that was adopted while it started.
    pub async fn ready(&self, patience: Duration) -> Result<bool, PathError> {
        Ok(matches!(self.answers(patience).await?, Answer::Yes))
    }

    /// Waits until the server takes connections; true: it does. False: it has ended, or does not
    /// yet. One that recovers without hot standby has started, and takes none before it is done.
    pub async fn open(&self, patience: Duration) -> Result<bool, PathError> {
        let open = [ServerState::Ready];
        Ok(matches!(self.reaches(&open, patience).await?, Answer::Yes))
    }

    async fn answers(&self, patience: Duration) -> Result<Answer, PathError> {
        self.reaches(&[ServerState::Ready, ServerState::Standby], patience)
            .await
    }

    async fn reaches(
        &self,
        states: &[ServerState],
        patience: Duration,
    ) -> Result<Answer, PathError> {
        let end = Instant::now() + patience;
        let watch = Watch::begin(&self.data);
        loop {
            if let Some(file) = self.state()?
                && states.contains(&file.state)
            {
                return Ok(Answer::Yes);
            }
            // Both are cancel-safe: neither takes anything that the other way round needs.
            tokio::select! {
                () = watch.changed() => {}
                exit = self.exited() => {
                    return Ok(Answer::Ended(exit));
                }
                () = tokio::time::sleep_until(end) => return Ok(Answer::NotYet),
            }
        }
    }
}

/// Sees beforehand what the server would only say in its log.
fn check(launch: &Launch<'_>) -> Result<(), StartError> {
    let Launch {
        installation,
        data,
        socket_directory,
        ..
    } = *launch;
    let program = installation.program("postgres");
    if !program.is_file() {
        return Err(StartError::MissingProgram(program));
    }
    let metadata = std::fs::metadata(data).at("look at", data)?;
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        let (data, owner) = (data.to_owned(), metadata.uid());
        return Err(StartError::WrongOwner { data, owner, user });
    }
    // PostgreSQL allows the group to read, nothing else.
    if metadata.mode() & 0o027 != 0 {
        let (data, mode) = (data.to_owned(), metadata.mode() & 0o7777);
        return Err(StartError::OpenToOthers { data, mode });
    }
    let found = control::major_version(data)?;
    if found != Some(installation.major()) {
        return Err(StartError::WrongVersion {
            data: data.to_owned(),
            found: found.map_or_else(|| "another".to_owned(), |major| major.to_string()),
            wanted: installation.major().to_string(),
        });
    }
    check_socket_path(socket_directory, launch.listen.port())
}

fn check_socket_path(directory: &Path, port: u16) -> Result<(), StartError> {
    /// `sun_path` of `sockaddr_un`, without the byte that ends it (Linux; macOS has four less).
    const MOST: usize = 107;
    let socket = directory.join(format!(".s.PGSQL.{port}"));
    if socket.as_os_str().len() > MOST {
        let directory = directory.to_owned();
        return Err(StartError::LongSocketPath {
            directory,
            most: MOST,
        });
    }
    Ok(())
}

fn spawn(launch: &Launch<'_>) -> Result<Running, StartError> {
    let Launch {
        installation,
        data,
        log,
        ..
    } = *launch;
    // Appending: what rotates the file may shorten it while the server holds it open.
    let out = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(log)
        .at("open", log)?;
    let errors = out.try_clone().at("open", log)?;
    let program = installation.program("postgres");
    let mut command = Command::new(&program);
    command.arg("-D").arg(data);
    // What the agent was started with is none of the server's business, nor of its commands'.
    command.env_clear().env("LC_ALL", "C");
    for keep in ["PATH", "LD_LIBRARY_PATH", "HOME", "TZDIR"] {
        if let Some(value) = std::env::var_os(keep) {
            command.env(keep, value);
        }
    }
    // A group of its own: what interrupts the agent at a terminal does not reach it.
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(errors);
    let mut child = command.spawn().at("run", &program)?;
    // A child that was not waited for keeps its number, so this is it.
    match Process::open(child.id()).at("watch", &program) {
        Ok(Some(process)) => Ok(Running::new(process, data)?),
        Ok(None) => Err(PathError {
            verb: "watch",
            path: program,
            source: io::Error::other("the process is not there"),
        }
        .into()),
        Err(error) => {
            // Unwatched it would be lost to us.
            child
                .kill()
                .and_then(|()| child.wait())
                .at("end", &program)?;
            Err(error.into())
        }
    }
}

/// The server only says in its log that an address could not be bound; the address itself tells.
fn why_it_ended(launch: &Launch<'_>, exit: Exit, begin: u64) -> StartError {
    match TcpListener::bind(launch.listen).map_err(|error| error.kind()) {
        Err(io::ErrorKind::AddrInUse) => StartError::AddressInUse(launch.listen),
        Err(io::ErrorKind::AddrNotAvailable) => StartError::NoSuchAddress(launch.listen),
        _ => StartError::Ended {
            exit,
            said: log::tail(launch.log, begin),
        },
    }
}
