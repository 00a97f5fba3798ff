//! Two instances change places: the end of a restore in place, and its undoing.
//!
//! ```text
//!   both servers stopped ─► both agents ended ─► one transaction ─► the engine goes on
//! ```
//!
//! Killed before the transaction, two stopped databases have no agents, which the next pass starts
//! again, and the plan comes here once more. Killed after it, the two have changed places, and the
//! next plan starts the one that a manifest asks for. Files are neither moved nor removed: each
//! instance keeps its directory, so that no server ever runs on another's data.

use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{Life, Replacement};
use boma_engine::platform::PlatformError;
use boma_instance::{InstanceId, Power};
use jiff::Timestamp;

use super::error::boxed;
use super::{LocalPlatform, NotPossible};
use crate::store::{DatabaseRow, Exchange};

impl LocalPlatform {
    /// Remembers that a person wants a database replaced; tells whether that is new.
    pub async fn ask_replacement(
        &self,
        key: &DatabaseKey,
        wish: &Replacement,
    ) -> Result<bool, PlatformError> {
        let (key, wish) = (key.clone(), wish.clone());
        let asked = self
            .inner
            .store
            .write(move |state| state.ask_replacement(&key, &wish))
            .await
            .map_err(boxed)?;
        self.inner.waker.wake();
        Ok(asked)
    }

    /// Gives a replacement up that has not come to its end; tells whether there was one.
    pub async fn give_up_replacement(&self, key: &DatabaseKey) -> Result<bool, PlatformError> {
        let key = key.clone();
        let given_up = self
            .inner
            .store
            .write(move |state| state.give_up_replacement(&key))
            .await
            .map_err(boxed)?;
        self.inner.waker.wake();
        Ok(given_up)
    }

    pub(super) async fn exchange_instances(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
        beside: &DatabaseKey,
        since: Timestamp,
    ) -> Result<(), PlatformError> {
        let row = self.row_of(key).await?;
        if row.id == id {
            // Done before; whoever repeats it is told the same.
            return Ok(());
        }
        let other = self.row_of(beside).await?;
        if other.id != id {
            return Err(boxed(NotPossible::OtherId {
                key: beside.clone(),
                id,
                given: other.id,
            }));
        }
        // Always in the same order, so that no two wait for each other.
        let (first, second) = (row.id.min(other.id), row.id.max(other.id));
        let _first = self.one_at_a_time(first).await;
        let _second = self.one_at_a_time(second).await;
        for row in [&row, &other] {
            self.end_stopped(row).await?;
        }
        super::purge::crash_point("exchange-agents-ended");
        let exchange = Exchange {
            gets: (key.clone(), id),
            kept: (beside.clone(), row.id),
            life: Life::Retired {
                since,
                until: Timestamp::MAX,
            },
        };
        let exchanged = self
            .inner
            .store
            .write(move |state| state.exchange(&exchange));
        if !exchanged.await.map_err(boxed)? {
            let row = self.row_of(key).await?;
            return Err(boxed(NotPossible::OtherId {
                key: key.clone(),
                id,
                given: row.id,
            }));
        }
        super::purge::crash_point("exchanged");
        self.inner.registry.wake();
        Ok(())
    }

    /// Ends the agent of an instance that was stopped as its spec says; refuses any other.
    async fn end_stopped(&self, row: &DatabaseRow) -> Result<(), PlatformError> {
        let key = || row.key.clone();
        if row.purging {
            return Err(boxed(NotPossible::BeingPurged { key: key() }));
        }
        if row.life != Life::Active {
            return Ok(());
        }
        let spec = row.spec.as_ref();
        if spec.is_none_or(|spec| spec.power != Power::Off) {
            return Err(boxed(NotPossible::NotStopped { key: key() }));
        }
        self.end_agent(row).await
    }
}
