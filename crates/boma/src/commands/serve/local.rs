//! What the dashboard asks of this machine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use boma_backup::wal::backlog;
use boma_engine::catalog::Subject;
use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey};
use boma_engine::observed::Replacement;
use boma_engine::platform::{AuditEntry, Platform as _, PlatformError, RecordedEvent};
use boma_engine::printed::ApplicationSecrets;
use boma_instance::statements::Statements;
use boma_instance::{History, InstanceId, Secret};
use boma_local::{LocalPlatform, Printed, end_of};
use boma_problem::Problem;
use boma_web::{Insight, LogOf, SecretName};
use jiff::Timestamp;

use super::operations::Desk;

/// How long another process may be at work before this gives up.
const PATIENCE: Duration = Duration::from_secs(30);

impl Desk for LocalPlatform {
    async fn recorded_events(
        &self,
        subject: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, PlatformError> {
        self.events(subject, limit).await
    }

    async fn trail(&self, limit: u32) -> Result<Vec<AuditEntry>, PlatformError> {
        self.audit_trail(limit).await
    }

    async fn rotate(&self, grant: &GrantKey) -> Result<(), PlatformError> {
        self.ask_rotation(grant, Timestamp::now()).await?;
        Ok(())
    }

    async fn set_held(&self, subject: &Subject, held: bool) -> Result<(), PlatformError> {
        match (subject, held) {
            (Subject::Database(key), true) => self.hold_database(key).await,
            (Subject::Database(key), false) => self.release_database(key).await,
            (Subject::Application(key), true) => self.hold_application(key).await,
            (Subject::Application(key), false) => self.release_application(key).await,
            (Subject::Installation, _) => Ok(()),
        }
    }

    async fn secrets_of(
        &self,
        application: &ApplicationKey,
    ) -> Result<ApplicationSecrets, PlatformError> {
        self.environment(application).await
    }

    fn not_archived(&self, id: InstanceId) -> Option<u64> {
        let log = self.layout().instance(id).join("data/pg_wal");
        Some(backlog::ready(&log).map_or(0, |ready| ready.len() as u64))
    }

    async fn destroy(&self, key: &DatabaseKey, id: InstanceId) -> Result<(), PlatformError> {
        let _pass = self.begin_pass(PATIENCE).await?;
        self.purge(key, id).await
    }

    async fn ask_replacement(
        &self,
        key: &DatabaseKey,
        wish: &Replacement,
    ) -> Result<bool, PlatformError> {
        Self::ask_replacement(self, key, wish).await
    }

    async fn give_up_replacement(&self, key: &DatabaseKey) -> Result<bool, PlatformError> {
        Self::give_up_replacement(self, key).await
    }

    async fn secret_names(&self) -> Result<Vec<String>, PlatformError> {
        self.named_secrets().await
    }

    async fn store_secret(
        &self,
        name: &SecretName,
        value: Secret<String>,
        actor: &str,
    ) -> Result<(), PlatformError> {
        let name = name.to_string();
        self.set_named_secret(&name, value, actor).await
    }

    async fn forget_secret(&self, name: &SecretName, actor: &str) -> Result<bool, PlatformError> {
        self.forget_named_secret(&name.to_string(), actor).await
    }
}

/// Asks the agents of this machine, and reads its logs.
pub(super) struct LocalInsight {
    platform: Arc<LocalPlatform>,
}

impl LocalInsight {
    pub(super) fn new(platform: Arc<LocalPlatform>) -> Self {
        Self { platform }
    }
}

#[async_trait]
impl Insight for LocalInsight {
    async fn history(&self, database: &DatabaseKey) -> Result<History, Box<Problem>> {
        self.platform.history(database).await
    }

    async fn statements(&self, database: &DatabaseKey) -> Result<Statements, Box<Problem>> {
        self.platform.statements(database).await
    }

    async fn log(&self, of: &LogOf) -> Result<Option<String>, Box<Problem>> {
        match of {
            LogOf::Server(id) => {
                let path = self.platform.layout().instance(*id).join(boma_agent::LOG);
                // A server is given no password that it could write down.
                end_of(path, ApplicationSecrets::new()).await
            }
            LogOf::Application(key) => self.platform.printed(key, Printed::Program).await,
            LogOf::PreDeploy(key) => self.platform.printed(key, Printed::PreDeploy).await,
        }
    }
}
