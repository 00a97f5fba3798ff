//! Restoring a database in place: another server is made from the backups beside the one that
//! runs, and takes its place when it was seen to be well.
//!
//! ```text
//!   Making ───────────────► Stopping ──────────► Swapping ────────► (the order is gone)
//!   beside it, from its     both are shut down   one transaction:   the manifest is converged,
//!   backups, until it was   cleanly              the two change     the former server is kept,
//!   seen to be well                              places             retired, under another name
//! ```
//!
//! Where it is follows from what is recorded and measured: whether there is an order, what the spec
//! of the server beside says, and what both agents say. A crash anywhere leaves one of these states.
//! Nothing here destroys anything: the server beside and the one that it replaces are two
//! instances with two directories and two places in the repository of backups, at every moment.

use boma_instance::backup::Origin;
use boma_instance::{InstanceId, Phase, Power};
use boma_problem::IntoProblem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::Action;
use super::database::{self, Shape, Target};
use super::draft::{Draft, is_settled};
use super::refusal::RestoreRefusal;
use super::waiting::Stopped;
use crate::catalog::Database;
use crate::keys::DatabaseKey;
use crate::observed::{
    AgentState, DatabaseRecord, Life, Observed, ObservedDatabase, ReplacedBy, Replacement,
};

/// How far a replacement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// The server beside is being made; the one that runs is not touched.
    Making,
    /// It was seen to be well, and both are being stopped.
    Stopping,
    /// Both are stopped, and change places.
    Swapping,
}

impl Stage {
    /// Where the replacement of a database is.
    pub fn of(
        order: &Replacement,
        current: &ObservedDatabase,
        beside: Option<&ObservedDatabase>,
    ) -> Self {
        let Some(beside) = beside else {
            return Self::Making;
        };
        let is_made = match (&order.by, &beside.spec) {
            (ReplacedBy::Kept, spec) => spec.is_some(),
            (ReplacedBy::Backups { .. }, None) => false,
            // Only a server that was seen to be well is ever stopped here.
            (ReplacedBy::Backups { .. }, Some(spec)) => {
                spec.power == Power::Off || is_settled(beside, spec.generation)
            }
        };
        if !is_made {
            Self::Making
        } else if is_down(current) && is_down(beside) {
            Self::Swapping
        } else {
            Self::Stopping
        }
    }
}

/// How far the replacement of a database is; none: nobody asked for one, or there is nothing that
/// could be replaced.
pub fn stage(key: &DatabaseKey, seen: &Observed) -> Option<Stage> {
    let order = seen.replacements.get(key)?;
    let current = seen.databases.get(key).filter(|one| may_be_replaced(one))?;
    Some(Stage::of(order, current, seen.databases.get(&order.beside)))
}

fn may_be_replaced(current: &ObservedDatabase) -> bool {
    current.life == Life::Active && current.spec.is_some()
}

/// Whether a server was stopped as its spec says. One whose data is lost or broken never runs, and
/// is what a restore in place is for.
fn is_down(seen: &ObservedDatabase) -> bool {
    if seen.life != Life::Active {
        return true;
    }
    let Some(spec) = &seen.spec else { return false };
    if spec.power != Power::Off {
        return false;
    }
    let is_broken = match &seen.agent {
        AgentState::Answering(status) => {
            status.phase == Phase::Failed
                && status.server.is_none()
                && status.accepted_generation >= spec.generation
        }
        AgentState::Silent(_) | AgentState::Absent => false,
    };
    is_broken || is_settled(seen, spec.generation)
}

/// Whether a database without a manifest is one that stands beside another, for as long as that is
/// wanted.
pub(super) fn is_beside(draft: &Draft<'_>, key: &DatabaseKey) -> bool {
    let mut orders = draft.seen.replacements.iter();
    orders.any(|(of, order)| order.beside == *key && draft.catalog.database(of).is_some())
}

/// Plans the server beside, or lets the two change places.
pub(super) fn plan<'a>(
    draft: &mut Draft<'a>,
    want: &'a Database,
    ids: &mut dyn FnMut() -> InstanceId,
) {
    let seen = draft.seen;
    let (Some(order), Some(stage)) = (seen.replacements.get(&want.key), stage(&want.key, seen))
    else {
        return;
    };
    let Some(current) = seen.databases.get(&want.key) else {
        return;
    };
    let beside = seen.databases.get(&order.beside);
    match (stage, beside) {
        (Stage::Swapping, Some(new)) => {
            let action = Action::Exchange {
                key: want.key.clone(),
                beside: order.beside.clone(),
                id: new.id,
                former: current.id,
            };
            draft.step(action, []);
        }
        (Stage::Swapping, None) => {}
        (Stage::Making | Stage::Stopping, _) => {
            if let ReplacedBy::Backups { .. } = order.by {
                make(draft, want, (current, order, stage), ids);
            }
        }
    }
}

/// Brings the server beside to where the stage wants it.
fn make<'a>(
    draft: &mut Draft<'a>,
    want: &'a Database,
    (current, order, stage): (&'a ObservedDatabase, &'a Replacement, Stage),
    ids: &mut dyn FnMut() -> InstanceId,
) {
    let beside = draft.seen.databases.get(&order.beside);
    let in_force = beside.and_then(|one| one.spec.as_ref());
    let origin = match in_force {
        Some(spec) => spec.origin.clone(),
        None => origin(current, order),
    };
    let (Some(origin), Some(spec)) = (origin, &current.spec) else {
        let refusal = RestoreRefusal::NoBackups(want.key.clone());
        return draft.block((&want.key).into(), refusal.problem());
    };
    let id = beside.map_or_else(ids, |one| one.id);
    let mut needs = Vec::new();
    if beside.is_none() {
        let record = DatabaseRecord {
            deletion_protection: false,
            retention_days: want.backup.retention_days,
            beside: Some(want.key.clone()),
        };
        needs.push(draft.step(
            Action::RecordDatabase {
                key: order.beside.clone(),
                id,
                record,
                former: None,
            },
            [],
        ));
    }
    let power = match stage {
        Stage::Making => Power::On,
        Stage::Stopping | Stage::Swapping => Power::Off,
    };
    let shape = Shape {
        id,
        identity: &want.identity,
        database: &want.name,
        version: spec.version,
        power,
        resources: want.resources,
        parameters: &want.parameters,
        extensions: &want.extensions,
        backup: spec.backup.as_ref(),
        origin: Some(&origin),
        drift: want.drift,
        storage_class: spec.storage_class.as_deref(),
    };
    let target = Target {
        seen: beside,
        shape,
        // Nobody is let in before it has taken the other's place.
        logins: Vec::new(),
        needs,
        stopped: Some(Stopped::Replaced),
    };
    let drafted = database::settle(draft, &order.beside, target);
    draft.other_databases.insert(&order.beside, drafted);
}

/// Its own backups, as they are now.
fn origin(current: &ObservedDatabase, order: &Replacement) -> Option<Origin> {
    let ReplacedBy::Backups { target, timeline } = &order.by else {
        return None;
    };
    let spec = current.spec.as_ref()?;
    Some(Origin {
        repository: spec.backup.as_ref()?.repository.clone(),
        instance: current.id,
        database: spec.database.clone(),
        target: target.clone(),
        timeline: *timeline,
    })
}
