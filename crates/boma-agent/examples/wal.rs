//! Carries the write-ahead log of one data directory to a repository in a directory and back, as an
//! agent does, until it is ended. For `cargo xtask bench wal` and for trying things out:
//! `wal INSTANCE-DIRECTORY SOCKET REPOSITORY`, with the data directory in `INSTANCE-DIRECTORY/data`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use boma_agent::wal::{Carriers, router};
use boma_backup::format::key::{KEY_BYTES, RepositoryKey};
use boma_backup::owner::WriterId;
use boma_backup::store::Repository;
use boma_backup::wal::{Archive, Cluster, Restorer, Shipper};
use boma_instance::InstanceId;
use boma_instance::backup::{RepositoryAccess, RepositoryLocation};
use tokio::net::UnixListener;
use tokio::sync::watch;
use uuid::Uuid;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what| arguments.next().with_context(|| format!("name the {what}"));
    let directory = PathBuf::from(next("instance directory")?);
    let socket = next("socket")?;
    let carriers = carriers(&directory, next("repository")?).await?;
    let (_changes, desk) = watch::channel(carriers);
    let listener = UnixListener::bind(&socket)?;
    axum::serve(listener, router(desk)).await?;
    Ok(())
}

async fn carriers(directory: &Path, repository: String) -> Result<Carriers> {
    let access = RepositoryAccess {
        location: RepositoryLocation::Directory { path: repository },
        key: RepositoryKey::new([7; KEY_BYTES]).export(),
        compression_level: 3,
    };
    let repository = Repository::open(&access).await?;
    let cluster = Cluster::read(&directory.join("data"))?;
    let instance = InstanceId(Uuid::from_u128(7));
    let (prefix, segment_size) = (cluster.prefix(instance), cluster.segment_size);
    let writer = WriterId::of(directory)?;
    let archive = Archive::new(&repository, instance, cluster, writer);
    let spool = directory.join("wal-ahead");
    Ok(Carriers {
        shipper: Some(Shipper::new(archive)),
        restorer: Some(Restorer::new(&repository, prefix, segment_size, &spool)?),
        ..Carriers::default()
    })
}
