//! What these tests share: a server with a write-ahead log archive, and a repository.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use boma_backup::copy::{Archive, BackupError, Job, back_up};
use boma_backup::format::key::RepositoryKey;
use boma_backup::format::manifest::Manifest;
use boma_backup::format::names::Prefix;
use boma_backup::meter::Meter;
use boma_backup::restore::{Layout, restore_files};
use boma_backup::store::Repository;
use boma_instance::wal::Segment;
use boma_instance::{InstanceId, MajorVersion};
use boma_postgres::cluster::{NewCluster, make};
use boma_postgres::control::ControlData;
use boma_postgres::programs::{Installation, Installations, SearchPaths};
use boma_postgres::server::{Launch, PidFile, Running, StopMode, start};
use boma_postgres::sql::Socket;
use boma_problem::{Class, Problem};
use boma_testkit::{ScratchDir, free_loopback_address, postgres_builds};
use jiff::Timestamp;
use object_store::local::LocalFileSystem;
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

/// The oldest: it is a distribution's, with all its programs.
pub(crate) fn installation() -> anyhow::Result<Installation> {
    installations()?
        .into_iter()
        .find(|one| one.major() == MajorVersion::V15)
        .ok_or_else(|| anyhow::anyhow!("there is no PostgreSQL 15"))
}

/// A cluster that can be started, whose write-ahead log is copied to a directory.
pub(crate) struct Server {
    pub(crate) installation: Installation,
    pub(crate) instance: InstanceId,
    listen: SocketAddr,
    data: PathBuf,
    // Dropped last: what is in it is removed.
    scratch: ScratchDir,
}

impl Server {
    /// Makes a cluster.
    pub(crate) fn new(installation: &Installation) -> anyhow::Result<Self> {
        let server = Self::empty(installation)?;
        make(
            &NewCluster {
                installation,
                directory: &server.data,
                instance: server.instance,
            },
            None,
            &mut |_milestone| {},
        )?;
        std::fs::create_dir(server.archive())?;
        server.configure(&format!(
            "archive_mode = on\narchive_command = 'cp %p {}/%f'\n",
            server.archive().display()
        ))?;
        Ok(server)
    }

    /// A place for a cluster.
    pub(crate) fn empty(installation: &Installation) -> anyhow::Result<Self> {
        let scratch = ScratchDir::new()?;
        Ok(Self {
            installation: installation.clone(),
            instance: InstanceId(uuid::Uuid::new_v4()),
            listen: free_loopback_address()?,
            data: scratch.path().join("data"),
            scratch,
        })
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.scratch.path().join("archive")
    }

    /// Writes settings that let this user in.
    pub(crate) fn configure(&self, more: &str) -> anyhow::Result<()> {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?;
        let user = user.map(|user| user.name).unwrap_or_default();
        let settings = format!(
            "listen_addresses = '{}'\nport = {}\nunix_socket_directories = '{}'\n{more}",
            self.listen.ip(),
            self.listen.port(),
            self.scratch.path().display()
        );
        std::fs::write(self.data.join("postgresql.auto.conf"), settings)?;
        std::fs::write(self.data.join("pg_hba.conf"), "local all all peer map=me\n")?;
        std::fs::write(
            self.data.join("pg_ident.conf"),
            format!("me {user} postgres\n"),
        )?;
        Ok(())
    }

    pub(crate) async fn start(&self) -> anyhow::Result<Running> {
        let log = self.scratch.path().join("postgres.log");
        let launch = Launch {
            installation: &self.installation,
            data: &self.data,
            log: &log,
            socket_directory: self.scratch.path(),
            listen: self.listen,
        };
        Ok(start(&launch, LONG).await?)
    }

    pub(crate) fn socket(&self) -> Socket {
        Socket {
            directory: self.scratch.path().to_owned(),
            port: self.listen.port(),
        }
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<tokio_postgres::Client> {
        let (client, connection) = tokio_postgres::Config::new()
            .host_path(self.scratch.path())
            .port(self.listen.port())
            .user("postgres")
            .dbname("postgres")
            .connect(tokio_postgres::NoTls)
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }

    pub(crate) fn prefix(&self) -> anyhow::Result<Prefix> {
        Ok(Prefix {
            instance: self.instance,
            system_identifier: ControlData::read(&self.data)?.system_identifier,
        })
    }

    pub(crate) fn job(&self, parent: Option<&Manifest>) -> anyhow::Result<Job> {
        Ok(Job {
            data: self.data.clone(),
            socket: self.socket(),
            prefix: self.prefix()?,
            identity: "test".into(),
            database: "postgres".into(),
            parent: parent.cloned().map(Arc::new),
            workers: 2,
            now: Timestamp::now(),
        })
    }

    pub(crate) async fn back_up(
        &self,
        repository: &Repository,
        parent: Option<&Manifest>,
    ) -> anyhow::Result<Manifest> {
        let job = self.job(parent)?;
        Ok(self.try_back_up(repository, &job, &Meter::new()).await?)
    }

    pub(crate) async fn try_back_up(
        &self,
        repository: &Repository,
        job: &Job,
        meter: &Meter,
    ) -> Result<Manifest, BackupError> {
        back_up(repository, job, &Copied(self.archive()), meter).await
    }

    /// Restores a backup to its end into a place of its own.
    pub(crate) async fn restore(
        &self,
        repository: &Repository,
        manifest: &Manifest,
    ) -> anyhow::Result<Self> {
        let target = Self::empty(&self.installation)?;
        let layout = target.layout();
        let restored =
            restore_files(repository, self.prefix()?, manifest, &layout, &Meter::new()).await?;
        anyhow::ensure!(restored.warnings.is_empty(), "{restored:?}");
        Ok(target)
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout {
            data: self.data.clone(),
            tablespaces: self.scratch.path().join("tablespaces"),
            workers: 2,
        }
    }

    /// Lets a restored cluster replay the archive of `source` and answer.
    pub(crate) async fn recover_from(&self, source: &Self) -> anyhow::Result<Running> {
        self.configure(&format!(
            "restore_command = 'cp {}/%f %p'\narchive_mode = off\n",
            source.archive().display()
        ))?;
        std::fs::write(self.data.join("recovery.signal"), "")?;
        let running = self.start().await?;
        // It answers as soon as it is consistent; replay goes on behind that.
        let client = self.connect().await?;
        boma_testkit::eventually(LONG, async || {
            let row = client
                .query_one("SELECT pg_is_in_recovery()", &[])
                .await
                .map_err(|error| error.to_string())?;
            if row.get(0) {
                Err("it still replays".to_owned())
            } else {
                Ok(())
            }
        })
        .await?;
        Ok(running)
    }
}

/// A failed test leaves no server behind.
impl Drop for Server {
    fn drop(&mut self) {
        let Ok(Some(file)) = PidFile::read(&self.data) else {
            return;
        };
        let ours = std::fs::read_link(format!("/proc/{}/cwd", file.pid))
            .is_ok_and(|directory| directory == self.data);
        if ours && let Some(pid) = i32::try_from(file.pid).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::QUIT).ok();
        }
    }
}

/// Stops a server as a test ends.
pub(crate) async fn stop(running: Running) -> anyhow::Result<()> {
    running.stop(StopMode::Fast, LONG).await?;
    Ok(())
}

/// The archive that `archive_command = 'cp …'` makes.
struct Copied(PathBuf);

impl Archive for Copied {
    async fn await_segment(&self, segment: Segment, segment_size: u32) -> Result<(), Problem> {
        let path = self.0.join(segment.file_name(segment_size));
        let runtime = tokio::runtime::Handle::current();
        let wait = move || {
            runtime.block_on(boma_testkit::eventually(LONG, async || {
                path.exists()
                    .then_some(())
                    .ok_or_else(|| format!("`{}` is not archived", path.display()))
            }))
        };
        tokio::task::spawn_blocking(wait)
            .await
            .map_err(|error| Problem::from_error(Class::Internal, "test", &error))?
            .map_err(|error| Problem::new(Class::Transient, "test", error.to_string()))
    }
}

/// An archive that does not work.
pub(crate) struct Broken;

impl Archive for Broken {
    async fn await_segment(&self, segment: Segment, segment_size: u32) -> Result<(), Problem> {
        let text = format!("{} is lost", segment.file_name(segment_size));
        Err(Problem::new(Class::Transient, "test", text))
    }
}

/// A repository in a directory.
pub(crate) async fn repository(path: &Path) -> anyhow::Result<Repository> {
    std::fs::create_dir_all(path)?;
    let store = LocalFileSystem::new_with_prefix(path)?;
    let key = RepositoryKey::new([5; 32]);
    Ok(Repository::open_store(Arc::new(store), key, 3).await?)
}
