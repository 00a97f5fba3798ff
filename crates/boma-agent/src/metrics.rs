//! What was measured, in the text format of Prometheus. Pure.
//!
//! What is not known has no sample: an alert on its absence is the right one. Names and units are
//! those of <https://prometheus.io/docs/practices/naming/>.

use std::fmt::Write as _;

use boma_instance::backup::{BackupStatus, Work};
use boma_instance::{InstanceStatus, Sample, Truth};
use jiff::Timestamp;

/// The media type of the format.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders a status, and what the server said of its work at the last look.
pub(crate) fn render(status: &InstanceStatus, last: Option<&Sample>) -> String {
    let mut page = Page {
        text: String::new(),
        instance: status.id.to_string(),
    };
    for (kind, name, help) in CONDITIONS {
        let condition = status.conditions.iter().find(|one| one.kind == kind);
        let value = condition.and_then(|one| match one.status {
            Truth::True => Some(1.0),
            Truth::False => Some(0.0),
            Truth::Unknown => None,
        });
        page.gauge((name, help), value);
    }
    if let Some(storage) = &status.storage {
        for (name, help, bytes) in [
            (
                "boma_storage_used_bytes",
                "Bytes that the data takes.",
                storage.used_bytes,
            ),
            (
                "boma_storage_size_bytes",
                "Bytes that the data may take.",
                storage.size_bytes,
            ),
            (
                "boma_storage_free_bytes",
                "Bytes free on the file system.",
                storage.free_bytes,
            ),
        ] {
            page.gauge((name, help), Some(float(bytes)));
        }
    }
    if let Some(backup) = &status.backup {
        page.backup(backup);
    }
    if let Some(last) = last {
        page.activity(last);
    }
    page.text
}

/// Conditions as gauges: 1 holds, 0 does not.
const CONDITIONS: [(&str, &str, &str); 3] = [
    (
        "WalArchived",
        "boma_wal_archived",
        "Whether the write-ahead log is archived in time.",
    ),
    (
        "Backups",
        "boma_backup_healthy",
        "Whether base backups are taken.",
    ),
    (
        "RestoreProved",
        "boma_restore_proved",
        "Whether the last drill has proved a backup.",
    ),
];

struct Page {
    text: String,
    instance: String,
}

impl Page {
    /// One sample with its description; nothing where it is not known.
    fn gauge(&mut self, (name, help): (&str, &str), value: Option<f64>) {
        let Some(value) = value else { return };
        // Writing to a string does not fail.
        let _infallible = write!(
            self.text,
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{{instance_id=\"{}\"}} {value}\n",
            self.instance
        );
    }

    /// A number that only grows, until the server counts anew.
    fn counter(&mut self, (name, help): (&str, &str), value: u64) {
        let _infallible = write!(
            self.text,
            "# HELP {name} {help}\n# TYPE {name} counter\n{name}{{instance_id=\"{}\"}} {value}\n",
            self.instance
        );
    }

    fn activity(&mut self, last: &Sample) {
        let seen = &last.activity;
        for (name, help, value) in [
            (
                "boma_connections",
                "Open connections, without the agent's own.",
                seen.connections,
            ),
            (
                "boma_connections_limit",
                "Connections that applications may open together.",
                seen.connection_limit,
            ),
        ] {
            self.gauge((name, help), Some(value.into()));
        }
        for (name, help, value) in [
            (
                "boma_transactions_total",
                "Transactions that have ended.",
                seen.transactions,
            ),
            (
                "boma_blocks_hit_total",
                "Blocks that were found in the server's cache.",
                seen.blocks_hit,
            ),
            (
                "boma_blocks_read_total",
                "Blocks that were asked of the operating system.",
                seen.blocks_read,
            ),
        ] {
            self.counter((name, help), value);
        }
    }

    fn backup(&mut self, backup: &BackupStatus) {
        let newest = backup.backups.last();
        let archive = &backup.archive;
        let drill = backup.last_verified_restore.as_ref();
        let running = backup.running.as_ref();
        let is_backup = running.is_some_and(|running| running.work == Work::Backup);
        for (name, help, value) in [
            (
                "boma_backup_count",
                "Whole base backups.",
                Some(float(backup.backups.len() as u64)),
            ),
            (
                "boma_backup_last_success_timestamp_seconds",
                "When the newest whole base backup ended.",
                newest.map(|one| seconds(one.stopped_at)),
            ),
            (
                "boma_backup_last_stored_bytes",
                "Bytes that the newest base backup added to the repository.",
                newest.map(|one| float(one.stored_bytes)),
            ),
            (
                "boma_backup_last_damaged_pages",
                "Pages with a wrong checksum that the newest base backup has met.",
                newest.map(|one| float(one.damaged_pages)),
            ),
            (
                "boma_backup_running",
                "Whether a base backup is being taken.",
                Some(f64::from(u8::from(is_backup))),
            ),
            (
                "boma_wal_archive_waiting_files",
                "Files of the write-ahead log that wait to be archived.",
                Some(float(archive.waiting_files)),
            ),
            (
                "boma_wal_archive_waiting_bytes",
                "Their bytes.",
                Some(float(archive.waiting_bytes)),
            ),
            (
                "boma_wal_archive_oldest_waiting_timestamp_seconds",
                "Since when the oldest of them waits.",
                archive.waiting_since.map(seconds),
            ),
            (
                "boma_wal_archive_last_success_timestamp_seconds",
                "When a file was last archived.",
                archive.last_archived_at.map(seconds),
            ),
            (
                "boma_recoverable_from_timestamp_seconds",
                "The oldest moment that can be restored.",
                backup.recoverable_from.map(seconds),
            ),
            (
                "boma_recoverable_until_timestamp_seconds",
                "The newest moment that can be restored.",
                backup.recoverable_until.map(seconds),
            ),
            (
                "boma_restore_drill_timestamp_seconds",
                "When the last drill ended.",
                drill.map(|drill| seconds(drill.at)),
            ),
            (
                "boma_restore_drill_duration_seconds",
                "How long the last drill took.",
                drill.map(|drill| float(drill.took_ms) / 1000.0),
            ),
        ] {
            self.gauge((name, help), value);
        }
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "samples are floating-point numbers, exact up to 8 PiB"
)]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use boma_instance::backup::ArchiveStatus;
    use boma_instance::{Activity, Condition, InstanceId, Phase};

    use super::*;

    fn status(backup: Option<BackupStatus>) -> InstanceStatus {
        InstanceStatus {
            id: InstanceId(uuid::Uuid::nil()),
            accepted_generation: 1,
            converged_generation: 1,
            phase: Phase::Ready,
            observed_at: Timestamp::UNIX_EPOCH,
            listen: None,
            server: None,
            storage: None,
            logins: Vec::new(),
            backup,
            corrections: Vec::new(),
            conditions: vec![Condition {
                kind: "WalArchived".into(),
                status: Truth::False,
                reason: "Late".into(),
                message: String::new(),
            }],
            problems: Vec::new(),
        }
    }

    #[test]
    fn what_is_not_known_has_no_sample() {
        let text = render(&status(None), None);
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let id = "00000000-0000-0000-0000-000000000000";
        assert_eq!(
            samples,
            [format!("boma_wal_archived{{instance_id=\"{id}\"}} 0")]
        );
    }

    #[test]
    fn each_sample_has_one_description_and_a_name_that_prometheus_takes() {
        let at = Timestamp::from_millisecond(1_500).unwrap();
        let archive = ArchiveStatus {
            waiting_bytes: 48 << 20,
            waiting_since: Some(at),
            ..ArchiveStatus::default()
        };
        let backup = BackupStatus {
            archive,
            ..BackupStatus::default()
        };
        let last = Sample {
            at,
            activity: Activity {
                connections: 3,
                connection_limit: 20,
                transactions: 1 << 53,
                blocks_hit: 9,
                blocks_read: 1,
                since: at,
            },
            own_transactions: 0,
            storage_used_bytes: None,
            storage_size_bytes: None,
            archive_waiting_bytes: None,
        };
        let text = render(&status(Some(backup)), Some(&last));
        let mut lines = text.lines();
        while let (Some(help), Some(kind), Some(sample)) =
            (lines.next(), lines.next(), lines.next())
        {
            let name = sample.split('{').next().unwrap();
            let plain = |one: char| one.is_ascii_lowercase() || one == '_';
            assert!(name.chars().all(plain), "{name}");
            assert!(help.starts_with(&format!("# HELP {name} ")), "{help}");
            let counts = name.ends_with("_total");
            let expected = if counts { "counter" } else { "gauge" };
            assert_eq!(kind, format!("# TYPE {name} {expected}"));
        }
        assert!(
            text.contains("boma_wal_archive_waiting_bytes{instance_id="),
            "{text}"
        );
        assert!(text.contains("} 50331648\n"), "{text}");
        assert!(text.contains("boma_transactions_total{instance_id=\"00000000-0000-0000-0000-000000000000\"} 9007199254740992\n"), "{text}");
        assert!(text.contains("oldest_waiting_timestamp_seconds{instance_id=\"00000000-0000-0000-0000-000000000000\"} 1.5\n"), "{text}");
    }
}
