//! The invariants of every plan, checked apart from what makes it. Runs on every plan of every
//! test.

use std::collections::{HashMap, HashSet};
use std::fmt;

use boma_instance::names::Turn;
use boma_instance::{InstanceId, Power};

use super::action::{Action, PlannedVerifier, PutInstance, Step, StepId};
use super::change::Change;
use super::database;
use super::draft::is_settled;
use super::replacement::Stage;
use super::{Plan, PlanView};
use crate::catalog::Catalog;
use crate::keys::{ApplicationKey, DatabaseKey, GrantKey};
use crate::observed::{Life, Observed, ProcessState};

/// A plan that breaks an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub rule: &'static str,
    /// What breaks it.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// Lists the invariants that a plan breaks; none, if all is well.
pub fn check(plan: &Plan, seen: &Observed, catalog: &Catalog) -> Vec<Violation> {
    let mut check = Check {
        plan,
        seen,
        catalog,
        violations: Vec::new(),
    };
    check.graph();
    check.instances();
    for step in &plan.steps {
        check.step(step);
    }
    check.secrets();
    check.violations
}

struct Check<'p> {
    plan: &'p Plan,
    seen: &'p Observed,
    catalog: &'p Catalog,
    violations: Vec<Violation>,
}

impl Check<'_> {
    fn must(&mut self, holds: bool, rule: &'static str, what: impl fmt::Display) {
        if !holds {
            self.violations.push(Violation {
                rule,
                what: what.to_string(),
            });
        }
    }

    fn graph(&mut self) {
        for (index, step) in self.plan.steps.iter().enumerate() {
            let is_in_order =
                step.id.index() == index && step.needs.iter().all(|needed| *needed < step.id);
            self.must(is_in_order, "steps need earlier ones only", index);
        }
    }

    /// One instance for each database, one database for each instance.
    fn instances(&mut self) {
        let mut owners: HashMap<InstanceId, &DatabaseKey> = HashMap::new();
        let mut put: HashSet<&DatabaseKey> = HashSet::new();
        let known = self.seen.databases.iter().map(|(key, seen)| (key, seen.id));
        let planned = self.plan.steps.iter().filter_map(|step| {
            if let Action::RecordDatabase { key, id, .. } | Action::AwaitConverged { key, id, .. } =
                &step.action
            {
                return Some((key, *id));
            }
            step.action.as_put().map(|put| (&put.key, put.spec.id))
        });
        let pairs: Vec<(&DatabaseKey, InstanceId)> = known.chain(planned).collect();
        for (key, id) in pairs {
            let owner = *owners.entry(id).or_insert(key);
            self.must(owner == key, "an instance belongs to one database", key);
            let known = self.seen.databases.get(key);
            let is_same = known.is_none_or(|known| known.id == id);
            self.must(is_same, "a database keeps its instance", key);
        }
        let puts: Vec<&DatabaseKey> = puts(self.plan).map(|put| &put.key).collect();
        for key in puts {
            self.must(put.insert(key), "a database is put once", key);
        }
    }

    fn step(&mut self, step: &Step) {
        match &step.action {
            Action::PutInstance(put) => self.put(put),
            Action::SetLife {
                key,
                life: Life::Retired { since, until },
            } => {
                self.must(
                    since <= until,
                    "a retired database is kept for a while",
                    key,
                );
                self.retire(step, key);
            }
            Action::SetLife {
                key,
                life: Life::Active,
            } => {
                let has_manifest = self.catalog.database(key).is_some();
                self.must(has_manifest, "only a manifest brings a database back", key);
            }
            Action::IssueCredential { grant, turn, .. } => self.issue(grant, *turn),
            Action::ActivateLogin { grant, .. } => self.activate(step, grant),
            Action::ReleaseLogin { grant, .. } => {
                let stored = self.seen.grants.get(grant);
                let is_kept = stored.is_some_and(|one| one.draining.is_some());
                self.must(is_kept, "only what is kept is released", grant);
            }
            Action::ForgetGrant { grant } => self.forget_grant(step, grant),
            Action::ForgetApplication { application } => {
                self.forget_application(step, application);
            }
            Action::DeliverEnvironment {
                application,
                deployment,
                ..
            } => {
                for binding in &deployment.bindings {
                    let is_own = binding.grant.application == *application
                        && self.catalog.has_grant(&binding.grant);
                    self.must(
                        is_own,
                        "an environment holds granted logins only",
                        &binding.grant,
                    );
                }
            }
            Action::Exchange {
                key, id, former, ..
            } => {
                let is_down = super::replacement::stage(key, self.seen) == Some(Stage::Swapping);
                self.must(is_down, "both are stopped before they change places", key);
                let is_other = id != former;
                self.must(is_other, "two instances change places", key);
            }
            Action::RecordDatabase { key, .. } => {
                let mut orders = self.seen.replacements.values();
                let has_manifest = self.catalog.database(key).is_some()
                    || orders.any(|order| order.beside == *key);
                self.must(
                    has_manifest,
                    "what has no manifest is not recorded anew",
                    key,
                );
            }
            Action::RecordSource { .. }
            | Action::AwaitConverged { .. }
            | Action::AwaitDrained { .. }
            | Action::RunPreDeploy { .. }
            | Action::RestartApplication { .. }
            | Action::StopApplication { .. } => {}
        }
    }

    fn issue(&mut self, grant: &GrantKey, turn: Turn) {
        let stored = self.seen.grants.get(grant);
        let is_used = stored.is_some_and(|one| {
            one.logins.contains_key(&turn) && (one.active == turn || one.draining.is_some())
        });
        self.must(!is_used, "a password in use is not replaced", grant);
        let is_granted = self.catalog.has_grant(grant);
        self.must(is_granted, "no login without a grant", grant);
    }

    fn activate(&mut self, step: &Step, grant: &GrantKey) {
        let seen = self.seen.databases.get(&grant.database);
        let is_settled = seen.is_some_and(|seen| {
            let spec = seen.spec.as_ref();
            spec.is_some_and(|spec| is_settled(seen, spec.generation))
                && puts(self.plan).all(|put| put.key != grant.database)
        });
        let is_known = is_settled || self.awaits(step, &grant.database);
        self.must(
            is_known,
            "a turn begins when the server knows the login",
            grant,
        );
    }

    fn put(&mut self, put: &PutInstance) {
        let key = &put.key;
        let seen = self.seen.databases.get(key);
        let accepted = database::accepted(seen);
        let Some(old) = seen.and_then(|seen| seen.spec.as_ref()) else {
            let is_next = put.spec.generation == accepted + 1;
            return self.must(is_next, "the first generation is newer than any", key);
        };
        let new = &put.spec;
        let is_kept = new.resources.storage_bytes >= old.resources.storage_bytes;
        self.must(is_kept, "storage never shrinks", key);
        self.must(
            new.version == old.version,
            "a major version never changes",
            key,
        );
        self.must(
            new.database == old.database,
            "a database keeps its name",
            key,
        );
        let is_again = matches!(put.changes[..], [Change::Again(_)]);
        let is_next = !is_again || accepted > old.generation;
        let expected = old.generation.max(accepted) + u64::from(is_next);
        self.must(
            new.generation == expected,
            "a generation grows by one with a change",
            key,
        );
        let kept = old
            .logins
            .iter()
            .filter(|old| put.logins.iter().all(|new| new.role != old.role));
        let roles: Vec<&str> = kept.map(|login| login.role.as_str()).collect();
        let granted = self
            .seen
            .grants
            .iter()
            .filter(|(grant, _)| grant.database == *key);
        let taken: Vec<&GrantKey> = granted
            .filter(|(_, stored)| {
                let active = stored.logins.get(&stored.active);
                active.is_some_and(|login| roles.contains(&login.role.as_str()))
            })
            .map(|(grant, _)| grant)
            .collect();
        self.locked(put);
        for grant in taken {
            let is_gone = !self.catalog.has_grant(grant);
            self.must(is_gone, "a granted login is not dropped", grant);
        }
    }

    /// No login is locked that its application may need.
    fn locked(&mut self, put: &PutInstance) {
        let locked = put.logins.iter();
        let locked = locked.filter(|login| login.verifier == PlannedVerifier::Locked);
        let roles: HashSet<&str> = locked.map(|login| login.role.as_str()).collect();
        let seen = self.seen;
        for (grant, stored) in &seen.grants {
            let needed = stored.logins.iter().filter(|(turn, login)| {
                let is_needed = **turn == stored.active || stored.draining.is_some();
                is_needed && roles.contains(login.role.as_str())
            });
            let is_needed = grant.database == put.key && needed.count() > 0;
            self.must(!is_needed, "a login in use is not locked", grant);
        }
    }

    fn retire(&mut self, step: &Step, key: &DatabaseKey) {
        let seen = self.seen.databases.get(key);
        let is_open = seen.is_some_and(|seen| !seen.record.deletion_protection);
        self.must(is_open, "only what is not protected is retired", key);
        let is_gone = self.catalog.database(key).is_none();
        self.must(is_gone, "what has a manifest is not retired", key);
        let off = |power: Power, logins: usize| power == Power::Off && logins == 0;
        let was_put =
            puts(self.plan).any(|put| put.key == *key && off(put.spec.power, put.logins.len()));
        let is_off = seen.and_then(|seen| seen.spec.as_ref());
        let is_off = is_off.is_none_or(|spec| off(spec.power, spec.logins.len()));
        let is_ordered = !was_put || self.awaits(step, key);
        self.must(
            (was_put || is_off) && is_ordered,
            "it is stopped before it is retired",
            key,
        );
    }

    fn forget_grant(&mut self, step: &Step, grant: &GrantKey) {
        self.must(
            !self.catalog.has_grant(grant),
            "a grant in force is not forgotten",
            grant,
        );
        let key = &grant.database;
        let Some(spec) = self
            .seen
            .databases
            .get(key)
            .and_then(|seen| seen.spec.as_ref())
        else {
            return;
        };
        let roles = self
            .seen
            .grants
            .get(grant)
            .into_iter()
            .flat_map(|one| one.logins.values());
        let roles: Vec<&str> = roles.map(|login| login.role.as_str()).collect();
        let is_named = spec
            .logins
            .iter()
            .any(|login| roles.contains(&login.role.as_str()));
        let is_ordered = !is_named || self.awaits(step, key);
        self.must(is_ordered, "a login is gone before it is forgotten", grant);
    }

    fn forget_application(&mut self, step: &Step, key: &ApplicationKey) {
        let is_gone = self.catalog.application(key).is_none();
        self.must(is_gone, "what has a manifest is not forgotten", key);
        let process = self.seen.applications.get(key).map(|seen| &seen.process);
        let is_running = matches!(process, Some(ProcessState::Running { .. }));
        let stops = step.needs.iter().any(|needed| {
            matches!(self.action(*needed), Some(Action::StopApplication { application, .. }) if application == key)
        });
        self.must(
            !is_running || stops,
            "it is stopped before it is forgotten",
            key,
        );
    }

    /// Whether a step needs the database to have converged first.
    fn awaits(&self, step: &Step, database: &DatabaseKey) -> bool {
        step.needs.iter().any(|needed| {
            matches!(self.action(*needed), Some(Action::AwaitConverged { key, .. }) if key == database)
        })
    }

    fn action(&self, id: StepId) -> Option<&Action> {
        self.plan.steps.get(id.index()).map(|step| &step.action)
    }

    /// No verifier in anything that a person or a program may read of a plan.
    fn secrets(&mut self) {
        // Comparing each with all is for tests; no plan that large is made in one.
        const MOST: usize = 200;
        if self.seen.grants.len() > MOST || self.plan.steps.len() > MOST {
            return;
        }
        let json = serde_json::to_string(&PlanView::from(self.plan)).unwrap_or_default();
        let text = format!("{}\n{:?}\n{json}", self.plan, self.plan);
        let stored = self
            .seen
            .grants
            .values()
            .flat_map(|grant| grant.logins.values());
        let verifiers: Vec<&String> = stored.map(|login| login.verifier.expose()).collect();
        let is_clean = verifiers
            .iter()
            .all(|verifier| !text.contains(verifier.as_str()));
        self.must(is_clean, "no secret in a plan", "a verifier is");
    }
}

fn puts(plan: &Plan) -> impl Iterator<Item = &PutInstance> {
    plan.steps.iter().filter_map(|step| step.action.as_put())
}
