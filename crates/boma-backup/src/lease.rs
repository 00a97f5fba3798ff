//! Whoever restores holds what it reads: a lease beside the backups, which expiring honours.
//!
//! ```text
//!   restore: lease ─► choose ─► files ─► log … renewed every 10 minutes … ─► lease deleted
//!   expiry:  asks the store what time it is ─► a lease younger than an hour: nothing goes now
//! ```
//!
//! Times are the store's own: that of the lease, and that of an object which the expiring side writes
//! where it finds a lease. So a clock that is wrong on one of the two sides neither ends a lease nor
//! keeps one. A restore that is killed holds for an hour after it renewed last, and no longer.
//!
//! It is a courtesy, not a lock: credentials that may only read cannot take one, and between its
//! taking and an expiry that has just looked there is a moment. A restore that loses its backup fails,
//! says so, and begins again with another.

use std::time::Duration;

use boma_instance::InstanceId;
use boma_problem::{Class, IntoProblem, Problem};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;

use crate::format::names::Prefix;
use crate::store::{Listed, Repository, StoreError};

/// How long a lease holds after it was written last, by the store's clock.
const HOLDS: SignedDuration = SignedDuration::from_hours(1);

/// How often it is written again.
const RENEWED: Duration = Duration::from_mins(10);

/// A lease that is kept until it is dropped or ended.
#[derive(Debug)]
pub struct Lease {
    repository: Repository,
    prefix: Prefix,
    by: InstanceId,
    renewing: JoinHandle<()>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl Lease {
    /// Holds what is at `prefix`, for the restore of instance `by`; what it left when it was killed it
    /// takes over.
    ///
    /// # Errors
    /// When it cannot be written: nothing is held then.
    pub async fn take(
        repository: &Repository,
        prefix: Prefix,
        by: InstanceId,
    ) -> Result<Self, StoreError> {
        let name = prefix.lease(by);
        repository.replace(&name, b"restoring").await?;
        let renewed = repository.clone();
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWED).await;
                if let Err(error) = renewed.replace(&name, b"restoring").await {
                    tracing::warn!(problem = %error.problem(), "a lease is not renewed");
                }
            }
        });
        Ok(Self {
            repository: repository.clone(),
            prefix,
            by,
            renewing,
        })
    }

    /// Lets go. What cannot be deleted lapses.
    pub async fn end(self) {
        self.renewing.abort();
        let name = self.prefix.lease(self.by);
        if let Err(error) = self.repository.delete(name.as_str()).await {
            tracing::debug!(problem = %error.problem(), "a lease lapses by itself");
        }
    }
}

/// Whether somebody restores from what is at `prefix`; lapsed leases are deleted.
pub async fn is_held(repository: &Repository, prefix: &Prefix) -> Result<bool, StoreError> {
    let clock = prefix.clock();
    let mut leases = repository.list(&prefix.leases_folder()).await?;
    leases.retain(|one| one.name != clock.as_str());
    if leases.is_empty() {
        return Ok(false);
    }
    repository.replace(&clock, b"now").await?;
    // Asked for by name: a listing may be behind.
    let now = repository.written_at(&clock).await?;
    let holds = |lease: &Listed| now.is_none_or(|now| holds(lease, now));
    let (held, lapsed): (Vec<_>, Vec<_>) = leases.iter().partition(|lease| holds(lease));
    for lease in lapsed {
        repository.delete(&lease.name).await?;
    }
    Ok(!held.is_empty())
}

/// One that is younger than the store says that it is now holds as well.
fn holds(lease: &Listed, now: Timestamp) -> bool {
    now.duration_since(lease.written_at) < HOLDS
}

/// Backups are being restored from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("somebody restores from these backups, or did within the last hour")]
pub struct Restoring;

impl IntoProblem for Restoring {
    fn problem(&self) -> Problem {
        Problem::from_error(Class::Transient, "backups-being-restored", self)
            .hint("Wait until it is done; one that was killed holds them for an hour.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, PREFIX, at};

    fn by() -> InstanceId {
        InstanceId(uuid::Uuid::from_u128(9))
    }

    fn written(seconds_ago: i64) -> Listed {
        Listed {
            name: PREFIX.lease(by()).to_string(),
            bytes: 1,
            written_at: at(100_000 - seconds_ago),
        }
    }

    #[test]
    fn a_lease_lapses_an_hour_after_it_was_renewed_last() {
        let now = at(100_000);
        assert!(holds(&written(0), now));
        assert!(holds(&written(3599), now));
        assert!(!holds(&written(3600), now));
        // The store's clocks may differ by a little among themselves.
        assert!(holds(&written(-60), now));
    }

    #[tokio::test]
    async fn what_is_held_is_let_go_by_who_holds_it() {
        let fixture = Fixture::new().await;
        let repository = &fixture.repository;
        assert!(!is_held(repository, &PREFIX).await.unwrap());
        let lease = Lease::take(repository, PREFIX, by()).await.unwrap();
        assert!(is_held(repository, &PREFIX).await.unwrap());
        // Killed and begun again, it is the same.
        drop(lease);
        assert!(is_held(repository, &PREFIX).await.unwrap());
        let lease = Lease::take(repository, PREFIX, by()).await.unwrap();
        lease.end().await;
        assert!(!is_held(repository, &PREFIX).await.unwrap());
        let problem = Restoring.problem();
        assert!(problem.to_string().starts_with("somebody restores from"));
    }
}
