//! What was done to the installation as a whole, for those who ask later.

use boma_engine::platform::{AuditEntry, Event, Platform, PlatformError};
use jiff::Timestamp;

use super::LocalPlatform;

/// What entries and events about all of it are about.
const INSTALLATION: &str = "Installation";

impl LocalPlatform {
    /// Adds what somebody did to the audit trail; answers with when.
    pub(super) async fn audit_installation(
        &self,
        actor: &str,
        action: String,
    ) -> Result<Timestamp, PlatformError> {
        let at = Timestamp::now();
        self.audit(&AuditEntry {
            at,
            actor: actor.to_owned(),
            action,
            subject: INSTALLATION.to_owned(),
            outcome: "done".to_owned(),
        })
        .await?;
        Ok(at)
    }

    /// Adds what came of it to the events.
    pub(super) async fn tell_installation(
        &self,
        at: Timestamp,
        reason: &str,
        message: String,
    ) -> Result<(), PlatformError> {
        self.event(&Event {
            at,
            subject: INSTALLATION.to_owned(),
            reason: reason.to_owned(),
            message,
            warning: false,
        })
        .await
    }
}
