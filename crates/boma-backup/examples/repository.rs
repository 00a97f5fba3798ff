//! Base backups by hand, without an installation of Boma: what benchmarks run, and how the crate is
//! used.
//!
//! ```text
//! repository backup DATA SOCKETS PORT REPOSITORY [incremental]
//! repository restore REPOSITORY NEW-DATA
//! ```
//!
//! It prints bytes of data and bytes stored, and the most memory that it had, in KiB. The key is a fixed one and the
//! write-ahead log is not waited for: this is for trying and measuring only.
#![expect(clippy::print_stdout, reason = "this is a program")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use boma_backup::copy::{Archive, Job, back_up};
use boma_backup::format::key::RepositoryKey;
use boma_backup::format::label::Label;
use boma_backup::format::manifest::Manifest;
use boma_backup::format::names::Prefix;
use boma_backup::meter::Meter;
use boma_backup::restore::{Layout, restore_files};
use boma_backup::store::Repository;
use boma_instance::InstanceId;
use boma_instance::backup::{RepositoryAccess, RepositoryLocation};
use boma_instance::wal::Segment;
use boma_postgres::control::ControlData;
use boma_postgres::sql::Socket;
use boma_problem::Problem;
use jiff::Timestamp;
use uuid::Uuid;

const WORKERS: usize = 2;

/// Of a restore, which waits for the disk as long as it works.
const RESTORING: usize = 4;

/// Whoever measures copying does not measure archiving with it.
struct NotWaitedFor;

impl Archive for NotWaitedFor {
    async fn await_segment(&self, _segment: Segment, _size: u32) -> Result<(), Problem> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["backup", data, sockets, port, repository] => {
            let server = (*data, *sockets, port.parse()?);
            backup(server, &open(repository).await?, None).await?;
        }
        ["backup", data, sockets, port, repository, "incremental"] => {
            let server = (*data, *sockets, port.parse()?);
            let repository = open(repository).await?;
            let parent = newest(&repository, prefix(Path::new(data))?).await?;
            backup(server, &repository, Some(parent)).await?;
        }
        ["restore", repository, data] => restore(&open(repository).await?, data).await?,
        _ => bail!("see the beginning of examples/repository.rs"),
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("find VmHWM")?;
    println!("memory {}", peak.trim().trim_end_matches(" kB"));
    Ok(())
}

async fn open(path: &str) -> Result<Repository> {
    let access = RepositoryAccess {
        location: RepositoryLocation::Directory { path: path.into() },
        key: RepositoryKey::new([1; 32]).export(),
        compression_level: 3,
    };
    Ok(Repository::open(&access).await?)
}

fn prefix(data: &Path) -> Result<Prefix> {
    Ok(Prefix {
        instance: InstanceId(Uuid::nil()),
        system_identifier: ControlData::read(data)?.system_identifier,
    })
}

async fn newest(repository: &Repository, prefix: Prefix) -> Result<Manifest> {
    let folders = repository.folders(&prefix.backups_folder()).await?;
    let label: Label = folders.last().context("find a backup")?.parse()?;
    let bytes = repository.get(&prefix.manifest(&label)).await?;
    Ok(Manifest::decode(&bytes.context("read its manifest")?)?)
}

async fn backup(
    (data, directory, port): (&str, &str, u16),
    repository: &Repository,
    parent: Option<Manifest>,
) -> Result<()> {
    let data = PathBuf::from(data);
    let job = Job {
        prefix: prefix(&data)?,
        data,
        socket: Socket {
            directory: directory.into(),
            port,
        },
        identity: "by hand".into(),
        database: "postgres".into(),
        parent: parent.map(Arc::new),
        workers: WORKERS,
        now: Timestamp::now(),
    };
    let manifest = back_up(repository, &job, &NotWaitedFor, &Meter::new()).await?;
    println!("data {}", manifest.data_bytes());
    println!("stored {}", manifest.stored_bytes);
    Ok(())
}

async fn restore(repository: &Repository, data: &str) -> Result<()> {
    let instance = InstanceId(Uuid::nil());
    let folder = format!("instances/{instance}");
    let systems = repository.folders(&folder).await?;
    let prefix = Prefix {
        instance,
        system_identifier: systems.first().context("find an instance")?.parse()?,
    };
    let manifest = newest(repository, prefix).await?;
    let data = PathBuf::from(data);
    let layout = Layout {
        tablespaces: data.with_extension("tablespaces"),
        data,
        workers: RESTORING,
    };
    restore_files(repository, prefix, &manifest, &layout, &Meter::new()).await?;
    Ok(())
}
