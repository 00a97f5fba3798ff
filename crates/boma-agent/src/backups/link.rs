//! Open repositories, and what carries the write-ahead log into them and out of them.

use std::path::Path;

use boma_backup::catalog::{Cache, Catalog};
use boma_backup::expire;
use boma_backup::format::label::Label;
use boma_backup::format::names::Prefix;
use boma_backup::known;
use boma_backup::lease::Lease;
use boma_backup::owner::WriterId;
use boma_backup::retention::choose::Refusal;
use boma_backup::store::Repository;
use boma_backup::wal::{Archive, Cluster, Restorer, Shipper};
use boma_instance::Assignment;
use boma_instance::backup::RepositoryAccess;
use boma_problem::{Class, Problem};
use tokio::sync::watch;

use super::restore::hold;
use super::{Places, Situation};
use crate::host::{Failure, failure};
use crate::wal::Carriers;

/// Directory of the instance in which fetched files lie ready.
const SPOOL: &str = "wal-spool";

/// Where this instance's own backups go.
pub(super) struct Link {
    access: RepositoryAccess,
    pub(super) repository: Repository,
    pub(super) prefix: Prefix,
    pub(super) shipper: Shipper,
    pub(super) catalog: Option<Catalog>,
    pub(super) cache: Cache,
}

impl Link {
    /// Reads what is in the repository.
    pub(super) async fn list(&mut self) -> Result<(), Failure> {
        let read = Catalog::read(&self.repository, &self.prefix, &mut self.cache);
        self.catalog = Some(read.await.map_err(failure)?);
        Ok(())
    }

    /// Deletes a base backup that nothing needs, and reads anew what is there.
    pub(super) async fn delete(&mut self, name: &str) -> Result<(), Failure> {
        let label: Label = name.parse().map_err(|_not_a_label| {
            let label = name.to_owned();
            failure(Refusal::UnknownBackup { label })
        })?;
        let (repository, prefix) = (&self.repository, &self.prefix);
        let deleted = expire::delete(repository, prefix, &mut self.cache, &label, None).await;
        deleted.map_err(failure)?;
        tracing::info!(%label, "deleted");
        self.list().await
    }
}

/// Whose log a recovering server is given.
struct Source {
    access: RepositoryAccess,
    prefix: Prefix,
    /// Keeps the log from being deleted that is still to be replayed.
    lease: Option<Lease>,
}

/// All of them.
pub(super) struct Links {
    carriers: watch::Sender<Carriers>,
    pub(super) archive: Option<Link>,
    source: Option<Source>,
}

impl Links {
    pub(super) fn new(carriers: watch::Sender<Carriers>) -> Self {
        Self {
            carriers,
            archive: None,
            source: None,
        }
    }

    /// Opens what the situation needs, and lets go of what it does not.
    pub(super) async fn follow(
        &mut self,
        want: &Assignment,
        situation: &Situation,
        places: &Places,
    ) -> Result<(), Failure> {
        if situation.restore {
            return Ok(());
        }
        if situation.recovering {
            return self.follow_source(want, places).await;
        }
        if let Some(source) = self.source.take() {
            if let Some(lease) = source.lease {
                lease.end().await;
            }
            self.carriers.send_modify(|carriers| {
                (carriers.restorer, carriers.restored) = (None, None);
            });
        }
        self.follow_archive(want, places).await
    }

    async fn follow_source(&mut self, want: &Assignment, places: &Places) -> Result<(), Failure> {
        let Some(origin) = &want.spec.origin else {
            return Ok(());
        };
        let access = access(want, &origin.repository)?;
        let cluster = Cluster::read(&places.data).map_err(failure)?;
        let prefix = cluster.prefix(origin.instance);
        let is_open = |source: &Source| source.access == *access && source.prefix == prefix;
        if self.source.as_ref().is_some_and(is_open) {
            return Ok(());
        }
        let repository = Repository::open(access).await.map_err(failure)?;
        let spool = places.dir.join(SPOOL);
        let restorer = Restorer::new(&repository, prefix, cluster.segment_size, &spool);
        let restorer = restorer.map_err(failure)?;
        self.carriers.send_modify(|carriers| {
            carriers.restorer = Some(restorer);
            carriers.restored = Some(places.data.clone());
        });
        self.source = Some(Source {
            access: access.clone(),
            prefix,
            lease: hold(&repository, prefix, want.spec.id).await,
        });
        Ok(())
    }

    async fn follow_archive(&mut self, want: &Assignment, places: &Places) -> Result<(), Failure> {
        let Some(spec) = &want.spec.backup else {
            if self.archive.take().is_some() {
                self.carriers
                    .send_modify(|carriers| carriers.shipper = None);
            }
            return Ok(());
        };
        if !places.data.join("global/pg_control").exists() {
            return Ok(());
        }
        let access = access(want, &spec.repository)?;
        let cluster = Cluster::read(&places.data).map_err(failure)?;
        let prefix = cluster.prefix(want.spec.id);
        let is_open = |link: &Link| link.access == *access && link.prefix == prefix;
        if self.archive.as_ref().is_some_and(is_open) {
            return Ok(());
        }
        let repository = open(access, &places.dir).await?;
        let writer = writer(&places.dir)?;
        let shipper = Shipper::new(Archive::new(&repository, want.spec.id, cluster, writer));
        self.carriers
            .send_modify(|carriers| carriers.shipper = Some(shipper.clone()));
        self.archive = Some(Link {
            access: access.clone(),
            repository,
            prefix,
            shipper,
            catalog: None,
            cache: Cache::default(),
        });
        Ok(())
    }
}

/// Opens the repository that this instance writes to, and makes it the first time only.
async fn open(access: &RepositoryAccess, dir: &Path) -> Result<Repository, Failure> {
    if let Some(id) = known::read(dir, &access.location).map_err(failure)? {
        return Repository::open_known(access, id).await.map_err(failure);
    }
    let repository = Repository::open(access).await.map_err(failure)?;
    known::remember(dir, &access.location, repository.id()).map_err(failure)?;
    Ok(repository)
}

fn writer(dir: &Path) -> Result<WriterId, Failure> {
    WriterId::of(dir).map_err(failure)
}

/// What a repository is used with.
pub(super) fn access<'a>(
    want: &'a Assignment,
    name: &str,
) -> Result<&'a RepositoryAccess, Failure> {
    let access = want.placement.repositories.get(name);
    access.ok_or_else(|| {
        Problem::new(
            Class::Config,
            "repository-unknown",
            format!("the platform gives no access to the repository {name:?}"),
        )
        .hint("Repositories are in `config.toml` of the state directory: docs/operations.md.")
        .into()
    })
}
