//! Values in words, for people.

use boma_instance::backup::{Progress, Work};
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

use crate::source::LastChange;

/// Bytes with as many digits as matter: `412 KiB`, `1.5 MiB`, `93 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut below = bytes;
    while below >= 1 << 20 && unit + 1 < UNITS.len() {
        below >>= 10;
        unit += 1;
    }
    let (whole, tenth) = (below >> 10, (below & 1023) * 10 / 1024);
    if whole < 10 && tenth > 0 {
        format!("{whole}.{tenth} {}", UNITS[unit])
    } else {
        format!("{whole} {}", UNITS[unit])
    }
}

/// A moment to the second, in UTC: what was before it stays before it.
pub fn second(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// The first whole second that is not before a moment.
fn second_from(at: Timestamp) -> String {
    let up = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Ceil);
    second(at.round(up).unwrap_or(at))
}

/// The first and the last moment that can be restored. Whole seconds within the window; a window without
/// one is shown as it is.
pub fn window(from: Timestamp, until: Timestamp) -> (String, String) {
    let (first, last) = (second_from(from), second(until));
    if first > last {
        return (from.to_string(), until.to_string());
    }
    (first, last)
}

/// How far long work is: bytes, and the time that is left when it goes on like this.
pub fn progress(progress: &Progress, now: Timestamp) -> String {
    let what = match progress.work {
        Work::Backup => "base backup",
        Work::Restore => "restore",
        Work::Verify => "check of the repository",
        Work::Drill => "drill",
    };
    let done = bytes(progress.done_bytes);
    let Some(total) = progress.total_bytes else {
        return format!("{what}: {done}");
    };
    let elapsed = now.duration_since(progress.started_at).as_secs();
    let elapsed = u64::try_from(elapsed).unwrap_or_default();
    let rest = total.saturating_sub(progress.done_bytes);
    let left = elapsed.saturating_mul(rest) / progress.done_bytes.max(1);
    format!("{what}: {done} of {}, {left} s left", bytes(total))
}

/// Who changed a file last. What is in a commit is text from elsewhere.
pub fn last_change(change: &LastChange) -> String {
    let revision = &change.revision;
    let which = if change.is_exact {
        ""
    } else {
        " or an earlier one"
    };
    let since = if change.is_modified {
        "; changed since"
    } else {
        ""
    };
    let (commit, author, subject) = (revision.short(), &revision.author, &revision.subject);
    let text = format!(
        "commit {commit}{which} by {author}, {}: “{subject}”{since}",
        second(revision.at)
    );
    text.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::source::Revision;

    use super::*;

    #[test]
    fn small_things_are_not_nothing() {
        for (count, words) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (422_000, "412 KiB"),
            (1_572_864, "1.5 MiB"),
            (98_000_000, "93 MiB"),
            (5 << 30, "5 GiB"),
            (u64::MAX, "16383 PiB"),
        ] {
            assert_eq!(bytes(count), words);
        }
    }

    #[test]
    fn the_seconds_of_a_window_are_inside_of_it() {
        let at: Timestamp = "2026-11-21T14:32:06.123456789Z".parse().unwrap();
        assert_eq!(second(at), "2026-11-21T14:32:06Z");
        assert_eq!(second_from(at), "2026-11-21T14:32:07Z");
        let whole: Timestamp = "2026-11-21T14:32:06Z".parse().unwrap();
        assert_eq!(second_from(whole), "2026-11-21T14:32:06Z");
        let later: Timestamp = "2026-11-21T14:32:08.5Z".parse().unwrap();
        let seconds = ["2026-11-21T14:32:07Z", "2026-11-21T14:32:08Z"];
        assert_eq!(window(at, later), seconds.map(str::to_owned).into());
        let soon: Timestamp = "2026-11-21T14:32:06.9Z".parse().unwrap();
        let exact = ["2026-11-21T14:32:06.123456789Z", "2026-11-21T14:32:06.9Z"];
        assert_eq!(window(at, soon), exact.map(str::to_owned).into());
        assert_eq!(window(whole, whole).0, window(whole, whole).1);
    }

    #[test]
    fn progress_says_how_long_it_takes_at_this_rate() {
        let started_at = Timestamp::UNIX_EPOCH;
        let half = Progress {
            work: Work::Backup,
            started_at,
            done_bytes: 64 << 20,
            total_bytes: Some(256 << 20),
        };
        let now = started_at + SignedDuration::from_secs(10);
        let text = "base backup: 64 MiB of 256 MiB, 30 s left";
        assert_eq!(progress(&half, now), text);
        let unknown = Progress {
            total_bytes: None,
            ..half
        };
        assert_eq!(progress(&unknown, now), "base backup: 64 MiB");
    }

    #[test]
    fn who_changed_a_file_is_said_as_far_as_it_is_known() {
        let change = LastChange {
            revision: Revision {
                commit: "0123456789abcdef".to_owned(),
                author: "Ann <ann@example.com>".to_owned(),
                at: "2026-11-21T14:32:06Z".parse().unwrap(),
                subject: "more\u{1b}[31m memory".to_owned(),
            },
            is_exact: true,
            is_modified: false,
        };
        let known =
            "commit 0123456789 by Ann <ann@example.com>, 2026-11-21T14:32:06Z: “more[31m memory”";
        assert_eq!(last_change(&change), known);
        let less = LastChange {
            is_exact: false,
            is_modified: true,
            ..change
        };
        let text = last_change(&less);
        assert!(
            text.contains("or an earlier one") && text.ends_with("; changed since"),
            "{text}"
        );
    }
}
