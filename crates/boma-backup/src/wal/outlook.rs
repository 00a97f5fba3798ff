//! Whether what waits to be archived will fill the disk, said long before it does. Pure.
//!
//! A server keeps every file that is not archived. When its disk is full it stops, and it cannot
//! be started again before there is room: the one failure of archiving that takes the database with
//! it. So a person is told while there are still hours to act in.

use boma_instance::backup::ArchiveStatus;
use boma_instance::{ARCHIVED, Condition, StorageStatus, Truth};
use jiff::{SignedDuration, Timestamp};

/// A file that waits for longer is told of: PostgreSQL asks again each minute at the latest.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// What waits may take this part of the room that there was for it before a person is told.
const SHARE_PERCENT: u64 = 25;

/// Hours before the disk is full, at the present growth, at which it is pressing.
const HOURS_LEFT: u64 = 6;

/// Its reason when the disk will be full before long.
pub const FILLING: &str = "FillingDisk";

/// What was measured at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// When.
    pub at: Timestamp,
    /// Bytes that waited.
    pub waiting_bytes: u64,
}

/// Says how archiving does: the condition `WalArchived`.
///
/// `before` is an earlier measure, some minutes old, from which growth is known.
pub fn condition(
    now: Measured,
    archive: &ArchiveStatus,
    before: Option<Measured>,
    storage: Option<&StorageStatus>,
) -> Condition {
    let room = storage.map(room);
    let seconds = room.and_then(|room| seconds_left(now, before, room));
    let (status, reason, message) = if is_pressing(now, room, seconds) {
        (Truth::False, FILLING, filling(now, room, seconds))
    } else if let Some(problem) = &archive.failure {
        let message = format!("{}: {}", files(archive), problem.message);
        (Truth::False, "Failing", message)
    } else if is_late(now.at, archive) {
        let message = format!("{}, the oldest for more than 5 minutes", files(archive));
        (Truth::False, "Late", message)
    } else {
        (Truth::True, "Archived", files(archive))
    };
    Condition {
        kind: ARCHIVED.into(),
        status,
        reason: reason.into(),
        message,
    }
}

/// Bytes that the log may still take: the disk's, or what is left of the instance's own.
fn room(storage: &StorageStatus) -> u64 {
    let own = storage.size_bytes.saturating_sub(storage.used_bytes);
    own.min(storage.free_bytes)
}

/// Seconds until the room is taken, at the growth since `before`; none: it does not grow.
fn seconds_left(now: Measured, before: Option<Measured>, room: u64) -> Option<u64> {
    let before = before?;
    let grown = now.waiting_bytes.checked_sub(before.waiting_bytes)?;
    let seconds = u64::try_from(now.at.duration_since(before.at).as_secs()).ok()?;
    // Less than a segment's worth says nothing of the hours to come.
    (grown > 0 && seconds > 0).then(|| room.saturating_mul(seconds) / grown)
}

fn is_pressing(now: Measured, room: Option<u64>, seconds: Option<u64>) -> bool {
    let large = room.is_some_and(|room| {
        let share = room.saturating_add(now.waiting_bytes) / 100 * SHARE_PERCENT;
        now.waiting_bytes > 0 && now.waiting_bytes >= share
    });
    large || seconds.is_some_and(|seconds| seconds < HOURS_LEFT * 3600)
}

/// Whether a file has waited for longer than it takes PostgreSQL to ask again.
pub fn is_late(now: Timestamp, archive: &ArchiveStatus) -> bool {
    archive
        .waiting_since
        .is_some_and(|since| now.duration_since(since) > PATIENCE)
}

fn filling(now: Measured, room: Option<u64>, seconds: Option<u64>) -> String {
    let mut text = format!(
        "{} MiB of the write-ahead log wait to be archived, and there is room for {} MiB more",
        now.waiting_bytes >> 20,
        room.unwrap_or_default() >> 20
    );
    if let Some(seconds) = seconds {
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        text = format!("{text}; at this rate the disk is full in {hours} h {minutes} min");
    }
    text
}

fn files(archive: &ArchiveStatus) -> String {
    match archive.waiting_files {
        0 => "no file waits".into(),
        1 => "1 file waits".into(),
        several => format!("{several} files wait"),
    }
}

#[cfg(test)]
mod tests {
    use boma_problem::{Class, Problem};

    use super::*;

    const GIB: u64 = 1 << 30;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn measured(minutes: i64, waiting_bytes: u64) -> Measured {
        Measured {
            at: at(minutes),
            waiting_bytes,
        }
    }

    fn storage(free: u64) -> StorageStatus {
        StorageStatus {
            used_bytes: 100 * GIB - free,
            size_bytes: 100 * GIB,
            free_bytes: 1000 * GIB,
        }
    }

    fn waiting(files: u64, since: Option<i64>) -> ArchiveStatus {
        ArchiveStatus {
            waiting_files: files,
            waiting_since: since.map(at),
            ..ArchiveStatus::default()
        }
    }

    #[test]
    fn what_is_archived_in_time_is_well() {
        let archive = waiting(1, Some(59));
        let said = condition(
            measured(60, 1 << 24),
            &archive,
            None,
            Some(&storage(90 * GIB)),
        );
        assert_eq!(
            (said.status, said.reason.as_str()),
            (Truth::True, "Archived")
        );
        assert_eq!(said.message, "1 file waits");
    }

    #[test]
    fn a_failure_is_told_at_once_and_lateness_after_a_while() {
        let mut archive = waiting(3, Some(54));
        let now = measured(60, 3 << 24);
        let said = condition(now, &archive, None, Some(&storage(90 * GIB)));
        assert_eq!(said.reason, "Late");
        let problem = Problem::new(Class::Transient, "repository-failed", "write `x`");
        archive.failure = Some(problem);
        let said = condition(now, &archive, None, Some(&storage(90 * GIB)));
        assert_eq!(
            (said.status, said.reason.as_str()),
            (Truth::False, "Failing")
        );
        assert_eq!(said.message, "3 files wait: write `x`");
    }

    #[test]
    fn a_disk_that_fills_is_told_of_hours_before() {
        let archive = waiting(600, Some(0));
        // 1 GiB in ten minutes, and 30 GiB left: five hours.
        let before = Some(measured(50, GIB));
        let said = condition(
            measured(60, 2 * GIB),
            &archive,
            before,
            Some(&storage(30 * GIB)),
        );
        assert_eq!(said.reason, "FillingDisk");
        assert!(
            said.message.contains("full in 5 h 0 min"),
            "{}",
            said.message
        );
        let said = condition(
            measured(60, 2 * GIB),
            &archive,
            before,
            Some(&storage(90 * GIB)),
        );
        assert_eq!(said.reason, "Late");
    }

    #[test]
    fn a_large_share_is_told_of_though_it_does_not_grow() {
        let archive = waiting(2000, Some(0));
        let same = Some(measured(50, 30 * GIB));
        let said = condition(
            measured(60, 30 * GIB),
            &archive,
            same,
            Some(&storage(60 * GIB)),
        );
        assert_eq!(said.reason, "FillingDisk");
        assert!(!said.message.contains("at this rate"), "{}", said.message);
    }

    #[test]
    fn the_smaller_of_disk_and_storage_counts() {
        let mut tight = storage(90 * GIB);
        tight.free_bytes = GIB;
        let said = condition(
            measured(60, GIB),
            &waiting(64, Some(59)),
            None,
            Some(&tight),
        );
        assert_eq!(said.reason, "FillingDisk");
    }

    #[test]
    fn storage_that_is_not_measured_hides_no_failure() {
        let said = condition(measured(60, 0), &waiting(0, None), None, None);
        assert_eq!(said.reason, "Archived");
        assert_eq!(said.message, "no file waits");
    }
}
