//! Who may use the dashboard, kept with the secrets.

use boma_engine::platform::PlatformError;
use boma_instance::Secret;

use super::LocalPlatform;
use super::error::boxed;

impl LocalPlatform {
    /// The document of who there is; none: there was none yet.
    pub async fn people(&self) -> Result<Option<Secret<String>>, PlatformError> {
        let read = self.inner.store.read(|state| state.people());
        read.await.map_err(boxed)
    }

    /// Changes the document of who there is: reading, changing and writing it are one step, of however
    /// many processes. What `change` answers with is stored, or nothing if it fails.
    pub async fn change_people<E: Send + 'static>(
        &self,
        change: impl FnOnce(Option<Secret<String>>) -> Result<Secret<String>, E> + Send + 'static,
        actor: &str,
        action: String,
    ) -> Result<Result<Secret<String>, E>, PlatformError> {
        let write = self.inner.store.write(move |state| {
            let changed = change(state.people()?);
            if let Ok(document) = &changed {
                state.set_people(document)?;
            }
            Ok(changed)
        });
        let changed = write.await.map_err(boxed)?;
        if changed.is_ok() {
            self.audit_installation(actor, action).await?;
        }
        Ok(changed)
    }
}
