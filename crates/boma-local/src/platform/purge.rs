//! Destroying an instance, on a person's word.
//!
//! ```text
//!   remember it ─► end the agent ─► rename to a tombstone ─► remove files ─► names ─► rows
//! ```
//!
//! The first step is durable and final: from then on nothing but this can be done with the
//! database. The rows go last, so that whatever dies in between, the next purge or pass knows what
//! is left to do. Files are removed under a name that holds the instance's full id and that nothing
//! else ever has, so no other directory can be taken for it.

use std::io;
use std::path::Path;

use boma_engine::keys::DatabaseKey;
use boma_engine::observed::Life;
use boma_engine::platform::PlatformError;
use boma_instance::InstanceId;

use super::error::boxed;
use super::{LocalPlatform, NotPossible};
use crate::store::DatabaseRow;

impl LocalPlatform {
    pub(super) async fn purge_instance(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
    ) -> Result<(), PlatformError> {
        let wanted = key.clone();
        let found = self
            .inner
            .store
            .read(move |state| state.database(&wanted))
            .await
            .map_err(boxed)?;
        let Some(row) = found else {
            // Done before; whoever repeats it is told the same.
            return Ok(());
        };
        if row.id != id {
            return Err(boxed(NotPossible::OtherId {
                key: key.clone(),
                id,
                given: row.id,
            }));
        }
        if row.life == Life::Active && !row.purging {
            return Err(boxed(NotPossible::NotRetired { key: key.clone() }));
        }
        let _one = self.one_at_a_time(id).await;
        self.inner
            .store
            .write(move |state| state.set_purging(id))
            .await
            .map_err(boxed)?;
        crash_point("marked");
        self.finish_purge(&row).await
    }

    /// Finishes what an earlier purge began.
    pub(super) async fn finish_purges(&self) -> Result<(), PlatformError> {
        let rows = self
            .inner
            .store
            .read(|state| state.databases())
            .await
            .map_err(boxed)?;
        for row in rows.iter().filter(|row| row.purging) {
            let _one = self.one_at_a_time(row.id).await;
            self.finish_purge(row).await?;
        }
        Ok(())
    }

    async fn finish_purge(&self, row: &DatabaseRow) -> Result<(), PlatformError> {
        let (inner, id) = (&self.inner, row.id);
        self.end_agent(row).await?;
        crash_point("agent-ended");
        let (instance, tombstone, run) = (
            inner.layout.instance(id),
            inner.layout.tombstone(id),
            inner.layout.run(id),
        );
        let work = move || {
            bury(&instance, &tombstone)?;
            crash_point("buried");
            remove(&tombstone)?;
            crash_point("removed");
            remove(&run)
        };
        let failed = |source| boxed(NotPossible::Files { id, source });
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|ended| Err(ended.into()))
            .map_err(failed)?;
        inner.limits.remove(id).map_err(boxed)?;

        let _one = self.one_places().await?;
        let mut placements = inner
            .store
            .read(|state| state.placements())
            .await
            .map_err(boxed)?;
        placements.retain(|(other, _)| *other != id);
        // A hosts file that cannot be written has none of our names to be removed, or a person
        // has to mend it; either way the database is gone, and the next pass tries again.
        drop(self.write_names(&placements, None).await);
        crash_point("unnamed");
        inner
            .store
            .write(move |state| state.forget_database(id))
            .await
            .map_err(boxed)?;
        inner.registry.wake();
        Ok(())
    }
}

/// Gives the directory its tombstone's name, durably.
fn bury(instance: &Path, tombstone: &Path) -> io::Result<()> {
    match std::fs::rename(instance, tombstone) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => crate::files::sync_parent(tombstone),
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// In tests, a place where `kill -9` strikes.
pub(super) fn crash_point(name: &'static str) {
    #[cfg(test)]
    super::tests::strike_at(name);
    #[cfg(not(test))]
    let _ = name;
}
