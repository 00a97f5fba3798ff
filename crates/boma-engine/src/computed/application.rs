//! What was measured of an application.

use std::fmt;

use boma_instance::{Access, Condition, Truth};
use boma_problem::Problem;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::in_sync;
use crate::catalog::Application;
use crate::keys::{ApplicationKey, DatabaseKey};
use crate::observed::{AVAILABLE, Observed, ObservedApplication, ObservedLogin, ProcessState};
use crate::plan::{Plan, Rotation};

/// What an application is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ApplicationPhase {
    /// Nothing was delivered to it yet.
    Pending,
    /// Its environment is there; it runs elsewhere.
    Delivered,
    /// It runs.
    Running,
    /// It was started, and does not serve yet, or no more.
    Unavailable,
    /// Its process does not run.
    NotRunning,
    /// Its process ended by itself.
    Exited,
    /// A person stopped it.
    Held,
}

impl fmt::Display for ApplicationPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// `computed` of an Application. `None` is: not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationComputed {
    /// One word.
    pub phase: ApplicationPhase,
    /// Statements about it.
    pub conditions: Vec<Condition>,
    /// What it may reach.
    pub grants: Vec<GrantComputed>,
    /// Names of its variables, as its manifest and its grants give them.
    pub environment: Vec<String>,
    /// Its process, if Boma runs it.
    pub process: Option<ProcessComputed>,
    /// The last run of `preDeploy`.
    pub pre_deploy: Option<PreDeployComputed>,
}

/// A grant and its login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantComputed {
    /// The database.
    pub database: DatabaseKey,
    /// Whether it belongs to another project, which admits this one (`access.projects`).
    pub other_project: bool,
    /// What it may do there.
    pub access: Access,
    /// The variable that holds the connection string.
    pub env_var: String,
    /// The role that it connects as; none: no password was made yet.
    pub role: Option<String>,
    /// When its password was made.
    pub password_since: Option<Timestamp>,
    /// How far the exchange of its password is.
    pub rotation: Option<RotationComputed>,
}

/// How far the exchange of a password is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "stage", rename_all = "camelCase")]
pub enum RotationComputed {
    /// Nothing is going on.
    Steady {
        /// When the schedule asks for another password; none: there is no schedule.
        due: Option<Timestamp>,
    },
    /// Another password is wanted, and nothing was done about it yet.
    Due,
    /// It is stored; its login is being opened.
    Opening,
    /// It is its login's turn; the former one stays open until nobody needs it.
    Draining {
        /// Since when it is the other one's turn.
        since: Timestamp,
    },
}

impl From<Rotation> for RotationComputed {
    fn from(rotation: Rotation) -> Self {
        match rotation {
            Rotation::Steady { due } => Self::Steady { due },
            Rotation::Due { .. } => Self::Due,
            Rotation::Opening { .. } => Self::Opening,
            Rotation::Draining { since, .. } => Self::Draining { since },
        }
    }
}

/// The process of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessComputed {
    /// Process id, while it runs.
    pub pid: Option<u32>,
    /// When it was started.
    pub since: Option<Timestamp>,
    /// When it ended by itself.
    pub ended_at: Option<Timestamp>,
    /// How often in a row it ended soon after its start.
    pub failures: u32,
}

/// A run of `preDeploy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreDeployComputed {
    /// When it ended.
    pub at: Timestamp,
    /// Why it failed; none: it did not.
    pub failure: Option<Problem>,
}

/// What is known of an application, whether it has a manifest or not.
pub fn application(
    key: &ApplicationKey,
    want: Option<&Application>,
    seen: &Observed,
    plan: Option<&Plan>,
    now: Timestamp,
) -> ApplicationComputed {
    let known = seen.applications.get(key);
    let pre_deploy = known.and_then(|known| known.pre_deploy.as_ref());
    ApplicationComputed {
        phase: phase(want, known),
        conditions: known
            .iter()
            .flat_map(|known| known.conditions.iter().cloned())
            .chain([in_sync(&key.into(), plan, known.is_some())])
            .collect(),
        grants: want.map(|want| grants(want, seen, now)).unwrap_or_default(),
        environment: want.map(variables).unwrap_or_default(),
        process: known.and_then(process),
        pre_deploy: pre_deploy.map(|run| PreDeployComputed {
            at: run.at,
            failure: run.failure.clone(),
        }),
    }
}

fn phase(want: Option<&Application>, known: Option<&ObservedApplication>) -> ApplicationPhase {
    let Some(known) = known.filter(|known| known.delivered.is_some()) else {
        return ApplicationPhase::Pending;
    };
    match &known.process {
        ProcessState::Running { .. } if !is_available(known) => ApplicationPhase::Unavailable,
        ProcessState::Running { .. } => ApplicationPhase::Running,
        ProcessState::NotRunning | ProcessState::Exited { .. } if known.held => {
            ApplicationPhase::Held
        }
        ProcessState::Exited { .. } => ApplicationPhase::Exited,
        ProcessState::NotRunning if want.is_some_and(|one| one.commands.run.is_none()) => {
            ApplicationPhase::Delivered
        }
        ProcessState::NotRunning => ApplicationPhase::NotRunning,
    }
}

/// Whether nothing says that what was started does not serve.
fn is_available(known: &ObservedApplication) -> bool {
    let mut conditions = known.conditions.iter();
    conditions.all(|one| one.kind != AVAILABLE || one.status == Truth::True)
}

fn grants(want: &Application, seen: &Observed, now: Timestamp) -> Vec<GrantComputed> {
    let grants = want.grants.iter().map(|grant| {
        let stored = seen.grants.get(&want.grant_key(grant));
        let active = stored.and_then(|stored| stored.logins.get(&stored.active));
        GrantComputed {
            database: grant.database.clone(),
            other_project: grant.database.project != want.key.project,
            access: grant.access,
            env_var: grant.env_var.clone(),
            role: active.map(|login| login.role.clone()),
            password_since: active.and_then(ObservedLogin::since),
            rotation: stored
                .and_then(|stored| Rotation::of(stored, grant.rotation_days, now))
                .map(Into::into),
        }
    });
    grants.collect()
}

fn variables(want: &Application) -> Vec<String> {
    let granted = want.grants.iter().map(|grant| &grant.env_var);
    let own = want
        .variables
        .plain
        .keys()
        .chain(want.variables.secrets.keys());
    let mut names: Vec<String> = granted.chain(own).cloned().collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn process(known: &ObservedApplication) -> Option<ProcessComputed> {
    match &known.process {
        ProcessState::NotRunning => None,
        ProcessState::Running { pid, since, .. } => Some(ProcessComputed {
            pid: *pid,
            since: Some(*since),
            ended_at: None,
            failures: 0,
        }),
        ProcessState::Exited { at, failures, .. } => Some(ProcessComputed {
            pid: None,
            since: None,
            ended_at: Some(*at),
            failures: *failures,
        }),
    }
}
