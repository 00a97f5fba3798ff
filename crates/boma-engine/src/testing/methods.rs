//! The methods of a platform, and the rules that they keep.

use std::collections::BTreeSet;
use std::time::Duration;

use boma_instance::names::Turn;
use boma_instance::{InstanceId, InstanceSpec, InstanceStatus, Listen, Phase, Power};
use boma_problem::Problem;
use jiff::Timestamp;

use super::state::{Agent, SimulatedApplication, SimulatedDatabase, State};
use super::{SimulatedPlatform, died, refused};
use crate::keys::{ApplicationKey, DatabaseKey, GrantKey, SecretKey};
use crate::observed::{DatabaseRecord, Life, Observed, PreDeployRun, ProcessState, SettingValue};
use crate::platform::{
    ActiveLogin, AuditEntry, Credential, Environment, Event, Platform, PlatformError, Program,
    Workload,
};

impl Platform for SimulatedPlatform {
    async fn observe(&self) -> Result<Observed, PlatformError> {
        let state = self.state();
        if state.dead {
            Err(died())
        } else {
            Ok(state.observed())
        }
    }

    async fn judge_settings(&self, settings: &BTreeSet<SettingValue>) -> Result<(), PlatformError> {
        self.may("judge_settings", "")?;
        let mut state = self.state();
        if state.dead {
            return Err(died());
        }
        state.judge(settings);
        Ok(())
    }

    async fn record_source(&self, source: &str) -> Result<(), PlatformError> {
        self.may("record_source", "")?;
        self.write(|state| {
            state.source = Some(source.to_owned());
            Ok(())
        })
    }

    async fn record_database(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
        record: &DatabaseRecord,
    ) -> Result<(), PlatformError> {
        self.may("record_database", &key.name)?;
        self.write(|state| register(state, key, id, record))
    }

    async fn put_instance(
        &self,
        key: &DatabaseKey,
        spec: &InstanceSpec,
    ) -> Result<Listen, PlatformError> {
        self.may("put_instance", &key.name)?;
        self.write(|state| store_spec(state, key, spec))?;
        self.effect(|state| {
            let known = database(state, key)?.listen.clone();
            let listen = known.unwrap_or_else(|| state.place(key));
            database(state, key)?.listen = Some(listen);
            Ok(())
        })?;
        self.effect(|state| {
            let now = state.now;
            let database = database(state, key)?;
            database.renew_at = database.renew_at.filter(|at| *at > now);
            let converged = database.converged().cloned().map(Box::new);
            let accepted = Box::new(spec.clone());
            database.agent = Agent::Answering {
                accepted,
                converged,
            };
            database
                .listen
                .clone()
                .ok_or_else(|| refused("placed, and has no place"))
        })
    }

    async fn await_instance(
        &self,
        id: InstanceId,
        _generation: u64,
        patience: Duration,
    ) -> Result<InstanceStatus, PlatformError> {
        self.may("await_instance", "")?;
        let status = self.effect(|state| {
            let now = state.now;
            let key = state.owners.get(&id).cloned();
            let found = key.and_then(|key| state.databases.get_mut(&key));
            let database = found.ok_or_else(|| refused(format!("there is no instance {id}")))?;
            let may_converge = database.problem.is_none() && !database.slow;
            if let Agent::Answering {
                accepted,
                converged,
            } = &mut database.agent
                && may_converge
            {
                *converged = Some(accepted.clone());
            }
            database.status(now).ok_or_else(died)
        })?;
        if matches!(status.phase, Phase::Converging) {
            tokio::time::sleep(patience).await;
        }
        Ok(status)
    }

    async fn set_life(&self, key: &DatabaseKey, life: Life) -> Result<(), PlatformError> {
        self.may("set_life", &key.name)?;
        self.write(|state| {
            let database = database(state, key)?;
            let is_stopped = database
                .spec
                .as_ref()
                .is_none_or(|spec| spec.power == Power::Off && database.converged() == Some(spec));
            if life != Life::Active && !is_stopped {
                return Err(refused(format!("{key} is retired and was not stopped")));
            }
            database.life = life;
            Ok(())
        })?;
        self.effect(|state| {
            if life != Life::Active {
                database(state, key)?.agent = Agent::Absent;
            }
            Ok(())
        })
    }

    async fn exchange(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
        beside: &DatabaseKey,
        since: Timestamp,
    ) -> Result<(), PlatformError> {
        self.may("exchange", &key.name)?;
        for one in [key, beside] {
            self.effect(|state| {
                let database = database(state, one)?;
                let is_stopped = database.life != Life::Active
                    || database.spec.as_ref().is_some_and(|spec| {
                        spec.power == Power::Off && database.converged() == Some(spec)
                    });
                if !is_stopped {
                    return Err(refused(format!("{one} changes places and was not stopped")));
                }
                database.agent = Agent::Absent;
                Ok(())
            })?;
        }
        self.write(|state| {
            let mut new = database(state, beside)?.clone();
            let mut former = database(state, key)?.clone();
            if former.id == id {
                return Ok(());
            }
            if new.id != id {
                return Err(refused(format!("{beside} is not instance {id}")));
            }
            std::mem::swap(&mut new.record, &mut former.record);
            std::mem::swap(&mut new.held, &mut former.held);
            std::mem::swap(&mut new.listen, &mut former.listen);
            new.life = Life::Active;
            former.life = Life::Retired {
                since,
                until: Timestamp::MAX,
            };
            state.owners.insert(new.id, key.clone());
            state.owners.insert(former.id, beside.clone());
            state.databases.insert(key.clone(), new);
            state.databases.insert(beside.clone(), former);
            state.replacements.remove(key);
            Ok(())
        })
    }

    async fn purge(&self, key: &DatabaseKey, id: InstanceId) -> Result<(), PlatformError> {
        self.write(|state| {
            let database = database(state, key)?;
            if database.life == Life::Active || database.id != id {
                return Err(refused(format!("{key} is not retired")));
            }
            state.databases.remove(key);
            Ok(())
        })
    }

    async fn store_credential(
        &self,
        grant: &GrantKey,
        turn: Turn,
        credential: &Credential,
    ) -> Result<(), PlatformError> {
        self.may("store_credential", &grant.application.name)?;
        self.write(|state| {
            let active = state.credentials.get(grant).map(|(active, _)| *active);
            let rotation = state.rotations.get(grant).copied().unwrap_or_default();
            if active == Some(turn) || rotation.draining.is_some() {
                return Err(refused(format!("the password of {grant} is in use")));
            }
            let stored = state.credentials.entry(grant.clone());
            let (_, logins) = stored.or_insert_with(|| (turn, [].into()));
            logins.insert(turn, credential.clone());
            state
                .granted
                .entry(grant.database.clone())
                .or_default()
                .insert(grant.clone());
            Ok(())
        })
    }

    async fn credential(&self, grant: &GrantKey, turn: Turn) -> Result<Credential, PlatformError> {
        self.may("credential", &grant.application.name)?;
        let state = self.state();
        let stored = state
            .credentials
            .get(grant)
            .and_then(|(_, logins)| logins.get(&turn));
        stored
            .cloned()
            .ok_or_else(|| refused(format!("no credential for {grant}")))
    }

    async fn look(&self, id: InstanceId) -> Result<InstanceStatus, PlatformError> {
        self.may("look", "")?;
        let state = self.state();
        let key = state.owners.get(&id).cloned();
        let found = key.and_then(|key| Some((state.databases.get(&key)?, key)));
        let (database, key) = found.ok_or_else(|| refused(format!("there is no instance {id}")))?;
        let mut status = database.status(state.now).ok_or_else(died)?;
        state.count_sessions(&key, &mut status);
        Ok(status)
    }

    async fn activate_login(
        &self,
        grant: &GrantKey,
        login: ActiveLogin,
    ) -> Result<(), PlatformError> {
        self.may("activate_login", &grant.application.name)?;
        self.write(|state| {
            let stored = state.credentials.get_mut(grant);
            let (active, logins) = stored.ok_or_else(|| refused("there is no such grant"))?;
            let is_it = logins
                .get(&login.turn)
                .is_some_and(|one| one.serial == login.serial);
            if !is_it {
                return Err(refused(format!("another password of {grant} is stored")));
            }
            if *active != login.turn {
                *active = login.turn;
                state.rotations.entry(grant.clone()).or_default().draining = Some(login.since);
            }
            Ok(())
        })
    }

    async fn release_login(&self, grant: &GrantKey) -> Result<(), PlatformError> {
        self.may("release_login", &grant.application.name)?;
        self.write(|state| {
            state.rotations.entry(grant.clone()).or_default().draining = None;
            Ok(())
        })
    }

    async fn forget_grant(&self, grant: &GrantKey) -> Result<(), PlatformError> {
        self.may("forget_grant", &grant.application.name)?;
        self.write(|state| {
            let Some((_, logins)) = state.credentials.get(grant) else {
                return Ok(());
            };
            let spec = state
                .databases
                .get(&grant.database)
                .and_then(SimulatedDatabase::converged);
            let mut named = spec
                .iter()
                .filter(|spec| spec.power == Power::On)
                .flat_map(|spec| &spec.logins);
            if named.any(|login| logins.values().any(|one| one.role == login.role)) {
                return Err(refused(format!("{grant} still has its login")));
            }
            state.credentials.remove(grant);
            state.rotations.remove(grant);
            if let Some(granted) = state.granted.get_mut(&grant.database) {
                granted.remove(grant);
            }
            Ok(())
        })
    }

    async fn deliver_environment(
        &self,
        application: &ApplicationKey,
        environment: &Environment,
    ) -> Result<(), PlatformError> {
        self.may("deliver_environment", &application.name)?;
        self.write(|state| {
            for binding in &environment.bindings {
                is_login(state, &binding.grant, &binding.credential)?;
            }
            for name in environment.secrets.values() {
                let secret = SecretKey::new(application.project.clone(), name.as_str());
                if !state.secrets.contains_key(&secret) {
                    return Err(refused(format!("{secret} is not there")));
                }
            }
            let known = state.applications.entry(application.clone()).or_default();
            known.environment = Some(environment.clone());
            known.deliveries += 1;
            Ok(())
        })
    }

    async fn run_pre_deploy(
        &self,
        application: &ApplicationKey,
        deployment: &str,
        _program: &Program,
        _workload: &Workload,
    ) -> Result<Option<Problem>, PlatformError> {
        self.may("run_pre_deploy", &application.name)?;
        self.effect(|state| {
            known(state, application)?.pre_deploys += 1;
            Ok(())
        })?;
        self.write(|state| {
            let at = state.now;
            let known = known(state, application)?;
            let failure = known.pre_deploy_fails.clone();
            let deployment = deployment.to_owned();
            known.pre_deploy = Some(PreDeployRun {
                deployment,
                failure: failure.clone(),
                at,
            });
            Ok(failure)
        })
    }

    async fn restart_application(
        &self,
        application: &ApplicationKey,
        deployment: &str,
        _workload: &Workload,
    ) -> Result<ProcessState, PlatformError> {
        self.may("restart_application", &application.name)?;
        self.effect(|state| {
            known(state, application)?.process = Some(ProcessState::NotRunning);
            Ok(())
        })?;
        self.write(|state| {
            state.started += 1;
            let (pid, since) = (state.started, state.now);
            let known = known(state, application)?;
            let running = ProcessState::Running {
                deployment: deployment.to_owned(),
                pid: Some(pid),
                since,
            };
            known.process = Some(running.clone());
            known.starts += 1;
            let environment = known.environment.clone();
            known.runs_with.clone_from(&environment);
            state.sessions_end(application);
            for binding in environment.iter().flat_map(|one| &one.bindings) {
                let role = binding.credential.role.clone();
                let place = (binding.grant.database.clone(), role);
                state.connections.insert(place, 1);
            }
            Ok(running)
        })
    }

    async fn stop_application(&self, application: &ApplicationKey) -> Result<(), PlatformError> {
        self.may("stop_application", &application.name)?;
        self.write(|state| {
            known(state, application)?.process = Some(ProcessState::NotRunning);
            state.sessions_end(application);
            Ok(())
        })
    }

    async fn forget_application(&self, application: &ApplicationKey) -> Result<(), PlatformError> {
        self.may("forget_application", &application.name)?;
        self.write(|state| {
            let Some(known) = state.applications.get(application) else {
                return Ok(());
            };
            if matches!(known.process, Some(ProcessState::Running { .. })) {
                return Err(refused(format!("{application} still runs")));
            }
            let first = GrantKey {
                application: application.clone(),
                database: DatabaseKey::new("", ""),
            };
            let next = state.credentials.range(first..).next();
            if next.is_some_and(|(grant, _)| grant.application == *application) {
                return Err(refused(format!("{application} still has grants")));
            }
            state.applications.remove(application);
            Ok(())
        })
    }

    async fn event(&self, event: &Event) -> Result<(), PlatformError> {
        self.state().events.push(event.clone());
        Ok(())
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<(), PlatformError> {
        self.state().audit.push(entry.clone());
        Ok(())
    }
}

impl SimulatedPlatform {
    /// An effect that a person would call a write.
    fn write<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, PlatformError>,
    ) -> Result<T, PlatformError> {
        self.effect(|state| {
            state.writes += 1;
            change(state)
        })
    }
}

fn database<'s>(
    state: &'s mut State,
    key: &DatabaseKey,
) -> Result<&'s mut SimulatedDatabase, PlatformError> {
    state
        .databases
        .get_mut(key)
        .ok_or_else(|| refused(format!("{key} is not registered")))
}

fn known<'s>(
    state: &'s mut State,
    key: &ApplicationKey,
) -> Result<&'s mut SimulatedApplication, PlatformError> {
    state
        .applications
        .get_mut(key)
        .ok_or_else(|| refused(format!("{key} is not registered")))
}

/// Registers a database; an id, once given, stays, and belongs to one database.
fn register(
    state: &mut State,
    key: &DatabaseKey,
    id: InstanceId,
    record: &DatabaseRecord,
) -> Result<(), PlatformError> {
    if *state.owners.entry(id).or_insert_with(|| key.clone()) != *key {
        return Err(refused(format!(
            "{id} belongs to another database than {key}"
        )));
    }
    let database = state
        .databases
        .entry(key.clone())
        .or_insert_with(|| SimulatedDatabase {
            id,
            record: record.clone(),
            life: Life::Active,
            held: false,
            spec: None,
            listen: None,
            renew_at: None,
            agent: Agent::Absent,
            problem: None,
            slow: false,
        });
    if database.id != id {
        return Err(refused(format!(
            "{key} has instance {}, not {id}",
            database.id
        )));
    }
    database.record = record.clone();
    Ok(())
}

/// Stores a spec, if it keeps to the rules of generations.
fn store_spec(
    state: &mut State,
    key: &DatabaseKey,
    spec: &InstanceSpec,
) -> Result<(), PlatformError> {
    for login in &spec.logins {
        let grants = state.granted.get(key).into_iter().flatten();
        let stored = grants.filter_map(|grant| state.credentials.get(grant));
        let mut stored = stored.flat_map(|(_, logins)| logins.values());
        let is_stored = stored.any(|one| {
            let is_same = login
                .verifier
                .as_ref()
                .is_none_or(|verifier| *verifier == one.verifier);
            one.role == login.role && is_same
        });
        if !is_stored {
            return Err(refused(format!(
                "the password of {} is not stored",
                login.role
            )));
        }
    }
    let database = database(state, key)?;
    if database.id != spec.id || database.life != Life::Active {
        return Err(refused(format!(
            "{key} is not this instance, or not in use"
        )));
    }
    if let Some(old) = &database.spec {
        let as_before = InstanceSpec {
            generation: old.generation,
            ..spec.clone()
        };
        let is_next = match &database.agent {
            // What was lost is counted on from what the agent has.
            Agent::Answering { accepted, .. } if accepted.generation > old.generation => {
                spec.generation == accepted.generation + 1
            }
            Agent::Answering { .. } | Agent::Silent | Agent::Absent => {
                spec.generation == old.generation + 1 && as_before != *old
            }
        };
        if spec != old && !is_next {
            let (from, to) = (old.generation, spec.generation);
            return Err(refused(format!(
                "{key} went from generation {from} to {to}"
            )));
        }
        let (from, to) = (old.resources.storage_bytes, spec.resources.storage_bytes);
        if to < from || spec.version != old.version {
            return Err(refused(format!("{key} shrank or changed its version")));
        }
    }
    database.spec = Some(spec.clone());
    Ok(())
}

/// An environment is delivered only when its logins are there, or the server is stopped.
fn is_login(state: &State, grant: &GrantKey, credential: &Credential) -> Result<(), PlatformError> {
    let database = state.databases.get(&grant.database);
    let spec = database.and_then(SimulatedDatabase::converged);
    let login = spec.and_then(|spec| spec.logins.iter().find(|one| one.role == credential.role));
    match login {
        Some(login) if login.verifier.as_ref() == Some(&credential.verifier) => Ok(()),
        _ => Err(refused(format!(
            "{grant} was delivered before its login was there"
        ))),
    }
}
