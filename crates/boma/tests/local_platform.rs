//! The platform of one machine with real agents and real servers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{AgentState, DatabaseRecord, Life, ObservedDatabase, ServerBuild};
use boma_engine::platform::Platform;
use boma_instance::{InstanceId, InstanceSpec, InstanceStatus, Phase, Power, Resources, Truth};
use boma_local::LocalPlatform;
use boma_local::config::{Builds, HostsFile, LocalBuild, LocalConfig};
use boma_testkit::{ScratchDir, become_unprivileged, eventually, postgres_builds};
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_mins(1);

/// A machine with one PostgreSQL, whose processes end with it.
struct Machine {
    scratch: ScratchDir,
    build: boma_testkit::Build,
}

impl Machine {
    fn new() -> Result<Self> {
        let build = postgres_builds()?
            .into_iter()
            .next()
            .context("no PostgreSQL")?;
        Ok(Self {
            scratch: ScratchDir::new()?,
            build,
        })
    }

    async fn open(&self) -> Result<LocalPlatform> {
        let server = ServerBuild {
            major: self.build.major,
            version: "not asked".to_owned(),
            parameters: BTreeMap::new(),
            extensions: BTreeSet::new(),
        };
        let builds = Builds {
            servers: vec![LocalBuild {
                server,
                bin_dir: self.build.bin.clone(),
            }],
            searched: Vec::new(),
        };
        let hosts = self.scratch.path().join("hosts");
        if !hosts.exists() {
            fs::write(&hosts, "127.0.0.1 localhost\n")?;
        }
        let boma = PathBuf::from(env!("CARGO_BIN_EXE_boma"));
        let config = LocalConfig {
            hosts: HostsFile::At(hosts),
            ..LocalConfig::new(self.scratch.path().join("s"), boma, builds)
        };
        Ok(LocalPlatform::open(config).await?)
    }

    fn spec(&self, number: u128, generation: u64) -> InstanceSpec {
        InstanceSpec {
            id: id(number),
            generation,
            identity: format!("a/b/c/d/db-{number}"),
            database: "db".to_owned(),
            version: self.build.major,
            power: Power::On,
            resources: Resources {
                cpu_millis: 500,
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
        }
    }

    /// Registers and makes a database, and waits until it is ready.
    async fn make(&self, platform: &LocalPlatform, number: u128) -> Result<InstanceStatus> {
        platform
            .record_database(&key(number), id(number), &record())
            .await?;
        put(platform, number, &self.spec(number, 1)).await
    }

    /// Stops and retires a database.
    async fn retire(&self, platform: &LocalPlatform, number: u128) -> Result<()> {
        let spec = InstanceSpec {
            power: Power::Off,
            ..self.spec(number, 1000)
        };
        let status = put(platform, number, &spec).await?;
        ensure!(status.phase == Phase::Suspended, "{status:#?}");
        let now = Timestamp::now();
        let retired = Life::Retired {
            since: now,
            until: now,
        };
        platform.set_life(&key(number), retired).await?;
        self.all_ended().await
    }

    /// Nothing of this machine runs any more.
    async fn all_ended(&self) -> Result<()> {
        eventually(PATIENCE, async || match self.processes("") {
            left if left.is_empty() => Ok(()),
            left => Err(format!("processes {left:?}")),
        })
        .await
    }

    /// Processes that name this machine's directory and `part` in their arguments.
    fn processes(&self, part: &str) -> Vec<i32> {
        let here = self.scratch.path().to_string_lossy().into_owned();
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| {
                let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
                arguments.contains(&here) && arguments.contains(part)
            })
            .collect()
    }

    fn agents(&self, number: u128) -> Vec<i32> {
        self.processes(&format!(
            "agent --dir {}/s/instances/{}",
            self.scratch.path().display(),
            id(number)
        ))
    }

    fn signal_agents(&self, number: u128, signal: Signal) -> Result<Vec<i32>> {
        let agents = self.agents(number);
        ensure!(!agents.is_empty(), "no agent runs");
        for agent in &agents {
            kill(Pid::from_raw(*agent), signal)?;
        }
        Ok(agents)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A test that failed left its database running.
        while let left @ [_, ..] = &*self.processes("") {
            for pid in left {
                let _ended = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
        }
        for group in groups() {
            let _removed = fs::remove_dir(group);
        }
    }
}

fn id(number: u128) -> InstanceId {
    // Control groups are the machine's: another run beside this one must not share them.
    let short = u128::from(std::process::id()) << 8 | number;
    InstanceId(uuid::Uuid::from_u128(short << 96 | 0xa))
}

fn key(number: u128) -> DatabaseKey {
    DatabaseKey::new("a/b/c/d", format!("db-{number}"))
}

fn record() -> DatabaseRecord {
    DatabaseRecord {
        deletion_protection: false,
        retention_days: 1,
        beside: None,
    }
}

async fn put(
    platform: &LocalPlatform,
    number: u128,
    spec: &InstanceSpec,
) -> Result<InstanceStatus> {
    platform.put_instance(&key(number), spec).await?;
    let status = platform
        .await_instance(spec.id, spec.generation, PATIENCE)
        .await?;
    ensure!(status.is_converged(spec.generation), "{status:#?}");
    Ok(status)
}

async fn seen(platform: &LocalPlatform, number: u128) -> Result<ObservedDatabase> {
    let mut seen = platform.observe().await?;
    seen.databases.remove(&key(number)).context("not observed")
}

fn status(seen: &ObservedDatabase) -> Result<&InstanceStatus> {
    match &seen.agent {
        AgentState::Answering(status) => Ok(status),
        other @ (AgentState::Silent(_) | AgentState::Absent) => bail!("{other:?}"),
    }
}

fn server(status: &InstanceStatus) -> Result<u32> {
    Ok(status.server.as_ref().context("no server runs")?.pid)
}

fn groups() -> [PathBuf; 3] {
    ["cpu", "memory", ""].map(|part| {
        Path::new("/sys/fs/cgroup")
            .join(part)
            .join("boma")
            .join(id(1).short())
    })
}

/// As whoever runs the tests: as root, servers run as another user and in control groups.
#[tokio::test]
async fn a_database_is_made_adopted_retired_and_purged() -> Result<()> {
    let machine = Machine::new()?;
    let platform = machine.open().await?;
    let made = machine.make(&platform, 1).await?;
    assert_eq!(made.phase, Phase::Ready);
    let agents = machine.agents(1);
    assert_eq!(agents.len(), 1);
    let session = nix::unistd::getsid(agents.first().copied().map(Pid::from_raw))?;
    assert_eq!(
        agents,
        [session.as_raw()],
        "a closed terminal does not end it"
    );
    assert_ne!(fs::metadata(format!("/proc/{}", server(&made)?))?.uid(), 0);

    drop(platform);
    let platform = machine.open().await?;
    let again = put(&platform, 1, &machine.spec(1, 1)).await?;
    assert_eq!(server(&again)?, server(&made)?, "the server goes on");
    assert_eq!(machine.agents(1), agents, "the agent goes on");

    let database = seen(&platform, 1).await?;
    let conditions = &status(&database)?.conditions;
    let enforced = conditions
        .iter()
        .find(|one| one.kind == "ResourcesEnforced")
        .context("no condition")?;
    if platform.capabilities().limits == Some(Ok(())) {
        assert_eq!(enforced.status, Truth::True, "{enforced:?}");
        let own = fs::read_to_string(format!("/proc/{}/cgroup", server(&made)?))?;
        assert!(own.contains(&format!("/boma/{}", id(1).short())), "{own}");
    } else {
        assert_eq!(enforced.status, Truth::False, "{enforced:?}");
    }

    machine.retire(&platform, 1).await?;
    assert!(matches!(
        seen(&platform, 1).await?.agent,
        AgentState::Absent
    ));
    platform.purge(&key(1), id(1)).await?;
    assert!(!platform.layout().instance(id(1)).exists());
    assert!(platform.observe().await?.databases.is_empty());
    assert!(groups().iter().all(|group| !group.exists()));
    Ok(())
}

#[tokio::test]
async fn a_retired_database_comes_back_whole() -> Result<()> {
    become_unprivileged()?;
    let machine = Machine::new()?;
    let platform = machine.open().await?;
    let made = machine.make(&platform, 1).await?;
    machine.retire(&platform, 1).await?;
    platform.set_life(&key(1), Life::Active).await?;
    let back = put(&platform, 1, &machine.spec(1, 1001)).await?;
    let cluster = |status: &InstanceStatus| {
        status
            .server
            .as_ref()
            .map(|server| server.system_identifier)
    };
    assert_eq!(cluster(&back), cluster(&made));
    let spec = InstanceSpec {
        power: Power::Off,
        ..machine.spec(1, 1002)
    };
    put(&platform, 1, &spec).await?;
    let now = Timestamp::now();
    platform
        .set_life(
            &key(1),
            Life::Retired {
                since: now,
                until: now,
            },
        )
        .await?;
    machine.all_ended().await
}

#[tokio::test]
async fn an_agent_that_is_killed_is_absent_then_revived_and_its_server_goes_on() -> Result<()> {
    become_unprivileged()?;
    let machine = Machine::new()?;
    let platform = machine.open().await?;
    let made = machine.make(&platform, 1).await?;
    machine.signal_agents(1, Signal::SIGKILL)?;
    eventually(PATIENCE, async || {
        match seen(&platform, 1).await.map(|seen| seen.agent) {
            Ok(AgentState::Absent) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    drop(platform.begin_pass(Duration::ZERO).await?);
    eventually(PATIENCE, async || {
        match platform.await_instance(id(1), 1, PATIENCE).await {
            Ok(back) if server(&back).ok() == server(&made).ok() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    machine.retire(&platform, 1).await
}

#[tokio::test]
async fn an_agent_that_hangs_is_silent_never_healthy() -> Result<()> {
    become_unprivileged()?;
    let machine = Machine::new()?;
    let platform = machine.open().await?;
    machine.make(&platform, 1).await?;
    machine.signal_agents(1, Signal::SIGSTOP)?;
    let AgentState::Silent(problem) = seen(&platform, 1).await?.agent else {
        bail!("not silent")
    };
    assert_eq!(problem.code, "agent-silent");
    let problem = platform
        .put_instance(&key(1), &machine.spec(1, 2))
        .await
        .err()
        .context("accepted")?;
    assert_eq!(problem.code, "agent-silent");
    machine.signal_agents(1, Signal::SIGCONT)?;
    status(&seen(&platform, 1).await?)?;
    machine.retire(&platform, 1).await
}

#[tokio::test]
async fn two_passes_at_once_make_one_agent() -> Result<()> {
    become_unprivileged()?;
    let machine = Machine::new()?;
    let (one, other) = (machine.open().await?, machine.open().await?);
    one.record_database(&key(1), id(1), &record()).await?;
    let (key, spec) = (key(1), machine.spec(1, 1));
    let (first, second) = tokio::join!(
        one.put_instance(&key, &spec),
        other.put_instance(&key, &spec)
    );
    assert_eq!(first?, second?);
    one.await_instance(id(1), 1, PATIENCE).await?;
    eventually(PATIENCE, async || match machine.agents(1).len() {
        1 => Ok(()),
        count => Err(format!("{count} agents")),
    })
    .await?;
    machine.retire(&one, 1).await
}

#[tokio::test]
async fn a_serving_boma_is_woken_and_starts_dead_agents() -> Result<()> {
    become_unprivileged()?;
    let machine = Machine::new()?;
    let platform = machine.open().await?;
    machine.make(&platform, 1).await?;
    let serving = platform.serve().await?;
    let dead = machine.signal_agents(1, Signal::SIGKILL)?;
    eventually(PATIENCE, async || {
        let woken = tokio::time::timeout(PATIENCE, serving.changed()).await;
        match machine.agents(1) {
            agents if woken.is_ok() && agents.len() == 1 && agents != dead => Ok(()),
            agents => Err(format!("{agents:?}")),
        }
    })
    .await?;
    drop(serving);
    machine.retire(&platform, 1).await
}

#[tokio::test]
async fn a_server_whose_agent_died_is_stopped_before_it_is_purged() -> Result<()> {
    become_unprivileged()?;
    let machine = Machine::new()?;
    let platform = machine.open().await?;
    machine.make(&platform, 1).await?;
    machine.signal_agents(1, Signal::SIGKILL)?;
    // The agent is told that the server is to be off, and dies before it has done anything.
    let off = InstanceSpec {
        power: Power::Off,
        ..machine.spec(1, 2)
    };
    platform.put_instance(&key(1), &off).await?;
    machine.signal_agents(1, Signal::SIGKILL)?;
    let now = Timestamp::now();
    platform
        .set_life(
            &key(1),
            Life::Retired {
                since: now,
                until: now,
            },
        )
        .await?;
    machine.all_ended().await?;
    platform.purge(&key(1), id(1)).await?;
    assert!(!platform.layout().instance(id(1)).exists());
    Ok(())
}
