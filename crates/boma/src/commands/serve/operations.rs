//! What people ask this machine's platform for in the dashboard.

use std::sync::Arc;

use async_trait::async_trait;
use boma_engine::backups::BackupPlatform as _;
use boma_engine::catalog::Subject;
use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey};
use boma_engine::platform::{AuditEntry, Event, Platform};
use boma_instance::Secret;
use boma_local::LocalPlatform;
use boma_problem::{Class, IntoProblem, Problem};
use boma_web::{Happened, Operations, Permit};
use jiff::Timestamp;

/// Asks the platform of this machine.
pub(super) struct LocalOperations {
    platform: Arc<LocalPlatform>,
}

impl LocalOperations {
    pub(super) fn new(platform: Arc<LocalPlatform>) -> Self {
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
impl Operations for LocalOperations {
    async fn events(
        &self,
        subject: Option<&Subject>,
        limit: u32,
    ) -> Result<Vec<Happened>, Box<Problem>> {
        let subject = subject.map(ToString::to_string);
        let events = self.platform.events(subject.as_deref(), limit).await?;
        let events = events.into_iter().rev();
        Ok(events
            .map(|one| Happened {
                event: one.event,
                last: one.last,
                count: one.count,
            })
            .collect())
    }

    async fn audit_trail(&self, limit: u32) -> Result<Vec<AuditEntry>, Box<Problem>> {
        let mut entries = self.platform.audit_trail(limit).await?;
        entries.reverse();
        Ok(entries)
    }

    async fn rotate(&self, permit: &Permit, grant: &GrantKey) -> Result<(), Box<Problem>> {
        self.platform.ask_rotation(grant, Timestamp::now()).await?;
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
        match (subject, held) {
            (Subject::Database(key), true) => self.platform.hold_database(key).await?,
            (Subject::Database(key), false) => self.platform.release_database(key).await?,
            (Subject::Application(key), true) => self.platform.hold_application(key).await?,
            (Subject::Application(key), false) => self.platform.release_application(key).await?,
            (Subject::Installation, _) => {}
        }
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
        let environment = self.platform.environment(application).await?;
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
