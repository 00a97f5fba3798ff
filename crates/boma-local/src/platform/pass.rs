//! A pass of the engine: who changes things holds this.

use std::time::Duration;

use boma_engine::observed::Life;
use boma_engine::platform::PlatformError;
use tokio::task::JoinSet;

use super::LocalPlatform;
use super::error::boxed;
use crate::limits::Change;
use crate::locks::{self, Held, LockError};
use crate::store::DatabaseRow;

/// The right to change things, until this is dropped.
#[derive(Debug)]
pub struct Pass {
    _held: Held,
}

impl LocalPlatform {
    /// Waits for the right to change things, and repairs what a crash or the world outside left:
    /// unfinished purges, agents that are gone, names that somebody took out of the hosts file.
    ///
    /// # Errors
    /// When another process has that right for longer than `patience`, naming it.
    pub async fn begin_pass(&self, patience: Duration) -> Result<Pass, PlatformError> {
        let state_dir = self.inner.layout.root().to_owned();
        let held = locks::hold_within(&self.inner.layout.lock("pass"), patience)
            .await
            .map_err(boxed)?;
        let held = held.map_err(|holder| boxed(LockError::AtWork { state_dir, holder }))?;
        self.finish_purges().await?;
        self.repair_names().await?;
        self.revive_agents().await?;
        self.hand_keys_over().await?;
        Ok(Pass { _held: held })
    }

    async fn repair_names(&self) -> Result<(), PlatformError> {
        let _one = self.one_places().await?;
        let mut placements = self
            .inner
            .store
            .read(|state| state.placements())
            .await
            .map_err(boxed)?;
        // Names that did not resolve when an instance was placed wait until it is placed again:
        // its connection strings have the address.
        placements.retain(|(_, placement)| placement.resolves);
        drop(self.write_names(&placements, None).await);
        Ok(())
    }

    /// Starts every agent that should run and does not; all at the same time.
    async fn revive_agents(&self) -> Result<(), PlatformError> {
        let rows = self
            .inner
            .store
            .read(|state| state.databases())
            .await
            .map_err(boxed)?;
        let mut revived = JoinSet::new();
        for row in rows {
            let this = self.clone();
            revived.spawn(async move { this.revive(&row).await });
        }
        revived.join_all().await;
        Ok(())
    }

    /// Starts an instance's agent if it should run and does not. What hinders it is seen by the
    /// next observation, which finds no agent; so it is logged here and no more.
    pub(super) async fn revive(&self, row: &DatabaseRow) {
        let Some(spec) = row
            .spec
            .as_ref()
            .filter(|_| row.life == Life::Active && !row.purging)
        else {
            return;
        };
        let revived = async {
            let launch = self.launch(spec)?;
            let _agent = self.run_agent(spec, &launch).await?;
            self.inner
                .limits
                .set(spec.id, &spec.resources, Change::Exact)
                .map_err(boxed)
        };
        if let Err(problem) = revived.await {
            tracing::warn!(database = %row.key, %problem, "the agent does not run");
        }
    }
}
