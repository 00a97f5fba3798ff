//! When the next base backup is due.
//!
//! A schedule is five fields of cron, in UTC. Backups that were missed, because nothing ran or
//! because they failed, are caught up with one, at once. A database without any backup gets its
//! first at once too: until then nothing of it can be restored.

use boma_problem::{Class, IntoProblem, Problem};
use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions};
use jiff::{SignedDuration, Timestamp};

/// Shortest and longest pause after a failure.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(60);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(3600);

/// A cron schedule that was read.
#[derive(Clone, Debug)]
pub struct Schedule(Crontab);

/// Text that is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a schedule of five fields such as `30 2 * * *`")]
pub struct NotASchedule {
    /// The text.
    pub text: String,
}

impl IntoProblem for NotASchedule {
    fn problem(&self) -> Problem {
        // Manifests are checked before a spec is made of them.
        Problem::from_error(Class::Internal, "schedule-unreadable", self)
    }
}

/// What became of earlier attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// When the newest whole backup began; the newest by its place in the write-ahead log.
    pub newest: Option<Timestamp>,
    /// Failures since then: how many, and when the last one ended.
    pub failed: Option<(u32, Timestamp)>,
}

impl Schedule {
    /// Reads five fields of cron.
    pub fn parse(text: &str) -> Result<Self, NotASchedule> {
        let refused = || NotASchedule {
            text: text.to_owned(),
        };
        if text.split_ascii_whitespace().count() != 5 {
            return Err(refused());
        }
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let cron = cronexpr::parse_crontab_with(text, options);
        cron.map(Self).map_err(|_unreadable| refused())
    }

    /// When the next backup is due; at or before `now`: it is. None: the schedule never comes
    /// again.
    pub fn due(&self, attempts: Attempts, now: Timestamp) -> Option<Timestamp> {
        let due = match attempts.newest {
            // A backup from the future says that the clock was set back, and nothing about when
            // it was taken.
            Some(newest) if newest <= now => self.0.find_next(newest).ok()?.timestamp(),
            Some(_) | None => now,
        };
        // A failure from the future does not say when it was, either.
        let failed = attempts.failed.filter(|(_, ended)| *ended <= now);
        let again = failed.map(|(count, ended)| ended + pause(count));
        Some(again.map_or(due, |again| due.max(again)))
    }
}

/// One minute, two, four, up to an hour.
fn pause(failures: u32) -> SignedDuration {
    let doubled = 1_i32 << failures.saturating_sub(1).min(10);
    (FIRST_PAUSE * doubled).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn daily() -> Schedule {
        Schedule::parse("30 2 * * *").unwrap()
    }

    fn since(newest: &str) -> Attempts {
        Attempts {
            newest: Some(time(newest)),
            failed: None,
        }
    }

    #[test]
    fn a_backup_is_due_at_the_next_time_after_the_newest() {
        let due = daily().due(since("2026-11-20T02:30:00Z"), time("2026-11-20T15:00:00Z"));
        assert_eq!(due, Some(time("2026-11-21T02:30:00Z")));
    }

    #[test]
    fn the_first_is_due_at_once() {
        let now = time("2026-11-20T15:00:00Z");
        assert_eq!(daily().due(Attempts::default(), now), Some(now));
    }

    #[test]
    fn missed_ones_are_caught_up_once() {
        let now = time("2026-11-25T15:00:00Z");
        let due = daily().due(since("2026-11-20T02:30:00Z"), now).unwrap();
        assert!(due <= now);
        let next = daily().due(since("2026-11-25T15:00:00Z"), now);
        assert_eq!(next, Some(time("2026-11-26T02:30:00Z")));
    }

    #[test]
    fn after_failures_it_waits_longer_and_longer_up_to_an_hour() {
        let now = time("2026-11-21T03:00:00Z");
        for (count, seconds) in [(1, 60), (2, 120), (3, 240), (7, 3600), (u32::MAX, 3600)] {
            let attempts = Attempts {
                failed: Some((count, now)),
                ..since("2026-11-20T02:30:00Z")
            };
            let due = daily().due(attempts, now).unwrap();
            assert_eq!(due.duration_since(now).as_secs(), seconds, "{count}");
            // One that failed before its time is not tried again before its time.
            let early = Attempts {
                failed: attempts.failed,
                ..since("2026-11-21T02:30:00Z")
            };
            let due = daily().due(early, now);
            assert_eq!(due, Some(time("2026-11-22T02:30:00Z")));
        }
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_put_it_off() {
        let now = time("2026-11-21T03:00:00Z");
        let due = daily().due(since("2027-11-21T03:00:00Z"), now);
        assert_eq!(due, Some(now));
        let failed = Attempts {
            failed: Some((1, time("2027-11-21T03:00:00Z"))),
            ..since("2027-11-21T03:00:00Z")
        };
        assert_eq!(daily().due(failed, now), Some(now));
    }

    #[test]
    fn what_is_not_a_schedule_is_said() {
        for text in ["", "daily", "61 2 * * *", "0 2 * * * UTC", "@daily"] {
            let problem = Schedule::parse(text).unwrap_err().problem();
            assert_eq!(problem.code, "schedule-unreadable");
            assert!(
                problem.message.contains("is not a schedule of five fields"),
                "{problem}"
            );
        }
    }

    proptest! {
        #[test]
        fn it_is_never_due_later_than_one_period_and_a_pause(
            newest in 0_i64..100_000_000,
            now in 0_i64..100_000_000,
            failures in 0_u32..20,
        ) {
            let (newest, now) = (
                Timestamp::from_second(newest).unwrap(),
                Timestamp::from_second(now).unwrap(),
            );
            let attempts = Attempts {
                newest: Some(newest),
                failed: (failures > 0).then_some((failures, now)),
            };
            let due = daily().due(attempts, now).unwrap();
            let latest = now + SignedDuration::from_hours(24) + LONGEST_PAUSE;
            prop_assert!(due <= latest, "{due} of {now}");
        }
    }
}
