//! Drills: a backup is proved by restoring it, with the log that came after it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use boma_agent::drill::{DrillJob, clear, drill};
use boma_backup::catalog::{Cache, Catalog};
use boma_backup::copy::{Archive, Job, back_up};
use boma_backup::format::key::RepositoryKey;
use boma_backup::format::manifest::Manifest;
use boma_backup::format::names::Prefix;
use boma_backup::meter::Meter;
use boma_backup::owner::WriterId;
use boma_backup::store::{Listed, Repository};
use boma_backup::wal::{self, Cluster, Shipper};
use boma_instance::backup::{Drill, RepositoryAccess, RepositoryLocation};
use boma_instance::wal::Segment;
use boma_instance::{InstanceId, InstanceSpec, MajorVersion};
use boma_postgres::cluster::{NewCluster, make};
use boma_postgres::programs::{Installation, Installations, SearchPaths};
use boma_postgres::server::{Launch, Running, StopMode, start};
use boma_postgres::sql::Socket;
use boma_problem::{IntoProblem as _, Problem};
use boma_testkit::{ScratchDir, become_unprivileged, free_loopback_address, postgres_builds};
use jiff::Timestamp;

const LONG: Duration = Duration::from_mins(2);

/// A server whose write-ahead log this test ships itself.
struct Source {
    scratch: ScratchDir,
    installation: Installation,
    instance: InstanceId,
    port: u16,
    running: Running,
    repository: Repository,
    shipper: Shipper,
}

/// What a backup needs of the log is shipped here and now.
struct ByHand(Shipper);

impl Archive for ByHand {
    async fn await_segment(&self, segment: Segment, segment_size: u32) -> Result<(), Problem> {
        let shipped = self.0.ship(&segment.file_name(segment_size)).await;
        shipped.map_err(|error| error.problem())
    }
}

impl Source {
    async fn new(major: MajorVersion) -> anyhow::Result<Self> {
        let scratch = ScratchDir::new()?;
        let bins = postgres_builds()?.into_iter().map(|build| build.bin);
        let installation = Installations::discover(&SearchPaths::only(bins))
            .require(major)?
            .clone();
        let instance = InstanceId(uuid::Uuid::new_v4());
        let data = scratch.path().join("data");
        let new = NewCluster {
            installation: &installation,
            directory: &data,
            instance,
        };
        make(&new, None, &mut |_milestone| {})?;
        let listen = free_loopback_address()?;
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?;
        let user = user.map(|user| user.name).unwrap_or_default();
        let settings = format!(
            "listen_addresses = '{}'\nport = {}\nunix_socket_directories = '{}'\n\
             archive_mode = on\narchive_command = 'false'\nmax_connections = 250\n",
            listen.ip(),
            listen.port(),
            scratch.path().display()
        );
        std::fs::write(data.join("postgresql.auto.conf"), settings)?;
        std::fs::write(data.join("pg_hba.conf"), "local all all peer map=me\n")?;
        std::fs::write(data.join("pg_ident.conf"), format!("me {user} postgres\n"))?;
        let log = scratch.path().join("postgresql.log");
        let launch = Launch {
            installation: &installation,
            data: &data,
            log: &log,
            socket_directory: scratch.path(),
            listen,
        };
        let running = start(&launch, LONG).await?;
        let access = RepositoryAccess {
            location: RepositoryLocation::Directory {
                path: scratch.path().join("stored").to_string_lossy().into_owned(),
            },
            key: RepositoryKey::new([3; 32]).export(),
            compression_level: 3,
        };
        let repository = Repository::open(&access).await?;
        let archive = wal::Archive::new(
            &repository,
            instance,
            Cluster::read(&data)?,
            WriterId::of(scratch.path())?,
        );
        Ok(Self {
            installation,
            instance,
            port: listen.port(),
            running,
            repository,
            shipper: Shipper::new(archive),
            scratch,
        })
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    fn prefix(&self) -> Prefix {
        *self.shipper.archive().prefix()
    }

    async fn sql(&self, sql: &str) -> anyhow::Result<()> {
        let (client, connection) = tokio_postgres::Config::new()
            .host_path(self.scratch.path())
            .port(self.port)
            .user("postgres")
            .dbname("postgres")
            .connect(tokio_postgres::NoTls)
            .await?;
        tokio::spawn(connection);
        Ok(client.batch_execute(sql).await?)
    }

    async fn back_up(&self) -> anyhow::Result<Manifest> {
        let job = Job {
            data: self.data(),
            socket: Socket {
                directory: self.scratch.path().to_owned(),
                port: self.port,
            },
            prefix: self.prefix(),
            identity: "a/b/c/d/e".into(),
            database: "postgres".into(),
            parent: None,
            workers: 2,
            now: Timestamp::now(),
        };
        let archive = ByHand(self.shipper.clone());
        Ok(back_up(&self.repository, &job, &archive, &Meter::new()).await?)
    }

    /// Ships all that was written until now.
    async fn ship(&self) -> anyhow::Result<()> {
        self.sql("SELECT pg_switch_wal()").await?;
        for entry in std::fs::read_dir(self.data().join("pg_wal/archive_status"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(name) = name.strip_suffix(".ready") {
                self.shipper.ship(name).await?;
            }
        }
        Ok(())
    }

    /// All that is in the repository.
    async fn stored(&self) -> anyhow::Result<Vec<Listed>> {
        Ok(self.repository.list("").await?)
    }

    async fn drill(&self) -> anyhow::Result<Drill> {
        let prefix = self.prefix();
        let catalog = Catalog::read(&self.repository, &prefix, &mut Cache::default()).await?;
        let spec = self.spec()?;
        let job = DrillJob {
            installation: &self.installation,
            spec: &spec,
            dir: self.scratch.path(),
            run_dir: &self.run_dir()?,
            program: Path::new(env!("CARGO_BIN_EXE_boma")),
            repository: &self.repository,
            catalog: &catalog,
        };
        let result = drill(&job, &Meter::new()).await;
        // Nothing is left of it, whatever came out.
        assert!(!self.scratch.path().join("drill").exists());
        assert!(!self.run_dir()?.join("drill").exists());
        Ok(result)
    }

    fn run_dir(&self) -> anyhow::Result<PathBuf> {
        let path = self.scratch.path().join("run");
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    fn spec(&self) -> anyhow::Result<InstanceSpec> {
        Ok(serde_json::from_value(serde_json::json!({
            "id": self.instance,
            "generation": 1,
            "identity": "a/b/c/d/e",
            "database": "postgres",
            "version": self.installation.major(),
            "power": "on",
            "resources": {"cpuMillis": 1000, "memoryBytes": 2_u64 << 30, "storageBytes": 1_u64 << 30},
            "parameters": {"max_connections": "250"},
            "extensions": [],
            "logins": [],
        }))?)
    }
}

#[tokio::test]
async fn a_drill_proves_the_newest_backup_with_what_was_written_since() -> anyhow::Result<()> {
    become_unprivileged()?;
    for major in [MajorVersion::V15, MajorVersion::V17] {
        let source = Source::new(major).await?;
        source
            .sql("CREATE TABLE item AS SELECT n FROM generate_series(1, 1000) n; CREATE INDEX ON item (n)")
            .await?;
        let manifest = source.back_up().await?;
        source
            .sql("INSERT INTO item SELECT n FROM generate_series(1, 234) n; CREATE TABLE later AS SELECT 1 AS n")
            .await?;
        source.ship().await?;
        let stored = source.stored().await?;
        let proved = source.drill().await?;
        assert!(proved.problem.is_none(), "{proved:?}");
        // It began a timeline of its own, and archived nothing of it.
        assert_eq!(source.stored().await?, stored);
        assert_eq!(proved.label, manifest.label.as_str());
        assert_eq!((proved.tables, proved.rows), (2, 1235));
        assert!(proved.indexes > 100, "{proved:?}");
        assert!(
            proved.recovered_until > Some(manifest.span.stopped_at),
            "{proved:?}"
        );
        source.running.stop(StopMode::Fast, LONG).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_index_that_lies_fails_the_drill() -> anyhow::Result<()> {
    become_unprivileged()?;
    let source = Source::new(MajorVersion::V15).await?;
    // An index is built by one rule of order, and then the rule is turned round.
    source
        .sql(
            "CREATE FUNCTION odd(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT btint4cmp($1, $2)';
             CREATE OPERATOR CLASS odd_ops FOR TYPE int USING btree AS
                 OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
                 FUNCTION 1 odd(int, int);
             CREATE TABLE item AS SELECT n FROM generate_series(1, 1000) n;
             CREATE INDEX lying ON item (n odd_ops);
             CREATE OR REPLACE FUNCTION odd(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT btint4cmp($2, $1)'",
        )
        .await?;
    source.back_up().await?;
    source.ship().await?;
    let problem = source.drill().await?.problem.expect("the index lies");
    assert!(
        problem.to_string().contains("check index \"lying\""),
        "{problem}"
    );
    source.running.stop(StopMode::Fast, LONG).await?;
    Ok(())
}

#[tokio::test]
async fn a_damaged_repository_and_none_at_all_fail_the_drill() -> anyhow::Result<()> {
    become_unprivileged()?;
    let source = Source::new(MajorVersion::V15).await?;
    let problem = source.drill().await?.problem.expect("there is no backup");
    assert_eq!(problem.code, "restore-no-backup");
    let manifest = source.back_up().await?;
    source.ship().await?;
    let pack = source.prefix().pack(&manifest.label, 1);
    let path = source.scratch.path().join("stored").join(pack.as_str());
    let mut bytes = std::fs::read(&path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes)?;
    let problem = source.drill().await?.problem.expect("a pack is damaged");
    assert_eq!(problem.code, "repository-damaged");
    assert!(problem.to_string().contains(pack.as_str()), "{problem}");
    // What a killed drill left behind is cleared: a directory that is no server's as well.
    std::fs::create_dir_all(source.scratch.path().join("drill/data"))?;
    clear(source.scratch.path(), &source.run_dir()?)
        .await
        .expect("it is cleared");
    assert!(!source.scratch.path().join("drill").exists());
    source.running.stop(StopMode::Fast, LONG).await?;
    Ok(())
}
