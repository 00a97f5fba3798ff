//! What these tests share: installations, and a place for one server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boma_instance::{InstanceId, MajorVersion};
use boma_postgres::cluster::{Made, MakeError, Milestone, NewCluster, Store, make};
use boma_postgres::programs::{Installation, Installations, SearchPaths};
use boma_postgres::server::{Launch, PidFile, Running, StartError, StopMode, start};
use boma_testkit::{ScratchDir, free_loopback_address, postgres_builds};
use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_mins(2);

/// One installation of each major version.
pub(crate) fn installations() -> anyhow::Result<Vec<Installation>> {
    let bins = postgres_builds()?.into_iter().map(|build| build.bin);
    Ok(Installations::discover(&SearchPaths::only(bins))
        .all()
        .to_vec())
}

/// The one of a major version.
pub(crate) fn installation_of(major: MajorVersion) -> anyhow::Result<Installation> {
    let found = installations()?
        .into_iter()
        .find(|one| one.major() == major);
    found.ok_or_else(|| anyhow::anyhow!("there is no PostgreSQL {major}"))
}

/// The oldest: for what does not depend on the version.
pub(crate) fn installation() -> anyhow::Result<Installation> {
    installation_of(MajorVersion::V15)
}

/// What is in a directory, sorted.
pub(crate) fn names(directory: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = std::fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// A place for the data directory of one instance.
pub(crate) struct Place {
    pub(crate) installation: Installation,
    pub(crate) parent: PathBuf,
    pub(crate) instance: InstanceId,
    pub(crate) milestones: Vec<Milestone>,
}

impl Place {
    pub(crate) fn new(installation: &Installation, scratch: &Path) -> anyhow::Result<Self> {
        let instance = InstanceId(uuid::Uuid::new_v4());
        let parent = scratch.join(instance.short());
        std::fs::create_dir(&parent)?;
        Ok(Self {
            installation: installation.clone(),
            parent,
            instance,
            milestones: Vec::new(),
        })
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.parent.join("data")
    }

    pub(crate) fn make(&mut self, store: Option<&Store>) -> Result<Made, MakeError> {
        let data = self.data();
        let new = NewCluster {
            installation: &self.installation,
            directory: &data,
            instance: self.instance,
        };
        make(&new, store, &mut |milestone| {
            self.milestones.push(milestone);
        })
    }
}

/// A cluster that can be started.
pub(crate) struct Host {
    pub(crate) place: Place,
    pub(crate) listen: SocketAddr,
    // Dropped last: what is in it is removed.
    pub(crate) scratch: ScratchDir,
}

impl Host {
    /// Makes the cluster, with `initdb`, and writes settings that let this user in.
    pub(crate) fn new(installation: &Installation) -> anyhow::Result<Self> {
        let scratch = ScratchDir::new()?;
        let place = Place::new(installation, scratch.path())?;
        let mut host = Self {
            place,
            listen: free_loopback_address()?,
            scratch,
        };
        host.place.make(None)?;
        host.configure(host.listen)?;
        Ok(host)
    }

    /// Writes settings.
    pub(crate) fn configure(&self, listen: SocketAddr) -> anyhow::Result<()> {
        let data = self.data();
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?;
        let user = user.map(|user| user.name).unwrap_or_default();
        let settings = format!(
            "listen_addresses = '{}'\nport = {}\nunix_socket_directories = '{}'\n",
            listen.ip(),
            listen.port(),
            self.scratch.path().display()
        );
        std::fs::write(data.join("postgresql.auto.conf"), settings)?;
        std::fs::write(data.join("pg_hba.conf"), "local all all peer map=me\n")?;
        std::fs::write(data.join("pg_ident.conf"), format!("me {user} postgres\n"))?;
        Ok(())
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.place.data()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.place.parent.join("postgres.log")
    }

    /// Starts the server.
    pub(crate) async fn start(&self) -> Result<Running, StartError> {
        self.start_with(self.scratch.path(), LONG).await
    }

    pub(crate) async fn start_with(
        &self,
        socket_directory: &Path,
        patience: Duration,
    ) -> Result<Running, StartError> {
        let (data, log) = (self.data(), self.log());
        let launch = Launch {
            installation: &self.place.installation,
            data: &data,
            log: &log,
            socket_directory,
            listen: self.listen,
        };
        start(&launch, patience).await
    }

    /// Connects over the Unix socket.
    pub(crate) async fn connect(&self) -> anyhow::Result<tokio_postgres::Client> {
        self.connect_to("postgres").await
    }

    pub(crate) async fn connect_to(
        &self,
        database: &str,
    ) -> anyhow::Result<tokio_postgres::Client> {
        let (client, connection) = tokio_postgres::Config::new()
            .host_path(self.scratch.path())
            .port(self.listen.port())
            .user("postgres")
            .dbname(database)
            .connect(tokio_postgres::NoTls)
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

/// A failed test leaves no server behind.
impl Drop for Host {
    fn drop(&mut self) {
        let Ok(Some(file)) = PidFile::read(&self.data()) else {
            return;
        };
        let ours = std::fs::read_link(format!("/proc/{}/cwd", file.pid))
            .is_ok_and(|directory| directory == self.data());
        if ours && let Some(pid) = i32::try_from(file.pid).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::QUIT).ok();
        }
    }
}

/// Stops a server as a test ends.
pub(crate) async fn stop(running: Running) -> anyhow::Result<()> {
    let exit = running.stop(StopMode::Fast, LONG).await?;
    anyhow::ensure!(
        exit.status.is_none_or(|status| status.success()),
        "{exit:?}"
    );
    Ok(())
}
