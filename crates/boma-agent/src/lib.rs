//! Observe, plan, act for one PostgreSQL server.
//!
//! ```text
//!   PUT assignment ─► Ledger (on disk) ─┐
//!                                       ├─► plan (pure) ─► act ─► PostgreSQL
//!   data directory, process, catalogs ──┘        │
//!                                                └─► report (pure) ─► GET status
//! ```
//!
//! One agent runs beside each server, the same code on one machine and in a pod. PostgreSQL
//! outlives it: a new agent adopts the running server. An agent never touches a data directory
//! that is not its instance's, never replaces a lost one by an empty one, and sees no password:
//! it is given verifiers.

mod api;
mod backups;
pub mod drill;
pub mod enter;
mod history;
mod host;
pub mod init;
pub mod ledger;
mod metrics;
pub mod plan;
pub mod pod;
pub mod recovery;
mod run;
pub mod wal;

#[cfg(test)]
mod testing;

use std::io;
use std::path::{Path, PathBuf};

use boma_postgres::server::{Lease, LeaseError};
use boma_problem::{Class, IntoProblem, Problem};
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::backups::Backups;
use crate::host::Host;
use crate::ledger::Ledger;
use crate::pod::{PodConfig, PodError};
use crate::run::Agent;
use crate::wal::Carriers;

/// Name of the server's log in the instance directory.
pub const LOG: &str = "postgresql.log";

/// Name of the API's Unix socket in the run directory.
pub const SOCKET: &str = boma_instance::api::SOCKET;

/// What an agent is started with.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The instance directory: assignment, data, TLS material, logs.
    pub dir: PathBuf,
    /// Directory of the Unix sockets, its own and PostgreSQL's; short.
    pub run_dir: PathBuf,
    /// Templates and spare clusters.
    pub store: PathBuf,
    /// The PostgreSQL programs to run.
    pub bin_dir: PathBuf,
    /// The `boma` program, which PostgreSQL runs to hand over WAL files.
    pub boma: PathBuf,
    /// What it is given in a pod; none: on one machine.
    pub pod: Option<PodConfig>,
}

/// Why an agent could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another agent serves this instance.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A directory of its own could not be made.
    #[error("make directory `{}`", path.display())]
    MakeDirectory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The API's socket could not be opened.
    #[error("listen on `{}`", path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The API ended by itself.
    #[error("serve the agent's API")]
    Api(#[source] io::Error),
    /// What the pod mounts cannot be used.
    #[error(transparent)]
    Pod(#[from] PodError),
}

impl IntoProblem for ServeError {
    fn problem(&self) -> Problem {
        match self {
            Self::Lease(error) => error.problem(),
            Self::MakeDirectory { .. } | Self::Listen { .. } => {
                Problem::from_error(Class::Config, "agent-cannot-listen", self)
                    .hint("The directory must belong to the user that servers run as.")
            }
            Self::Api(_) => Problem::from_error(Class::Internal, "agent-api-ended", self),
            Self::Pod(error) => error.problem(),
        }
    }
}

/// Serves one instance until asked to end. The server it runs is left running on one machine; in a
/// pod, where it would be killed with the pod, it is stopped in order.
pub async fn serve(config: AgentConfig) -> Result<(), ServeError> {
    for path in [&config.dir, &config.run_dir] {
        std::fs::create_dir_all(path).map_err(|source| ServeError::MakeDirectory {
            path: path.clone(),
            source,
        })?;
    }
    let _lease = Lease::acquire(&config.dir.join(host::DATA))?;
    // A drill that was killed with its agent may have left a server behind.
    if let Err(problem) = drill::clear(&config.dir, &config.run_dir).await {
        tracing::warn!(%problem, "what a drill left behind is still there");
    }
    let listener = listen(&config.run_dir.join(SOCKET))?;
    let mut ledger = open_ledger(&config.dir);
    if let Some(pod) = &config.pod {
        pod.take_assignment(&mut ledger);
    }
    let host = Host::new(&config);
    let paths = host.paths();
    let carriers = watch::Sender::new(Carriers::default());
    let desk = carriers.subscribe();
    let archive_ended = desk.borrow().ended.clone();
    let places = host.places(&paths);
    let (agent, handle, ends) = Agent::new(host.with_end(archive_ended), paths, ledger);
    let backups = Backups::new(places, (ends.situation, ends.orders), ends.report, carriers);
    let pod = config.pod;
    let pod = pod.map(|pod| pod.open(handle.clone(), &config.dir));
    let pod = pod.transpose()?;
    let router = api::router(handle).merge(wal::router(desk));
    let api = axum::serve(listener, router);
    tokio::spawn(backups.run());
    tokio::select! {
        () = agent.run() => Ok(()),
        ended = async { api.await } => ended.map_err(ServeError::Api),
        ended = pod::serve(pod) => ended.map_err(ServeError::Api),
    }
}

/// A ledger that cannot be read is as good as none: the engine holds the assignment too, and sends
/// it again. Until then the agent does nothing.
fn open_ledger(dir: &Path) -> Ledger {
    Ledger::open(dir).unwrap_or_else(|error| {
        tracing::error!(problem = %error.problem(), "the stored assignment is not used");
        Ledger::empty(dir)
    })
}

fn listen(path: &Path) -> Result<UnixListener, ServeError> {
    // The lock is held: a socket that is there was left by an agent that is gone.
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(ServeError::Listen {
                path: path.to_owned(),
                source,
            });
        }
        Ok(()) | Err(_) => {}
    }
    UnixListener::bind(path).map_err(|source| ServeError::Listen {
        path: path.to_owned(),
        source,
    })
}
