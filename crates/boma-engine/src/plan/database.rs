//! Databases that have a manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use boma_instance::backup::{BackupSpec, Origin};
use boma_instance::settings::ParameterContext;
use boma_instance::{Drift, InstanceId, InstanceSpec, MajorVersion, Power, Resources};

use super::action::{Action, PutInstance, StepId};
use super::change::{self, AgainReason, Change, Effect};
use super::draft::{
    DatabaseDraft, Draft, GrantLogins, MayRotate, WantedLogin, WantedVerifier, Whose, await_step,
    is_settled,
};
use super::refusal;
use super::replacement::{self, Stage};
use super::waiting::{Stopped, WaitingOn};
use crate::catalog::{Database, Grantee};
use crate::keys::DatabaseKey;
use crate::observed::{AgentState, DatabaseRecord, Feature, Life, Observed, ObservedDatabase};

/// Plans the database at a place of the catalog.
pub(super) fn plan(draft: &mut Draft<'_>, place: usize, ids: &mut dyn FnMut() -> InstanceId) {
    let catalog = draft.catalog;
    let want = &catalog.databases()[place];
    let key = &want.key;
    let seen = draft.join.databases[place];
    let refused = refusal::of_database(want, seen, draft.seen, draft.now);
    if !refused.is_empty() {
        for problem in refused {
            draft.block(key.into(), problem);
        }
        let blocked = blocked(draft, place, seen);
        Arc::make_mut(&mut draft.databases)[place] = blocked;
        return;
    }
    if seen.is_some_and(|seen| seen.held) {
        draft.wait(WaitingOn::Held {
            subject: key.into(),
        });
    }
    let id = seen.map_or_else(&mut *ids, |seen| seen.id);
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
    let mut drafted = GrantLogins::default();
    for grantee in catalog.grantees_at(place) {
        draft.logins_of(key, grantee, may_rotate(want, seen), &mut drafted);
    }
    needs.extend(drafted.issues);
    replacement::plan(draft, want, ids);
    let stopped = stopped(want, seen, replacement::stage(key, draft.seen));
    let origin = origin(want, seen, draft.seen);
    let version = version(want, seen, draft.seen)
        .expect("a database without any PostgreSQL should have been refused");
    ask_about_settings(draft, want, seen, version);
    let shape = Shape {
        id,
        identity: &want.identity,
        database: &want.name,
        version,
        power: if stopped.is_none() {
            Power::On
        } else {
            Power::Off
        },
        resources: want.resources,
        parameters: &want.parameters,
        extensions: &want.extensions,
        backup: want.backup.spec.as_ref().filter(|_| backs_up(draft.seen)),
        origin: origin.as_ref(),
        drift: want.drift,
        storage_class: storage_class(want, seen),
    };
    let target = Target {
        seen,
        shape,
        logins: drafted.wanted,
        needs,
        stopped,
    };
    let settled = settle(draft, key, target);
    draft.begin_turns(key, drafted.next, settled.settled_by);
    Arc::make_mut(&mut draft.databases)[place] = Some(settled);
}

/// The class that the volume is made of: once there is one, the class that was said when it was
/// made, and whatever the cluster made of nothing.
fn storage_class<'a>(want: &'a Database, seen: Option<&'a ObservedDatabase>) -> Option<&'a str> {
    let said = seen.and_then(|seen| seen.spec.as_ref()?.storage_class.as_deref());
    let is_made = seen.is_some_and(|seen| seen.storage_class.is_some());
    if is_made {
        said
    } else {
        want.storage_class.as_deref().or(said)
    }
}

/// Passwords are exchanged on a server that runs and is as its spec says, and so no former login
/// has a session any more; what was begun goes on.
fn may_rotate(want: &Database, seen: Option<&ObservedDatabase>) -> MayRotate {
    let is_ready = seen.is_some_and(|seen| {
        let generation = seen.spec.as_ref().map(|spec| spec.generation);
        let is_on = seen
            .spec
            .as_ref()
            .is_some_and(|spec| spec.power == Power::On);
        is_on && !seen.held && generation.is_some_and(|generation| is_settled(seen, generation))
    });
    if is_ready && !want.suspended {
        MayRotate::Now
    } else {
        MayRotate::Later
    }
}

/// What a database should become.
pub(super) struct Target<'a, 's> {
    pub(super) seen: Option<&'a ObservedDatabase>,
    pub(super) shape: Shape<'s>,
    pub(super) logins: Vec<WantedLogin<'a>>,
    /// Steps that go before it.
    pub(super) needs: Vec<StepId>,
    pub(super) stopped: Option<Stopped>,
}

/// A spec, all but generation and logins, without a copy of anything: most are compared with what
/// is there and found to be the same.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    pub(super) id: InstanceId,
    pub(super) identity: &'a str,
    pub(super) database: &'a str,
    pub(super) version: MajorVersion,
    pub(super) power: Power,
    pub(super) resources: Resources,
    pub(super) parameters: &'a BTreeMap<String, String>,
    pub(super) extensions: &'a BTreeSet<String>,
    pub(super) backup: Option<&'a BackupSpec>,
    pub(super) origin: Option<&'a Origin>,
    pub(super) drift: Drift,
    pub(super) storage_class: Option<&'a str>,
}

impl<'a> From<&'a InstanceSpec> for Shape<'a> {
    fn from(spec: &'a InstanceSpec) -> Self {
        Self {
            id: spec.id,
            identity: &spec.identity,
            database: &spec.database,
            version: spec.version,
            power: spec.power,
            resources: spec.resources,
            parameters: &spec.parameters,
            extensions: &spec.extensions,
            backup: spec.backup.as_ref(),
            origin: spec.origin.as_ref(),
            drift: spec.drift,
            storage_class: spec.storage_class.as_deref(),
        }
    }
}

impl Shape<'_> {
    /// The spec of this shape, without logins.
    pub(super) fn spec(self, generation: u64) -> InstanceSpec {
        InstanceSpec {
            id: self.id,
            generation,
            identity: self.identity.to_owned(),
            database: self.database.to_owned(),
            version: self.version,
            power: self.power,
            resources: self.resources,
            parameters: self.parameters.clone(),
            extensions: self.extensions.clone(),
            logins: Vec::new(),
            backup: self.backup.cloned(),
            origin: self.origin.cloned(),
            drift: self.drift,
            storage_class: self.storage_class.map(ToOwned::to_owned),
        }
    }
}

/// Adds what it takes to get there: a put if anything differs, a wait if it is not measured so.
pub(super) fn settle<'a>(
    draft: &mut Draft<'a>,
    key: &'a DatabaseKey,
    target: Target<'a, '_>,
) -> DatabaseDraft<'a> {
    let Target {
        seen,
        shape,
        mut logins,
        mut needs,
        stopped,
    } = target;
    logins.sort_unstable_by(|one, other| one.role.cmp(&other.role));
    let current = seen.and_then(|seen| seen.spec.as_ref());
    let changes = changes(draft, seen, shape, &logins);
    let is_new = !matches!(changes.as_slice(), [] | [Change::Again(_)]);
    let stored = current.map_or(0, |current| current.generation);
    // An agent refuses what is older than what it has, so what was lost is counted on from there.
    let accepted = accepted(seen);
    let generation = stored.max(accepted) + u64::from(is_new || accepted > stored);
    let renewal = seen.and_then(|seen| seen.renew_at);
    let coming = renewal.filter(|at| *at > draft.now);
    draft.plan.next = draft.plan.next.into_iter().chain(coming).min();
    let put = (!changes.is_empty()).then(|| {
        needs.extend(stops_before(draft, key, &changes));
        let logins = logins.iter().map(|login| login.planned(key)).collect();
        let put = PutInstance {
            key: key.clone(),
            spec: shape.spec(generation),
            logins,
            changes,
        };
        draft.step(Action::PutInstance(Box::new(put)), needs)
    });
    let unsettled = put.is_some() || !seen.is_some_and(|seen| is_settled(seen, generation));
    let settled_by = unsettled.then(|| await_step(draft, key, (shape.id, generation), put));
    DatabaseDraft {
        listen: seen.and_then(|seen| seen.listen.as_ref()),
        settled_by,
        stopped,
    }
}

/// A database whose change is refused stays as it is, but for access: what was granted and is no
/// longer must end even so.
fn blocked<'a>(
    draft: &mut Draft<'a>,
    place: usize,
    seen: Option<&'a ObservedDatabase>,
) -> Option<DatabaseDraft<'a>> {
    let catalog = draft.catalog;
    let seen = seen.filter(|seen| seen.life == Life::Active)?;
    let spec = seen.spec.as_ref()?;
    let key = &catalog.databases()[place].key;
    let grantees = catalog.grantees_at(place);
    let kept = grantees
        .filter(|grantee| has_login(draft, *grantee, spec))
        .collect();
    Some(narrow(draft, key, (seen, spec), kept))
}

/// Keeps a spec as it is, less the logins and rights that are no longer granted.
pub(super) fn narrow<'a>(
    draft: &mut Draft<'a>,
    key: &'a DatabaseKey,
    (seen, spec): (&'a ObservedDatabase, &'a InstanceSpec),
    kept: Vec<Grantee<'a>>,
) -> DatabaseDraft<'a> {
    let mut drafted = GrantLogins::default();
    for grantee in kept {
        draft.logins_of(key, grantee, MayRotate::No, &mut drafted);
    }
    let mut logins = drafted.wanted;
    logins.retain_mut(|login| {
        let in_force = spec.logins.iter().find(|old| old.role == login.role);
        if let Some(old) = in_force {
            login.access = login.access.min(old.access);
        }
        in_force.is_some()
    });
    let stopped = (spec.power == Power::Off).then_some(Stopped::Suspended);
    let (seen, shape) = (Some(seen), spec.into());
    settle(
        draft,
        key,
        Target {
            seen,
            shape,
            logins,
            needs: Vec::new(),
            stopped,
        },
    )
}

/// Keeps a spec as it is, all of it.
pub(super) fn keep<'a>(
    draft: &mut Draft<'a>,
    key: &'a DatabaseKey,
    (seen, spec): (&'a ObservedDatabase, &'a InstanceSpec),
) {
    let logins = spec.logins.iter().map(|login| WantedLogin {
        role: login.role.as_str().into(),
        access: login.access,
        whose: Whose::Comment(&login.comment),
        verifier: match &login.verifier {
            Some(verifier) => WantedVerifier::Stored(verifier),
            None => WantedVerifier::Locked,
        },
    });
    let logins = logins.collect();
    let (seen, shape) = (Some(seen), spec.into());
    settle(
        draft,
        key,
        Target {
            seen,
            shape,
            logins,
            needs: Vec::new(),
            stopped: None,
        },
    );
}

/// Whether a grant's login is part of the spec in force, so that nothing new need be made for it.
fn has_login(draft: &Draft<'_>, grantee: Grantee<'_>, spec: &InstanceSpec) -> bool {
    let stored = draft.join.grants[grantee.link];
    let active = stored.and_then(|stored| stored.logins.get(&stored.active));
    active.is_some_and(|login| spec.logins.iter().any(|old| old.role == login.role))
}

/// Notes the values of settings that no server was asked about yet.
fn ask_about_settings(
    draft: &mut Draft<'_>,
    want: &Database,
    seen: Option<&ObservedDatabase>,
    version: MajorVersion,
) {
    let current = seen.and_then(|seen| seen.spec.as_ref());
    let is_new = current.is_none_or(|current| current.parameters != want.parameters);
    if let Some(judged) = draft.seen.capabilities.judged.as_ref().filter(|_| is_new) {
        let settings = refusal::settings(want, version);
        let unjudged = settings.filter(|setting| !judged.contains_key(setting));
        draft.plan.unjudged.extend(unjudged);
    }
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
        beside: None,
    };
    let former = seen.map(|seen| &seen.record);
    (former != Some(&record)).then(|| {
        let (key, former) = (want.key.clone(), former.cloned());
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

fn stopped(
    want: &Database,
    seen: Option<&ObservedDatabase>,
    replacement: Option<Stage>,
) -> Option<Stopped> {
    if let Some(Stage::Stopping | Stage::Swapping) = replacement {
        Some(Stopped::Replaced)
    } else if want.suspended {
        Some(Stopped::Suspended)
    } else {
        seen.filter(|seen| seen.held).map(|_| Stopped::Held)
    }
}

/// The major version that a database has or gets; none: this platform has no PostgreSQL.
fn version(
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
    let inherited = || refusal::restored_version(want, world);
    fixed.or(want.version).or_else(inherited).or_else(newest)
}

fn backs_up(world: &Observed) -> bool {
    world.capabilities.features.contains(&Feature::Backups)
}

/// Where the first data of a database comes from: settled when it is made, and the same for ever.
fn origin(want: &Database, seen: Option<&ObservedDatabase>, world: &Observed) -> Option<Origin> {
    if let Some(spec) = seen.and_then(|seen| seen.spec.as_ref()) {
        return spec.origin.clone();
    }
    let restore = want.restore.as_ref()?;
    if let Some(put_away) = &restore.put_away {
        return Some(Origin {
            repository: put_away.repository.clone(),
            instance: put_away.instance,
            database: restore.database.name.to_string(),
            target: restore.target.clone(),
            timeline: restore.timeline,
        });
    }
    let source = world.databases.get(&restore.database)?;
    let spec = source.spec.as_ref()?;
    Some(Origin {
        repository: spec.backup.as_ref()?.repository.clone(),
        instance: source.id,
        database: spec.database.clone(),
        target: restore.target.clone(),
        timeline: restore.timeline,
    })
}

/// What a put would change; nothing: no put is needed.
fn changes(
    draft: &Draft<'_>,
    seen: Option<&ObservedDatabase>,
    shape: Shape<'_>,
    logins: &[WantedLogin<'_>],
) -> Vec<Change> {
    let Some((seen, current)) = seen.and_then(|seen| Some((seen, seen.spec.as_ref()?))) else {
        let (version, resources) = (shape.version, shape.resources);
        let origin = shape.origin.cloned().map(Box::new);
        let create = Change::Create {
            version,
            resources,
            origin,
        };
        return std::iter::once(create)
            .chain(logins.iter().map(change::added))
            .collect();
    };
    let running = current.power == Power::On;
    let effect = |name: &str| effect(draft.seen, shape.version, running, name);
    let mut changes = change::between(current, shape, effect);
    changes.extend(change::logins(current, logins));
    if changes.is_empty() {
        changes.extend(again(seen, current, draft).map(Change::Again));
    }
    changes
}

/// The generation that an agent has accepted; 0: nothing is known of any.
pub(super) fn accepted(seen: Option<&ObservedDatabase>) -> u64 {
    match seen.map(|seen| &seen.agent) {
        Some(AgentState::Answering(status)) => status.accepted_generation,
        Some(AgentState::Silent(_) | AgentState::Absent) | None => 0,
    }
}

/// Why the same spec has to be handed over once more.
fn again(
    seen: &ObservedDatabase,
    current: &InstanceSpec,
    draft: &Draft<'_>,
) -> Option<AgainReason> {
    let features = &draft.seen.capabilities.features;
    match &seen.agent {
        AgentState::Absent => Some(AgainReason::AgentAbsent),
        AgentState::Silent(_) if !features.contains(&Feature::OwnAgents) => {
            Some(AgainReason::AgentSilent)
        }
        AgentState::Answering(status) if status.accepted_generation < current.generation => {
            Some(AgainReason::AgentBehind)
        }
        AgentState::Answering(status) if status.accepted_generation > current.generation => {
            Some(AgainReason::AgentAhead)
        }
        AgentState::Answering(_) | AgentState::Silent(_) if seen.listen.is_none() => {
            Some(AgainReason::NotPlaced)
        }
        AgentState::Answering(_) | AgentState::Silent(_) => {
            let is_due = seen.renew_at.is_some_and(|at| at <= draft.now);
            is_due.then_some(AgainReason::CertificateDue)
        }
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
    let orphans = draft.join.orphans.get(key).filter(|_| removes);
    let grants = orphans.into_iter().flatten();
    grants
        .filter_map(|(grant, _)| draft.stops.get(&grant.application).copied())
        .collect()
}
