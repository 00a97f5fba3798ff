//! What happened to the backups of a server between two of its statuses, as events. Pure.
//!
//! Who watches statuses tells; what came to pass while nobody watched is in the status itself.

use boma_instance::backup::{BackupStatus, Drill};
use boma_instance::{ARCHIVED, Condition, InstanceStatus, LEFT_BEHIND, Phase, Truth};
use jiff::Timestamp;

use crate::catalog::Subject;
use crate::keys::DatabaseKey;
use crate::platform::Event;

/// The condition that says whether base backups are taken.
const BACKUPS: &str = "Backups";

/// Reasons of conditions that say that nobody wants it to be so, or that nothing is known.
const NO_MATTER: [&str; 3] = ["Off", "NotMeasured", "NoneYet"];

/// What happened between two statuses of one server, oldest first.
pub fn between(key: &DatabaseKey, old: &InstanceStatus, new: &InstanceStatus) -> Vec<Event> {
    let telling = Telling {
        subject: Subject::from(key).to_string(),
        at: new.observed_at,
    };
    let mut events = Vec::new();
    if let (Some(before), Some(now)) = (&old.backup, &new.backup) {
        events.extend(taken(before, now).map(|text| telling.good("BackupTaken", text)));
        events.extend(telling.drill(before.last_verified_restore.as_ref(), now));
    }
    events.extend(telling.turned(
        (of(old, BACKUPS), of(new, BACKUPS)),
        ("BackupFailed", "BackupsAgain"),
    ));
    events.extend(telling.turned(
        (of(old, ARCHIVED), of(new, ARCHIVED)),
        ("ArchiveLate", "ArchiveAgain"),
    ));
    events
}

/// What a server that was stopped keeps to itself: whoever counts on its backups has to know. Told
/// by who stops it, since its agent may end with it.
pub fn left_behind(key: &DatabaseKey, status: &InstanceStatus) -> Option<Event> {
    let telling = Telling {
        subject: Subject::from(key).to_string(),
        at: status.observed_at,
    };
    let archived = of(status, ARCHIVED)?;
    if status.phase != Phase::Suspended || archived.reason == "Off" {
        return None;
    }
    if archived.reason == LEFT_BEHIND {
        return Some(telling.event(LEFT_BEHIND, archived.message.clone(), true));
    }
    let backup = status.backup.as_ref()?;
    backup.backups.is_empty().then(|| {
        let text = "stopped before it had a whole base backup: nothing of it can be restored";
        telling.event("NeverBackedUp", text.to_owned(), true)
    })
}

fn taken<'s>(
    before: &'s BackupStatus,
    now: &'s BackupStatus,
) -> impl Iterator<Item = String> + use<'s> {
    let is_new = |label: &str| before.backups.iter().all(|one| one.label != label);
    let new = now.backups.iter().filter(move |one| is_new(&one.label));
    new.map(|one| {
        format!(
            "base backup {}: {} bytes of data, {} stored",
            one.label, one.data_bytes, one.stored_bytes
        )
    })
}

fn of<'s>(status: &'s InstanceStatus, kind: &str) -> Option<&'s Condition> {
    status.conditions.iter().find(|one| one.kind == kind)
}

struct Telling {
    subject: String,
    at: Timestamp,
}

impl Telling {
    fn event(&self, reason: &str, message: String, warning: bool) -> Event {
        Event {
            at: self.at,
            subject: self.subject.clone(),
            reason: reason.to_owned(),
            message,
            warning,
        }
    }

    fn good(&self, reason: &str, message: String) -> Event {
        self.event(reason, message, false)
    }

    /// What became of a drill that was made since.
    fn drill(&self, before: Option<&Drill>, now: &BackupStatus) -> Option<Event> {
        let drill = now.last_verified_restore.as_ref()?;
        if before.is_some_and(|before| before.at == drill.at) {
            return None;
        }
        Some(match &drill.problem {
            None => self.good(
                "DrillPassed",
                format!(
                    "backup {} was restored in {} ms: {} rows, {} indexes",
                    drill.label, drill.took_ms, drill.rows, drill.indexes
                ),
            ),
            Some(problem) => self.event("DrillFailed", problem.to_string(), true),
        })
    }

    /// A condition that no longer holds, or holds again; another reason is another event.
    fn turned(
        &self,
        (old, new): (Option<&Condition>, Option<&Condition>),
        (bad, good): (&str, &str),
    ) -> Option<Event> {
        let (old, new) = (old?, new?);
        let is_bad = |one: &Condition| {
            one.status == Truth::False && !NO_MATTER.contains(&one.reason.as_str())
        };
        match (is_bad(old), is_bad(new)) {
            (_, true) if !is_bad(old) || old.reason != new.reason => {
                Some(self.event(bad, new.message.clone(), true))
            }
            (true, false) if new.status == Truth::True => {
                Some(self.good(good, new.message.clone()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use boma_instance::InstanceId;
    use boma_instance::backup::{BackupKind, BackupSummary};
    use boma_instance::wal::{Lsn, Timeline};
    use boma_problem::{Class, Problem};

    use super::*;

    fn status(archived: (Truth, &str), backup: BackupStatus) -> InstanceStatus {
        let condition = |kind: &str, (status, reason): (Truth, &str)| Condition {
            kind: kind.into(),
            status,
            reason: reason.into(),
            message: format!("{kind}: {reason}"),
        };
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
            backup: Some(backup),
            conditions: vec![
                condition(ARCHIVED, archived),
                condition(BACKUPS, (Truth::True, "Taken")),
            ],
            problems: Vec::new(),
        }
    }

    fn summary(label: &str) -> BackupSummary {
        BackupSummary {
            label: label.into(),
            kind: BackupKind::Full,
            started_at: Timestamp::UNIX_EPOCH,
            stopped_at: Timestamp::UNIX_EPOCH,
            start_lsn: Lsn(0),
            stop_lsn: Lsn(1),
            timeline: Timeline(1),
            data_bytes: 2048,
            stored_bytes: 512,
            server_version: "17.6".into(),
            damaged_pages: 0,
        }
    }

    fn drill(at: i64, problem: Option<Problem>) -> Drill {
        Drill {
            label: "a".into(),
            at: Timestamp::from_second(at).unwrap(),
            took_ms: 1200,
            recovered_until: None,
            tables: 1,
            rows: 7,
            indexes: 3,
            problem,
        }
    }

    fn told(old: &InstanceStatus, new: &InstanceStatus) -> Vec<(String, bool)> {
        let key = DatabaseKey::new("o/u/e/p", "orders");
        let events = between(&key, old, new);
        assert!(
            events
                .iter()
                .all(|one| one.subject == "Database o/u/e/p/orders")
        );
        let told = events.into_iter();
        told.map(|one| (format!("{}: {}", one.reason, one.message), one.warning))
            .collect()
    }

    #[test]
    fn nothing_is_told_while_nothing_changes() {
        let same = status((Truth::False, "Late"), BackupStatus::default());
        assert_eq!(told(&same, &same), []);
        let off = status((Truth::False, "Off"), BackupStatus::default());
        let well = status((Truth::True, "Archived"), BackupStatus::default());
        assert_eq!(told(&well, &off), []);
        assert_eq!(told(&off, &well), []);
    }

    #[test]
    fn backups_and_drills_are_told_once_each() {
        let well = (Truth::True, "Archived");
        let old = status(well, BackupStatus::default());
        let mut backup = BackupStatus {
            backups: vec![summary("a")],
            last_verified_restore: Some(drill(1, None)),
            ..BackupStatus::default()
        };
        let new = status(well, backup.clone());
        let expected = [
            (
                "BackupTaken: base backup a: 2048 bytes of data, 512 stored".to_owned(),
                false,
            ),
            (
                "DrillPassed: backup a was restored in 1200 ms: 7 rows, 3 indexes".to_owned(),
                false,
            ),
        ];
        assert_eq!(told(&old, &new), expected);
        assert_eq!(told(&new, &new), []);
        let problem = Problem::new(Class::Config, "x", "an index lies");
        backup.last_verified_restore = Some(drill(2, Some(problem)));
        let failed = status(well, backup);
        assert_eq!(
            told(&new, &failed),
            [("DrillFailed: an index lies".to_owned(), true)]
        );
    }

    #[test]
    fn what_a_stopped_server_keeps_to_itself_is_told() {
        let key = DatabaseKey::new("o/u/e/p", "orders");
        let stopped = |archived, backups| {
            let backup = BackupStatus {
                backups,
                ..BackupStatus::default()
            };
            let mut status = status(archived, backup);
            status.phase = Phase::Suspended;
            left_behind(&key, &status).map(|event| (event.reason, event.warning))
        };
        let all = (Truth::True, "AllArchived");
        assert_eq!(stopped(all, vec![summary("a")]), None);
        let never = Some(("NeverBackedUp".to_owned(), true));
        assert_eq!(stopped(all, Vec::new()), never);
        let behind = Some((LEFT_BEHIND.to_owned(), true));
        assert_eq!(
            stopped((Truth::False, LEFT_BEHIND), vec![summary("a")]),
            behind
        );
        assert_eq!(stopped((Truth::False, "Off"), Vec::new()), None);
        let runs = status(all, BackupStatus::default());
        assert_eq!(left_behind(&key, &runs), None);
    }

    #[test]
    fn an_archive_that_is_late_and_comes_back_is_told_by_each_reason() {
        let at = |truth, reason| status((truth, reason), BackupStatus::default());
        let well = at(Truth::True, "Archived");
        let (late, full) = (at(Truth::False, "Late"), at(Truth::False, "FillingDisk"));
        let say = |text: &str, warning| [(text.to_owned(), warning)];
        assert_eq!(
            told(&well, &late),
            say("ArchiveLate: WalArchived: Late", true)
        );
        assert_eq!(
            told(&late, &full),
            say("ArchiveLate: WalArchived: FillingDisk", true)
        );
        assert_eq!(
            told(&full, &well),
            say("ArchiveAgain: WalArchived: Archived", false)
        );
    }
}
