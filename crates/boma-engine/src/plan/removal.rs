//! What has no manifest any more: applications are stopped and forgotten, their logins dropped,
//! databases retired. Nothing here destroys data.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use boma_instance::Power;
use boma_problem::IntoProblem;
use jiff::{Span, Timestamp, Unit};

use super::action::{Action, StepId, StopReason};
use super::database::{self, Shape, Target};
use super::draft::{Draft, is_settled};
use super::refusal::{self, RemovalRefusal};
use super::replacement;
use super::waiting::Stopped;
use super::{Blocked, OtherSource};
use crate::catalog::Subject;
use crate::keys::{ApplicationKey, DatabaseKey};
use crate::observed::{Life, ObservedDatabase, ObservedGrant, ProcessState};

/// Refuses a plan that would take resources away only because the manifests were looked for in
/// another place than before, or because there are none at all.
pub(super) fn refuse_source(draft: &Draft<'_>) -> Option<Blocked> {
    let (seen, asked) = (draft.seen, draft.asked);
    if asked.other_source == OtherSource::Meant {
        return None;
    }
    let databases = draft.join.other_databases.iter();
    let databases = databases
        .filter(|(key, seen)| seen.life == Life::Active && !replacement::is_beside(draft, key))
        .map(|(key, _)| Subject::from(*key));
    let applications = draft
        .join
        .other_applications
        .iter()
        .map(|(key, _)| Subject::from(*key));
    let removed: Vec<Subject> = databases.chain(applications).collect();
    if removed.is_empty() {
        return None;
    }
    let refusal = match (&seen.source, &asked.source) {
        (Some(former), Some(source)) if former.as_str() != &**source => {
            let (former, current) = (former.clone(), source.to_string());
            RemovalRefusal::OtherSource {
                former,
                current,
                removed,
            }
        }
        _ if draft.catalog.is_empty() => RemovalRefusal::NoManifests {
            place: asked.source.clone(),
            removed,
        },
        _ => return None,
    };
    Some(Blocked {
        subject: Subject::Installation,
        problem: refusal.problem(),
    })
}

/// Remembers where manifests come from.
pub(super) fn record_source(draft: &mut Draft<'_>) {
    if let Some(source) = &draft.asked.source
        && draft.seen.source.as_deref() != Some(source)
    {
        let action = Action::RecordSource {
            source: source.clone(),
            former: draft.seen.source.clone(),
        };
        draft.step(action, []);
    }
}

/// Stops applications without a manifest.
pub(super) fn stop_applications(draft: &mut Draft<'_>) {
    for (key, application) in draft.join.other_applications.clone() {
        if matches!(application.process, ProcessState::Running { .. }) {
            let why = StopReason::Removed;
            let step = draft.step(
                Action::StopApplication {
                    application: key.clone(),
                    why,
                },
                [],
            );
            draft.stops.insert(key, step);
        }
    }
}

/// Retires databases without a manifest, or says why not.
pub(super) fn retire_databases(draft: &mut Draft<'_>) {
    for (key, database) in draft.join.other_databases.clone() {
        match database.life {
            Life::Retired { until, .. } if until <= draft.now => {
                draft.plan.warnings.push(refusal::expired(key, until));
            }
            Life::Retired { .. } => {}
            Life::Active if replacement::is_beside(draft, key) => {}
            Life::Active if database.record.deletion_protection => protected(draft, key, database),
            Life::Active => retire(draft, key, database),
        }
    }
}

fn protected<'a>(draft: &mut Draft<'a>, key: &'a DatabaseKey, seen: &'a ObservedDatabase) {
    let refusal = RemovalRefusal::Protected { key: key.clone() };
    draft.block(key.into(), refusal.problem());
    if let Some(spec) = &seen.spec {
        let narrowed = database::narrow(draft, key, (seen, spec), Vec::new());
        draft.other_databases.insert(key, narrowed);
    }
}

fn retire<'a>(draft: &mut Draft<'a>, key: &'a DatabaseKey, seen: &'a ObservedDatabase) {
    let settled_by = seen.spec.as_ref().and_then(|spec| {
        let target = Target {
            seen: Some(seen),
            shape: Shape {
                power: Power::Off,
                ..spec.into()
            },
            logins: Vec::new(),
            needs: Vec::new(),
            stopped: Some(Stopped::Suspended),
        };
        let stopped = database::settle(draft, key, target);
        draft.other_databases.insert(key, stopped);
        stopped.settled_by
    });
    let until = kept_until(draft.now, seen.record.retention_days);
    let life = Life::Retired {
        since: draft.now,
        until,
    };
    draft.step(
        Action::SetLife {
            key: key.clone(),
            life,
        },
        settled_by,
    );
}

fn kept_until(now: Timestamp, days: u16) -> Timestamp {
    // Days of 24 hours; beyond the calendar's end means: for ever.
    let kept = Span::new().hours(i64::from(days) * 24);
    let until = now
        .checked_add(kept)
        .and_then(|until| until.round(Unit::Second));
    until.unwrap_or(Timestamp::MAX)
}

/// Forgets credentials and applications, once the logins are gone from the servers.
pub(super) fn forget(draft: &mut Draft<'_>) {
    let join = Arc::clone(&draft.join);
    let mut forgotten: HashMap<&ApplicationKey, Vec<StepId>> = HashMap::new();
    let mut remaining: HashSet<&ApplicationKey> = HashSet::new();
    for (&database, grants) in &join.orphans {
        for &(grant, stored) in grants {
            let needs = match gone(draft, database, stored) {
                Gone::Already => None,
                Gone::After(step) => Some(step),
                Gone::Not => {
                    remaining.insert(&grant.application);
                    continue;
                }
            };
            let step = draft.step(
                Action::ForgetGrant {
                    grant: grant.clone(),
                },
                needs,
            );
            forgotten.entry(&grant.application).or_default().push(step);
        }
    }
    for (key, _) in draft.join.other_applications.clone() {
        if !remaining.contains(key) {
            let mut needs = forgotten.remove(key).unwrap_or_default();
            needs.extend(draft.stops.get(key));
            draft.step(
                Action::ForgetApplication {
                    application: key.clone(),
                },
                needs,
            );
        }
    }
}

/// When a grant's logins are gone from its server.
enum Gone {
    /// They are.
    Already,
    /// After this step.
    After(StepId),
    /// They stay, for now.
    Not,
}

fn gone(draft: &Draft<'_>, key: &DatabaseKey, stored: &ObservedGrant) -> Gone {
    let place = draft
        .catalog
        .databases()
        .binary_search_by(|one| one.key.cmp(key));
    let drafted = match place {
        Ok(place) => draft.databases[place].as_ref(),
        Err(_) => draft.other_databases.get(key),
    };
    if let Some(database) = drafted {
        return database.settled_by.map_or(Gone::Already, Gone::After);
    }
    let spec = draft
        .seen
        .databases
        .get(key)
        .and_then(|seen| Some((seen, seen.spec.as_ref()?)));
    // Purged, or never made.
    let Some((seen, spec)) = spec else {
        return Gone::Already;
    };
    let mut roles = stored.logins.values().map(|login| &login.role);
    let is_named = roles.any(|role| spec.logins.iter().any(|login| login.role == *role));
    let is_stopped = seen.life != Life::Active || is_settled(seen, spec.generation);
    if is_stopped && !is_named {
        Gone::Already
    } else {
        Gone::Not
    }
}
