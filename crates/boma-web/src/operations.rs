//! What a person asks a platform for, apart from manifests.

use async_trait::async_trait;
use boma_engine::catalog::Subject;
use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey};
use boma_engine::platform::{AuditEntry, RecordedEvent};
use boma_instance::Secret;
use boma_problem::Problem;

use crate::access::Permit;
use crate::backups::BackupOperations;
use crate::endings::EndOperations;
use crate::secrets::SecretOperations;

/// What a person asks a platform for, apart from manifests. What changes something is recorded in the
/// audit trail, by the platform or by whoever implements this, with whoever was permitted to.
#[async_trait]
pub trait Operations: BackupOperations + EndOperations + SecretOperations {
    /// The newest events, newest first; of one resource, or of all.
    async fn events(
        &self,
        subject: Option<&Subject>,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, Box<Problem>>;

    /// The newest entries of the audit trail, newest first.
    async fn audit_trail(&self, limit: u32) -> Result<Vec<AuditEntry>, Box<Problem>>;

    /// Asks for another password of a grant.
    async fn rotate(&self, permit: &Permit, grant: &GrantKey) -> Result<(), Box<Problem>>;

    /// Stops a database or an application until it is released; or releases it.
    async fn hold(
        &self,
        permit: &Permit,
        subject: &Subject,
        held: bool,
    ) -> Result<(), Box<Problem>>;

    /// Begins a base backup; what becomes of it is an event.
    async fn back_up(&self, permit: &Permit, database: &DatabaseKey) -> Result<(), Box<Problem>>;

    /// The value of one variable of an application: the one secret that somebody asked to see.
    async fn reveal(
        &self,
        permit: &Permit,
        application: &ApplicationKey,
        variable: &str,
    ) -> Result<Secret<String>, Box<Problem>>;

    /// Records that an application is to be deployed again.
    async fn asked_to_deploy(
        &self,
        permit: &Permit,
        application: &ApplicationKey,
    ) -> Result<(), Box<Problem>>;

    /// Records that a manifest was changed in the dashboard.
    async fn wrote(&self, permit: &Permit, file: &str) -> Result<(), Box<Problem>>;
}
