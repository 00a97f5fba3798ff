//! What a server did lately: what its agent has measured at each look, for charts.
//!
//! Counters are kept as the server counts them, and made into rates by whoever shows them, here: a
//! rate needs two looks that belong together, and where they do not there is none.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far apart two looks may be to be shown as one course of things. An agent looks once a
/// minute; one look may fail or be late.
pub const LONGEST_STEP: SignedDuration = SignedDuration::from_secs(150);

/// How far back a history goes.
pub const REACH: SignedDuration = SignedDuration::from_hours(1);

/// What a server says of its work. Counters grow from [`Self::since`] on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// Open connections, without the agent's own.
    pub connections: u32,
    /// How many the server takes from applications.
    pub connection_limit: u32,
    /// Transactions of the database that have ended, one way or the other.
    pub transactions: u64,
    /// Blocks of the database that were found in the server's cache.
    pub blocks_hit: u64,
    /// Blocks of the database that were asked of the operating system.
    pub blocks_read: u64,
    /// When the server was started or its counters were set back, whichever was later.
    pub since: Timestamp,
}

/// What was measured at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// What the server says of its work.
    #[serde(flatten)]
    pub activity: Activity,
    /// Transactions among them that were the agent's own, since it was started.
    pub own_transactions: u64,
    /// Bytes that the data directory takes on disk; none: not measured.
    pub storage_used_bytes: Option<u64>,
    /// Bytes that it may take; none: not measured.
    pub storage_size_bytes: Option<u64>,
    /// Bytes of the write-ahead log that wait to be archived; none: not measured, or not archived.
    pub archive_waiting_bytes: Option<u64>,
}

/// What was measured lately, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// A sample for each look at which the server answered. Where two are far apart, nothing is
    /// known of the time between them.
    pub samples: Vec<Sample>,
}

impl Sample {
    /// Seconds from an earlier sample to this one; none: too far apart, or not in order.
    pub fn seconds_since(&self, before: &Self) -> Option<f64> {
        let passed = self.at.duration_since(before.at);
        let is_one_step = passed > SignedDuration::ZERO && passed <= LONGEST_STEP;
        is_one_step.then(|| passed.as_secs_f64())
    }

    /// Transactions per second since an earlier sample, without the agent's own; none: the two do not
    /// belong together.
    pub fn transactions_per_second(&self, before: &Self) -> Option<f64> {
        let seconds = self.seconds_since(before)?;
        let ended = self.grown(before, |one| one.transactions)?;
        let own = self.own_transactions.checked_sub(before.own_transactions)?;
        Some(float(ended.saturating_sub(own)) / seconds)
    }

    /// The part of all blocks since an earlier sample that was found in the cache, from 0 to 1; none:
    /// no block was needed, or the two do not belong together.
    pub fn cache_hit_ratio(&self, before: &Self) -> Option<f64> {
        self.seconds_since(before)?;
        let hit = self.grown(before, |one| one.blocks_hit)?;
        let read = self.grown(before, |one| one.blocks_read)?;
        let all = hit.checked_add(read).filter(|all| *all > 0)?;
        Some(float(hit) / float(all))
    }

    /// By how much a counter has grown; none: it began anew in between.
    fn grown(&self, before: &Self, counter: impl Fn(&Activity) -> u64) -> Option<u64> {
        if self.activity.since != before.activity.since {
            return None;
        }
        counter(&self.activity).checked_sub(counter(&before.activity))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "differences of counters, exact up to 2^53"
)]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, transactions: u64, (hit, read): (u64, u64)) -> Sample {
        Sample {
            at: Timestamp::from_second(seconds).unwrap(),
            activity: Activity {
                connections: 1,
                connection_limit: 20,
                transactions,
                blocks_hit: hit,
                blocks_read: read,
                since: Timestamp::UNIX_EPOCH,
            },
            own_transactions: 0,
            storage_used_bytes: None,
            storage_size_bytes: None,
            archive_waiting_bytes: None,
        }
    }

    #[test]
    fn rates_are_of_two_looks_that_belong_together() {
        let before = at(100, 1000, (500, 100));
        for (after, transactions, hits) in [
            (at(110, 1050, (590, 110)), Some(5.0), Some(0.9)),
            // Nothing was done: that is known, and no block was needed.
            (at(110, 1000, (500, 100)), Some(0.0), None),
            // Counters that are smaller began anew, though the server does not say so.
            (at(110, 10, (3, 1)), None, None),
            (at(110, 1050, (400, 110)), Some(5.0), None),
            // Nobody has looked for too long.
            (at(251, 1050, (590, 110)), None, None),
            (at(250, 1150, (590, 110)), Some(1.0), Some(0.9)),
            // A clock that went back.
            (at(100, 1050, (590, 110)), None, None),
            (at(90, 1050, (590, 110)), None, None),
        ] {
            let seen = (
                after.transactions_per_second(&before),
                after.cache_hit_ratio(&before),
            );
            assert_eq!(seen, (transactions, hits), "{after:?}");
        }
    }

    #[test]
    fn the_agents_own_work_is_no_work() {
        let before = at(100, 1000, (500, 100));
        let mut after = at(110, 1050, (500, 100));
        after.own_transactions = 30;
        assert_eq!(after.transactions_per_second(&before), Some(2.0));
        // What it has just done, its server counts a moment later.
        after.own_transactions = 80;
        assert_eq!(after.transactions_per_second(&before), Some(0.0));
    }

    #[test]
    fn a_server_that_was_started_again_counts_anew() {
        let before = at(100, 1000, (500, 100));
        let mut after = at(110, 4000, (5000, 200));
        after.activity.since = before.at;
        assert_eq!(after.transactions_per_second(&before), None);
        assert_eq!(after.cache_hit_ratio(&before), None);
        assert_eq!(after.seconds_since(&before), Some(10.0));
    }
}
