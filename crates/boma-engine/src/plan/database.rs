//! Databases that have a manifest.

use std::sync::Arc;

use boma_instance::settings::ParameterContext;
use boma_instance::{InstanceId, InstanceSpec, MajorVersion, Power, names};

use super::action::{Action, PlannedLogin, PlannedVerifier, PutInstance, StepId};
use super::change::{self, AgainReason, Change, Effect};
use super::draft::{DatabaseDraft, Draft, is_settled, lesser};
use super::waiting::{Stopped, WaitingOn};
use super::{Reach, refusal};
use crate::catalog::{Database, Grantee};
use crate::keys::{DatabaseKey, GrantKey};
use crate::observed::{AgentState, DatabaseRecord, Life, Observed, ObservedDatabase};

/// Plans one database of the catalog.
pub(super) fn plan<'a>(
    draft: &mut Draft<'a>,
    key: &'a DatabaseKey,
    want: &'a Arc<Database>,
    ids: &mut dyn FnMut() -> InstanceId,
) {
    let seen = draft.seen.databases.get(key);
    draft.notes.database(want, draft.seen);
    let refused = refusal::of_database(want, seen, draft.seen);
    if !refused.is_empty() {
        for problem in refused {
            draft.block(key.into(), problem);
        }
        return blocked(draft, key, seen);
    }
    if seen.is_some_and(|seen| seen.held) {
        draft.wait(WaitingOn::Held {
            subject: key.into(),
        });
    }
    let id = seen.map_or_else(ids, |seen| seen.id);
    let mut needs = Vec::new();
    needs.extend(record(draft, want, seen, id));
    if seen.is_some_and(|seen| seen.life != Life::Active) {
        needs.push(draft.step(
            Action::SetLife {
                key: key.clone(),
                life: Life::Active,
            },
            [],
        ));
    }
    let mut logins = Vec::new();
    for grantee in draft.catalog.grantees(key) {
        logins.extend(draft.logins_of(key, grantee, &mut needs));
    }
    let stopped = stopped(want, seen);
    let spec = desired(want, stopped, seen, id, draft.seen);
    settle(
        draft,
        key,
        Target {
            seen,
            spec,
            logins,
            needs,
            stopped,
        },
    );
}

/// What a database should become.
pub(super) struct Target<'s> {
    pub(super) seen: Option<&'s ObservedDatabase>,
    /// All but generation and logins.
    pub(super) spec: InstanceSpec,
    pub(super) logins: Vec<PlannedLogin>,
    /// Steps that go before it.
    pub(super) needs: Vec<StepId>,
    pub(super) stopped: Option<Stopped>,
}

/// Adds what it takes to get there: a put if anything differs, a wait if it is not measured so.
pub(super) fn settle<'a>(draft: &mut Draft<'a>, key: &'a DatabaseKey, target: Target<'_>) {
    let Target {
        seen,
        mut spec,
        mut logins,
        mut needs,
        stopped,
    } = target;
    logins.sort_unstable_by(|one, other| one.role.cmp(&other.role));
    let current = seen.and_then(|seen| seen.spec.as_ref());
    let changes = changes(draft.seen, seen, &spec, &logins);
    let is_new = !matches!(changes.as_slice(), [] | [Change::Again(_)]);
    spec.generation = current.map_or(0, |current| current.generation) + u64::from(is_new);
    let (id, generation, database) = (spec.id, spec.generation, spec.database.clone());
    let put = (!changes.is_empty()).then(|| {
        needs.extend(stops_before(draft, key, &changes));
        let put = PutInstance {
            key: key.clone(),
            spec,
            logins,
            changes,
        };
        draft.step(Action::PutInstance(Box::new(put)), needs)
    });
    let unsettled = put.is_some() || !seen.is_some_and(|seen| is_settled(seen, generation));
    let settled_by = unsettled.then(|| draft.await_step(key, id, generation, put));
    let listen = seen.and_then(|seen| seen.listen.as_ref());
    let reach = listen.map(|listen| Reach {
        host: listen.host(),
        port: listen.port,
    });
    draft.databases.insert(
        key,
        DatabaseDraft {
            reach,
            database,
            settled_by,
            stopped,
        },
    );
}

/// A database whose change is refused stays as it is, but for access: what was granted and is no
/// longer must end even so.
fn blocked<'a>(draft: &mut Draft<'a>, key: &'a DatabaseKey, seen: Option<&ObservedDatabase>) {
    let in_force = seen.filter(|seen| seen.life == Life::Active);
    if let Some((seen, spec)) = in_force.and_then(|seen| Some((seen, seen.spec.as_ref()?))) {
        narrow(draft, key, seen, spec);
    }
}

/// Keeps a spec as it is, less the logins and rights that are no longer granted.
pub(super) fn narrow<'a>(
    draft: &mut Draft<'a>,
    key: &'a DatabaseKey,
    seen: &ObservedDatabase,
    spec: &InstanceSpec,
) {
    let mut granted = Vec::new();
    for grantee in draft.catalog.grantees(key) {
        if has_login(draft.seen, key, grantee, spec) {
            granted.extend(draft.logins_of(key, grantee, &mut Vec::new()));
        }
    }
    granted.retain_mut(|login| {
        let in_force = spec.logins.iter().find(|old| old.role == login.role);
        if let Some(old) = in_force {
            login.access = lesser(login.access, old.access);
        }
        in_force.is_some()
    });
    let target = Target {
        seen: Some(seen),
        spec: InstanceSpec {
            logins: Vec::new(),
            ..spec.clone()
        },
        logins: granted,
        needs: Vec::new(),
        stopped: (spec.power == Power::Off).then_some(Stopped::Suspended),
    };
    settle(draft, key, target);
}

/// Keeps a spec as it is, all of it.
pub(super) fn keep<'a>(
    draft: &mut Draft<'a>,
    key: &'a DatabaseKey,
    seen: &ObservedDatabase,
    spec: &InstanceSpec,
) {
    let logins = spec.logins.iter().map(|login| PlannedLogin {
        role: login.role.clone(),
        access: login.access,
        comment: login.comment.clone(),
        verifier: match &login.verifier {
            Some(verifier) => PlannedVerifier::Stored(verifier.clone()),
            None => PlannedVerifier::Locked,
        },
    });
    let target = Target {
        seen: Some(seen),
        spec: InstanceSpec {
            logins: Vec::new(),
            ..spec.clone()
        },
        logins: logins.collect(),
        needs: Vec::new(),
        stopped: None,
    };
    settle(draft, key, target);
}

/// Whether a grant's login is part of the spec in force, so that nothing new need be made for it.
fn has_login(seen: &Observed, key: &DatabaseKey, grantee: &Grantee, spec: &InstanceSpec) -> bool {
    let grant = GrantKey {
        application: grantee.application.key.clone(),
        database: key.clone(),
    };
    let stored = seen.grants.get(&grant);
    stored
        .and_then(|stored| stored.logins.get(&stored.active))
        .is_some_and(|login| spec.logins.iter().any(|old| old.role == login.role))
}

/// Registers a new database, or updates what is remembered of it.
fn record(
    draft: &mut Draft<'_>,
    want: &Database,
    seen: Option<&ObservedDatabase>,
    id: InstanceId,
) -> Option<StepId> {
    let record = DatabaseRecord {
        deletion_protection: want.deletion_protection,
        retention_days: want.backup.retention_days,
    };
    let former = seen.map(|seen| seen.record.clone());
    (former.as_ref() != Some(&record)).then(|| {
        let key = want.key.clone();
        draft.step(
            Action::RecordDatabase {
                key,
                id,
                record,
                former,
            },
            [],
        )
    })
}

fn stopped(want: &Database, seen: Option<&ObservedDatabase>) -> Option<Stopped> {
    if want.suspended {
        Some(Stopped::Suspended)
    } else {
        seen.filter(|seen| seen.held).map(|_| Stopped::Held)
    }
}

/// The major version that a database has or gets; none: this platform has no PostgreSQL.
pub(super) fn version(
    want: &Database,
    seen: Option<&ObservedDatabase>,
    world: &Observed,
) -> Option<MajorVersion> {
    let fixed = seen
        .and_then(|seen| seen.spec.as_ref())
        .map(|spec| spec.version);
    let newest = || {
        world
            .capabilities
            .servers
            .iter()
            .map(|build| build.major)
            .max()
    };
    fixed.or(want.version).or_else(newest)
}

fn desired(
    want: &Database,
    stopped: Option<Stopped>,
    seen: Option<&ObservedDatabase>,
    id: InstanceId,
    world: &Observed,
) -> InstanceSpec {
    let power = if stopped.is_none() {
        Power::On
    } else {
        Power::Off
    };
    InstanceSpec {
        id,
        generation: 0,
        identity: want.key.to_string(),
        database: names::database(&want.key.name),
        version: version(want, seen, world)
            .expect("a database without any PostgreSQL should have been refused"),
        power,
        resources: want.resources,
        parameters: want.parameters.clone(),
        extensions: want.extensions.clone(),
        logins: Vec::new(),
    }
}

/// What a put would change; nothing: no put is needed.
fn changes(
    world: &Observed,
    seen: Option<&ObservedDatabase>,
    spec: &InstanceSpec,
    logins: &[PlannedLogin],
) -> Vec<Change> {
    let Some((seen, current)) = seen.and_then(|seen| Some((seen, seen.spec.as_ref()?))) else {
        let (version, resources) = (spec.version, spec.resources);
        let create = Change::Create { version, resources };
        let added = logins.iter().map(|login| Change::LoginAdded {
            role: login.role.clone(),
            access: login.access,
            comment: login.comment.clone(),
        });
        return std::iter::once(create).chain(added).collect();
    };
    let running = current.power == Power::On;
    let effect = |name: &str| effect(world, spec.version, running, name);
    let mut changes = change::between(current, spec, effect);
    changes.extend(change::logins(current, logins));
    if changes.is_empty() {
        changes.extend(again(seen, current).map(Change::Again));
    }
    changes
}

/// Why the same spec has to be handed over once more.
fn again(seen: &ObservedDatabase, current: &InstanceSpec) -> Option<AgainReason> {
    match &seen.agent {
        AgentState::Absent => Some(AgainReason::AgentAbsent),
        AgentState::Silent(_) => Some(AgainReason::AgentSilent),
        AgentState::Answering(status) if status.accepted_generation < current.generation => {
            Some(AgainReason::AgentBehind)
        }
        AgentState::Answering(_) if seen.listen.is_none() => Some(AgainReason::NotPlaced),
        AgentState::Answering(_) => None,
    }
}

/// What it takes until a setting is in force, as PostgreSQL itself says.
fn effect(world: &Observed, version: MajorVersion, running: bool, name: &str) -> Effect {
    let build = world
        .capabilities
        .servers
        .iter()
        .find(|build| build.major == version);
    let context = build
        .and_then(|build| build.parameters.get(name))
        .map(|known| known.context);
    match context {
        Some(ParameterContext::Postmaster) if running => Effect::Restart,
        Some(ParameterContext::Reload) if running => Effect::Reload,
        Some(ParameterContext::Session) if running => Effect::NewSessions,
        _ => Effect::Unknown,
    }
}

/// Applications that go away are stopped before their logins are, so that they can end in order.
fn stops_before(draft: &Draft<'_>, key: &DatabaseKey, changes: &[Change]) -> Vec<StepId> {
    let removes = changes
        .iter()
        .any(|change| matches!(change, Change::LoginRemoved { .. }));
    let orphans = draft.orphans.get(key).filter(|_| removes);
    let stops = orphans.into_iter().flatten();
    stops
        .filter_map(|grant| draft.stops.get(&grant.application).copied())
        .collect()
}
