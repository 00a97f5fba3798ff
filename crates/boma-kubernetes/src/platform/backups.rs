//! What people ask of backups.

use std::time::Duration;

use boma_engine::backups::{BackupPlatform, RepositoryRefusal};
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::Life;
use boma_engine::platform::PlatformError;
use boma_instance::Secret;
use boma_instance::api::{self, Reported};
use boma_instance::backup::{BackupSummary, Drill, RepositoryAccess};

use super::repositories::KeyRow;
use super::{Inner, KubernetesPlatform};
use crate::agent::{Address, AgentError};
use crate::cluster::Change;
use crate::config::RepositoryConfig;
use crate::error::{KubernetesError, boxed};

/// Longest single wait for a status.
const ONE_WAIT: Duration = Duration::from_secs(30);

/// How long an agent that was just heard of for the first time is waited for.
const FIRST_ADDRESS: Duration = Duration::from_secs(3);

/// What became of a key that was to take another's place.
enum Renewed {
    Stored,
    Changed,
}

impl Inner {
    fn configured(&self, name: &str) -> Result<&RepositoryConfig, PlatformError> {
        let config = self.config.repositories.get(name);
        config.ok_or_else(|| boxed(RepositoryRefusal::Unknown { name: name.into() }))
    }

    /// Where the agent of a database is. Right after the start it is waited for: it was not heard
    /// of yet which pods run.
    async fn awaited_agent(&self, key: &DatabaseKey) -> Result<Address, PlatformError> {
        let one = self.registered_as(key).map_err(boxed)?;
        let mut news = self.attendance.news();
        let found = async {
            loop {
                if let Some(address) = self.attendance.address(one.row.id) {
                    return Some(address);
                }
                news.changed().await.ok()?;
            }
        };
        let found = tokio::time::timeout(FIRST_ADDRESS, found).await;
        found.ok().flatten().ok_or_else(|| {
            let problems = self.status_of(&one).problems;
            let said = problems.into_iter().next();
            Box::new(said.unwrap_or_else(|| super::pods::PodTrouble::NoPod.problem()))
        })
    }

    /// Hands the keys that there are to all agents. One that cannot be told writes under the former
    /// key, which opens still; it counts as not placed, and the next pass tells it.
    async fn hand_keys_over(&self) {
        for one in self.registered() {
            let Some(assignment) = &one.assignment else {
                continue;
            };
            let is_told = self.has_its_repositories(assignment);
            if one.row.life != Life::Active || one.row.purging || is_told {
                continue;
            }
            // It is large, and every command that might renew a key would carry it.
            let put = Box::pin(self.put(&one.row.key, &assignment.spec));
            if let Err(problem) = put.await {
                tracing::warn!(database = %one.row.key, %problem, "has a former key of its repository");
            }
        }
    }
}

fn asked<T>(answer: Result<T, AgentError>) -> Result<T, PlatformError> {
    answer.map_err(boxed)
}

impl BackupPlatform for KubernetesPlatform {
    async fn repository(&self, name: &str) -> Result<RepositoryAccess, PlatformError> {
        let config = self.inner.configured(name)?;
        Ok(RepositoryAccess {
            location: self.inner.location(name, config).map_err(boxed)?,
            key: self.inner.repository_key(name).await?,
            compression_level: config.compression_level,
        })
    }

    async fn export_key(&self, name: &str) -> Result<Secret<String>, PlatformError> {
        self.inner.configured(name)?;
        let key = self.inner.known_key(name).map_err(boxed)?;
        key.ok_or_else(|| boxed(RepositoryRefusal::NoKey { name: name.into() }))
    }

    async fn import_key(&self, name: &str, key: Secret<String>) -> Result<(), PlatformError> {
        self.inner.configured(name)?;
        let settled = self.inner.settle_key(name, &key).await.map_err(boxed)?;
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
        let place = self.inner.key_place(name);
        let renewed = self.inner.cluster.change(&place, |found: Option<KeyRow>| {
            Ok::<_, KubernetesError>(match found {
                Some(row) if row.key == key => Change::Keep(Renewed::Stored),
                Some(row) if row.key == *former => {
                    Change::Write(KeyRow { key: key.clone() }, Renewed::Stored)
                }
                Some(_) | None => Change::Keep(Renewed::Changed),
            })
        });
        match renewed.await.map_err(boxed)? {
            Renewed::Stored => self.inner.hand_keys_over().await,
            Renewed::Changed => {
                return Err(boxed(RepositoryRefusal::Changed { name: name.into() }));
            }
        }
        Ok(())
    }

    async fn back_up(&self, key: &DatabaseKey) -> Result<BackupSummary, PlatformError> {
        let at = self.inner.awaited_agent(key).await?;
        asked(self.inner.agents.order(&at, api::BACKUPS).await)
    }

    async fn drill(&self, key: &DatabaseKey) -> Result<Drill, PlatformError> {
        let at = self.inner.awaited_agent(key).await?;
        asked(self.inner.agents.order(&at, api::DRILL).await)
    }

    async fn delete_backup(&self, key: &DatabaseKey, label: &str) -> Result<(), PlatformError> {
        let at = self.inner.awaited_agent(key).await?;
        asked(self.inner.agents.delete_backup(&at, label).await)
    }

    async fn archive_now(&self, key: &DatabaseKey) -> Result<(), PlatformError> {
        let at = self.inner.awaited_agent(key).await?;
        asked(self.inner.agents.archive(&at).await)
    }

    async fn next_status(&self, key: &DatabaseKey, after: u64) -> Result<Reported, PlatformError> {
        let at = self.inner.awaited_agent(key).await?;
        asked(self.inner.agents.status(&at, after, ONE_WAIT).await)
    }
}
