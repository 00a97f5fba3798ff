//! What happened to a server and its backups between two of its statuses, as events. Pure.
//!
//! Who watches statuses tells; what came to pass while nobody watched is in the status itself.

use boma_instance::backup::{BackupStatus, Drill};
use boma_instance::{ARCHIVED, AS_MANIFEST, Condition, InstanceStatus, LEFT_BEHIND, Phase, Truth};
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
    events.extend(telling.corrected(old, new));
    // Of a server that does not answer nothing is known.
    if new.server.is_some() {
        let kinds = AS_MANIFEST.into_iter();
        let told = kinds.filter_map(|kind| telling.changed_by_hand(of(old, kind), of(new, kind)));
        events.extend(told);
    }
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

    /// What was changed by hand and put right since.
    fn corrected(&self, old: &InstanceStatus, new: &InstanceStatus) -> Option<Event> {
        let correction = new.corrected.as_ref()?;
        (old.corrected.as_ref() != Some(correction)).then(|| {
            let message = format!("changed by hand, and put right: {}", correction.what);
            self.event("DriftCorrected", message, true)
        })
    }

    /// A condition that is there only while something is changed by hand.
    fn changed_by_hand(&self, old: Option<&Condition>, new: Option<&Condition>) -> Option<Event> {
        match (old, new) {
            (Some(old), Some(new)) if old.message == new.message => None,
            (_, Some(new)) => Some(self.event("DriftFound", new.message.clone(), true)),
            (Some(_), None) => Some(self.good("DriftGone", "as the manifest says again".into())),
            (None, None) => None,
        }
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
mod tests;
