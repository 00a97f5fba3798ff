//! PostgreSQL archives through `boma agent archive` and recovers through `boma agent restore`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use boma_agent::wal::{Carriers, router};
use boma_backup::format::key::{KEY_BYTES, RepositoryKey};
use boma_backup::owner::WriterId;
use boma_backup::store::Repository;
use boma_backup::wal::{Archive, Cluster, Restorer, Shipper};
use boma_instance::backup::{RepositoryAccess, RepositoryLocation};
use boma_instance::wal::command;
use boma_instance::{InstanceId, MajorVersion};
use boma_postgres::cluster::{NewCluster, make};
use boma_postgres::programs::{Installation, Installations, SearchPaths};
use boma_postgres::server::{Launch, Running, StopMode, start};
use boma_testkit::{
    ScratchDir, become_unprivileged, eventually, free_loopback_address, postgres_builds, put_back,
};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use uuid::Uuid;

const LONG: Duration = Duration::from_mins(3);
const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(7));

/// Two places for servers and one repository.
struct World {
    scratch: ScratchDir,
    boma: PathBuf,
    installation: Installation,
    listen: SocketAddr,
}

impl World {
    fn new(major: MajorVersion) -> Result<Self> {
        let scratch = ScratchDir::new()?;
        // Where the ordinary user can run it; and a name that a shell could trip over.
        let boma = scratch.path().join("bo'ma 100%f");
        fs::copy(env!("CARGO_BIN_EXE_boma"), &boma)?;
        become_unprivileged()?;
        let bins = postgres_builds()?.into_iter().map(|build| build.bin);
        let found = Installations::discover(&SearchPaths::only(bins));
        let found = found.all().iter().find(|one| one.major() == major);
        let world = Self {
            scratch,
            boma,
            installation: found.cloned().context("find that version")?,
            listen: free_loopback_address()?,
        };
        for name in ["first", "second"] {
            fs::create_dir(world.directory(name))?;
        }
        let data = world.data("first");
        let new = NewCluster {
            installation: &world.installation,
            directory: &data,
            instance: INSTANCE,
        };
        make(&new, None, &mut |_| {})?;
        Ok(world)
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn data(&self, name: &str) -> PathBuf {
        self.directory(name).join("data")
    }

    fn stored(&self) -> PathBuf {
        self.scratch.path().join("repository")
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.directory(name).join("agent.sock")
    }

    /// Writes settings.
    fn configure(&self, name: &str, more: &str) -> Result<()> {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?;
        let user = user.map(|user| user.name).unwrap_or_default();
        let data = self.data(name);
        let settings = format!(
            "listen_addresses = '{}'\nport = {}\nunix_socket_directories = '{}'\n{more}",
            self.listen.ip(),
            self.listen.port(),
            self.directory(name).display()
        );
        fs::write(data.join("postgresql.auto.conf"), settings)?;
        fs::write(data.join("pg_hba.conf"), "local all all peer map=me\n")?;
        fs::write(data.join("pg_ident.conf"), format!("me {user} postgres\n"))?;
        Ok(())
    }

    /// A setting whose value is a command.
    fn command(&self, setting: &str, render: fn(&str, &str) -> String, name: &str) -> String {
        let socket = self.socket(name).display().to_string();
        let command = render(&self.boma.display().to_string(), &socket);
        format!(
            "{setting} = '{}'\n",
            command.replace('\\', r"\\").replace('\'', "''")
        )
    }

    async fn start(&self, name: &str) -> Result<Running> {
        let (data, log) = (self.data(name), self.directory(name).join("log"));
        let directory = self.directory(name);
        let launch = Launch {
            installation: &self.installation,
            data: &data,
            log: &log,
            socket_directory: &directory,
            listen: self.listen,
        };
        Ok(start(&launch, LONG).await?)
    }

    async fn connect(&self, name: &str) -> Result<Client> {
        let (client, connection) = tokio_postgres::Config::new()
            .host_path(self.directory(name))
            .port(self.listen.port())
            .user("postgres")
            .dbname("postgres")
            .connect(tokio_postgres::NoTls)
            .await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Serves the part of an agent that this is about.
    async fn serve(&self, name: &str) -> Result<JoinHandle<()>> {
        let access = RepositoryAccess {
            location: RepositoryLocation::Directory {
                path: self.stored().display().to_string(),
            },
            key: RepositoryKey::new([7; KEY_BYTES]).export(),
            compression_level: 1,
        };
        let repository = Repository::open(&access).await?;
        let cluster = Cluster::read(&self.data(name))?;
        let (prefix, size) = (cluster.prefix(INSTANCE), cluster.segment_size);
        let writer = WriterId::of(&self.directory(name))?;
        let spool = self.directory(name).join("spool");
        let carriers = Carriers {
            shipper: Some(Shipper::new(Archive::new(
                &repository,
                INSTANCE,
                cluster,
                writer,
            ))),
            restorer: Some(Restorer::new(&repository, prefix, size, &spool)?),
            ..Carriers::default()
        };
        fs::remove_file(self.socket(name)).ok();
        let listener = UnixListener::bind(self.socket(name))?;
        Ok(tokio::spawn(async move {
            let (_changes, desk) = watch::channel(carriers);
            axum::serve(listener, router(desk)).await.ok();
        }))
    }
}

/// Commits rows, each in a transaction of its own, with enough beside them to fill segments.
async fn load(client: &Client, rows: std::ops::Range<i64>) -> Result<()> {
    for n in rows {
        client
            .execute(
                "INSERT INTO numbered SELECT $1, string_agg(md5(random()::text), '') \
                 FROM generate_series(1, 3000)",
                &[&n],
            )
            .await?;
        if n % 40 == 0 {
            client.batch_execute("SELECT pg_switch_wal()").await?;
        }
    }
    Ok(())
}

fn waiting(world: &World) -> Result<usize> {
    let status = world.data("first").join("pg_wal/archive_status");
    let ready = fs::read_dir(status)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.strip_suffix(".ready").is_some());
    Ok(ready.count())
}

async fn all_archived(world: &World) -> Result<()> {
    // After three failures PostgreSQL waits for a minute.
    eventually(LONG, async || match waiting(world) {
        Ok(0) => Ok(()),
        other => Err(format!("{other:?} files wait")),
    })
    .await
}

#[tokio::test]
async fn under_load_with_a_repository_that_goes_and_an_agent_that_dies_nothing_is_missing()
-> Result<()> {
    let world = World::new(MajorVersion::V17)?;
    let archive = world.command("archive_command", command::archive, "first");
    world.configure(
        "first",
        &format!("archive_mode = on\nmax_wal_size = '4GB'\n{archive}"),
    )?;
    let agent = world.serve("first").await?;
    let server = world.start("first").await?;
    let client = world.connect("first").await?;
    client
        .batch_execute("CREATE TABLE numbered (n bigint PRIMARY KEY, filling text)")
        .await?;
    server.stop(StopMode::Fast, LONG).await?;
    copy(&world.data("first"), &world.data("second"))?;

    let server = world.start("first").await?;
    let client = world.connect("first").await?;
    load(&client, 0..150).await?;
    // The repository goes away; PostgreSQL keeps what it cannot hand over.
    let away = world.directory("away");
    fs::rename(world.stored(), &away)?;
    load(&client, 150..300).await?;
    assert!(waiting(&world)? > 1);
    put_back(&away, &world.stored())?;
    // An agent dies while it ships, and another takes its place.
    agent.abort();
    let agent = world.serve("first").await?;
    load(&client, 300..450).await?;
    client.batch_execute("SELECT pg_switch_wal()").await?;
    all_archived(&world).await?;
    server.stop(StopMode::Fast, LONG).await?;
    agent.abort();

    let restore = world.command("restore_command", command::restore, "second");
    world.configure("second", &format!("archive_mode = off\n{restore}"))?;
    fs::write(world.data("second").join("recovery.signal"), "")?;
    let agent = world.serve("second").await?;
    let server = world.start("second").await?;
    let client = world.connect("second").await?;
    eventually(LONG, async || {
        let recovering = client.query_one("SELECT pg_is_in_recovery()", &[]).await;
        match recovering.map(|row| row.get::<_, bool>(0)) {
            Ok(false) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let row = client
        .query_one("SELECT count(*), min(n), max(n) FROM numbered", &[])
        .await?;
    let found: (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(found, (450, 0, 449));
    server.stop(StopMode::Fast, LONG).await?;
    agent.abort();
    Ok(())
}

#[tokio::test]
async fn exit_codes_tell_a_file_that_is_not_there_from_a_failure() -> Result<()> {
    let world = World::new(MajorVersion::V16)?;
    let agent = world.serve("first").await?;
    let first = "000000010000000000000001";
    let target = world.directory("second").join("RECOVERYXLOG");
    assert_eq!(
        call(&world, "restore", first, Some(&target)).await?,
        Some(1)
    );
    assert_eq!(
        call(&world, "archive", "000000010000000000000009", None).await?,
        Some(1)
    );
    assert_eq!(call(&world, "archive", first, None).await?, Some(0));
    assert_eq!(call(&world, "archive", first, None).await?, Some(0));
    assert_eq!(
        call(&world, "restore", first, Some(&target)).await?,
        Some(0)
    );
    let archived = fs::read(world.data("first").join("pg_wal").join(first))?;
    assert!(fs::read(&target)? == archived);
    fs::rename(world.stored(), world.directory("away"))?;
    assert_eq!(
        call(&world, "restore", first, Some(&target)).await?,
        Some(126)
    );
    assert_eq!(
        call(&world, "restore", "00000002.history", Some(&target)).await?,
        Some(126)
    );
    agent.abort();
    Ok(())
}

/// Calls `boma` as PostgreSQL would.
async fn call(world: &World, verb: &str, file: &str, to: Option<&Path>) -> Result<Option<i32>> {
    let mut command = Command::new(&world.boma);
    command
        .args(["agent", verb, "--socket"])
        .arg(world.socket("first"))
        .arg(file)
        .args(to);
    let ended = tokio::task::spawn_blocking(move || command.output()).await??;
    Ok(ended.status.code())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let mode = fs::metadata(from)?.permissions().mode();
    fs::DirBuilder::new().mode(mode).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
