//! What there will be when everything was done as planned.
//!
//! Reviews begin with this: a world made of manifests alone, of which no platform was asked.

use std::net::{IpAddr, Ipv4Addr};

use boma_instance::names::Turn;
use boma_instance::{
    InstanceId, InstanceSpec, InstanceStatus, Listen, LoginStatus, Phase, Power, Secret,
    ServerStatus,
};
use jiff::Timestamp;

use super::action::{Action, PutInstance};
use super::deployment::{Deployment, Reach};
use super::{Fingerprints, Plan};
use crate::keys::{ApplicationKey, DatabaseKey, GrantKey};
use crate::observed::{
    AgentState, DatabaseRecord, DeliveredEnvironment, Life, Observed, ObservedApplication,
    ObservedDatabase, ObservedGrant, ObservedLogin, PreDeployRun, ProcessState,
};

/// What will be observed when every step of a plan has succeeded.
///
/// Addresses and verifiers, which a platform would choose, are stand-ins: they are fit to be compared
/// with themselves, and nothing may be connected to or unlocked with them.
pub fn outcome(plan: &Plan, before: Observed, now: Timestamp) -> Observed {
    let mut after = Outcome { seen: before, now };
    for step in &plan.steps {
        after.take(&step.action);
    }
    after.seen
}

struct Outcome {
    seen: Observed,
    now: Timestamp,
}

impl Outcome {
    fn take(&mut self, action: &Action) {
        match action {
            Action::RecordSource { source, .. } => self.seen.source = Some(source.to_string()),
            Action::RecordDatabase {
                key, id, record, ..
            } => self.record(key, *id, record),
            Action::SetLife { key, life } => {
                if let Some(database) = self.seen.databases.get_mut(key) {
                    database.life = *life;
                }
            }
            Action::Exchange { key, beside, .. } => self.exchange(key, beside),
            Action::IssueCredential {
                grant,
                turn,
                role,
                serial,
                ..
            } => self.issue(grant, *turn, role, *serial),
            Action::PutInstance(put) => self.put(put),
            Action::DeliverEnvironment {
                application,
                deployment,
                ..
            } => self.delivered(application, deployment),
            Action::RunPreDeploy {
                application,
                deployment,
                ..
            } => self.migrated(application, deployment),
            Action::RestartApplication {
                application,
                deployment,
                ..
            } => self.restarted(application, deployment),
            Action::StopApplication { application, .. } => {
                self.application(application).process = ProcessState::NotRunning;
            }
            Action::ActivateLogin { grant, turn, .. } => {
                if let Some(stored) = self.seen.grants.get_mut(grant) {
                    stored.active = *turn;
                    stored.draining = Some(self.now);
                }
            }
            Action::ReleaseLogin { grant, .. } => {
                if let Some(stored) = self.seen.grants.get_mut(grant) {
                    stored.draining = None;
                }
            }
            Action::ForgetGrant { grant } => drop(self.seen.grants.remove(grant)),
            Action::ForgetApplication { application } => {
                drop(self.seen.applications.remove(application));
            }
            Action::AwaitConverged { .. } | Action::AwaitDrained { .. } => {}
        }
    }

    fn record(&mut self, key: &DatabaseKey, id: InstanceId, record: &DatabaseRecord) {
        let new = || ObservedDatabase {
            id,
            record: record.clone(),
            life: Life::Active,
            held: false,
            spec: None,
            listen: None,
            renew_at: None,
            storage_class: None,
            agent: AgentState::Absent,
        };
        let database = self.seen.databases.entry(key.clone()).or_insert_with(new);
        database.record = record.clone();
    }

    fn delivered(&mut self, application: &ApplicationKey, deployment: &Deployment) {
        let fingerprint = self.of(deployment, |prints| prints.environment.to_string());
        self.application(application).delivered = Some(DeliveredEnvironment {
            fingerprint,
            serial: 1,
        });
    }

    fn migrated(&mut self, application: &ApplicationKey, deployment: &Deployment) {
        let run = PreDeployRun {
            deployment: self.of(deployment, |prints| prints.deployment.to_string()),
            failure: None,
            at: self.now,
        };
        self.application(application).pre_deploy = Some(run);
    }

    fn restarted(&mut self, application: &ApplicationKey, deployment: &Deployment) {
        let process = ProcessState::Running {
            deployment: self.of(deployment, |prints| prints.deployment.to_string()),
            pid: None,
            since: self.now,
        };
        self.application(application).process = process;
    }

    fn issue(&mut self, grant: &GrantKey, turn: Turn, role: &str, serial: u64) {
        let login = ObservedLogin {
            role: role.to_owned(),
            serial,
            verifier: Secret::new(format!("of {grant}, {role}, {serial}")),
        };
        let new = || ObservedGrant {
            active: turn,
            logins: [].into(),
            asked: 0,
            draining: None,
        };
        let stored = self.seen.grants.entry(grant.clone()).or_insert_with(new);
        stored.logins.insert(turn, login);
    }

    fn put(&mut self, put: &PutInstance) {
        let grants = &self.seen.grants;
        let spec = put.spec(|grant, turn| {
            let login = grants.get(grant)?.logins.get(&turn)?;
            Some(login.verifier.clone())
        });
        let place = stand_in(&put.key);
        if let (Some(spec), Some(database)) = (spec, self.seen.databases.get_mut(&put.key)) {
            let listen = database.listen.get_or_insert(place).clone();
            database.agent = AgentState::Answering(Box::new(status(&spec, listen, self.now)));
            database.spec = Some(spec);
        }
    }

    /// Two databases change places; what is recorded of a name stays with the name.
    fn exchange(&mut self, key: &DatabaseKey, beside: &DatabaseKey) {
        let databases = &mut self.seen.databases;
        let (Some(mut former), Some(mut new)) = (databases.remove(key), databases.remove(beside))
        else {
            return;
        };
        std::mem::swap(&mut new.record, &mut former.record);
        std::mem::swap(&mut new.held, &mut former.held);
        std::mem::swap(&mut new.listen, &mut former.listen);
        new.life = Life::Active;
        former.life = Life::Retired {
            since: self.now,
            until: Timestamp::MAX,
        };
        databases.insert(key.clone(), new);
        databases.insert(beside.clone(), former);
        self.seen.replacements.remove(key);
    }

    fn application(&mut self, key: &ApplicationKey) -> &mut ObservedApplication {
        let new = || ObservedApplication {
            delivered: None,
            pre_deploy: None,
            process: ProcessState::NotRunning,
            held: false,
            conditions: Vec::new(),
        };
        let applications = &mut self.seen.applications;
        applications.entry(key.clone()).or_insert_with(new)
    }

    /// A fingerprint of a deployment; empty while a database has no place, which fits nothing.
    fn of(&self, deployment: &Deployment, which: impl Fn(&Fingerprints) -> String) -> String {
        let placed = |key: &DatabaseKey| {
            let listen = self.seen.databases.get(key)?.listen.as_ref()?;
            Some(Reach::from(listen))
        };
        let prints = deployment.fingerprints(placed);
        prints.as_ref().map(which).unwrap_or_default()
    }
}

/// An address that nobody has (RFC 5737).
fn stand_in(key: &DatabaseKey) -> Listen {
    Listen {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        port: 5432,
        names: vec![format!("{}.internal", key.name)],
    }
}

/// A server that is as its spec says.
fn status(spec: &InstanceSpec, listen: Listen, now: Timestamp) -> InstanceStatus {
    let runs = spec.power == Power::On;
    let logins = spec.logins.iter().map(|login| LoginStatus {
        role: login.role.clone(),
        access: login.access,
        connections: 0,
        last_used: None,
    });
    InstanceStatus {
        id: spec.id,
        accepted_generation: spec.generation,
        converged_generation: spec.generation,
        phase: if runs { Phase::Ready } else { Phase::Suspended },
        observed_at: now,
        listen: Some(listen),
        server: runs.then(|| ServerStatus {
            version: spec.version.to_string(),
            pid: 1,
            started_at: now,
            system_identifier: 0,
            pending_restart: Vec::new(),
        }),
        storage: None,
        logins: logins.collect(),
        backup: None,
        corrections: Vec::new(),
        conditions: Vec::new(),
        problems: Vec::new(),
    }
}
