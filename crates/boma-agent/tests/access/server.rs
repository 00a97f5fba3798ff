//! A server to test with, and the applications that connect to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use boma_agent::plan::access;
use boma_instance::settings::{Paths, render_conf, render_hba, render_ident};
use boma_instance::{
    Access, Assignment, InstanceId, InstanceSpec, Listen, LoginSpec, MajorVersion, Placement,
    Power, Resources, Secret,
};
use boma_postgres::cluster::{NewCluster, make};
use boma_postgres::programs::{Installation, Installations, SearchPaths};
use boma_postgres::server::{Launch, Running, StopMode, start};
use boma_postgres::sql::{AccessStep, Controls, SeenDatabase, SeenServer, Socket};
use boma_testkit::{
    ScratchDir, become_unprivileged, eventually, free_loopback_address, postgres_builds,
};
use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;

const LONG: Duration = Duration::from_mins(1);

/// A server without access yet.
pub(crate) struct Server {
    pub(crate) want: Assignment,
    scratch: ScratchDir,
    running: Running,
    system_user: String,
    configurations: u32,
}

/// Runs a test on every version, each after the other, and stops the servers whatever happens.
pub(crate) async fn on_each_version(
    test: impl AsyncFn(&mut Server) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    become_unprivileged()?;
    for installation in installations()? {
        on(&installation, &test).await?;
    }
    Ok(())
}

/// Runs a test on the oldest and the newest version: for what takes long.
pub(crate) async fn on_oldest_and_newest(
    test: impl AsyncFn(&mut Server) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    become_unprivileged()?;
    let all = installations()?;
    for installation in all.first().into_iter().chain(all.last()) {
        on(installation, &test).await?;
    }
    Ok(())
}

async fn on(
    installation: &Installation,
    test: &impl AsyncFn(&mut Server) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut server = Server::start(installation).await?;
    let result = test(&mut server).await;
    let version = server.want.spec.version;
    let stopped = server.running.stop(StopMode::Immediate, LONG).await;
    result.with_context(|| format!("on PostgreSQL {version}"))?;
    stopped?;
    Ok(())
}

fn installations() -> anyhow::Result<Vec<Installation>> {
    let bins = postgres_builds()?.into_iter().map(|build| build.bin);
    Ok(Installations::discover(&SearchPaths::only(bins))
        .all()
        .to_vec())
}

impl Server {
    async fn start(installation: &Installation) -> anyhow::Result<Self> {
        let scratch = ScratchDir::new()?;
        let data = scratch.path().join("data");
        let instance = InstanceId(Uuid::new_v4());
        make(
            &NewCluster {
                installation,
                directory: &data,
                instance,
            },
            None,
            &mut |_| {},
        )?;
        let listen = free_loopback_address()?;
        let want = assignment(installation.major(), instance, listen);
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?.context("no user")?;
        write_files(&want, &scratch, &user.name, 0)?;
        let launch = Launch {
            installation,
            data: &data,
            log: &scratch.path().join("log"),
            socket_directory: scratch.path(),
            listen,
        };
        let running = start(&launch, LONG).await?;
        Ok(Self {
            want,
            scratch,
            running,
            system_user: user.name,
            configurations: 0,
        })
    }

    /// Control connections as an agent has them.
    pub(crate) fn controls(&self) -> Controls {
        Controls::open(self.socket(), &self.want.spec.database)
    }

    fn socket(&self) -> Socket {
        let port = self.want.placement.listen.port;
        Socket {
            directory: self.scratch.path().to_owned(),
            port,
        }
    }

    /// Writes the configuration files, reloads them, and waits until they are in force.
    pub(crate) async fn configure(&mut self) -> anyhow::Result<SeenServer> {
        self.configurations += 1;
        let serial = self.configurations;
        write_files(&self.want, &self.scratch, &self.system_user, serial)?;
        self.running.reload()?;
        let serial = serial.to_string();
        eventually(LONG, async || {
            let seen = self.controls().observe_server().await;
            let seen = seen.map_err(|error| error.to_string())?;
            if seen.configuration.as_deref() == Some(&serial) {
                Ok(seen)
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await
    }

    /// Plans and acts until there is nothing to do, as an agent does; all steps that it took.
    pub(crate) async fn converge(&mut self) -> anyhow::Result<Vec<AccessStep>> {
        self.configure().await?;
        self.bring_access().await
    }

    /// Like [`Self::converge`], with the files as they are.
    pub(crate) async fn bring_access(&self) -> anyhow::Result<Vec<AccessStep>> {
        let mut taken = Vec::new();
        let mut controls = self.controls();
        for _pass in 0..8 {
            let steps = access::plan(&self.want.spec, &controls.look(&self.want.spec).await?.1);
            if steps.is_empty() {
                return Ok(taken);
            }
            controls.act_all(&steps).await?;
            taken.extend(steps);
        }
        let seen = controls.look(&self.want.spec).await?.1;
        anyhow::bail!(
            "it does not settle: {:?}",
            access::plan(&self.want.spec, &seen)
        )
    }

    /// What there is now.
    pub(crate) async fn observe(&self) -> anyhow::Result<SeenDatabase> {
        Ok(self.controls().look(&self.want.spec).await?.1)
    }

    /// Adds a login, its password its name.
    pub(crate) fn grant(&mut self, role: &str, access: Access) {
        self.want.spec.logins.retain(|login| login.role != role);
        self.want.spec.logins.push(LoginSpec {
            role: role.to_owned(),
            access,
            verifier: Some(Secret::new(verifier(role))),
            comment: format!("login-svc/{role}"),
        });
    }

    /// Takes a login away.
    pub(crate) fn withdraw(&mut self, role: &str) {
        self.want.spec.logins.retain(|login| login.role != role);
    }

    /// Connects as an application does.
    pub(crate) async fn connect(&self, role: &str) -> anyhow::Result<Client> {
        self.connect_to(&self.want.spec.database, role).await
    }

    /// Connects over TCP to any database.
    pub(crate) async fn connect_to(&self, database: &str, role: &str) -> anyhow::Result<Client> {
        let listen = &self.want.placement.listen;
        let mut config = Config::new();
        config.host(listen.address.to_string()).port(listen.port);
        config.user(role).password(role).dbname(database);
        open(&config).await
    }

    /// Connects as the superuser, with none of Boma's precautions: a person at work.
    pub(crate) async fn by_hand(&self, database: &str) -> anyhow::Result<Client> {
        let mut config = Config::new();
        config
            .host_path(self.scratch.path())
            .port(self.want.placement.listen.port);
        config.user("postgres").dbname(database);
        open(&config).await
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.scratch.path().join("log"))?)
    }

    /// The server itself, for its signals.
    pub(crate) async fn restart(&mut self, installation: &Installation) -> anyhow::Result<()> {
        self.running.stop(StopMode::Fast, LONG).await?;
        let listen = &self.want.placement.listen;
        let launch = Launch {
            installation,
            data: &self.scratch.path().join("data"),
            log: &self.scratch.path().join("log"),
            socket_directory: self.scratch.path(),
            listen: (listen.address, listen.port).into(),
        };
        self.running = start(&launch, LONG).await?;
        Ok(())
    }

    /// The programs that it runs on.
    pub(crate) fn installation(&self) -> anyhow::Result<Installation> {
        let all = installations()?;
        all.into_iter()
            .find(|one| one.major() == self.want.spec.version)
            .context("it was there")
    }
}

async fn open(config: &Config) -> anyhow::Result<Client> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// What PostgreSQL stores for a password.
pub(crate) fn verifier(password: &str) -> String {
    postgres_protocol::password::scram_sha_256(password.as_bytes())
}

fn assignment(version: MajorVersion, id: InstanceId, listen: std::net::SocketAddr) -> Assignment {
    Assignment {
        spec: InstanceSpec {
            id,
            generation: 1,
            identity: "fincorp/retail-banking/development/login-svc/accounts-db".into(),
            database: "accounts_db".into(),
            version,
            power: Power::On,
            resources: Resources {
                cpu_millis: 250,
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
                address: listen.ip(),
                port: listen.port(),
                names: Vec::new(),
            },
            bind: None,
            tls: None,
            repositories: BTreeMap::new(),
        },
    }
}

fn write_files(
    want: &Assignment,
    scratch: &ScratchDir,
    system_user: &str,
    serial: u32,
) -> anyhow::Result<()> {
    let data = scratch.path().join("data");
    let paths = Paths {
        data: data.display().to_string(),
        sockets: scratch.path().display().to_string(),
        tls: scratch.path().display().to_string(),
        boma: "/b/boma".to_owned(),
    };
    let conf = format!(
        "{}boma.configuration = '{serial}'\n",
        render_conf(want, &paths)
    );
    std::fs::write(data.join("pg_hba.conf"), render_hba(want))?;
    std::fs::write(data.join("pg_ident.conf"), render_ident(system_user))?;
    Ok(std::fs::write(data.join("postgresql.conf"), conf)?)
}
