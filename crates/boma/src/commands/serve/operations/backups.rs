//! What people ask about backups.

use async_trait::async_trait;
use boma_engine::keys::DatabaseKey;
use boma_instance::InstanceId;
use boma_instance::backup::Drill;
use boma_problem::Problem;
use boma_web::{BackupOperations, Holding, OneBackup, Permit, Verification};

use super::{Desk, OperationsOn};
use crate::commands::backup::repository::{self, Forgettable};
use crate::commands::backup::{one, verify};
use crate::commands::purge::is_name;

#[async_trait]
impl<P: Desk> BackupOperations for OperationsOn<P> {
    async fn backup(&self, database: &DatabaseKey, label: &str) -> Result<OneBackup, Box<Problem>> {
        let seen = self.platform.observe().await?;
        one::look(&*self.platform, (&seen, database), label).await
    }

    async fn delete_backup(
        &self,
        permit: &Permit,
        database: &DatabaseKey,
        label: &str,
    ) -> Result<(), Box<Problem>> {
        let actor = permit.actor().to_owned();
        one::delete_for(&*self.platform, (database, label), actor).await
    }

    async fn verify(&self, database: &DatabaseKey) -> Result<Verification, Box<Problem>> {
        let seen = self.platform.observe().await?;
        verify::read(&*self.platform, &seen, database).await
    }

    async fn drill(&self, permit: &Permit, database: &DatabaseKey) -> Result<Drill, Box<Problem>> {
        let subject = format!("Database {database}");
        self.record(permit, "ask for a drill".to_owned(), subject)
            .await?;
        self.platform.drill(database).await
    }

    async fn holdings(&self, repository: &str) -> Result<Vec<Holding>, Box<Problem>> {
        repository::look(&*self.platform, repository).await
    }

    async fn forgettable(
        &self,
        repository: &str,
        instance: InstanceId,
    ) -> Result<Holding, Box<Problem>> {
        let found = Forgettable::find(&*self.platform, repository, instance).await?;
        Ok(found.holding)
    }

    async fn forget(
        &self,
        permit: &Permit,
        (repository, instance): (&str, InstanceId),
        confirm: &str,
    ) -> Result<u64, Box<Problem>> {
        let found = Forgettable::find(&*self.platform, repository, instance).await?;
        is_name(confirm, &found.holding.name())?;
        let actor = permit.actor().to_owned();
        found.forget(&*self.platform, actor).await
    }
}
