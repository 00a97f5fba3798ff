//! What people ask a platform for in the dashboard.

mod backups;
mod endings;
mod secrets;

use std::sync::Arc;

use async_trait::async_trait;
use boma_engine::backups::BackupPlatform;
use boma_engine::catalog::Subject;
use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey};
use boma_engine::observed::Replacement;
use boma_engine::platform::{AuditEntry, Event, PlatformError, RecordedEvent};
use boma_engine::printed::ApplicationSecrets;
use boma_instance::{InstanceId, Secret};
use boma_problem::{Class, IntoProblem, Problem};
use boma_web::{Operations, Permit, SecretName};
use jiff::Timestamp;

/// What people ask a platform for that the engine does not.
pub(crate) trait Desk: BackupPlatform {
    /// The newest events, oldest first; of one subject, or of all.
    fn recorded_events(
        &self,
        subject: Option<&str>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, PlatformError>> + Send;

    /// The newest entries of the audit trail, oldest first.
    fn trail(
        &self,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<AuditEntry>, PlatformError>> + Send;

    /// Remembers that somebody asks for another password of a grant.
    fn rotate(&self, grant: &GrantKey) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Remembers that somebody stopped a database or an application, or takes that back.
    fn set_held(
        &self,
        subject: &Subject,
        held: bool,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// The delivered environment of an application.
    fn secrets_of(
        &self,
        application: &ApplicationKey,
    ) -> impl Future<Output = Result<ApplicationSecrets, PlatformError>> + Send;

    /// Files of an instance's write-ahead log that are not in its repository; none: not known.
    fn not_archived(&self, id: InstanceId) -> Option<u64>;

    /// Destroys a retired database as soon as nobody else is at work.
    fn destroy(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Remembers that a database is to be replaced; tells whether it was not to be already.
    fn ask_replacement(
        &self,
        key: &DatabaseKey,
        wish: &Replacement,
    ) -> impl Future<Output = Result<bool, PlatformError>> + Send;

    /// Gives a replacement up that has not come to its end; tells whether there was one.
    fn give_up_replacement(
        &self,
        key: &DatabaseKey,
    ) -> impl Future<Output = Result<bool, PlatformError>> + Send;

    /// The names of secrets that people have stored, sorted.
    fn secret_names(&self) -> impl Future<Output = Result<Vec<String>, PlatformError>> + Send;

    /// Stores a secret for somebody, in the place of what has the name, and records that.
    fn store_secret(
        &self,
        name: &SecretName,
        value: Secret<String>,
        actor: &str,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Forgets a secret for somebody, and records that; tells whether there was one.
    fn forget_secret(
        &self,
        name: &SecretName,
        actor: &str,
    ) -> impl Future<Output = Result<bool, PlatformError>> + Send;
}

/// Asks a platform, and records who did.
pub(crate) struct OperationsOn<P> {
    platform: Arc<P>,
}

impl<P: Desk> OperationsOn<P> {
    pub(crate) fn new(platform: Arc<P>) -> Self {
        Self { platform }
    }

    async fn record(
        &self,
        permit: &Permit,
        action: String,
        subject: String,
    ) -> Result<(), Box<Problem>> {
        self.platform
            .audit(&AuditEntry {
                at: Timestamp::now(),
                actor: permit.actor().to_owned(),
                action,
                subject,
                outcome: "done".into(),
            })
            .await
    }
}

#[async_trait]
impl<P: Desk> Operations for OperationsOn<P> {
    async fn events(
        &self,
        subject: Option<&Subject>,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, Box<Problem>> {
        let subject = subject.map(ToString::to_string);
        let events = self.platform.recorded_events(subject.as_deref(), limit);
        let mut events = events.await?;
        events.reverse();
        Ok(events)
    }

    async fn audit_trail(&self, limit: u32) -> Result<Vec<AuditEntry>, Box<Problem>> {
        let mut entries = self.platform.trail(limit).await?;
        entries.reverse();
        Ok(entries)
    }

    async fn rotate(&self, permit: &Permit, grant: &GrantKey) -> Result<(), Box<Problem>> {
        self.platform.rotate(grant).await?;
        let subject = format!("Application {}", grant.application);
        let action = format!("ask for another password for {}", grant.database.name);
        self.record(permit, action, subject).await
    }

    async fn hold(
        &self,
        permit: &Permit,
        subject: &Subject,
        held: bool,
    ) -> Result<(), Box<Problem>> {
        self.platform.set_held(subject, held).await?;
        let action = if held { "stop" } else { "start" };
        self.record(permit, action.to_owned(), subject.to_string())
            .await
    }

    async fn back_up(&self, permit: &Permit, database: &DatabaseKey) -> Result<(), Box<Problem>> {
        let subject = format!("Database {database}");
        self.record(permit, "ask for a base backup".to_owned(), subject.clone())
            .await?;
        let (platform, database) = (self.platform.clone(), database.clone());
        tokio::spawn(async move {
            let Err(problem) = platform.back_up(&database).await else {
                return;
            };
            let event = Event {
                at: Timestamp::now(),
                subject,
                reason: "BackupFailed".to_owned(),
                message: format!("the base backup that was asked for failed: {problem}"),
                warning: true,
            };
            if let Err(problem) = platform.event(&event).await {
                tracing::warn!(%problem, "that a backup failed was not recorded");
            }
        });
        Ok(())
    }

    async fn reveal(
        &self,
        permit: &Permit,
        application: &ApplicationKey,
        variable: &str,
    ) -> Result<Secret<String>, Box<Problem>> {
        let environment = self.platform.secrets_of(application).await?;
        let value = environment
            .into_iter()
            .find(|(name, _)| name == variable)
            .map(|(_, value)| value);
        let value = value.ok_or_else(|| NoSuchVariable.problem())?;
        let subject = format!("Application {application}");
        self.record(permit, format!("reveal {variable}"), subject)
            .await?;
        Ok(value)
    }

    async fn asked_to_deploy(
        &self,
        permit: &Permit,
        application: &ApplicationKey,
    ) -> Result<(), Box<Problem>> {
        let subject = format!("Application {application}");
        self.record(permit, "deploy again".to_owned(), subject)
            .await
    }

    async fn wrote(&self, permit: &Permit, file: &str) -> Result<(), Box<Problem>> {
        self.record(
            permit,
            format!("write manifest {file}"),
            "Installation".to_owned(),
        )
        .await
    }
}

/// An application has no such variable, or not yet.
#[derive(Debug, thiserror::Error)]
#[error("the application has no such variable")]
struct NoSuchVariable;

impl IntoProblem for NoSuchVariable {
    fn problem(&self) -> Problem {
        Problem::from_error(Class::User, "variable-unknown", self)
            .hint("It is delivered when its database is ready; the application's page shows that.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_delivered_yet_is_said() {
        let problem = NoSuchVariable.problem();
        assert_eq!(problem.to_string(), "the application has no such variable");
        assert!(problem.hints[0].contains("when its database is ready"));
    }
}
