//! An agent in a directory of its own, and a client for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use boma_agent::{AgentConfig, SOCKET};
use boma_instance::api::{self, Reported};
use boma_instance::{
    Assignment, InstanceId, InstanceSpec, InstanceStatus, Listen, Phase, Placement, Power,
    Resources,
};
use boma_testkit::{Build, ScratchDir, eventually, free_loopback_address};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

/// How long anything may take. Never measured against; only a limit for what hangs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until something works, and says why it did not when it never does.
pub(crate) async fn wait<T>(mut condition: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    eventually(PATIENCE, async || {
        condition().await.map_err(|error| format!("{error:#}"))
    })
    .await
}

/// A place for one instance.
pub(crate) struct Place {
    pub(crate) scratch: ScratchDir,
    pub(crate) config: AgentConfig,
    pub(crate) assignment: Assignment,
}

/// An agent that runs in this process, on threads of its own.
pub(crate) struct Running(Option<Runtime>);

impl Running {
    /// Ends it in the middle of whatever it does, and returns when it is gone: with the work that it
    /// has given to threads, which would act beside the next one and which a killed process takes along.
    pub(crate) async fn kill(mut self) {
        if let Some(runtime) = self.0.take() {
            let ended = tokio::task::spawn_blocking(|| runtime.shutdown_timeout(PATIENCE));
            drop(ended.await);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Place {
    /// A place for a server of a build.
    pub(crate) fn new(build: &Build) -> Result<Self> {
        boma_testkit::become_unprivileged()?;
        let scratch = ScratchDir::new()?;
        let config = AgentConfig {
            dir: scratch.path().join("i"),
            run_dir: scratch.path().join("r"),
            store: scratch.path().join("t"),
            bin_dir: build.bin.clone(),
            boma: "/nowhere/boma".into(),
            pod: None,
        };
        let address = free_loopback_address()?;
        let assignment = Assignment {
            spec: InstanceSpec {
                id: InstanceId(uuid::Uuid::new_v4()),
                generation: 1,
                identity: "fincorp/retail-banking/development/shop/orders".into(),
                database: "orders".into(),
                version: build.major,
                power: Power::On,
                resources: Resources {
                    cpu_millis: 1000,
                    memory_bytes: 256 << 20,
                    storage_bytes: 1 << 30,
                },
                parameters: BTreeMap::new(),
                extensions: BTreeSet::new(),
                logins: Vec::new(),
                backup: None,
                origin: None,
                drift: boma_instance::Drift::default(),
                storage_class: None,
            },
            placement: Placement {
                listen: Listen {
                    address: address.ip(),
                    port: address.port(),
                    names: Vec::new(),
                },
                bind: None,
                tls: None,
                repositories: BTreeMap::new(),
            },
        };
        Ok(Self {
            scratch,
            config,
            assignment,
        })
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.config.dir.join("data")
    }

    /// Starts an agent.
    pub(crate) fn start(&self) -> Running {
        let config = self.config.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a machine that runs tests should have a thread for an agent");
        runtime.spawn(async move {
            // An agent that could not begin is seen by its silence.
            drop(Box::pin(boma_agent::serve(config)).await);
        });
        Running(Some(runtime))
    }

    /// Hands the assignment over, and fails unless it is accepted.
    pub(crate) async fn assign(&self) -> Result<()> {
        let body = serde_json::to_vec(&self.assignment)?;
        wait(async || {
            let (code, text) = self.ask("PUT", api::ASSIGNMENT, &body).await?;
            ensure!(code == 200, "{code} {text}");
            Ok(())
        })
        .await
    }

    /// Waits until the server is as its spec says.
    pub(crate) async fn ready(&self) -> Result<InstanceStatus> {
        self.in_phase(Phase::Ready).await
    }

    /// Waits until the current generation is in a phase.
    pub(crate) async fn in_phase(&self, phase: Phase) -> Result<InstanceStatus> {
        wait(async || {
            let status = self.status().await?;
            ensure!(
                status.phase == phase
                    && status.accepted_generation == self.assignment.spec.generation,
                "{status:?}"
            );
            Ok(status)
        })
        .await
    }

    /// The status as it is now.
    pub(crate) async fn status(&self) -> Result<InstanceStatus> {
        let (code, text) = self
            .ask("GET", &format!("{}?wait=0", api::STATUS), b"")
            .await?;
        ensure!(code == 200, "{code} {text}");
        let reported: Reported = serde_json::from_str(&text)?;
        Ok(reported.status)
    }

    /// Makes the agent look now.
    pub(crate) async fn look(&self) -> Result<()> {
        let (code, text) = self.ask("POST", api::LOOK, b"").await?;
        ensure!(code == 202, "{code} {text}");
        Ok(())
    }

    /// One request; the code and the body of the answer.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Result<(u16, String)> {
        let socket = self.config.run_dir.join(SOCKET);
        let mut stream = UnixStream::connect(&socket)
            .await
            .context("connect to the agent")?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let code = answer
            .split(' ')
            .nth(1)
            .context("no status line")?
            .parse()?;
        let body = answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned());
        Ok((code, body.unwrap_or_default()))
    }

    /// Runs SQL as the superuser in the instance's database.
    pub(crate) async fn sql(&self, sql: &str) -> Result<Vec<String>> {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(&self.config.run_dir)
            .port(self.assignment.placement.listen.port)
            .user("postgres")
            .dbname(&self.assignment.spec.database);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        let connection = tokio::spawn(connection);
        let rows = client.simple_query(sql).await?;
        drop(client);
        connection.await??;
        Ok(rows
            .iter()
            .filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                tokio_postgres::SimpleQueryMessage::CommandComplete(_)
                | tokio_postgres::SimpleQueryMessage::RowDescription(_)
                | _ => None,
            })
            .collect())
    }

    /// Ends the server, at the end of a test.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.assignment.spec.generation += 1000;
        self.assignment.spec.power = Power::Off;
        self.assign().await?;
        self.in_phase(Phase::Suspended).await?;
        Ok(())
    }
}
