//! What a simulated platform holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use boma_instance::names::Turn;
use boma_instance::settings::{ParameterContext, ServerParameter, ServerParameters};
use boma_instance::{
    InstanceId, InstanceSpec, InstanceStatus, Listen, LoginStatus, Phase, Power, ServerStatus,
};
use boma_problem::Problem;
use jiff::Timestamp;

use crate::keys::{ApplicationKey, DatabaseKey, GrantKey, SecretKey};
use crate::observed::{
    AgentState, Capabilities, DatabaseRecord, DeliveredEnvironment, Judgement, Life, Observed,
    ObservedApplication, ObservedDatabase, ObservedGrant, ObservedLogin, PreDeployRun,
    ProcessState, Replacement, SettingValue,
};
use crate::platform::{AuditEntry, Credential, Environment, Event};

/// The class of volumes for which none is said.
const DEFAULT_CLASS: &str = "standard";

/// Everything on a simulated platform.
pub struct State {
    /// The time.
    pub now: Timestamp,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Where manifests come from.
    pub source: Option<String>,
    /// Databases.
    pub databases: BTreeMap<DatabaseKey, SimulatedDatabase>,
    /// Stored credentials, after the turn of the active one.
    pub credentials: BTreeMap<GrantKey, (Turn, BTreeMap<Turn, Credential>)>,
    /// How far the exchange of passwords is, where one was ever asked for.
    pub rotations: BTreeMap<GrantKey, SimulatedRotation>,
    /// Sessions on a login, by database and role; what is not here has none.
    pub connections: BTreeMap<(DatabaseKey, String), u32>,
    /// Applications.
    pub applications: BTreeMap<ApplicationKey, SimulatedApplication>,
    /// Databases that are to be replaced.
    pub replacements: BTreeMap<DatabaseKey, Replacement>,
    /// Secrets that people have stored, and the revision of each.
    pub secrets: BTreeMap<SecretKey, String>,
    /// Secrets that are there without a value, with their entries.
    pub secrets_without_value: BTreeMap<SecretKey, Vec<String>>,
    /// Events.
    pub events: Vec<Event>,
    /// The audit trail.
    pub audit: Vec<AuditEntry>,
    /// Effects since the last time that a test set when to die.
    pub effects: u64,
    /// How many effects there were that a person would call a write.
    pub writes: u64,
    /// Whose each instance is or was: ids are never given twice.
    pub(super) owners: HashMap<InstanceId, DatabaseKey>,
    /// The grants with credentials on each database.
    pub(super) granted: HashMap<DatabaseKey, BTreeSet<GrantKey>>,
    pub(super) dies_before: Option<u64>,
    pub(super) dead: bool,
    pub(super) failures: BTreeMap<(String, String), Problem>,
    placed: u32,
    pub(super) started: u32,
}

/// A database.
#[derive(Clone, Debug)]
pub struct SimulatedDatabase {
    /// Its instance.
    pub id: InstanceId,
    /// What is remembered.
    pub record: DatabaseRecord,
    /// In use or retired.
    pub life: Life,
    /// Stopped by a person.
    pub held: bool,
    /// The spec that was handed over.
    pub spec: Option<InstanceSpec>,
    /// Where it listens.
    pub listen: Option<Listen>,
    /// From when on it is to be given another certificate.
    pub renew_at: Option<Timestamp>,
    /// Its agent.
    pub agent: Agent,
    /// What keeps it from converging.
    pub problem: Option<Problem>,
    /// Whether it takes its time to converge: all of it.
    pub slow: bool,
}

/// The exchange of a grant's password.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulatedRotation {
    /// The least number that a person asked for.
    pub asked: u64,
    /// Since when the former login is kept.
    pub draining: Option<Timestamp>,
}

/// An agent, and the server beside it.
#[derive(Clone, Debug)]
pub enum Agent {
    /// None runs.
    Absent,
    /// It does not answer.
    Silent,
    /// It answers.
    Answering {
        /// The spec that it has accepted.
        accepted: Box<InstanceSpec>,
        /// The spec that the server is converged to.
        converged: Option<Box<InstanceSpec>>,
    },
}

/// An application.
#[derive(Clone, Debug, Default)]
pub struct SimulatedApplication {
    /// What was delivered to it.
    pub environment: Option<Environment>,
    /// How often something was delivered.
    pub deliveries: u64,
    /// The last `preDeploy`.
    pub pre_deploy: Option<PreDeployRun>,
    /// How often `preDeploy` ran.
    pub pre_deploys: u64,
    /// How the next runs of `preDeploy` fail.
    pub pre_deploy_fails: Option<Problem>,
    /// Its process.
    pub process: Option<ProcessState>,
    /// What its process was started with.
    pub runs_with: Option<Environment>,
    /// How often its process was started.
    pub starts: u64,
    /// Stopped by a person.
    pub held: bool,
}

/// What servers here refuse at the end of a value.
const WRONG_UNIT: &str = "XB";

impl State {
    pub(super) fn new(capabilities: Capabilities, now: Timestamp) -> Self {
        Self {
            now,
            capabilities,
            source: None,
            databases: BTreeMap::new(),
            credentials: BTreeMap::new(),
            rotations: BTreeMap::new(),
            connections: BTreeMap::new(),
            applications: BTreeMap::new(),
            replacements: BTreeMap::new(),
            secrets: BTreeMap::new(),
            secrets_without_value: BTreeMap::new(),
            events: Vec::new(),
            audit: Vec::new(),
            effects: 0,
            writes: 0,
            owners: HashMap::new(),
            granted: HashMap::new(),
            dies_before: None,
            dead: false,
            failures: BTreeMap::new(),
            placed: 0,
            started: 0,
        }
    }

    /// Remembers what servers say about values.
    pub(crate) fn judge(&mut self, settings: &BTreeSet<SettingValue>) {
        let judged = self.capabilities.judged.get_or_insert_default();
        judged.extend(settings.iter().map(|setting| {
            let judgement = if setting.value.ends_with(WRONG_UNIT) {
                Judgement::Refused(format!("\"{WRONG_UNIT}\" is no unit of `{}`", setting.name))
            } else {
                Judgement::Taken
            };
            (setting.clone(), judgement)
        }));
    }

    /// What the engine may know of it.
    pub fn observed(&self) -> Observed {
        let databases = self.databases.iter();
        let databases = databases.map(|(key, one)| {
            let mut observed = one.observed(self.now);
            if let AgentState::Answering(status) = &mut observed.agent {
                self.count_sessions(key, status);
            }
            (key.clone(), observed)
        });
        let grants = self.credentials.iter().map(|(key, (active, logins))| {
            let logins = logins
                .iter()
                .map(|(turn, one)| (*turn, login(one)))
                .collect();
            (
                key.clone(),
                ObservedGrant {
                    active: *active,
                    logins,
                    asked: self.rotations.get(key).map_or(0, |one| one.asked),
                    draining: self.rotations.get(key).and_then(|one| one.draining),
                },
            )
        });
        let applications = self.applications.iter();
        let applications = applications.map(|(key, one)| (key.clone(), one.observed()));
        Observed {
            source: self.source.clone(),
            capabilities: self.capabilities.clone(),
            databases: databases.collect(),
            grants: grants.collect(),
            applications: applications.collect(),
            replacements: self.replacements.clone(),
            secrets: self.secrets.clone(),
            secrets_without_value: self.secrets_without_value.clone(),
        }
    }

    /// Fills in how many sessions each login has.
    pub(super) fn count_sessions(&self, key: &DatabaseKey, status: &mut InstanceStatus) {
        for login in &mut status.logins {
            let place = (key.clone(), login.role.clone());
            login.connections = self.connections.get(&place).copied().unwrap_or_default();
        }
    }

    /// The sessions of an application are over, whichever login they were on.
    pub(super) fn sessions_end(&mut self, application: &ApplicationKey) {
        let granted = self.credentials.iter();
        let granted = granted.filter(|(grant, _)| grant.application == *application);
        for (grant, (_, logins)) in granted {
            for login in logins.values() {
                let place = (grant.database.clone(), login.role.clone());
                self.connections.remove(&place);
            }
        }
    }

    /// The next free address.
    pub(super) fn place(&mut self, key: &DatabaseKey) -> Listen {
        self.placed += 1;
        Listen {
            address: IpAddr::V4(Ipv4Addr::from_bits(0x7f01_0000 + self.placed)),
            port: 5432,
            names: vec![format!("{}.internal", key.name)],
        }
    }
}

fn login(credential: &Credential) -> ObservedLogin {
    ObservedLogin {
        role: credential.role.clone(),
        serial: credential.serial,
        verifier: credential.verifier.clone(),
    }
}

impl SimulatedDatabase {
    fn observed(&self, now: Timestamp) -> ObservedDatabase {
        let agent = match self.status(now) {
            Some(status) => AgentState::Answering(Box::new(status)),
            None if matches!(self.agent, Agent::Absent) => AgentState::Absent,
            None => AgentState::Silent(*super::died()),
        };
        ObservedDatabase {
            id: self.id,
            record: self.record.clone(),
            life: self.life,
            held: self.held,
            spec: self.spec.clone(),
            listen: self.listen.clone(),
            renew_at: self.renew_at,
            storage_class: self.spec.as_ref().map(|spec| {
                let said = spec.storage_class.clone();
                said.unwrap_or_else(|| DEFAULT_CLASS.to_owned())
            }),
            agent,
        }
    }

    /// What its agent says; none if it does not answer.
    pub fn status(&self, now: Timestamp) -> Option<InstanceStatus> {
        let Agent::Answering {
            accepted,
            converged,
        } = &self.agent
        else {
            return None;
        };
        let runs = converged.as_ref().is_some_and(|one| one.power == Power::On);
        let logins = converged
            .iter()
            .flat_map(|one| &one.logins)
            .map(|login| LoginStatus {
                role: login.role.clone(),
                access: login.access,
                connections: 0,
                last_used: None,
            });
        Some(InstanceStatus {
            id: self.id,
            accepted_generation: accepted.generation,
            converged_generation: converged.as_ref().map_or(0, |one| one.generation),
            phase: self.phase(accepted, converged.as_deref()),
            observed_at: now,
            listen: self.listen.clone(),
            server: runs.then(|| ServerStatus {
                version: format!("{}.4", accepted.version),
                pid: 4242,
                started_at: now,
                system_identifier: 7,
                pending_restart: Vec::new(),
            }),
            storage: None,
            logins: logins.collect(),
            backup: None,
            corrections: Vec::new(),
            conditions: Vec::new(),
            problems: self.problem.clone().into_iter().collect(),
        })
    }

    fn phase(&self, accepted: &InstanceSpec, converged: Option<&InstanceSpec>) -> Phase {
        let runs = converged.is_some_and(|one| one.power == Power::On);
        let is_converged = converged.is_some_and(|one| one.generation == accepted.generation);
        match (&self.problem, is_converged, accepted.power) {
            (Some(_), ..) if runs => Phase::Degraded,
            (Some(_), ..) => Phase::Failed,
            (None, true, Power::On) => Phase::Ready,
            (None, true, Power::Off) => Phase::Suspended,
            (None, false, _) => Phase::Converging,
        }
    }

    /// The spec that the server is converged to.
    pub fn converged(&self) -> Option<&InstanceSpec> {
        match &self.agent {
            Agent::Answering { converged, .. } => converged.as_deref(),
            Agent::Absent | Agent::Silent => None,
        }
    }
}

impl SimulatedApplication {
    fn observed(&self) -> ObservedApplication {
        ObservedApplication {
            delivered: self
                .environment
                .as_ref()
                .map(|environment| DeliveredEnvironment {
                    fingerprint: environment.fingerprint.clone(),
                    serial: self.deliveries,
                }),
            pre_deploy: self.pre_deploy.clone(),
            process: self.process.clone().unwrap_or(ProcessState::NotRunning),
            held: self.held,
            conditions: Vec::new(),
        }
    }
}

/// Some settings of PostgreSQL with their contexts.
pub(super) fn parameters() -> ServerParameters {
    let of = |name: &str, context, vartype: &str| {
        let known = ServerParameter {
            context,
            vartype: vartype.to_owned(),
            min: None,
            max: None,
        };
        (name.to_owned(), known)
    };
    // A real server knows about 350 settings; looking one up should cost what it costs there.
    let others = (0..350).map(|number| {
        of(
            &format!("setting_{number}"),
            ParameterContext::Session,
            "STRING",
        )
    });
    let named = ServerParameters::from([
        of("max_connections", ParameterContext::Postmaster, "INTEGER"),
        of("shared_buffers", ParameterContext::Postmaster, "INTEGER"),
        of(
            "shared_preload_libraries",
            ParameterContext::Postmaster,
            "STRING",
        ),
        of("max_wal_size", ParameterContext::Reload, "INTEGER"),
        of(
            "log_min_duration_statement",
            ParameterContext::Session,
            "INTEGER",
        ),
        of("statement_timeout", ParameterContext::Session, "INTEGER"),
        of("random_page_cost", ParameterContext::Session, "REAL"),
        of("work_mem", ParameterContext::Session, "INTEGER"),
    ]);
    named.into_iter().chain(others).collect()
}
