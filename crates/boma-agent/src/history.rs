//! What was measured lately, in memory: it ends with the agent, and begins again with the next one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boma_instance::history::{LONGEST_STEP, REACH};
use boma_instance::{Activity, History, InstanceStatus, Sample};
use jiff::{SignedDuration, Timestamp};

/// Least time between two samples that are kept: what happens in between is in the counters.
const APART: SignedDuration = SignedDuration::from_secs(5);

/// Older than this, the newest sample is worth another look while somebody watches. A little less than
/// what a page waits before it asks again, so that each asking is answered with something new.
const FRESH: SignedDuration = SignedDuration::from_secs(8);

/// Samples of one server. All clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(Arc<Mutex<Measured>>);

#[derive(Debug, Default)]
struct Measured {
    /// Of the last look; none: the server did not answer.
    last: Option<Sample>,
    /// At most one for each [`APART`] of [`REACH`]: 720, each of a hundred bytes; at one look a
    /// minute, 60.
    kept: VecDeque<Sample>,
}

impl Record {
    /// Notes what the last look has seen; `activity` is none where the server did not answer, `own` how
    /// many of its transactions were the agent's.
    pub(crate) fn note(&self, status: &InstanceStatus, activity: Option<Activity>, own: u64) {
        let seen = activity.map(|activity| sample(status, activity, own));
        self.add(status.observed_at, seen);
    }

    fn add(&self, at: Timestamp, seen: Option<Sample>) {
        let mut measured = self.lock();
        measured.last = seen;
        // Since a clock went back, what was measured "later" has no place in the row.
        let oldest = at - REACH - LONGEST_STEP;
        measured.kept.retain(|one| one.at <= at && one.at >= oldest);
        let newest = measured.kept.back();
        let is_apart = newest.is_none_or(|newest| at.duration_since(newest.at) >= APART);
        measured.kept.extend(seen.filter(|_| is_apart));
    }

    /// Everything that is kept, oldest first.
    pub(crate) fn history(&self) -> History {
        History {
            samples: self.lock().kept.iter().copied().collect(),
        }
    }

    /// What the last look has seen, if the server answered.
    pub(crate) fn last(&self) -> Option<Sample> {
        self.lock().last
    }

    /// Whether who watches is better served by another look.
    pub(crate) fn is_stale(&self, now: Timestamp) -> bool {
        let measured = self.lock();
        let newest = measured.kept.back();
        newest.is_none_or(|newest| now.duration_since(newest.at).abs() >= FRESH)
    }

    fn lock(&self) -> MutexGuard<'_, Measured> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sample(status: &InstanceStatus, activity: Activity, own_transactions: u64) -> Sample {
    let archive = status.backup.as_ref().map(|backup| &backup.archive);
    Sample {
        at: status.observed_at,
        activity,
        own_transactions,
        storage_used_bytes: status.storage.map(|storage| storage.used_bytes),
        storage_size_bytes: status.storage.map(|storage| storage.size_bytes),
        archive_waiting_bytes: archive.map(|archive| archive.waiting_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn seen(second: i64) -> Sample {
        Sample {
            at: at(second),
            activity: Activity {
                connections: 1,
                connection_limit: 20,
                transactions: 0,
                blocks_hit: 0,
                blocks_read: 0,
                since: Timestamp::UNIX_EPOCH,
            },
            own_transactions: 0,
            storage_used_bytes: None,
            storage_size_bytes: None,
            archive_waiting_bytes: None,
        }
    }

    fn kept(record: &Record) -> Vec<i64> {
        let samples = record.history().samples;
        let seconds = samples.iter().map(|one| one.at.as_second() - 1_000_000);
        seconds.collect()
    }

    #[test]
    fn an_hour_is_kept_and_nothing_that_crowds() {
        let record = Record::default();
        for second in [0, 2, 4, 5, 60, 3600] {
            record.add(at(second), Some(seen(second)));
        }
        assert_eq!(kept(&record), [0, 5, 60, 3600]);
        record.add(at(3800), Some(seen(3800)));
        assert_eq!(kept(&record), [60, 3600, 3800], "with one step before it");
        record.add(at(100_000), Some(seen(100_000)));
        assert_eq!(kept(&record), [100_000]);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let record = Record::default();
        for second in 0..20_000 {
            record.add(at(second), Some(seen(second)));
        }
        assert_eq!(kept(&record).len(), (3600 + 150) / 5);
    }

    #[test]
    fn a_server_that_does_not_answer_leaves_a_gap_and_no_last_sample() {
        let record = Record::default();
        assert!(record.is_stale(at(0)), "nothing was measured yet");
        record.add(at(0), Some(seen(0)));
        assert_eq!(record.last(), Some(seen(0)));
        assert!(!record.is_stale(at(7)) && record.is_stale(at(8)));
        record.add(at(60), None);
        assert_eq!((kept(&record), record.last()), (vec![0], None));
    }

    #[test]
    fn a_clock_that_goes_back_leaves_the_row_in_order() {
        let record = Record::default();
        for second in [0, 60, 120, 30] {
            record.add(at(second), Some(seen(second)));
        }
        assert_eq!(kept(&record), [0, 30]);
        assert!(record.is_stale(at(0)), "it is from another time");
    }
}
