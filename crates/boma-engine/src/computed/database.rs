//! What was measured of a database.

use std::fmt;

use boma_instance::backup::{BackupStatus, Progress};
use boma_instance::{Access, Condition, InstanceId, InstanceStatus, Phase, names};
use boma_problem::Problem;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::in_sync;
use crate::catalog::Catalog;
use crate::keys::{ApplicationKey, DatabaseKey};
use crate::observed::{AgentState, Life, Observed, ObservedDatabase};
use crate::plan::{Plan, Stage, replacement_stage};

/// Where a database is in its life, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DatabasePhase {
    /// It has a manifest and no server yet.
    Pending,
    /// A person stopped it.
    Held,
    /// Its manifest is gone; its data is kept.
    Retired,
    /// What its server is.
    #[serde(untagged)]
    Instance(Phase),
}

impl fmt::Display for DatabasePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("Pending"),
            Self::Held => f.write_str("Held"),
            Self::Retired => f.write_str("Retired"),
            Self::Instance(phase) => write!(f, "{phase:?}"),
        }
    }
}

/// `computed` of a Database. `None` is: not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseComputed {
    /// One word.
    pub phase: DatabasePhase,
    /// Statements about it.
    pub conditions: Vec<Condition>,
    /// Identity of its instance.
    pub id: Option<InstanceId>,
    /// Where it listens.
    pub host: Option<String>,
    /// On which port.
    pub port: Option<u16>,
    /// Its name inside PostgreSQL.
    pub database_name: String,
    /// Full version of the running server.
    pub version: Option<String>,
    /// Which instance is the primary.
    pub primary: Option<String>,
    /// Its instances.
    pub instances: Vec<InstanceComputed>,
    /// Who may use it, as manifests say.
    pub access: Vec<GranteeComputed>,
    /// Other projects whose applications may ask for access (`access.projects`).
    pub admitted_projects: Vec<String>,
    /// Bytes that its data takes.
    pub storage_bytes_used: Option<u64>,
    /// When the last base backup was taken.
    pub last_backup: Option<Timestamp>,
    /// When a backup was last proved by restoring it.
    pub last_verified_restore: Option<Timestamp>,
    /// The earliest moment that can be restored.
    pub recoverable_from: Option<Timestamp>,
    /// The latest moment that can be restored.
    pub recoverable_until: Option<Timestamp>,
    /// Bytes of its write-ahead log that wait to be archived.
    pub archive_waiting_bytes: Option<u64>,
    /// Since when the oldest of them waits; none: none does, or it is not known.
    pub archive_waiting_since: Option<Timestamp>,
    /// Long work that goes on: a base backup, a restore, a drill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_running: Option<Progress>,
    /// The generation of the spec that its agent has accepted.
    pub observed_generation: Option<u64>,
    /// When all of this was measured.
    pub observed_at: Option<Timestamp>,
    /// Until when a retired database is kept at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Timestamp>,
    /// How far its restore in place is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replacement: Option<Stage>,
    /// What was replaced by a restore in place and is kept, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<DatabaseKey>,
    /// What hinders it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// One server of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceComputed {
    /// Its name: the database's and a number.
    pub name: String,
    /// What it is.
    pub phase: Phase,
    /// Process id of the server.
    pub pid: Option<u32>,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// Settings that wait for a restart.
    pub pending_restart: Vec<String>,
}

/// An application that may use a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GranteeComputed {
    /// Which one.
    pub application: ApplicationKey,
    /// What it may do.
    pub access: Access,
    /// Whether it belongs to another project.
    pub other_project: bool,
    /// Its users, those that are locked too.
    pub roles: Vec<String>,
}

/// What is known of a database, whether it has a manifest or not.
pub fn database(
    key: &DatabaseKey,
    catalog: Option<&Catalog>,
    seen: &Observed,
    plan: Option<&Plan>,
) -> DatabaseComputed {
    let known = seen.databases.get(key);
    let status = known.and_then(status);
    let server = status.and_then(|status| status.server.as_ref());
    let placed = known.and_then(|known| known.listen.as_ref());
    let backup = status.and_then(|status| status.backup.as_ref());
    let mut conditions = status
        .map(|status| status.conditions.clone())
        .unwrap_or_default();
    conditions.push(in_sync(&key.into(), plan, status.is_some()));
    let name = format!("{}-1", key.name);
    let has_instance = known.is_some_and(|known| known.spec.is_some());
    DatabaseComputed {
        phase: phase(known, status),
        conditions,
        id: known.map(|known| known.id),
        host: placed.map(boma_instance::Listen::host),
        port: placed.map(|placed| placed.port),
        database_name: names::database(&key.name),
        version: server.map(|server| server.version.clone()),
        primary: server.map(|_| name.clone()),
        instances: has_instance
            .then(|| instance(name, status))
            .into_iter()
            .collect(),
        access: catalog.map_or_else(Vec::new, |catalog| access(key, catalog, seen)),
        admitted_projects: catalog
            .and_then(|catalog| catalog.database(key))
            .map(|want| {
                want.admitted_projects
                    .iter()
                    .map(ToString::to_string)
                    .collect()
            })
            .unwrap_or_default(),
        storage_bytes_used: status
            .and_then(|one| one.storage)
            .map(|storage| storage.used_bytes),
        last_backup: backup.and_then(|backup| Some(backup.backups.last()?.stopped_at)),
        last_verified_restore: backup.and_then(verified),
        recoverable_from: backup.and_then(|backup| backup.recoverable_from),
        recoverable_until: backup.and_then(|backup| backup.recoverable_until),
        archive_waiting_bytes: backup.map(|backup| backup.archive.waiting_bytes),
        archive_waiting_since: backup.and_then(|backup| backup.archive.waiting_since),
        backup_running: backup.and_then(|backup| backup.running.clone()),
        observed_generation: status.map(|status| status.accepted_generation),
        observed_at: status.map(|status| status.observed_at),
        kept_until: known.and_then(|known| match known.life {
            Life::Active => None,
            Life::Retired { until, .. } => Some(until),
        }),
        replacement: replacement_stage(key, seen),
        replaced: replaced(key, seen).map(|(key, _)| key.clone()).collect(),
        problems: problems(known, status),
    }
}

/// What a database was before it was restored in place, as far as it is kept; oldest first.
pub fn replaced<'s>(
    key: &'s DatabaseKey,
    seen: &'s Observed,
) -> impl Iterator<Item = (&'s DatabaseKey, &'s ObservedDatabase)> {
    // Their names begin with the database's and a dot, which no manifest's name has.
    let first = DatabaseKey::new(key.project.clone(), format!("{}.", key.name));
    let begins = first.name.clone();
    let project = key.project.clone();
    seen.databases
        .range(first..)
        .take_while(move |(one, _)| one.project == project && one.name.starts_with(&*begins))
        .filter(move |(_, one)| one.record.beside.as_ref() == Some(key) && one.life != Life::Active)
}

fn access(key: &DatabaseKey, catalog: &Catalog, seen: &Observed) -> Vec<GranteeComputed> {
    let grantees = catalog.grantees(key).into_iter().map(|grantee| {
        let application = grantee.application;
        let stored = seen.grants.get(&application.grant_key(grantee.grant));
        let logins = stored.into_iter().flat_map(|stored| stored.logins.values());
        GranteeComputed {
            application: application.key.clone(),
            access: grantee.grant.access,
            other_project: application.key.project != key.project,
            roles: logins.map(|login| login.role.clone()).collect(),
        }
    });
    grantees.collect()
}

/// When a restore last proved a backup; one that failed proves nothing.
fn verified(backup: &BackupStatus) -> Option<Timestamp> {
    let drill = backup.last_verified_restore.as_ref()?;
    drill.problem.is_none().then_some(drill.at)
}

fn status(known: &ObservedDatabase) -> Option<&InstanceStatus> {
    match &known.agent {
        AgentState::Answering(status) => Some(status),
        AgentState::Silent(_) | AgentState::Absent => None,
    }
}

fn phase(known: Option<&ObservedDatabase>, status: Option<&InstanceStatus>) -> DatabasePhase {
    let Some(known) = known.filter(|known| known.spec.is_some() || known.life != Life::Active)
    else {
        return DatabasePhase::Pending;
    };
    let measured = status.map_or(Phase::Unknown, |status| status.phase);
    if known.life != Life::Active {
        return DatabasePhase::Retired;
    }
    // Held is what a person wants; it is said once it was measured to be so.
    if known.held && measured == Phase::Suspended {
        return DatabasePhase::Held;
    }
    DatabasePhase::Instance(measured)
}

fn instance(name: String, status: Option<&InstanceStatus>) -> InstanceComputed {
    let server = status.and_then(|status| status.server.as_ref());
    InstanceComputed {
        name,
        phase: status.map_or(Phase::Unknown, |status| status.phase),
        pid: server.map(|server| server.pid),
        started_at: server.map(|server| server.started_at),
        pending_restart: server
            .map(|server| server.pending_restart.clone())
            .unwrap_or_default(),
    }
}

fn problems(known: Option<&ObservedDatabase>, status: Option<&InstanceStatus>) -> Vec<Problem> {
    match (status, known.map(|known| &known.agent)) {
        (Some(status), _) => status.problems.clone(),
        (None, Some(AgentState::Silent(problem))) => vec![problem.clone()],
        (None, _) => Vec::new(),
    }
}
