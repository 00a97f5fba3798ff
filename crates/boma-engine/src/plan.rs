//! What to do, decided before anything is done.
//!
//! [`plan`] compares the catalog with what was observed and makes a graph of steps, a list of what
//! is waited for and a list of what cannot be done and why. It is pure: the time and the source of
//! ids are arguments, and nothing in this folder reads a clock, a file or a network.
//!
//! ```text
//!   issue credential ─┐
//!   record database ──┼─► put instance ─► await ─► deliver environment ─► preDeploy ─► restart
//!   set life: active ─┘        │            │
//!                              │            ├─► forget grant ─► forget application
//!   stop application ──────────┘            ├─► set life: retired
//!                                           └─► exchange
//! ```

mod action;
mod application;
mod backup;
mod change;
mod check;
mod danger;
mod database;
mod deployment;
mod display;
mod draft;
mod each;
mod join;
mod outcome;
mod refusal;
mod removal;
mod replacement;
mod rotation;
mod view;
mod waiting;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, OnceLock};

use boma_instance::InstanceId;
use boma_problem::Problem;
use jiff::Timestamp;

pub use crate::fingerprint::{Digests, Fingerprint, Fingerprints};
pub use action::{
    Action, PlannedLogin, PlannedVerifier, PutInstance, RestartedBy, Roles, StartReason, Step,
    StepId, StopReason,
};
pub use change::{AgainReason, Change, Effect};
pub use check::{Violation, check};
pub use danger::{Danger, DangerKind};
pub use deployment::{Deployment, PlannedBinding, Reach};
pub(crate) use display::{Fate, Summary, fates, groups, words_of};
pub(crate) use draft::role;
pub use outcome::outcome;
pub use refusal::{ApplicationRefusal, DatabaseRefusal, RemovalRefusal, RestoreRefusal};
pub use replacement::{Stage, stage as replacement_stage};
pub use rotation::{GRACE, GRACE_ELSEWHERE, Rotation};
pub use view::{BlockedView, PlanView, StepView, SubjectView, WaitingView};
pub use waiting::{Stopped, WaitingOn};

use crate::catalog::{Catalog, Subject};
use crate::keys::ApplicationKey;
use crate::observed::{Life, Observed, SettingValue};

/// What a person asked for besides what the manifests say.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Where the manifests come from; none: not to be remembered.
    pub source: Option<Arc<str>>,
    /// Whether another source than before may take resources away.
    pub other_source: OtherSource,
    /// Applications to deploy again even if nothing changed, and since when that is asked for:
    /// what was started later has been deployed.
    pub deploy: BTreeMap<ApplicationKey, Timestamp>,
}

/// Whether another source than the recorded one may take resources away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtherSource {
    /// It is probably a mistake, such as the wrong directory.
    #[default]
    Mistaken,
    /// A person said that it is meant.
    Meant,
}

/// What to do, what is waited for, and what cannot be done.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What to do; each step needs earlier ones only.
    pub steps: Vec<Step>,
    /// What has to happen by itself or by a person before more can be done.
    pub waiting: Vec<WaitingOn>,
    /// What cannot be done as asked.
    pub blocked: Vec<Blocked>,
    /// What is done all the same, and a person should know.
    pub warnings: Vec<Problem>,
    /// When there is something to do next by a schedule, though nothing waits for it; none: never.
    pub next: Option<Timestamp>,
    /// Values of settings that this plan would put in force and that no server was asked about
    /// yet. Where the platform can ask, it is asked first, and the plan is made once more.
    pub unjudged: BTreeSet<SettingValue>,
    /// What the steps are about, found when it is first asked for.
    about: OnceLock<HashSet<Subject>>,
}

/// Something that cannot be done as asked; what depends on it is not done either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// What it is about.
    pub subject: Subject,
    /// Why, where, and what to do.
    pub problem: Problem,
}

impl Plan {
    /// Whether everything is as it should be: nothing to do, to wait for, or in the way.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_empty() && self.blocked.is_empty()
    }

    /// What of it is about some resources only. Its steps need those of theirs that are in it; it is to be
    /// shown, not to be carried out.
    #[must_use]
    pub fn of(&self, is_of: impl Fn(&Subject) -> bool) -> Self {
        let steps = self.steps.iter();
        let mut steps: Vec<Step> = steps
            .filter(|step| is_of(&step.action.subject()))
            .cloned()
            .collect();
        let kept: BTreeSet<StepId> = steps.iter().map(|step| step.id).collect();
        for step in &mut steps {
            step.needs.retain(|id| kept.contains(id));
        }
        let waiting = self.waiting.iter().filter(|one| is_of(&one.subject()));
        let blocked = self.blocked.iter().filter(|one| is_of(&one.subject));
        Self {
            steps,
            waiting: waiting.cloned().collect(),
            blocked: blocked.cloned().collect(),
            about: OnceLock::new(),
            ..self.clone()
        }
    }

    /// Whether a step is about a resource. Asked for each of thousands, whenever a plan was made.
    pub fn changes(&self, subject: &Subject) -> bool {
        let about = || self.steps.iter().map(|step| step.action.subject());
        self.about
            .get_or_init(|| about().collect())
            .contains(subject)
    }

    /// When something that is waited for or scheduled is due by the clock; none: nothing is.
    pub fn look_again(&self) -> Option<Timestamp> {
        let due = self.waiting.iter().filter_map(WaitingOn::due);
        due.chain(self.next).min()
    }
}

/// Decides what to do.
///
/// # Guarantees
/// The same arguments give the same plan. A plan never purges, never shrinks storage, never makes
/// a second instance for a database, and takes nothing away that is protected.
pub fn plan(
    catalog: &Catalog,
    seen: &Observed,
    asked: &Asked,
    now: Timestamp,
    ids: &mut dyn FnMut() -> InstanceId,
) -> Plan {
    plan_on(each::threads_for(catalog), (catalog, seen), asked, now, ids)
}

/// Decides what to do, on so many threads. Their number changes nothing about the plan.
pub(crate) fn plan_on(
    threads: usize,
    (catalog, seen): (&Catalog, &Observed),
    asked: &Asked,
    now: Timestamp,
    ids: &mut dyn FnMut() -> InstanceId,
) -> Plan {
    let mut draft = draft::Draft::new(catalog, seen, asked, now);
    if let Some(blocked) = removal::refuse_source(&draft) {
        draft.plan.blocked.push(blocked);
        return draft.plan;
    }
    removal::record_source(&mut draft);
    removal::stop_applications(&mut draft);
    each::databases(&mut draft, threads, ids);
    removal::retire_databases(&mut draft);
    each::applications(&mut draft, threads);
    removal::forget(&mut draft);
    draft.finish()
}

/// Decides what it takes to keep running what runs, while there are no manifests to go by: after a
/// restart of the machine, with an error in the source, the databases come up as they were.
pub fn keep(seen: &Observed, now: Timestamp) -> Plan {
    let (catalog, asked) = (Catalog::default(), Asked::default());
    let mut draft = draft::Draft::new(&catalog, seen, &asked, now);
    for (key, database) in &seen.databases {
        if let (Life::Active, Some(spec)) = (database.life, &database.spec) {
            database::keep(&mut draft, key, (database, spec));
        }
    }
    draft.finish()
}
