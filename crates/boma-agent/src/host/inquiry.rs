//! What is asked of, and told to, a server that answers. Connections are made when they are needed
//! and kept while the agent works; an idle server holds none.

use std::path::Path;
use std::time::Duration;

use boma_instance::statements::Statements;
use boma_instance::{Assignment, InstanceSpec};
use boma_postgres::sql::{AccessStep, Controls, Socket, SqlError};
use boma_problem::IntoProblem;

use super::{Failure, failure};
use crate::plan::{Server, Up};

/// How long a reload may take, and how often it is asked for. The postmaster reads its files at
/// once, and each session when it next waits for a query; ours are new, so they have read them.
const RELOAD_PATIENCE: Duration = Duration::from_secs(5);
const RELOAD_ASKED: Duration = Duration::from_millis(10);

/// Control connections to one server.
#[derive(Debug)]
pub(super) struct Inquiry(Controls);

impl Inquiry {
    /// Prepares; connects to nothing yet.
    pub(super) fn new(sockets: &Path, want: &Assignment) -> Self {
        Self(Controls::open(socket(sockets, want), &want.spec.database))
    }

    /// Whether it is about the server and the database that are wanted.
    pub(super) fn is_of(&self, sockets: &Path, want: &Assignment) -> bool {
        *self.0.socket() == socket(sockets, want) && self.0.groups().database == want.spec.database
    }

    /// Looks at everything that can be seen by SQL.
    pub(super) async fn ask(&mut self, spec: &InstanceSpec, pid: u32) -> Server {
        match self.look(spec, pid).await {
            Ok(up) => Server::Up(Box::new(up)),
            Err(error) if error.is_starting() => Server::Starting,
            Err(error) => Server::Silent(error.problem()),
        }
    }

    async fn look(&mut self, spec: &InstanceSpec, pid: u32) -> Result<Up, SqlError> {
        let (server, database) = self.0.look(spec).await?;
        // Charts can do without it; a server is not silent for that.
        let activity = self.0.activity().await.ok().flatten();
        Ok(Up {
            pid,
            server,
            database,
            activity,
        })
    }

    /// Carries out access steps in their order.
    pub(super) async fn act(&mut self, steps: &[AccessStep]) -> Result<(), Failure> {
        for step in steps {
            tracing::info!(%step, "access");
        }
        self.0.act_all(steps).await.map_err(failure)
    }

    /// Its transactions in the database so far.
    pub(super) fn transactions(&self) -> u64 {
        self.0.transactions()
    }

    /// Asks what the database spends its time with.
    pub(super) async fn statements(&mut self) -> Result<Statements, Failure> {
        self.0.statements().await.map_err(failure)
    }

    /// Takes back what `ALTER SYSTEM` has set.
    pub(super) async fn reset_settings(&mut self, names: &[String]) -> Result<(), Failure> {
        self.0.reset_settings(names).await.map_err(failure)
    }

    /// Writes a checkpoint while queries are served.
    pub(super) async fn checkpoint(&mut self) -> Result<(), Failure> {
        self.0.checkpoint().await.map_err(failure)
    }

    /// Waits until the server has loaded the configuration with this fingerprint, or has refused
    /// it, which the next look tells.
    pub(super) async fn await_reload(&mut self, fingerprint: &str) -> Result<(), Failure> {
        let loaded = async {
            loop {
                let server = self.0.observe_server().await.map_err(failure)?;
                if server.configuration.as_deref() == Some(fingerprint)
                    || !server.refused.is_empty()
                {
                    return Ok(());
                }
                tokio::time::sleep(RELOAD_ASKED).await;
            }
        };
        // Out of patience, the next look sees that the old configuration is still in force.
        tokio::time::timeout(RELOAD_PATIENCE, loaded)
            .await
            .unwrap_or(Ok(()))
    }
}

fn socket(sockets: &Path, want: &Assignment) -> Socket {
    Socket {
        directory: sockets.to_owned(),
        port: want.placement.listen.port,
    }
}
