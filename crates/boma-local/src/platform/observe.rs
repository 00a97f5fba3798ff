//! Telling what exists.

use std::collections::{BTreeMap, HashMap};

use boma_engine::keys::ApplicationKey;
use boma_engine::observed::{
    AgentState, Life, Observed, ObservedApplication, ObservedDatabase, ProcessState,
};
use boma_engine::platform::PlatformError;
use boma_instance::{Condition, InstanceId, InstanceStatus, Truth};
use boma_problem::IntoProblem;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::LocalPlatform;
use super::error::boxed;
use crate::agent::{self, AgentError};
use crate::config::HostsFile;
use crate::store::{ApplicationRow, DatabaseRow, ProcessRow, Role};

impl LocalPlatform {
    pub(super) async fn observe_all(&self) -> Result<Observed, PlatformError> {
        let read = self.inner.store.read(|state| {
            Ok((
                state.source()?,
                state.databases()?,
                state.grants()?,
                state.applications()?,
                state.processes(Role::Main)?,
                state.replacements()?,
                state.renewals()?,
                state.secret_revisions()?,
            ))
        });
        let (source, databases, grants, applications, processes, replacements, renewals, secrets) =
            read.await.map_err(boxed)?;
        let mut agents = self.ask_agents(&databases).await;
        let databases = databases
            .into_iter()
            .map(|row| {
                let agent = agents.remove(&row.id).unwrap_or(AgentState::Absent);
                let renew_at = renewals.get(&row.id).copied();
                (row.key.clone(), self.database(row, agent, renew_at))
            })
            .collect();
        Ok(Observed {
            source,
            capabilities: self.capable(),
            databases,
            grants,
            applications: self.applications(applications, &processes).await?,
            replacements,
            secrets,
            // One has its value and nothing else.
            secrets_without_value: BTreeMap::new(),
        })
    }

    /// Asks all agents at the same time; each has the same short time to answer.
    async fn ask_agents(&self, rows: &[DatabaseRow]) -> HashMap<InstanceId, AgentState> {
        let mut asked = JoinSet::new();
        for row in rows.iter().filter(|row| row.spec.is_some()) {
            let (id, socket) = (row.id, self.inner.layout.agent_socket(row.id));
            let asking = async move { (id, agent_state(agent::ask_status(&socket).await)) };
            asked.spawn(asking.in_current_span());
        }
        asked.join_all().await.into_iter().collect()
    }

    fn database(
        &self,
        row: DatabaseRow,
        mut agent: AgentState,
        renew_at: Option<Timestamp>,
    ) -> ObservedDatabase {
        if let AgentState::Answering(status) = &mut agent {
            self.add_conditions(&row, status);
        }
        ObservedDatabase {
            id: row.id,
            listen: row
                .placement
                .as_ref()
                .map(crate::store::PlacementRow::listen),
            record: row.record,
            life: row.life,
            held: row.held,
            spec: row.spec,
            renew_at,
            storage_class: None,
            agent,
        }
    }

    /// What the platform itself can say about a server: the agent sees neither the control group
    /// from outside nor the hosts file.
    fn add_conditions(&self, row: &DatabaseRow, status: &mut InstanceStatus) {
        if let Some(spec) = row.spec.as_ref().filter(|_| row.life == Life::Active) {
            let checked = self.inner.limits.check(row.id, &spec.resources);
            let (truth, reason, message) = match checked {
                Ok(()) => (
                    Truth::True,
                    "ControlGroup",
                    "CPU and memory are limited as specified".to_owned(),
                ),
                Err(why) => (Truth::False, "NotEnforced", why),
            };
            set_condition(status, "ResourcesEnforced", truth, reason, message);
        }
        if let Some(placement) = &row.placement {
            let (truth, reason, message) = match (&self.inner.config.hosts, placement.resolves) {
                (HostsFile::At(path), _) if placement.names.is_empty() => {
                    let message = format!(
                        "others have its names in `{}`; connection strings use the address",
                        path.display()
                    );
                    (Truth::False, "NamesTaken", message)
                }
                (HostsFile::At(path), true) => (
                    Truth::True,
                    "HostsFile",
                    format!("its names are in `{}`", path.display()),
                ),
                (HostsFile::At(path), false) => {
                    let message = format!(
                        "`{}` could not be written; connection strings use the address",
                        path.display()
                    );
                    (Truth::False, "HostsFileNotWritten", message)
                }
                (HostsFile::Off, _) => {
                    let message =
                        "switched off in `config.toml`; connection strings use the address"
                            .to_owned();
                    (Truth::False, "SwitchedOff", message)
                }
            };
            set_condition(status, "NamesResolve", truth, reason, message);
        }
    }

    async fn applications(
        &self,
        rows: Vec<ApplicationRow>,
        processes: &BTreeMap<ApplicationKey, ProcessRow>,
    ) -> Result<BTreeMap<ApplicationKey, ObservedApplication>, PlatformError> {
        let mut found = BTreeMap::new();
        for row in rows {
            let process = match processes.get(&row.key) {
                Some(process) => self
                    .inner
                    .applications
                    .state_of(&row.key, process)
                    .await
                    .map_err(boxed)?,
                None => ProcessState::NotRunning,
            };
            let seen = ObservedApplication {
                delivered: row.delivered,
                pre_deploy: row.pre_deploy,
                process,
                held: row.held,
                conditions: Vec::new(),
            };
            found.insert(row.key, seen);
        }
        Ok(found)
    }
}

fn agent_state(answer: Result<boma_instance::api::Reported, AgentError>) -> AgentState {
    match answer {
        Ok(reported) => AgentState::Answering(Box::new(reported.status)),
        Err(AgentError::Absent) => AgentState::Absent,
        Err(error) => AgentState::Silent(error.problem()),
    }
}

fn set_condition(
    status: &mut InstanceStatus,
    kind: &str,
    truth: Truth,
    reason: &str,
    message: String,
) {
    status.conditions.retain(|condition| condition.kind != kind);
    status.conditions.push(Condition {
        kind: kind.to_owned(),
        status: truth,
        reason: reason.to_owned(),
        message,
    });
}
