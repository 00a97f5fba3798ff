//! A cluster, and a repository beside it.

use std::path::{Path, PathBuf};

use boma_backup::format::key::{KEY_BYTES, RepositoryKey};
use boma_backup::owner::WriterId;
use boma_backup::store::Repository;
use boma_backup::wal::{Archive, Cluster};
use boma_instance::backup::{RepositoryAccess, RepositoryLocation};
use boma_instance::wal::WalFile;
use boma_instance::{InstanceId, MajorVersion};
use boma_postgres::cluster::{NewCluster, make};
use boma_postgres::programs::{Installation, Installations, SearchPaths};
use boma_testkit::{ScratchDir, become_unprivileged, postgres_builds};
use uuid::Uuid;

/// The first segment of a cluster.
pub(crate) const FIRST: &str = "000000010000000000000001";

/// The PostgreSQL of a major version.
pub(crate) fn installation(major: MajorVersion) -> anyhow::Result<Installation> {
    let bins = postgres_builds()?.into_iter().map(|build| build.bin);
    let found = Installations::discover(&SearchPaths::only(bins));
    let found = found.all().iter().find(|one| one.major() == major);
    found
        .cloned()
        .ok_or_else(|| anyhow::anyhow!("there is no PostgreSQL {major}"))
}

/// A cluster that was never started, and an empty repository.
pub(crate) struct Place {
    pub(crate) instance: InstanceId,
    pub(crate) installation: Installation,
    pub(crate) scratch: ScratchDir,
}

impl Place {
    pub(crate) fn new(major: MajorVersion) -> anyhow::Result<Self> {
        become_unprivileged()?;
        let place = Self {
            instance: InstanceId(Uuid::new_v4()),
            installation: installation(major)?,
            scratch: ScratchDir::new()?,
        };
        std::fs::create_dir(place.directory())?;
        let data = place.data();
        let new = NewCluster {
            installation: &place.installation,
            directory: &data,
            instance: place.instance,
        };
        make(&new, None, &mut |_| {})?;
        Ok(place)
    }

    /// The instance directory.
    pub(crate) fn directory(&self) -> PathBuf {
        self.scratch.path().join("instance")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory().join("data")
    }

    pub(crate) fn pg_wal(&self) -> PathBuf {
        self.data().join("pg_wal")
    }

    /// Where the repository is.
    pub(crate) fn stored(&self) -> PathBuf {
        self.scratch.path().join("repository")
    }

    pub(crate) fn cluster(&self) -> anyhow::Result<Cluster> {
        Ok(Cluster::read(&self.data())?)
    }

    pub(crate) fn archive(&self, repository: &Repository) -> anyhow::Result<Archive> {
        let writer = WriterId::of(&self.directory())?;
        Ok(Archive::new(
            repository,
            self.instance,
            self.cluster()?,
            writer,
        ))
    }

    pub(crate) async fn repository(&self) -> anyhow::Result<Repository> {
        open(&self.stored()).await
    }

    /// The stored object of a file of the log.
    pub(crate) fn object(&self, name: &str) -> anyhow::Result<PathBuf> {
        let cluster = self.cluster()?;
        let file = WalFile::parse(name, cluster.segment_size)?;
        let object = cluster
            .prefix(self.instance)
            .wal(file, cluster.segment_size);
        Ok(self.stored().join(object.as_str()))
    }
}

/// The repository in a directory.
pub(crate) async fn open(path: &Path) -> anyhow::Result<Repository> {
    let access = RepositoryAccess {
        location: RepositoryLocation::Directory {
            path: path.to_string_lossy().into_owned(),
        },
        key: RepositoryKey::new([7; KEY_BYTES]).export(),
        compression_level: 3,
    };
    Ok(Repository::open(&access).await?)
}
