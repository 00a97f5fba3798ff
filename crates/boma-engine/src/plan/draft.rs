//! A plan while it is being made.

use std::collections::HashMap;
use std::sync::Arc;

use boma_instance::names::{self, Turn};
use boma_instance::{Access, InstanceId, Listen, Verifier};
use boma_problem::Problem;
use jiff::Timestamp;

use super::action::{Action, PlannedLogin, PlannedVerifier, Roles, Step, StepId};
use super::join::Join;
use super::refusal::Notes;
use super::rotation::{self, Rotation};
use super::waiting::{Stopped, WaitingOn};
use super::{Asked, Blocked, Plan};
use crate::catalog::{Catalog, Grantee, Subject};
use crate::keys::{ApplicationKey, DatabaseKey, GrantKey};
use crate::observed::{AgentState, Observed, ObservedDatabase, ObservedGrant};

/// The plan so far, what it is made from, and what later parts need to know of earlier ones.
pub(super) struct Draft<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) seen: &'a Observed,
    pub(super) join: Arc<Join<'a>>,
    pub(super) asked: &'a Asked,
    pub(super) now: Timestamp,
    pub(super) plan: Plan,
    /// For each database of the catalog what becomes of it; nothing where that is refused.
    pub(super) databases: Arc<Vec<Option<DatabaseDraft<'a>>>>,
    /// What becomes of the others, as far as anything does.
    pub(super) other_databases: HashMap<&'a DatabaseKey, DatabaseDraft<'a>>,
    /// For each grant of the catalog its login; nothing where there will be none.
    pub(super) logins: Arc<Vec<Option<LoginDraft<'a>>>>,
    /// Steps that stop applications whose manifests are gone.
    pub(super) stops: HashMap<&'a ApplicationKey, StepId>,
    /// What is worth a warning.
    pub(super) notes: Notes<'a>,
}

/// What the plan does with a database, as far as others depend on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct DatabaseDraft<'a> {
    /// Where it listens; none: known once it is put.
    pub(super) listen: Option<&'a Listen>,
    /// The step after which it is as it should be; none: it is.
    pub(super) settled_by: Option<StepId>,
    /// Why it is kept stopped; none: it runs, once the plan is done.
    pub(super) stopped: Option<Stopped>,
}

/// The login of a grant that the application connects with.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoginDraft<'a> {
    pub(super) turn: Turn,
    pub(super) serial: u64,
    /// Its role; none: it is the one that [`role`] names.
    pub(super) role: Option<&'a str>,
    /// The step that lets its turn begin; none: it has.
    pub(super) begins: Option<StepId>,
    /// The other login, as long as it is kept.
    pub(super) former: Option<Former<'a>>,
}

/// A login that an application may still need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Former<'a> {
    pub(super) role: &'a str,
    /// Since when it is the other one's turn.
    pub(super) since: Timestamp,
}

/// Whether passwords of a database's logins may be exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MayRotate {
    /// Its server is as its spec says.
    Now,
    /// It will be; what was begun goes on.
    Later,
    /// Access is only taken away.
    No,
}

/// The logins of a database while they are drafted.
#[derive(Debug, Default)]
pub(super) struct GrantLogins<'a> {
    pub(super) wanted: Vec<WantedLogin<'a>>,
    /// Steps that make their passwords.
    pub(super) issues: Vec<StepId>,
    /// Logins whose turn begins.
    pub(super) next: Vec<Next<'a>>,
}

/// A login whose turn begins once the server knows its password.
#[derive(Debug)]
pub(super) struct Next<'a> {
    grantee: Grantee<'a>,
    turn: Turn,
    serial: u64,
    former: &'a str,
}

/// A login that a database should have.
#[derive(Debug)]
pub(super) struct WantedLogin<'a> {
    pub(super) role: std::borrow::Cow<'a, str>,
    pub(super) access: Access,
    pub(super) whose: Whose<'a>,
    pub(super) verifier: WantedVerifier<'a>,
}

/// Whose a login is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose<'a> {
    Application(&'a ApplicationKey),
    /// As the role's comment says.
    Comment(&'a str),
}

/// Where a login's verifier comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum WantedVerifier<'a> {
    Locked,
    Stored(&'a Verifier),
    /// A step of this plan issues it.
    Issued(&'a ApplicationKey, Turn),
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        catalog: &'a Catalog,
        seen: &'a Observed,
        asked: &'a Asked,
        now: Timestamp,
    ) -> Self {
        Self {
            catalog,
            seen,
            join: Arc::new(Join::of(catalog, seen)),
            asked,
            now,
            plan: Plan::default(),
            databases: Arc::new(vec![None; catalog.databases().len()]),
            other_databases: HashMap::new(),
            logins: Arc::new(vec![None; catalog.link_count()]),
            stops: HashMap::new(),
            notes: Notes::default(),
        }
    }

    /// A draft of the same that has nothing in its plan yet, to try something out.
    pub(super) fn trial(&self) -> Self {
        Self {
            catalog: self.catalog,
            seen: self.seen,
            join: Arc::clone(&self.join),
            asked: self.asked,
            now: self.now,
            plan: Plan::default(),
            databases: Arc::clone(&self.databases),
            other_databases: HashMap::new(),
            logins: Arc::clone(&self.logins),
            stops: HashMap::new(),
            notes: Notes::default(),
        }
    }

    /// Whether what was tried last has anything to do, to wait for or in its way; forgets that.
    pub(super) fn take_work(&mut self) -> bool {
        let plan = std::mem::take(&mut self.plan);
        self.plan.next = plan.next;
        let is_quiet = plan.is_empty()
            && plan.warnings.is_empty()
            && plan.unjudged.is_empty()
            && self.other_databases.is_empty();
        self.other_databases.clear();
        !is_quiet
    }

    /// Takes over what a trial found, but for work.
    pub(super) fn adopt(&mut self, trial: Self) {
        take_over(&mut self.databases, &trial.databases);
        take_over(&mut self.logins, &trial.logins);
        self.notes.append(trial.notes);
        self.plan.next = self.plan.next.into_iter().chain(trial.plan.next).min();
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

    /// Adds the logins of one grant, with steps that issue passwords where one is missing or due.
    pub(super) fn logins_of(
        &mut self,
        database: &DatabaseKey,
        grantee: Grantee<'a>,
        may: MayRotate,
        drafted: &mut GrantLogins<'a>,
    ) {
        let stored = self.join.grants[grantee.link];
        let days = grantee.grant.rotation_days;
        let stage = stored.and_then(|stored| {
            let active = stored.logins.get(&stored.active)?;
            Some((stored, active, Rotation::of(stored, days, self.now)?))
        });
        let Some((stored, active, stage)) = stage else {
            return self.first_login(database, grantee, drafted);
        };
        let access = grantee.grant.access;
        let whose = Whose::Application(&grantee.application.key);
        let next = match (stage, may) {
            (Rotation::Due { serial, turn }, MayRotate::Now) => {
                Some(self.issue(database, grantee, (turn, serial), drafted))
            }
            (Rotation::Opening { turn }, MayRotate::Now | MayRotate::Later) => {
                let login = stored.logins.get(&turn);
                login.map(|login| (turn, login.serial, WantedVerifier::Stored(&login.verifier)))
            }
            (Rotation::Due { .. }, MayRotate::Later) => {
                let (application, database) = (grantee.application.key.clone(), database.clone());
                self.wait(WaitingOn::RotationDue {
                    application,
                    database,
                });
                None
            }
            (Rotation::Steady { due }, _) => {
                self.plan.next = self.plan.next.into_iter().chain(due).min();
                None
            }
            (Rotation::Draining { .. }, _) | (_, MayRotate::No) => None,
        };
        let (turn, serial) = match &next {
            Some((turn, serial, _)) => (*turn, *serial),
            None => (stored.active, active.serial),
        };
        if next.is_some() {
            drafted.next.push(Next {
                grantee,
                turn,
                serial,
                former: &active.role,
            });
        }
        Arc::make_mut(&mut self.logins)[grantee.link] = Some(LoginDraft {
            turn,
            serial,
            role: stored.logins.get(&turn).map(|login| login.role.as_str()),
            begins: None,
            former: former(stored, stage),
        });
        let is_kept = matches!(stage, Rotation::Draining { .. });
        for one in Turn::BOTH {
            let login = stored.logins.get(&one);
            let verifier = match (&next, login) {
                (Some((next, _, verifier)), _) if *next == one => *verifier,
                // The login whose turn it is not stays locked, but while it is still needed.
                (_, Some(login)) if one == stored.active || is_kept => {
                    WantedVerifier::Stored(&login.verifier)
                }
                (_, Some(_)) => WantedVerifier::Locked,
                (_, None) => continue,
            };
            let role = login.map_or_else(
                || role(database, &grantee.application.key, one).into(),
                |login| login.role.as_str().into(),
            );
            drafted.wanted.push(WantedLogin {
                role,
                access,
                whose,
                verifier,
            });
        }
    }

    /// The first password of a grant.
    fn first_login(
        &mut self,
        database: &DatabaseKey,
        grantee: Grantee<'a>,
        drafted: &mut GrantLogins<'a>,
    ) {
        let application = &grantee.application.key;
        let (turn, serial) = (Turn::First, rotation::serial_of(self.now));
        let (turn, serial, verifier) = self.issue(database, grantee, (turn, serial), drafted);
        Arc::make_mut(&mut self.logins)[grantee.link] = Some(LoginDraft {
            turn,
            serial,
            role: None,
            begins: None,
            former: None,
        });
        drafted.wanted.push(WantedLogin {
            role: role(database, application, turn).into(),
            access: grantee.grant.access,
            whose: Whose::Application(application),
            verifier,
        });
    }

    /// A step that makes a password and stores it.
    fn issue(
        &mut self,
        database: &DatabaseKey,
        grantee: Grantee<'a>,
        (turn, serial): (Turn, u64),
        drafted: &mut GrantLogins<'a>,
    ) -> (Turn, u64, WantedVerifier<'a>) {
        let application = &grantee.application.key;
        let action = Action::IssueCredential {
            grant: grant_key(application, database),
            turn,
            role: role(database, application, turn),
            serial,
            replaces: self.join.grants[grantee.link].is_some(),
        };
        drafted.issues.push(self.step(action, []));
        (turn, serial, WantedVerifier::Issued(application, turn))
    }

    /// Lets the turns of new logins begin, once the server knows them.
    pub(super) fn begin_turns(
        &mut self,
        database: &DatabaseKey,
        next: Vec<Next<'a>>,
        settled_by: Option<StepId>,
    ) {
        for one in next {
            let application = one.grantee.application;
            let roles = Roles {
                next: role(database, &application.key, one.turn),
                former: one.former.to_owned(),
            };
            let action = Action::ActivateLogin {
                grant: grant_key(&application.key, database),
                turn: one.turn,
                serial: one.serial,
                roles,
                restarts: application.restarted_by(),
            };
            let step = self.step(action, settled_by);
            if let Some(login) = &mut Arc::make_mut(&mut self.logins)[one.grantee.link] {
                login.begins = Some(step);
            }
        }
    }
}

/// Fills gaps with what was found elsewhere.
fn take_over<T: Copy>(own: &mut Arc<Vec<Option<T>>>, found: &Arc<Vec<Option<T>>>) {
    if !Arc::ptr_eq(own, found) {
        for (own, found) in Arc::make_mut(own).iter_mut().zip(&**found) {
            *own = own.or(*found);
        }
    }
}

impl WantedLogin<'_> {
    /// Whether the role's password stays what it is.
    pub(super) fn keeps(&self, verifier: Option<&Verifier>) -> bool {
        match self.verifier {
            WantedVerifier::Locked => verifier.is_none(),
            WantedVerifier::Stored(stored) => verifier == Some(stored),
            WantedVerifier::Issued(..) => false,
        }
    }

    /// Whether nobody may connect with it.
    pub(super) fn is_locked(&self) -> bool {
        matches!(self.verifier, WantedVerifier::Locked)
    }

    /// What the role's comment says: whose it is.
    pub(super) fn comment(&self) -> String {
        match self.whose {
            Whose::Application(key) => key.to_string(),
            Whose::Comment(comment) => comment.to_owned(),
        }
    }

    /// The login as a step of a plan holds it.
    pub(super) fn planned(&self, database: &DatabaseKey) -> PlannedLogin {
        let verifier = match self.verifier {
            WantedVerifier::Locked => PlannedVerifier::Locked,
            WantedVerifier::Stored(verifier) => PlannedVerifier::Stored(verifier.clone()),
            WantedVerifier::Issued(application, turn) => {
                PlannedVerifier::Issued(grant_key(application, database), turn)
            }
        };
        PlannedLogin {
            role: self.role.to_string(),
            access: self.access,
            comment: self.comment(),
            verifier,
        }
    }
}

/// The login whose turn is over, as long as it is kept.
fn former(stored: &ObservedGrant, stage: Rotation) -> Option<Former<'_>> {
    let Rotation::Draining { former, since } = stage else {
        return None;
    };
    let role = &stored.logins.get(&former)?.role;
    Some(Former { role, since })
}

/// Names a grant.
fn grant_key(application: &ApplicationKey, database: &DatabaseKey) -> GrantKey {
    GrantKey {
        application: application.clone(),
        database: database.clone(),
    }
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

/// A step that waits until an instance is as its spec says.
pub(super) fn await_step(
    draft: &mut Draft<'_>,
    key: &DatabaseKey,
    (id, generation): (InstanceId, u64),
    needs: Option<StepId>,
) -> StepId {
    draft.step(
        Action::AwaitConverged {
            key: key.clone(),
            id,
            generation,
        },
        needs,
    )
}
