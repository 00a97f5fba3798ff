//! What happened to a server and its backups between two of its statuses, as events. Pure.
//!
//! Who watches statuses tells; what came to pass while nobody watched is in the status itself, and
//! what was put right is told of then, too.

use boma_instance::backup::{BackupStatus, Drill};
use boma_instance::{
    ARCHIVED, AS_MANIFEST, Condition, Correction, InstanceStatus, LEFT_BEHIND, OFF, Phase, Truth,
};
use jiff::Timestamp;

use crate::catalog::Subject;
use crate::keys::DatabaseKey;
use crate::platform::Event;

/// The condition that says whether base backups are taken.
const BACKUPS: &str = "Backups";

/// Reasons of conditions that say that nothing is known.
const NOT_KNOWN: [&str; 2] = ["NotMeasured", "NoneYet"];

/// The reason of the event that something was put right.
pub const CORRECTED: &str = "DriftCorrected";

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
    let is_new = |one: &&Correction| !old.corrections.contains(one);
    let corrected = new.corrections.iter().filter(is_new);
    events.extend(corrected.map(|one| corrected_event(key, one)));
    let looked_at = is_whole(new);
    let told = AS_MANIFEST.into_iter().filter_map(|kind| {
        let (old, new) = (of(old, kind), of(new, kind));
        telling.changed_by_hand(old, new, looked_at)
    });
    events.extend(told);
    events
}

/// What was put right while nobody watched: after `told`, the last of which it was told; none: of
/// nothing was ever told.
pub fn unwatched(key: &DatabaseKey, new: &InstanceStatus, told: Option<Timestamp>) -> Vec<Event> {
    let is_new = |one: &&Correction| told.is_none_or(|told| one.at > told);
    let corrected = new.corrections.iter().filter(is_new);
    corrected.map(|one| corrected_event(key, one)).collect()
}

/// What is known after a status: a server that is busy or does not answer says less of itself, and
/// what was known of it before stands.
pub fn known(old: Option<InstanceStatus>, mut new: InstanceStatus) -> InstanceStatus {
    let Some(old) = old else {
        return new;
    };
    let is_unsaid = |kind: &str, new: &InstanceStatus| match of(new, kind) {
        None => !AS_MANIFEST.contains(&kind) || !is_whole(new),
        Some(condition) => NOT_KNOWN.contains(&condition.reason.as_str()),
    };
    for before in old.conditions {
        let kind = before.kind.as_str();
        if is_told(kind) && is_unsaid(kind, &new) {
            new.conditions.retain(|one| one.kind != before.kind);
            new.conditions.push(before);
        }
    }
    new
}

fn is_told(kind: &str) -> bool {
    [BACKUPS, ARCHIVED].contains(&kind) || AS_MANIFEST.contains(&kind)
}

/// Whether everything about the server was looked at: one that is about to be changed is not.
fn is_whole(status: &InstanceStatus) -> bool {
    status.phase == Phase::Ready
}

fn corrected_event(key: &DatabaseKey, correction: &Correction) -> Event {
    Event {
        at: correction.at,
        subject: Subject::from(key).to_string(),
        reason: CORRECTED.to_owned(),
        message: format!("changed by hand, and put right: {}", correction.what),
        warning: true,
    }
}

/// What a server that was stopped keeps to itself: whoever counts on its backups has to know. Told
/// by who stops it, since its agent may end with it.
pub fn left_behind(key: &DatabaseKey, status: &InstanceStatus) -> Option<Event> {
    let telling = Telling {
        subject: Subject::from(key).to_string(),
        at: status.observed_at,
    };
    let archived = of(status, ARCHIVED)?;
    if status.phase != Phase::Suspended || archived.reason == OFF {
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

    /// A condition that is there only while something is changed by hand.
    fn changed_by_hand(
        &self,
        old: Option<&Condition>,
        new: Option<&Condition>,
        looked_at: bool,
    ) -> Option<Event> {
        match (old, new) {
            (Some(old), Some(new)) if old.message == new.message => None,
            (_, Some(new)) => Some(self.event("DriftFound", new.message.clone(), true)),
            (Some(_), None) if looked_at => {
                Some(self.good("DriftGone", "as the manifest says again".into()))
            }
            (_, None) => None,
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
            let reason = one.reason.as_str();
            one.status == Truth::False && reason != OFF && !NOT_KNOWN.contains(&reason)
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
