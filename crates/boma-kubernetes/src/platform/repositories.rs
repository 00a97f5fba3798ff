//! Repositories of backups: what agents need to use those that their specs name.

use std::collections::BTreeSet;

use boma_engine::backups::RepositoryRefusal;
use boma_engine::platform::PlatformError;
use boma_instance::backup::{Repositories, RepositoryAccess, RepositoryLocation};
use boma_instance::{Assignment, InstanceSpec, Secret};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Inner;
use crate::cluster::{Change, record};
use crate::config::RepositoryConfig;
use crate::credentials::{RepositoryError, with_credentials};
use crate::desired::{Desired, secret_entry};
use crate::error::{KubernetesError, boxed};
use crate::kinds::Kind;
use crate::names::Part;

/// The key of one repository.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct KeyRow {
    pub(super) key: Secret<String>,
}

/// The repositories that a spec names.
fn named(spec: &InstanceSpec) -> BTreeSet<&String> {
    let backup = spec.backup.iter().map(|backup| &backup.repository);
    let origin = spec.origin.iter().map(|origin| &origin.repository);
    backup.chain(origin).collect()
}

impl Inner {
    /// What the repositories of a spec are used with; keys are made where there are none. An
    /// instance keeps what it was `given` while the Secret that would say more is not there or
    /// not whole: who may enter a database does not wait for that.
    pub(super) async fn repositories(
        &self,
        spec: &InstanceSpec,
        given: Option<&Assignment>,
    ) -> Result<Repositories, PlatformError> {
        let mut repositories = Repositories::new();
        for name in named(spec) {
            let config = self.config.repositories.get(name);
            // The plan refuses a name that is not there; one that was taken away since is left out,
            // and the agent says that it has no access.
            let Some(config) = config else { continue };
            let location = match self.location(name, config) {
                Ok(location) => location,
                Err(error) => match given_access(given, name) {
                    Some(kept) => {
                        tracing::warn!(%error, "former credentials are kept");
                        kept.location.clone()
                    }
                    None => return Err(boxed(error)),
                },
            };
            let access = RepositoryAccess {
                location,
                key: self.repository_key(name).await?,
                compression_level: config.compression_level,
            };
            repositories.insert(name.clone(), access);
        }
        Ok(repositories)
    }

    /// Whether an instance was given what its repositories are used with now.
    pub(super) fn has_its_repositories(&self, given: &Assignment) -> bool {
        let same = |name: &String| {
            let access = given_access(Some(given), name);
            let Some(config) = self.config.repositories.get(name) else {
                return access.is_none();
            };
            let key = self.known_key(name).ok().flatten();
            access.is_some_and(|access| {
                let location = self.location(name, config);
                Some(&access.key) == key.as_ref()
                    && access.compression_level == config.compression_level
                    // What cannot be told is kept: see above.
                    && location.map_or(true, |location| location == access.location)
            })
        };
        named(&given.spec).into_iter().all(same)
    }

    /// Where a repository is, with what lets into it.
    pub(super) fn location(
        &self,
        name: &str,
        config: &RepositoryConfig,
    ) -> Result<RepositoryLocation, RepositoryError> {
        let Some(secret) = &config.secret else {
            return Ok(config.location.clone());
        };
        let namespace = &self.config.namespace;
        let found = self.cluster.named(namespace, secret);
        let found = found.ok_or_else(|| RepositoryError::NoCredentials {
            repository: name.to_owned(),
            namespace: namespace.clone(),
            name: secret.clone(),
        })?;
        let entry = |entry: &str| {
            let bytes = secret_entry(&found, entry)?;
            // Editors leave a line end behind.
            let text = String::from_utf8(bytes).ok()?.trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        with_credentials(&config.location, entry).map_err(|entry| {
            RepositoryError::HalfCredentials {
                repository: name.to_owned(),
                namespace: namespace.clone(),
                name: secret.clone(),
                entry,
            }
        })
    }

    /// Where the key of a repository is recorded.
    pub(super) fn key_place(&self, name: &str) -> Desired {
        let home = self.config.namespace.as_str();
        let name = key_name(name);
        Desired::new(home, Kind::Secret, home, name, json!({})).part(Part::Repository)
    }

    /// The key of a repository, if it has one.
    pub(super) fn known_key(&self, name: &str) -> Result<Option<Secret<String>>, KubernetesError> {
        let home = &self.config.namespace;
        let found = self.cluster.get(Kind::Secret, home, &key_name(name));
        let row = found.as_deref().map(record::<KeyRow>).transpose()?;
        Ok(row.map(|row| row.key))
    }

    /// The key of a repository, made where there is none; once made, it stays. One whose record is
    /// lost is what agents were given: with another key they could not read what they wrote.
    pub(super) async fn repository_key(&self, name: &str) -> Result<Secret<String>, PlatformError> {
        if let Some(known) = self.known_key(name).map_err(boxed)? {
            return Ok(known);
        }
        let registered: Vec<_> = self.registered().collect();
        let given = registered
            .iter()
            .filter_map(|one| given_access(one.assignment.as_ref(), name));
        // One that was renewed holds the former ones, and is longer than they are.
        let given = given.max_by_key(|access| access.key.expose().len());
        if let Some(access) = given {
            return self.settle_key(name, &access.key).await.map_err(boxed);
        }
        let no_key = || boxed(RepositoryRefusal::NoKey { name: name.into() });
        let new = self.config.new_key.ok_or_else(no_key)?()?;
        self.settle_key(name, &new).await.map_err(boxed)
    }

    /// Stores the key of a repository that has none, and tells which one it has then.
    pub(super) async fn settle_key(
        &self,
        name: &str,
        new: &Secret<String>,
    ) -> Result<Secret<String>, KubernetesError> {
        self.installation().await?;
        let place = self.key_place(name);
        let settled = self.cluster.change(&place, |found: Option<KeyRow>| {
            Ok::<_, KubernetesError>(match found {
                Some(row) => Change::Keep(row.key),
                None => Change::Write(KeyRow { key: new.clone() }, new.clone()),
            })
        });
        settled.await
    }
}

fn key_name(repository: &str) -> String {
    format!("boma-repository.{repository}")
}

fn given_access<'a>(given: Option<&'a Assignment>, name: &str) -> Option<&'a RepositoryAccess> {
    given?.placement.repositories.get(name)
}
