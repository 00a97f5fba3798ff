//! Secrets that people store by a name of their own.

use boma_engine::platform::PlatformError;
use boma_instance::Secret;

use super::LocalPlatform;
use super::error::boxed;

impl LocalPlatform {
    /// The secret of a name; none: there is none.
    pub async fn named_secret(&self, name: &str) -> Result<Option<Secret<String>>, PlatformError> {
        let name = name.to_owned();
        let read = self
            .inner
            .store
            .read(move |state| state.named_secret(&name));
        read.await.map_err(boxed)
    }

    /// The names that there are, sorted.
    pub async fn named_secrets(&self) -> Result<Vec<String>, PlatformError> {
        let read = self.inner.store.read(|state| state.named_secrets());
        read.await.map_err(boxed)
    }

    /// Stores a secret, in the place of one that has the name. The audit trail has the name.
    pub async fn set_named_secret(
        &self,
        name: &str,
        value: Secret<String>,
        actor: &str,
    ) -> Result<(), PlatformError> {
        let row = name.to_owned();
        let write = self
            .inner
            .store
            .write(move |state| state.set_named_secret(&row, &value));
        write.await.map_err(boxed)?;
        let action = format!("secret {name} is stored");
        self.audit_installation(actor, action).await?;
        Ok(())
    }

    /// Forgets a secret; tells whether there was one.
    pub async fn forget_named_secret(
        &self,
        name: &str,
        actor: &str,
    ) -> Result<bool, PlatformError> {
        let row = name.to_owned();
        let write = self
            .inner
            .store
            .write(move |state| state.forget_named_secret(&row));
        let was_there = write.await.map_err(boxed)?;
        if was_there {
            let action = format!("secret {name} is forgotten");
            self.audit_installation(actor, action).await?;
        }
        Ok(was_there)
    }
}
