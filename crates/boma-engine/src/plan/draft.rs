//! A plan while it is being made.

use std::collections::HashMap;

use boma_instance::names::{self, Turn};
use boma_instance::{Access, InstanceId, Listen, Verifier};
use boma_problem::Problem;
use jiff::Timestamp;

use super::action::{Action, PlannedLogin, PlannedVerifier, Step, StepId};
use super::join::Join;
use super::refusal::Notes;
use super::waiting::{Stopped, WaitingOn};
use super::{Asked, Blocked, Plan};
use crate::catalog::{Catalog, Grantee, Subject};
use crate::keys::{ApplicationKey, DatabaseKey, GrantKey};
use crate::observed::{AgentState, Observed, ObservedDatabase};

/// The plan so far, what it is made from, and what later parts need to know of earlier ones.
pub(super) struct Draft<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) seen: &'a Observed,
    pub(super) join: Join<'a>,
    pub(super) asked: &'a Asked,
    pub(super) now: Timestamp,
    pub(super) plan: Plan,
    /// For each database of the catalog what becomes of it; nothing where that is refused.
    pub(super) databases: Vec<Option<DatabaseDraft<'a>>>,
    /// What becomes of the others, as far as anything does.
    pub(super) other_databases: HashMap<&'a DatabaseKey, DatabaseDraft<'a>>,
    /// For each grant of the catalog its login; nothing where there will be none.
    pub(super) logins: Vec<Option<LoginDraft<'a>>>,
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
            join: Join::of(catalog, seen),
            asked,
            now,
            plan: Plan::default(),
            databases: vec![None; catalog.databases().len()],
            other_databases: HashMap::new(),
            logins: vec![None; catalog.link_count()],
            stops: HashMap::new(),
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

    /// Adds the logins of one grant, and a step that issues a password where there is none yet.
    pub(super) fn logins_of(
        &mut self,
        database: &DatabaseKey,
        grantee: Grantee<'a>,
        logins: &mut Vec<WantedLogin<'a>>,
        issues: &mut Vec<StepId>,
    ) {
        let application = &grantee.application.key;
        let access = grantee.grant.access;
        let whose = Whose::Application(application);
        let stored = self.join.grants[grantee.link];
        let active = stored.and_then(|stored| Some((stored, stored.logins.get(&stored.active)?)));
        let Some((stored, active)) = active else {
            let (turn, serial) = (Turn::First, serial(self.now));
            let role = role(database, application, turn);
            self.logins[grantee.link] = Some(LoginDraft {
                turn,
                serial,
                role: None,
            });
            let grant = GrantKey {
                application: application.clone(),
                database: database.clone(),
            };
            let action = Action::IssueCredential {
                grant,
                turn,
                role: role.clone(),
                serial,
            };
            issues.push(self.step(action, []));
            let verifier = WantedVerifier::Issued(application, turn);
            return logins.push(WantedLogin {
                role: role.into(),
                access,
                whose,
                verifier,
            });
        };
        self.logins[grantee.link] = Some(LoginDraft {
            turn: stored.active,
            serial: active.serial,
            role: Some(&active.role),
        });
        logins.extend(stored.logins.iter().map(|(turn, login)| {
            // The login whose turn it is not stays locked until a rotation unlocks it.
            let verifier = if *turn == stored.active {
                WantedVerifier::Stored(&login.verifier)
            } else {
                WantedVerifier::Locked
            };
            WantedLogin {
                role: login.role.as_str().into(),
                access,
                whose,
                verifier,
            }
        }));
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
                let (application, database) = (application.clone(), database.clone());
                PlannedVerifier::Issued(
                    GrantKey {
                        application,
                        database,
                    },
                    turn,
                )
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

/// The number of a password made now. It stands for the password in fingerprints, so no other
/// password may ever have it, not even after the credentials were forgotten in between: an
/// environment that still holds the forgotten one would pass for up to date.
fn serial(now: Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or_default()
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
