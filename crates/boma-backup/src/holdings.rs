//! Whose backups lie in a repository, whether anybody knows the database still or not; and letting
//! go of all that one instance has there.
//!
//! ```text
//!   manifests, newest first ─► packs, maps, write-ahead log ─► owner
//! ```
//!
//! Killed between any two deletions there is no base backup that looks whole and is not: what others
//! need goes after them, and contents only when no manifest names them. The `owner` goes last, so
//! that what is left is found and the next call goes on.

use boma_instance::InstanceId;
use boma_instance::backup::BackupSummary;
use futures_util::TryStreamExt as _;
use jiff::Timestamp;

use crate::catalog::{Cache, Catalog};
use crate::find::prefixes;
use crate::format::manifest::{Manifest, ServerFacts};
use crate::format::names::{INSTANCES, Prefix};
use crate::retention::window::{PointInTime, window};
use crate::store::{Listed, Repository, StoreError};

/// Deletions at once.
const AT_ONCE: usize = 8;

/// How often is looked again whether everything has gone: listings may be behind.
const LOOKS: usize = 3;

/// What one instance has in a repository.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Which instance.
    pub instance: InstanceId,
    /// The server of its newest readable base backup.
    pub server: Option<ServerFacts>,
    /// Whole base backups, oldest first.
    pub backups: Vec<BackupSummary>,
    /// Oldest and newest moment that can be restored, where there are any.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Objects, and their bytes.
    pub objects: u64,
    /// See above.
    pub bytes: u64,
    /// When something was stored last, by the store's clock.
    pub written_at: Option<Timestamp>,
}

impl Holding {
    /// What it was called: its database's name, or its id where no backup can be read.
    pub fn name(&self) -> String {
        let identity = self.server.as_ref().map(|server| &server.identity);
        let name = identity.and_then(|identity| identity.rsplit('/').next());
        name.map_or_else(|| self.instance.to_string(), str::to_owned)
    }
}

fn folder_of(instance: InstanceId) -> String {
    format!("{INSTANCES}/{instance}")
}

/// All that have something in a repository.
pub async fn holdings(repository: &Repository) -> Result<Vec<Holding>, StoreError> {
    let mut found = Vec::new();
    for name in repository.folders(INSTANCES).await? {
        if let Ok(id) = name.parse() {
            found.extend(holding(repository, InstanceId(id)).await?);
        }
    }
    Ok(found)
}

/// What one instance has in a repository; none: nothing.
pub async fn holding(
    repository: &Repository,
    instance: InstanceId,
) -> Result<Option<Holding>, StoreError> {
    let objects = repository.list(&folder_of(instance)).await?;
    let Some(written_at) = objects.iter().map(|object| object.written_at).max() else {
        return Ok(None);
    };
    let mut holding = Holding {
        instance,
        server: None,
        backups: Vec::new(),
        window: None,
        objects: objects.len() as u64,
        bytes: objects.iter().map(|object| object.bytes).sum(),
        written_at: Some(written_at),
    };
    for prefix in prefixes(repository, instance).await? {
        let catalog = Catalog::read(repository, &prefix, &mut Cache::default()).await?;
        add(repository, &mut holding, &catalog).await?;
    }
    holding
        .backups
        .sort_by(|one, other| one.label.cmp(&other.label));
    Ok(Some(holding))
}

async fn add(
    repository: &Repository,
    holding: &mut Holding,
    catalog: &Catalog,
) -> Result<(), StoreError> {
    let known = holding.backups.last().map(|newest| newest.label.clone());
    holding
        .backups
        .extend(catalog.whole().map(|one| one.summary.clone()));
    let timeline = catalog.newest_timeline();
    let reachable = timeline.and_then(|timeline| window(catalog, timeline, PointInTime::On));
    if let Some(found) = reachable {
        holding.window = Some((found.from, found.until.unwrap_or(found.from)));
    }
    let newest = catalog.backups.last().map(|backup| &backup.label);
    let Some(label) =
        newest.filter(|label| known.is_none_or(|known| label.as_str() > known.as_str()))
    else {
        return Ok(());
    };
    let bytes = repository.get(&catalog.prefix.manifest(label)).await?;
    // One that does not open is shown by `boma backup verify`.
    if let Some(Ok(manifest)) = bytes.map(|bytes| Manifest::decode(&bytes)) {
        holding.server = Some(manifest.server);
    }
    Ok(())
}

/// Deletes all that an instance has in a repository; how many objects that were. Whoever calls this
/// has made sure that nobody writes there any more.
pub async fn forget(repository: &Repository, instance: InstanceId) -> Result<u64, StoreError> {
    let mut deleted = 0;
    for _ in 0..LOOKS {
        let objects = repository.list(&folder_of(instance)).await?;
        if objects.is_empty() {
            break;
        }
        deleted += objects.len() as u64;
        let prefixes = prefixes(repository, instance).await?;
        delete_all(repository, &prefixes, objects).await?;
    }
    Ok(deleted)
}

async fn delete_all(
    repository: &Repository,
    prefixes: &[Prefix],
    objects: Vec<Listed>,
) -> Result<(), StoreError> {
    let is_owner = |name: &str| prefixes.iter().any(|one| one.owner().as_str() == name);
    let names = objects.into_iter().map(|object| object.name);
    let (manifests, others): (Vec<_>, Vec<_>) = names.partition(|name| name.ends_with("/manifest"));
    // Names of backups sort by time, and what others need is older than they.
    for name in manifests.iter().rev() {
        repository.delete(name).await?;
    }
    let (owners, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|name| is_owner(name));
    futures_util::stream::iter(others.iter().map(Ok))
        .try_for_each_concurrent(AT_ONCE, |name| repository.delete(name))
        .await?;
    for name in &owners {
        repository.delete(name).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
