//! One server with its agent, a process that can be killed like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use boma_backup::format::key::{KEY_BYTES, RepositoryKey};
use boma_instance::api::{self, Reported};
use boma_instance::backup::{
    BackupSpec, BackupSummary, Origin, RecoveryTarget, RepositoryAccess, RepositoryLocation,
};
use boma_instance::{
    Assignment, InstanceId, InstanceSpec, InstanceStatus, Listen, MajorVersion, Phase, Placement,
    Power, Resources,
};
use boma_postgres::server::PidFile;
use boma_problem::Problem;
use boma_testkit::{
    Build, ScratchDir, become_unprivileged, eventually, free_loopback_address, postgres_builds,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_postgres::Client;

/// A limit for what hangs; nothing is measured against it.
pub(crate) const LONG: Duration = Duration::from_mins(3);

/// Name of the repository in assignments.
const REPOSITORY: &str = "main";

/// Waits until something works, and says why it did not when it never does.
pub(crate) async fn wait<T>(mut condition: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    eventually(LONG, async || {
        condition().await.map_err(|error| format!("{error:#}"))
    })
    .await
}

/// A repository, and a place for servers that use it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    scratch: Arc<ScratchDir>,
    build: Build,
    key: [u8; KEY_BYTES],
}

impl World {
    pub(crate) fn new(major: MajorVersion) -> Result<Self> {
        become_unprivileged()?;
        let build = postgres_builds()?
            .into_iter()
            .find(|build| build.major == major);
        Ok(Self {
            scratch: Arc::new(ScratchDir::new()?),
            build: build.context("find that version")?,
            key: [7; KEY_BYTES],
        })
    }

    /// PostgreSQL's programs.
    pub(crate) fn bin(&self) -> &Path {
        &self.build.bin
    }

    /// Where the repository is.
    pub(crate) fn repository(&self) -> PathBuf {
        self.scratch.path().join("repository")
    }

    /// How the repository is used.
    pub(crate) fn access(&self) -> RepositoryAccess {
        RepositoryAccess {
            location: RepositoryLocation::Directory {
                path: self.repository().display().to_string(),
            },
            key: RepositoryKey::new(self.key).export(),
            compression_level: 1,
        }
    }

    /// A server that is backed up. Its agent does not run yet.
    pub(crate) fn node(&self, name: &str) -> Result<Node> {
        let mut node = self.bare(name)?;
        node.assignment.spec.backup = Some(BackupSpec {
            repository: REPOSITORY.into(),
            schedule: "0 3 * * *".into(),
            retention_days: 7,
            point_in_time: true,
            archive_interval_seconds: 3600,
        });
        let parameters = &mut node.assignment.spec.parameters;
        parameters.insert("track_commit_timestamp".into(), "on".into());
        Ok(node)
    }

    /// A server that runs and has its first backup.
    pub(crate) async fn backed_up(&self, name: &str) -> Result<Node> {
        let mut node = self.node(name)?;
        node.bring_up().await?;
        node.first_backup().await?;
        Ok(node)
    }

    /// A server that comes from the backups of another. Its agent does not run yet.
    pub(crate) fn restored(
        &self,
        name: &str,
        source: &Node,
        target: RecoveryTarget,
    ) -> Result<Node> {
        let mut node = self.bare(name)?;
        node.assignment.spec.parameters = source.assignment.spec.parameters.clone();
        node.assignment.spec.origin = Some(Origin {
            repository: REPOSITORY.into(),
            instance: source.assignment.spec.id,
            database: source.assignment.spec.database.clone(),
            target,
            timeline: None,
        });
        Ok(node)
    }

    fn bare(&self, name: &str) -> Result<Node> {
        let address = free_loopback_address()?;
        let directory = self.scratch.path().join(name);
        fs::create_dir(&directory)?;
        let spec = InstanceSpec {
            id: InstanceId(uuid::Uuid::new_v4()),
            generation: 1,
            identity: format!("fincorp/retail-banking/development/shop/{name}"),
            database: name.replace('-', "_"),
            version: self.build.major,
            power: Power::On,
            resources: Resources {
                cpu_millis: 1000,
                memory_bytes: 256 << 20,
                storage_bytes: 4 << 30,
            },
            parameters: BTreeMap::new(),
            extensions: BTreeSet::new(),
            logins: Vec::new(),
            backup: None,
            origin: None,
            drift: boma_instance::Drift::default(),
            storage_class: None,
        };
        let placement = Placement {
            listen: Listen {
                address: address.ip(),
                port: address.port(),
                names: Vec::new(),
            },
            bind: None,
            tls: None,
            repositories: [(REPOSITORY.to_owned(), self.access())].into(),
        };
        Ok(Node {
            world: self.clone(),
            directory,
            assignment: Assignment { spec, placement },
            agent: None,
        })
    }
}

/// One server and its agent. Both end with it, and their files go.
#[derive(Debug)]
pub(crate) struct Node {
    world: World,
    directory: PathBuf,
    pub(crate) assignment: Assignment,
    agent: Option<Child>,
}

impl Node {
    /// The instance directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.directory.join("i")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.directory.join("r")
    }

    /// Starts an agent.
    pub(crate) fn start(&mut self) -> Result<()> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("agent.log"))?;
        let agent = Command::new(env!("CARGO_BIN_EXE_boma"))
            .args(["agent", "--dir"])
            .arg(self.dir())
            .arg("--run-dir")
            .arg(self.run_dir())
            .arg("--store")
            .arg(self.world.scratch.path().join("store"))
            .arg("--bin-dir")
            .arg(&self.world.build.bin)
            .arg("--log")
            .arg(self.directory.join("agent.log"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.agent = Some(agent);
        Ok(())
    }

    /// Starts an agent, tells it what to do, and returns when its server is as it should be.
    pub(crate) async fn bring_up(&mut self) -> Result<InstanceStatus> {
        self.start()?;
        self.assign().await?;
        self.ready().await
    }

    /// The agent's process.
    pub(crate) fn agent_pid(&self) -> Result<Pid> {
        let agent = self.agent.as_ref().context("an agent runs")?;
        Ok(Pid::from_raw(i32::try_from(agent.id())?))
    }

    /// Kills the agent in the middle of whatever it does.
    pub(crate) fn kill_agent(&mut self) -> Result<()> {
        if let Some(mut agent) = self.agent.take() {
            agent.kill()?;
            agent.wait()?;
        }
        Ok(())
    }

    pub(crate) async fn assign(&self) -> Result<()> {
        let body = serde_json::to_vec(&self.assignment)?;
        wait(async || {
            let (code, text) = self.ask("PUT", api::ASSIGNMENT, &body).await?;
            ensure!(code == 200, "{code} {text}");
            Ok(())
        })
        .await
    }

    pub(crate) async fn status(&self) -> Result<InstanceStatus> {
        let reported: Reported = self.answer("GET", api::STATUS).await?;
        Ok(reported.status)
    }

    pub(crate) async fn ready(&self) -> Result<InstanceStatus> {
        let waited = wait(async || {
            let status = self.status().await?;
            ensure!(status.phase == Phase::Ready, "{status:?}");
            Ok(status)
        });
        let status = waited.await.with_context(|| self.said())?;
        // What was restored is not restored again, nor is anything else wrong with it.
        let again = status
            .problems
            .iter()
            .find(|one| one.code == "data-directory-in-use");
        ensure!(again.is_none(), "{status:?}");
        Ok(status)
    }

    /// What agent and server logged last.
    pub(crate) fn said(&self) -> String {
        let logs = [
            self.directory.join("agent.log"),
            self.dir().join("postgresql.log"),
        ];
        let mut text = String::new();
        for log in logs {
            let content = fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<_> = content.lines().collect();
            text += &lines[lines.len().saturating_sub(25)..].join("\n");
            text.push('\n');
        }
        text
    }

    /// Takes a base backup.
    pub(crate) async fn back_up(&self) -> Result<BackupSummary> {
        self.answer("POST", api::BACKUPS).await
    }

    /// Waits until the backup is whole that the agent takes by itself at first.
    pub(crate) async fn first_backup(&self) -> Result<BackupSummary> {
        wait(async || {
            let backups = self.status().await?.backup.context("no backup status")?;
            backups.backups.first().cloned().context("no backup")
        })
        .await
        .with_context(|| self.said())
    }

    /// Archives what was written until now.
    pub(crate) async fn archive(&self) -> Result<()> {
        let (code, text) = self.ask("POST", api::ARCHIVE, b"").await?;
        ensure!(code == 200, "{code} {text}");
        Ok(())
    }

    async fn answer<T: DeserializeOwned>(&self, method: &str, path: &str) -> Result<T> {
        let (code, text) = self.ask(method, path, b"").await?;
        if code == 200 {
            return Ok(serde_json::from_str(&text)?);
        }
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => Err(anyhow::anyhow!("{}: {problem}", problem.code)),
            Err(_no_problem) => Err(anyhow::anyhow!("{code} {text}")),
        }
    }

    /// One request; the code and the body of the answer.
    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Result<(u16, String)> {
        let mut stream = UnixStream::connect(self.run_dir().join(api::SOCKET))
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
        let code = answer.split(' ').nth(1).context("no status line")?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((code.parse()?, body.to_owned()))
    }

    /// A connection of the superuser to the instance's database.
    pub(crate) async fn connect(&self) -> Result<Client> {
        let (client, connection) = tokio_postgres::Config::new()
            .host_path(self.run_dir())
            .port(self.assignment.placement.listen.port)
            .user("postgres")
            .dbname(&self.assignment.spec.database)
            .connect(tokio_postgres::NoTls)
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What a test started must not outlive it, however it ends.
        let _ended = self.kill_agent();
        end_server(&self.data());
        end_server(&self.dir().join("drill/data"));
        let _left = fs::remove_dir_all(&self.directory);
    }
}

/// Ends the server of a data directory, and returns when its process is gone.
fn end_server(data: &Path) {
    let Ok(Some(file)) = PidFile::read(data) else {
        return;
    };
    let process = PathBuf::from(format!("/proc/{}", file.pid));
    let ours = fs::read_link(process.join("cwd")).is_ok_and(|directory| directory == data);
    if let (true, Ok(pid)) = (ours, i32::try_from(file.pid)) {
        let _ended = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        while process.exists() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}
