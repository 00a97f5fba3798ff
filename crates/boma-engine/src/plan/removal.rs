//! What has no manifest any more: applications are stopped and forgotten, their logins dropped,
//! databases retired. Nothing here destroys data.

use std::collections::BTreeSet;

use boma_instance::{InstanceSpec, Power};
use boma_problem::IntoProblem;
use jiff::{Span, Timestamp, Unit};

use super::action::{Action, StepId, StopReason};
use super::database::{self, Target};
use super::draft::{Draft, is_settled};
use super::refusal::{self, RemovalRefusal};
use super::waiting::Stopped;
use super::{Asked, Blocked, OtherSource};
use crate::catalog::{Catalog, Subject};
use crate::keys::{ApplicationKey, DatabaseKey, GrantKey};
use crate::observed::{Life, Observed, ObservedDatabase, ProcessState};

/// Refuses a plan that would take resources away only because the manifests were looked for in
/// another place than before, or because there are none at all.
pub(super) fn refuse_source(catalog: &Catalog, seen: &Observed, asked: &Asked) -> Option<Blocked> {
    if asked.other_source == OtherSource::Meant {
        return None;
    }
    let databases = seen.databases.iter();
    let databases = databases
        .filter(|(key, seen)| seen.life == Life::Active && catalog.database(key).is_none())
        .map(|(key, _)| Subject::from(key));
    let applications = seen.applications.keys();
    let applications = applications
        .filter(|key| catalog.application(key).is_none())
        .map(Subject::from);
    let removed: Vec<Subject> = databases.chain(applications).collect();
    if removed.is_empty() {
        return None;
    }
    let refusal = match (&seen.source, &asked.source) {
        (Some(former), Some(source)) if former.as_str() != &**source => {
            RemovalRefusal::OtherSource {
                former: former.clone(),
                current: source.to_string(),
                removed,
            }
        }
        _ if catalog.is_empty() => RemovalRefusal::NoManifests { removed },
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
    let seen = draft.seen;
    for (key, application) in &seen.applications {
        let runs = matches!(application.process, ProcessState::Running { .. });
        if runs && draft.catalog.application(key).is_none() {
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
    let seen = draft.seen;
    for (key, database) in &seen.databases {
        if draft.catalog.database(key).is_some() {
            continue;
        }
        match database.life {
            Life::Retired { until, .. } if until <= draft.now => {
                draft.plan.warnings.push(refusal::expired(key, until));
            }
            Life::Retired { .. } => {}
            Life::Active if database.record.deletion_protection => protected(draft, key, database),
            Life::Active => retire(draft, key, database),
        }
    }
}

fn protected<'a>(draft: &mut Draft<'a>, key: &'a DatabaseKey, seen: &ObservedDatabase) {
    let refusal = RemovalRefusal::Protected { key: key.clone() };
    draft.block(key.into(), refusal.problem());
    if let Some(spec) = &seen.spec {
        database::narrow(draft, key, seen, spec);
    }
}

fn retire<'a>(draft: &mut Draft<'a>, key: &'a DatabaseKey, seen: &ObservedDatabase) {
    let settled_by = seen.spec.as_ref().and_then(|spec| {
        let spec = InstanceSpec {
            power: Power::Off,
            logins: Vec::new(),
            ..spec.clone()
        };
        let target = Target {
            seen: Some(seen),
            spec,
            logins: Vec::new(),
            needs: Vec::new(),
            stopped: Some(Stopped::Suspended),
        };
        database::settle(draft, key, target);
        draft
            .databases
            .get(key)
            .and_then(|database| database.settled_by)
    });
    let life = Life::Retired {
        since: draft.now,
        until: kept_until(draft.now, seen.record.retention_days),
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
    let orphans = std::mem::take(&mut draft.orphans);
    let mut forgotten: Vec<(&ApplicationKey, StepId)> = Vec::new();
    let mut remaining: BTreeSet<&ApplicationKey> = BTreeSet::new();
    for (database, grants) in orphans {
        for grant in grants {
            let needs = match gone(draft, database, grant) {
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
            forgotten.push((&grant.application, step));
        }
    }
    forgotten.sort_unstable();
    let seen = draft.seen;
    for key in seen.applications.keys() {
        if draft.catalog.application(key).is_some() || remaining.contains(key) {
            continue;
        }
        let from = forgotten.partition_point(|(application, _)| *application < key);
        let own = forgotten[from..]
            .iter()
            .take_while(|(application, _)| *application == key);
        let own: Vec<StepId> = own.map(|(_, step)| *step).collect();
        let needs = own.into_iter().chain(draft.stops.get(key).copied());
        let needs: Vec<StepId> = needs.collect();
        draft.step(
            Action::ForgetApplication {
                application: key.clone(),
            },
            needs,
        );
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

fn gone(draft: &Draft<'_>, key: &DatabaseKey, grant: &GrantKey) -> Gone {
    if let Some(database) = draft.databases.get(key) {
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
    let roles = draft
        .seen
        .grants
        .get(grant)
        .into_iter()
        .flat_map(|stored| stored.logins.values());
    let mut roles = roles.map(|login| &login.role);
    let is_named = roles.any(|role| spec.logins.iter().any(|login| login.role == *role));
    let is_stopped = seen.life != Life::Active || is_settled(seen, spec.generation);
    if is_stopped && !is_named {
        Gone::Already
    } else {
        Gone::Not
    }
}
