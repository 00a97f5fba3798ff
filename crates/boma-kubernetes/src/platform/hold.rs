//! What a person has stopped, until it is started again.

use boma_engine::catalog::Subject;
use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::platform::PlatformError;

use super::{Inner, KubernetesPlatform};
use crate::cluster::Change;
use crate::error::{KubernetesError, boxed};
use crate::records::ApplicationRow;

impl KubernetesPlatform {
    /// Remembers that a person stopped a database or an application, or takes that back; the next
    /// pass does so.
    ///
    /// # Errors
    /// Nothing of that name is on record, or the API server does not take it.
    pub async fn set_held(&self, subject: &Subject, held: bool) -> Result<(), PlatformError> {
        let inner = &self.inner;
        match subject {
            Subject::Database(key) => inner.hold_database(key, held).await.map_err(boxed),
            Subject::Application(key) => inner.hold_application(key, held).await.map_err(boxed),
            Subject::Installation => Ok(()),
        }
    }
}

impl Inner {
    async fn hold_database(&self, key: &DatabaseKey, held: bool) -> Result<(), KubernetesError> {
        let one = self.registered_as(key)?;
        self.change_row(&one, |row| {
            row.held = held;
            Ok(())
        })
        .await
    }

    async fn hold_application(
        &self,
        key: &ApplicationKey,
        held: bool,
    ) -> Result<(), KubernetesError> {
        let (namespace, _row) = self.delivered(key)?;
        self.change_delivered(&namespace, key, |row| {
            if row.held == held {
                return Change::Keep(());
            }
            row.held = held;
            Change::Write(ApplicationRow::clone(row), ())
        })
        .await
    }
}
