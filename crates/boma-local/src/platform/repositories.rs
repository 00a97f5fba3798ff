//! Repositories of backups: what an instance needs to use those that its spec names.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use boma_engine::backups::{BackupPlatform, RepositoryRefusal};
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::Life;
use boma_engine::platform::PlatformError;
use boma_instance::api::Reported;
use boma_instance::backup::{
    BackupSummary, Drill, Repositories, RepositoryAccess, RepositoryLocation,
};
use boma_instance::{InstanceSpec, Secret};

use super::LocalPlatform;
use super::error::boxed;
use crate::agent;
use crate::config::DEFAULT_REPOSITORY;
use crate::layout;

/// How long another process may be at work before a key is not renewed.
const PASS: Duration = Duration::from_secs(30);

/// Longest single wait for a status.
const ONE_WAIT: Duration = Duration::from_secs(30);

impl LocalPlatform {
    /// What the repositories of a spec are used with; keys are made where there are none.
    pub(super) async fn repositories(
        &self,
        spec: &InstanceSpec,
    ) -> Result<Repositories, PlatformError> {
        let backup = spec.backup.iter().map(|backup| &backup.repository);
        let origin = spec.origin.iter().map(|origin| &origin.repository);
        let names: BTreeSet<&String> = backup.chain(origin).collect();
        let mut repositories = Repositories::new();
        for name in names {
            repositories.insert(name.clone(), self.repository(name).await?);
        }
        Ok(repositories)
    }

    /// Whether backups go into the state directory, where what destroys the data destroys them too.
    pub fn default_repository_is_local(&self) -> bool {
        let default = self.inner.config.repositories.get(DEFAULT_REPOSITORY);
        let root = self.inner.layout.root();
        matches!(
            default.map(|one| &one.location),
            Some(RepositoryLocation::Directory { path }) if Path::new(path).starts_with(root)
        )
    }

    async fn settle_key(&self, name: &str) -> Result<Secret<String>, PlatformError> {
        if let Some(key) = self.stored_key(name).await? {
            return Ok(key);
        }
        let new_key = self.inner.config.new_key;
        let no_key = || boxed(RepositoryRefusal::NoKey { name: name.into() });
        let key = new_key.ok_or_else(no_key)?()?;
        self.store_key(name, key).await
    }

    /// Tells agents the keys that there are, where one was renewed and not all have it. One that
    /// cannot be told writes under the former key, which opens still, and is told by a later pass.
    pub(super) async fn hand_keys_over(&self) -> Result<(), PlatformError> {
        let store = &self.inner.store;
        let is_due = store.read(|state| state.keys_to_hand_over()).await;
        if !is_due.map_err(boxed)? {
            return Ok(());
        }
        let rows = store.read(|state| state.databases()).await.map_err(boxed)?;
        let mut all = true;
        for row in rows {
            let Some(spec) = row
                .spec
                .filter(|_| row.life == Life::Active && !row.purging)
            else {
                continue;
            };
            if spec.backup.is_none() && spec.origin.is_none() {
                continue;
            }
            if let Err(problem) = self.put(&row.key, &spec).await {
                tracing::warn!(database = %row.key, %problem, "has a former key of its repository");
                all = false;
            }
        }
        if all {
            let noted = store.write(|state| state.keys_handed_over()).await;
            noted.map_err(boxed)?;
        }
        Ok(())
    }

    async fn stored_key(&self, name: &str) -> Result<Option<Secret<String>>, PlatformError> {
        let name = name.to_owned();
        let read = self
            .inner
            .store
            .read(move |state| state.repository_key(&name));
        read.await.map_err(boxed)
    }

    async fn store_key(
        &self,
        name: &str,
        key: Secret<String>,
    ) -> Result<Secret<String>, PlatformError> {
        let name = name.to_owned();
        let write = self
            .inner
            .store
            .write(move |state| state.settle_repository_key(&name, &key));
        write.await.map_err(boxed)
    }
}

impl BackupPlatform for LocalPlatform {
    async fn repository(&self, name: &str) -> Result<RepositoryAccess, PlatformError> {
        let config = self.inner.config.repositories.get(name);
        let unknown = || boxed(RepositoryRefusal::Unknown { name: name.into() });
        let config = config.ok_or_else(unknown)?.clone();
        if let (DEFAULT_REPOSITORY, RepositoryLocation::Directory { path }) =
            (name, &config.location)
        {
            // Others are somebody else's directories: made and given by whoever names them.
            layout::make_dir_for(path.as_ref(), &self.inner.user).map_err(boxed)?;
        }
        Ok(RepositoryAccess {
            key: self.settle_key(name).await?,
            location: config.location,
            compression_level: config.compression_level,
        })
    }

    async fn export_key(&self, name: &str) -> Result<Secret<String>, PlatformError> {
        if !self.inner.config.repositories.contains_key(name) {
            return Err(boxed(RepositoryRefusal::Unknown { name: name.into() }));
        }
        let key = self.stored_key(name).await?;
        key.ok_or_else(|| boxed(RepositoryRefusal::NoKey { name: name.into() }))
    }

    async fn import_key(&self, name: &str, key: Secret<String>) -> Result<(), PlatformError> {
        if !self.inner.config.repositories.contains_key(name) {
            return Err(boxed(RepositoryRefusal::Unknown { name: name.into() }));
        }
        let settled = self.store_key(name, key.clone()).await?;
        if settled == key {
            return Ok(());
        }
        Err(boxed(RepositoryRefusal::OtherKey { name: name.into() }))
    }

    async fn renew_key(
        &self,
        name: &str,
        former: &Secret<String>,
        key: Secret<String>,
    ) -> Result<(), PlatformError> {
        let _pass = self.begin_pass(PASS).await?;
        let (row, former) = (name.to_owned(), former.clone());
        let write = self
            .inner
            .store
            .write(move |state| state.renew_repository_key(&row, &former, &key));
        if !write.await.map_err(boxed)? {
            return Err(boxed(RepositoryRefusal::Changed { name: name.into() }));
        }
        super::purge::crash_point("key-renewed");
        self.hand_keys_over().await
    }

    async fn back_up(&self, key: &DatabaseKey) -> Result<BackupSummary, PlatformError> {
        let id = self.row_of(key).await?.id;
        let socket = self.inner.layout.agent_socket(id);
        agent::back_up(&socket).await.map_err(boxed)
    }

    async fn drill(&self, key: &DatabaseKey) -> Result<Drill, PlatformError> {
        let id = self.row_of(key).await?.id;
        let socket = self.inner.layout.agent_socket(id);
        agent::drill(&socket).await.map_err(boxed)
    }

    async fn delete_backup(&self, key: &DatabaseKey, label: &str) -> Result<(), PlatformError> {
        let id = self.row_of(key).await?.id;
        let socket = self.inner.layout.agent_socket(id);
        agent::delete_backup(&socket, label).await.map_err(boxed)
    }

    async fn archive_now(&self, key: &DatabaseKey) -> Result<(), PlatformError> {
        let id = self.row_of(key).await?.id;
        let socket = self.inner.layout.agent_socket(id);
        agent::archive(&socket).await.map_err(boxed)
    }

    async fn next_status(&self, key: &DatabaseKey, after: u64) -> Result<Reported, PlatformError> {
        let id = self.row_of(key).await?.id;
        let socket = self.inner.layout.agent_socket(id);
        let next = agent::wait_for_status(&socket, after, ONE_WAIT).await;
        next.map_err(boxed)
    }
}
