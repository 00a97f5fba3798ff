//! Making, changing, watching and retiring instances.

use std::io;
use std::time::Duration;

use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::observed::Life;
use boma_engine::platform::PlatformError;
use boma_instance::api::Reported;
use boma_instance::{Assignment, InstanceId, InstanceSpec, InstanceStatus, Listen, Phase};
use boma_problem::IntoProblem;
use nix::unistd::Uid;
use tokio::time::Instant;

use super::error::boxed;
use super::place::{Placed, check};
use super::{LocalPlatform, NotPossible};
use crate::agent::{self, Agent, AgentCommand, AgentError, Launch};
use crate::layout::LayoutError;
use crate::limits::Change;
use crate::process::Identity;
use crate::store::DatabaseRow;

/// Longest single wait for a status; the connection is made anew after that.
const ONE_WAIT: Duration = Duration::from_secs(30);

/// How long a server may take to stop before that is a problem.
const STOP_PATIENCE: Duration = Duration::from_mins(2);

/// How long an agent may take to look at its server: it finishes the step that it is at first.
const LOOK_PATIENCE: Duration = Duration::from_secs(90);

/// Between two looks at an agent that has not ended yet, or has nothing to tell yet.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl LocalPlatform {
    pub(super) async fn put(
        &self,
        key: &DatabaseKey,
        spec: &InstanceSpec,
    ) -> Result<Listen, PlatformError> {
        let _one = self.one_at_a_time(spec.id).await;
        // Said before anything is made.
        let launch = self.launch(spec)?;
        let row = self.row_of(key).await?;
        check(&row, spec).map_err(boxed)?;
        if row.spec.is_none() {
            self.template_first(spec.version).await?;
        }
        // Both take a while, and neither needs the other.
        let (placed, agent) = tokio::join!(self.place(key, spec), self.run_agent(spec, &launch));
        let (placed, _agent) = self.both(spec.id, placed, agent).await?;
        let Placed {
            placement,
            is_new,
            renewed,
        } = placed;
        let listen = placement.listen.clone();
        let assignment = Assignment {
            spec: spec.clone(),
            placement,
        };
        agent::put_assignment(&self.inner.layout.agent_socket(spec.id), &assignment)
            .await
            .map_err(boxed)?;
        if let Some(renewed) = renewed {
            self.renewed(spec.id, renewed).await?;
        }
        if is_new {
            let mut made = self
                .inner
                .made
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            made.insert(spec.version);
        }
        self.inner.registry.wake();
        Ok(listen)
    }

    /// A place and an agent for it; an agent that was started for nothing is ended.
    async fn both(
        &self,
        id: InstanceId,
        placed: Result<Placed, PlatformError>,
        agent: Result<Agent, PlatformError>,
    ) -> Result<(Placed, Agent), PlatformError> {
        match (placed, agent) {
            (Ok(placed), Ok(agent)) => Ok((placed, agent)),
            (Err(error), Ok(Agent::Started)) => {
                agent::exit(&self.inner.layout.agent_socket(id))
                    .await
                    .map_err(boxed)?;
                Err(error)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    pub(super) async fn await_generation(
        &self,
        id: InstanceId,
        generation: u64,
        patience: Duration,
    ) -> Result<InstanceStatus, PlatformError> {
        let until = Instant::now() + patience;
        let socket = self.inner.layout.agent_socket(id);
        // An agent that has just started has measured nothing: the first answer is waited for, too.
        let mut last: Option<Reported> = None;
        loop {
            let wait = until
                .saturating_duration_since(Instant::now())
                .min(ONE_WAIT);
            let after = last.as_ref().map_or(0, |reported| reported.serial);
            // A whole second is the least that is asked for; a shorter patience is kept here.
            let next = agent::wait_for_status(&socket, after, wait.max(Duration::from_secs(1)));
            match (tokio::time::timeout(wait, next).await, &last) {
                (Ok(Ok(reported)), _) => last = Some(reported),
                (Ok(Err(AgentError::Refused(_))), _) if !wait.is_zero() => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
                (Ok(Err(error)), _) => return Err(boxed(error)),
                (Err(_too_late), Some(_)) => {}
                (Err(_too_late), None) => return Err(boxed(AgentError::Deadline(patience))),
            }
            let Some(Reported { status, .. }) = &last else {
                continue;
            };
            let is_known = status.accepted_generation >= generation;
            let is_stuck = matches!(status.phase, Phase::Failed | Phase::Degraded)
                && agent::needs_a_person(status);
            let is_there = is_known && status.is_converged(generation);
            if is_there {
                self.set_exact_limits(id).await?;
            }
            if is_there || (is_known && is_stuck) || Instant::now() >= until {
                return Ok(status.clone());
            }
        }
    }

    /// Lets the agent look now, and tells what it saw.
    pub(super) async fn look_at(&self, id: InstanceId) -> Result<InstanceStatus, PlatformError> {
        let socket = self.inner.layout.agent_socket(id);
        let asked_at = jiff::Timestamp::now();
        agent::look(&socket).await.map_err(boxed)?;
        let until = Instant::now() + LOOK_PATIENCE;
        loop {
            let status = agent::ask_status(&socket).await.map_err(boxed)?.status;
            if status.observed_at >= asked_at {
                return Ok(status);
            }
            if Instant::now() >= until {
                return Err(boxed(AgentError::Deadline(LOOK_PATIENCE)));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// After a server was seen to be as its spec says, it may be held to it.
    async fn set_exact_limits(&self, id: InstanceId) -> Result<(), PlatformError> {
        let row = self.row_by_id(id).await?;
        match row.spec {
            Some(spec) => self
                .inner
                .limits
                .set(id, &spec.resources, Change::Exact)
                .map_err(boxed),
            None => Ok(()),
        }
    }

    pub(super) async fn change_life(
        &self,
        key: &DatabaseKey,
        life: Life,
    ) -> Result<(), PlatformError> {
        let row = self.row_of(key).await?;
        let _one = self.one_at_a_time(row.id).await;
        if row.purging && life == Life::Active {
            return Err(boxed(NotPossible::BeingPurged { key: key.clone() }));
        }
        if life != Life::Active {
            // First the agent, then the record: a crash in between leaves an active database
            // whose agent is gone, which the next pass sees.
            self.end_agent(&row).await?;
        }
        let id = row.id;
        self.inner
            .store
            .write(move |state| state.set_life(id, &life))
            .await
            .map_err(boxed)?;
        self.inner.registry.wake();
        Ok(())
    }

    /// Ends the agent of a stopped server, and makes sure that the server is stopped.
    pub(super) async fn end_agent(&self, row: &DatabaseRow) -> Result<(), PlatformError> {
        let socket = self.inner.layout.agent_socket(row.id);
        let Some(spec) = &row.spec else {
            // One may have been started by an engine that was killed before it said what to do.
            return match agent::exit(&socket).await {
                Ok(()) | Err(AgentError::Absent) => Ok(()),
                Err(error) => Err(boxed(error)),
            };
        };
        let until = Instant::now() + STOP_PATIENCE;
        let mut after = 0;
        loop {
            match agent::wait_for_status(&socket, after, ONE_WAIT).await {
                Ok(reported) if reported.status.phase == Phase::Suspended => break,
                // Its data is lost or broken: nothing was started, and nothing runs.
                Ok(reported)
                    if reported.status.phase == Phase::Failed
                        && reported.status.accepted_generation >= spec.generation
                        && !self.server_may_run(row.id) =>
                {
                    break;
                }
                Ok(reported) => after = reported.serial,
                // It has just started and measured nothing yet.
                Err(AgentError::Refused(_)) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(AgentError::Absent) if !self.server_may_run(row.id) => return Ok(()),
                // The agent is gone and its server may be there: a new agent stops it.
                Err(AgentError::Absent) => {
                    self.run_agent(spec, &self.launch(spec)?).await?;
                    after = 0;
                }
                Err(error) => return Err(boxed(error)),
            }
            if Instant::now() >= until {
                return Err(boxed(NotPossible::NotStopped {
                    key: row.key.clone(),
                }));
            }
        }
        agent::exit(&socket).await.map_err(boxed)?;
        // Gone is who no longer listens.
        while !matches!(agent::ask_status(&socket).await, Err(AgentError::Absent)) {
            if Instant::now() >= until {
                return Err(boxed(NotPossible::NotStopped {
                    key: row.key.clone(),
                }));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Whether a server may still run: its pid file is there and names a living process. A stale
    /// file that names a stranger's process costs the start of an agent, nothing else.
    fn server_may_run(&self, id: InstanceId) -> bool {
        let path = self.inner.layout.instance(id).join("data/postmaster.pid");
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return error.kind() != io::ErrorKind::NotFound,
        };
        let pid = text
            .lines()
            .next()
            .and_then(|line| line.trim().parse::<u32>().ok());
        pid.is_none_or(|pid| Identity::of(pid).is_ok_and(|process| process.is_alive()))
    }

    /// Makes directories and control groups, and makes sure that the agent runs.
    pub(super) async fn run_agent(
        &self,
        spec: &InstanceSpec,
        launch: &Launch,
    ) -> Result<Agent, PlatformError> {
        let inner = &self.inner;
        inner
            .layout
            .prepare_instance(spec.id, &inner.user)
            .map_err(boxed)?;
        inner
            .limits
            .set(spec.id, &spec.resources, Change::RaiseOnly)
            .map_err(boxed)?;
        agent::ensure(launch).await.map_err(boxed)
    }

    /// How the agent of an instance is started.
    pub(super) fn launch(&self, spec: &InstanceSpec) -> Result<Launch, PlatformError> {
        let inner = &self.inner;
        let bin_dir = self.bin_dir(spec.version).ok_or_else(|| {
            boxed(NotPossible::NoServer {
                version: spec.version,
                searched: inner.config.builds.searched.clone(),
            })
        })?;
        Ok(Launch {
            program: inner.config.boma.clone(),
            command: AgentCommand {
                dir: inner.layout.instance(spec.id),
                run_dir: inner.layout.run(spec.id),
                store: inner.layout.templates(),
                bin_dir,
                log: inner.layout.agent_log(spec.id),
                user: Uid::effective().is_root().then(|| inner.user.name.clone()),
                cgroups: inner.limits.groups(spec.id),
            },
            user: inner.user.clone(),
        })
    }

    /// The registered database of this key.
    pub(super) async fn row_of(&self, key: &DatabaseKey) -> Result<DatabaseRow, PlatformError> {
        let wanted = key.clone();
        let row = self
            .inner
            .store
            .read(move |state| state.database(&wanted))
            .await
            .map_err(boxed)?;
        row.ok_or_else(|| boxed(NotPossible::UnknownDatabase { key: key.clone() }))
    }

    async fn row_by_id(&self, id: InstanceId) -> Result<DatabaseRow, PlatformError> {
        let rows = self
            .inner
            .store
            .read(|state| state.databases())
            .await
            .map_err(boxed)?;
        let row = rows.into_iter().find(|row| row.id == id);
        row.ok_or_else(|| boxed(NotPossible::UnknownInstance { id }))
    }

    pub(super) async fn forget(&self, key: &ApplicationKey) -> Result<(), PlatformError> {
        self.inner.applications.stop(key).await.map_err(boxed)?;
        let directory = self.inner.layout.application(key).map_err(boxed)?;
        let forgotten = key.clone();
        self.inner
            .store
            .write(move |state| state.forget_application(&forgotten))
            .await
            .map_err(boxed)?;
        // Logs only; what is left of a crash in between is a few kilobytes.
        match std::fs::remove_dir_all(&directory) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                let error = LayoutError::Io {
                    doing: "remove",
                    path: directory,
                    source,
                };
                tracing::warn!(problem = %error.problem(), "logs of a forgotten application are left");
            }
            Ok(()) | Err(_) => {}
        }
        Ok(())
    }
}
