//! Another key for the secret store.

use boma_engine::platform::PlatformError;

use super::error::boxed;
use super::{LocalPlatform, OpenError};
use crate::layout::Layout;
use crate::seal::Sealer;
use crate::{key_file, locks, store};

impl LocalPlatform {
    /// Makes another key, seals every secret with it and forgets the former one. Killed at any
    /// moment, the state opens with what is there; the next one who opens it tidies up. Whoever
    /// has the state open meanwhile goes on with the new key. Answers how many secrets there are.
    ///
    /// # Errors
    /// When a file cannot be written or a secret cannot be opened; nothing is changed then.
    pub async fn rotate_key(&self, actor: &str) -> Result<usize, PlatformError> {
        let layout = self.inner.layout.clone();
        let work = move || change(&layout);
        let count = tokio::task::spawn_blocking(work)
            .await
            .unwrap_or(Err(store::StoreError::Closed.into()))
            .map_err(boxed)?;
        let action = "another key for the secret store".to_owned();
        let at = self.audit_installation(actor, action.clone()).await?;
        let message = format!("{action}: {count} secrets sealed anew");
        self.tell_installation(at, "KeyRotated", message).await?;
        Ok(count)
    }
}

fn change(layout: &Layout) -> Result<usize, OpenError> {
    // Nobody opens the state meanwhile, and no two change its key.
    let _init = locks::hold(&layout.lock("init"))?;
    let (path, database) = (layout.key(), layout.database());
    key_file::settle(&path, |key| {
        Ok::<_, OpenError>(store::fits(&database, &Sealer::new(key)?)?)
    })?;
    let old = Sealer::new(&key_file::load_or_create(&path, true)?)?;
    strike("key-begun");
    let new = Sealer::new(&key_file::create_next(&path)?)?;
    strike("key-next-written");
    let count = store::rekey(&database, &old, &new)?;
    strike("key-sealed-anew");
    key_file::promote(&path)?;
    strike("key-in-place");
    Ok(count)
}

/// In tests, a place where `kill -9` strikes.
fn strike(point: &'static str) {
    #[cfg(test)]
    super::tests::strike_at(point);
    #[cfg(not(test))]
    let _ = point;
}

#[cfg(test)]
mod tests;
