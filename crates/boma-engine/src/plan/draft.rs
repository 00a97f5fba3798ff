//! A plan while it is being made.

use std::collections::{BTreeMap, HashMap};

use boma_instance::names::{self, Turn};
use boma_instance::{Access, InstanceId};
use boma_problem::Problem;
use jiff::Timestamp;

use super::action::{Action, PlannedLogin, PlannedVerifier, Step, StepId};
use super::refusal::Notes;
use super::waiting::{Stopped, WaitingOn};
use super::{Asked, Blocked, Plan, Reach};
use crate::catalog::{Catalog, Grantee, Subject};
use crate::keys::{ApplicationKey, DatabaseKey, GrantKey};
use crate::observed::{AgentState, Observed, ObservedDatabase};

/// The plan so far, what it is made from, and what later parts need to know of earlier ones.
pub(super) struct Draft<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) seen: &'a Observed,
    pub(super) asked: &'a Asked,
    pub(super) now: Timestamp,
    pub(super) plan: Plan,
    /// What becomes of each database that exists or is made; nothing where that is refused.
    pub(super) databases: HashMap<&'a DatabaseKey, DatabaseDraft>,
    /// Logins of grants, as the plan leaves them; nothing where there will be none.
    pub(super) logins: HashMap<GrantKey, LoginDraft>,
    /// Steps that stop applications whose manifests are gone.
    pub(super) stops: HashMap<&'a ApplicationKey, StepId>,
    /// Stored grants that no manifest asks for any more.
    pub(super) orphans: BTreeMap<&'a DatabaseKey, Vec<&'a GrantKey>>,
    /// What is worth a warning.
    pub(super) notes: Notes<'a>,
}

/// What the plan does with a database, as far as others depend on it.
#[derive(Clone, Debug)]
pub(super) struct DatabaseDraft {
    /// Where it listens; none: known once it is put.
    pub(super) reach: Option<Reach>,
    /// Name inside PostgreSQL.
    pub(super) database: String,
    /// The step after which it is as it should be; none: it is.
    pub(super) settled_by: Option<StepId>,
    /// Why it is kept stopped; none: it runs, once the plan is done.
    pub(super) stopped: Option<Stopped>,
}

/// The login of a grant that the application connects with.
#[derive(Clone, Debug)]
pub(super) struct LoginDraft {
    pub(super) turn: Turn,
    pub(super) role: String,
    pub(super) serial: u64,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        catalog: &'a Catalog,
        seen: &'a Observed,
        asked: &'a Asked,
        now: Timestamp,
    ) -> Self {
        let mut orphans: BTreeMap<&DatabaseKey, Vec<&GrantKey>> = BTreeMap::new();
        for grant in seen.grants.keys() {
            if !catalog.has_grant(grant) {
                orphans.entry(&grant.database).or_default().push(grant);
            }
        }
        Self {
            catalog,
            seen,
            asked,
            now,
            plan: Plan::default(),
            databases: HashMap::with_capacity(catalog.databases().len()),
            logins: HashMap::new(),
            stops: HashMap::new(),
            orphans,
            notes: Notes::default(),
        }
    }

    /// The plan, with its warnings.
    pub(super) fn finish(mut self) -> Plan {
        self.plan
            .warnings
            .extend(self.notes.into_problems(self.seen));
        self.plan
    }

    /// Adds a step.
    pub(super) fn step(
        &mut self,
        action: Action,
        needs: impl IntoIterator<Item = StepId>,
    ) -> StepId {
        let count = self.plan.steps.len();
        let id = StepId(u32::try_from(count).expect("a plan should have fewer than 2^32 steps"));
        let mut needs: Vec<StepId> = needs.into_iter().collect();
        needs.sort_unstable();
        needs.dedup();
        self.plan.steps.push(Step { id, action, needs });
        id
    }

    /// Notes that something cannot be done.
    pub(super) fn block(&mut self, subject: Subject, problem: Problem) {
        self.plan.blocked.push(Blocked { subject, problem });
    }

    /// Notes that something is waited for.
    pub(super) fn wait(&mut self, on: WaitingOn) {
        self.plan.waiting.push(on);
    }

    /// The logins of one grant, with a step that issues a password where there is none yet.
    pub(super) fn logins_of(
        &mut self,
        database: &DatabaseKey,
        grantee: &Grantee,
        issues: &mut Vec<StepId>,
    ) -> Vec<PlannedLogin> {
        let application = &grantee.application.key;
        let grant = GrantKey {
            application: application.clone(),
            database: database.clone(),
        };
        let comment = comment(application);
        let planned = |role: String, verifier| PlannedLogin {
            role,
            access: grantee.access,
            comment: comment.clone(),
            verifier,
        };
        let stored = self.seen.grants.get(&grant);
        let Some((stored, active)) =
            stored.and_then(|stored| Some((stored, stored.logins.get(&stored.active)?)))
        else {
            let turn = Turn::First;
            let role = role(database, application, turn);
            let serial = 1;
            issues.push(self.step(
                Action::IssueCredential {
                    grant: grant.clone(),
                    turn,
                    role: role.clone(),
                    serial,
                },
                [],
            ));
            self.logins.insert(
                grant.clone(),
                LoginDraft {
                    turn,
                    role: role.clone(),
                    serial,
                },
            );
            return vec![planned(role, PlannedVerifier::Issued(grant, turn))];
        };
        self.logins.insert(
            grant,
            LoginDraft {
                turn: stored.active,
                role: active.role.clone(),
                serial: active.serial,
            },
        );
        let logins = stored.logins.iter().map(|(turn, login)| {
            // The login whose turn it is not stays locked until a rotation unlocks it.
            let verifier = if *turn == stored.active {
                PlannedVerifier::Stored(login.verifier.clone())
            } else {
                PlannedVerifier::Locked
            };
            planned(login.role.clone(), verifier)
        });
        logins.collect()
    }

    /// A step that waits until an instance is as its spec says.
    pub(super) fn await_step(
        &mut self,
        key: &DatabaseKey,
        id: InstanceId,
        generation: u64,
        needs: Option<StepId>,
    ) -> StepId {
        let action = Action::AwaitConverged {
            key: key.clone(),
            id,
            generation,
        };
        self.step(action, needs)
    }
}

impl PlannedLogin {
    /// Whether the role's password stays what it is.
    pub(super) fn keeps(&self, verifier: Option<&boma_instance::Verifier>) -> bool {
        match &self.verifier {
            PlannedVerifier::Locked => verifier.is_none(),
            PlannedVerifier::Stored(stored) => verifier == Some(stored),
            PlannedVerifier::Issued(..) => false,
        }
    }
}

/// What a role's comment says: whose it is.
pub(super) fn comment(application: &ApplicationKey) -> String {
    application.to_string()
}

/// Role name of a grant's login.
pub(crate) fn role(database: &DatabaseKey, application: &ApplicationKey, turn: Turn) -> String {
    let foreign = (database.project != application.project).then_some(&*application.project);
    names::login(&application.name, foreign, turn)
}

/// Whether an instance was measured to be as generation `generation` of its spec says.
pub(super) fn is_settled(seen: &ObservedDatabase, generation: u64) -> bool {
    match &seen.agent {
        AgentState::Answering(status) => crate::is_settled(status, generation),
        AgentState::Silent(_) | AgentState::Absent => false,
    }
}

/// The lesser of two rights.
pub(super) fn lesser(one: Access, other: Access) -> Access {
    one.min(other)
}
