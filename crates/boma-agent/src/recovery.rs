//! A server that was restored, until it is a database of its own. Pure.
//!
//! ```text
//!   files restored ─► recovery (log replayed up to the target) ─► promoted ─► taken over
//!   └───────────── this file is in the data directory ──────────────────────┘
//! ```
//!
//! While the file is there, the database inside is still called as the one that it came from, and
//! nobody but the agent gets in: recovery runs without hot standby, so that no setting of the
//! source has to be matched, and `pg_hba.conf` names roles that are not there yet.

use std::fmt::Write as _;

use boma_instance::backup::RecoveryTarget;
use boma_instance::settings;
use boma_instance::wal::Timeline;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Name of the file in the data directory; `postgresql.conf` includes it.
pub use boma_instance::settings::RECOVERY_FILE as FILE;

/// What is to be recovered, and from whose backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// Name of the database that was backed up, inside PostgreSQL.
    pub database: String,
    /// How far.
    pub target: RecoveryTarget,
    /// Along which line of history.
    pub timeline: Timeline,
    /// The archive ended before the target, so that nothing was committed between the two. It ended
    /// with the segment before this one: what was archived since is of later than the target, and is
    /// not replayed. None: the target was not passed by.
    #[serde(default)]
    pub ends_before: Option<String>,
}

impl Recovery {
    /// The file: what it is about in the first line, and settings for PostgreSQL.
    pub fn render(&self, restore_command: &str) -> String {
        let about = serde_json::to_string(self).expect("should be: all its keys are text");
        let mut text = format!("# {about}\n");
        let mut line = |name: &str, value: &str| {
            // Writing to a string does not fail.
            let _infallible = writeln!(text, "{name} = {}", settings::quoted(value));
        };
        line("restore_command", restore_command);
        line("recovery_target_timeline", &self.timeline.to_string());
        line("recovery_target_action", "promote");
        line("hot_standby", "off");
        match &self.target {
            _ if self.ends_before.is_some() => {}
            RecoveryTarget::Latest => {}
            RecoveryTarget::Time(time) => line("recovery_target_time", &as_postgresql_reads(*time)),
            RecoveryTarget::Lsn(lsn) => line("recovery_target_lsn", &lsn.to_string()),
            RecoveryTarget::Name(name) => line("recovery_target_name", name),
            RecoveryTarget::Backup(_) => line("recovery_target", "immediate"),
        }
        text
    }

    /// Whether a segment is part of what is recovered, by its file name.
    pub fn includes(&self, segment: &str) -> bool {
        // The first eight digits are the timeline's; a segment has the same number in each.
        let number = |name: &str| name.get(8..).map(str::to_owned);
        match &self.ends_before {
            Some(end) => number(segment) < number(end),
            None => true,
        }
    }

    /// Reads a file back; none: it says something else.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text.lines().next()?.strip_prefix("# ")?).ok()
    }

    /// What recovery does when the archive ended before the target.
    pub fn at_end_of_archive(&self) -> AtEnd {
        match &self.target {
            _ if self.ends_before.is_some() => AtEnd::Done,
            RecoveryTarget::Latest => AtEnd::Done,
            RecoveryTarget::Time(_) => AtEnd::Release,
            RecoveryTarget::Lsn(_) | RecoveryTarget::Name(_) | RecoveryTarget::Backup(_) => {
                AtEnd::NotReached
            }
        }
    }
}

/// With microseconds, which is what commits have; what is finer is cut off, never rounded up.
fn as_postgresql_reads(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S%.6f+00").to_string()
}

/// What it means that the archive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// All that was wanted.
    Done,
    /// Nothing was committed between the end and the target, which is inside of what can be
    /// restored: recovery goes on without a target.
    Release,
    /// The target is not in the archive.
    NotReached,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recovery(target: RecoveryTarget) -> Recovery {
        Recovery {
            database: "accounts_db".into(),
            target,
            timeline: Timeline(3),
            ends_before: None,
        }
    }

    #[test]
    fn the_file_is_read_back_as_it_was_written() {
        let time = "2026-11-21T14:32:06.5Z".parse().unwrap();
        let wanted = recovery(RecoveryTarget::Time(time));
        let text = wanted.render("exec 'it''s'");
        assert_eq!(Recovery::parse(&text), Some(wanted));
        assert!(
            text.contains("recovery_target_time = '2026-11-21 14:32:06.500000+00'"),
            "{text}"
        );
        assert!(text.contains("recovery_target_timeline = '3'"), "{text}");
        assert_eq!(Recovery::parse("max_connections = 3\n"), None);
    }

    #[test]
    fn a_released_target_is_not_asked_for() {
        let time = "2026-11-21T14:32:06Z".parse().unwrap();
        let released = Recovery {
            ends_before: Some("0000000100000000000000FF".into()),
            ..recovery(RecoveryTarget::Time(time))
        };
        let text = released.render("x");
        assert!(!text.contains("recovery_target_time ="), "{text}");
        assert_eq!(released.at_end_of_archive(), AtEnd::Done);
    }

    #[test]
    fn what_is_archived_after_a_target_was_let_go_is_no_part_of_the_recovery() {
        let time = "2026-11-21T14:32:06Z".parse().unwrap();
        let whole = recovery(RecoveryTarget::Time(time));
        let released = Recovery {
            ends_before: Some("0000000300000000000000FF".into()),
            ..whole.clone()
        };
        for (segment, is_part) in [
            ("0000000300000000000000FE", true),
            ("0000000200000000000000FE", true),
            ("0000000300000000000000FF", false),
            ("0000000200000000000000FF", false),
            ("000000030000000100000000", false),
        ] {
            assert_eq!(released.includes(segment), is_part, "{segment}");
            assert!(whole.includes(segment), "{segment}");
        }
    }

    #[test]
    fn a_name_that_cannot_end_a_line_stays_one_value() {
        let text = recovery(RecoveryTarget::Name("a'\nfsync = off".into())).render("x");
        let settings: Vec<_> = text.lines().skip(1).collect();
        assert!(
            settings.iter().all(|line| !line.starts_with("fsync")),
            "{text}"
        );
    }
}
