//! `boma serve`: one per installation, woken when something changes.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use boma_engine::catalog::Subject;
use boma_engine::happened;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::Life;
use boma_engine::platform::PlatformError;
use boma_instance::{InstanceId, InstanceStatus};
use boma_problem::IntoProblem;
use jiff::Timestamp;
use tokio::task::{AbortHandle, JoinSet};

use super::LocalPlatform;
use super::error::boxed;
use crate::agent::{self, AgentError};
use crate::locks::{self, Held, LockError};
use crate::store::{Access, DatabaseRow, Role};
use crate::wakes::Waker;

/// Longest single wait for a status.
const ONE_WAIT: Duration = Duration::from_mins(1);

/// First and longest pause after an agent could not be asked.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// How often the list of what is watched is read again without a reason: another process may have
/// added to it.
const READ_AGAIN: Duration = Duration::from_mins(1);

/// How often is looked whether a person has asked for something: a person does not notice the
/// delay, and a look is one row out of memory.
const WISHES_AGAIN: Duration = Duration::from_millis(500);

/// The one server of an installation, until this is dropped.
#[derive(Debug)]
pub struct Serving {
    waker: Waker,
    _tasks: JoinSet<()>,
    _held: Held,
}

impl Serving {
    /// Waits until something changed that the engine should look at. Nothing is lost between two
    /// calls; several changes are one wake.
    pub async fn changed(&self) {
        self.waker.woken().await;
    }
}

impl LocalPlatform {
    /// Becomes the one server of the installation: watches agents and processes, and starts agents
    /// that die.
    ///
    /// # Errors
    /// When another process is that server, naming it.
    pub async fn serve(&self) -> Result<Serving, PlatformError> {
        let state_dir = self.inner.layout.root().to_owned();
        let held = locks::try_hold(&self.inner.layout.lock("serve")).map_err(boxed)?;
        let held = held.map_err(|holder| boxed(LockError::Serving { state_dir, holder }))?;
        let processes = self
            .inner
            .store
            .read(|state| state.processes(Role::Main))
            .await
            .map_err(boxed)?;
        for (key, row) in processes {
            if row.exited_at.is_none() {
                self.inner.applications.watch(key, row, None);
            }
        }
        let mut tasks = JoinSet::new();
        let this = self.clone();
        tasks.spawn(async move { this.watch_all().await });
        let this = self.clone();
        tasks.spawn(async move { this.watch_wishes().await });
        Ok(Serving {
            waker: self.inner.waker.clone(),
            _tasks: tasks,
            _held: held,
        })
    }

    /// Keeps one task per active instance.
    async fn watch_all(&self) {
        let mut tasks = JoinSet::new();
        let mut watched: HashMap<InstanceId, AbortHandle> = HashMap::new();
        loop {
            match self.inner.store.read(|state| state.databases()).await {
                Ok(rows) => {
                    let wanted: Vec<DatabaseRow> = rows.into_iter().filter(should_run).collect();
                    let ids: BTreeSet<InstanceId> = wanted.iter().map(|row| row.id).collect();
                    watched.retain(|id, task| {
                        let stays = ids.contains(id) && !task.is_finished();
                        if !stays {
                            task.abort();
                        }
                        stays
                    });
                    for row in wanted {
                        if !watched.contains_key(&row.id) {
                            let (id, this) = (row.id, self.clone());
                            watched.insert(
                                id,
                                tasks.spawn(async move { this.watch_agent(row).await }),
                            );
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(problem = %error.problem(), "cannot read what is to be watched");
                }
            }
            while tasks.try_join_next().is_some() {}
            // Both arms are cancel-safe: a wake that is not taken stays, and the other is a timer.
            tokio::select! {
                () = self.inner.registry.woken() => {}
                () = tokio::time::sleep(READ_AGAIN) => {}
            }
        }
    }

    /// Whether another process is the one server of the installation.
    ///
    /// # Errors
    /// When that cannot be known.
    pub fn is_served(&self) -> Result<bool, PlatformError> {
        let held = locks::try_hold(&self.inner.layout.lock("serve")).map_err(boxed)?;
        Ok(held.is_err())
    }

    /// Wakes the engine when a person has asked for something in another process.
    async fn watch_wishes(&self) {
        let mut known = None;
        loop {
            match self.inner.store.read(|state| state.wishes()).await {
                Ok(wishes) => {
                    if known.replace(wishes).is_some_and(|known| known != wishes) {
                        self.inner.waker.wake();
                    }
                }
                Err(error) => tracing::debug!(problem = %error.problem(), "cannot read wishes"),
            }
            tokio::time::sleep(WISHES_AGAIN).await;
        }
    }

    /// Adds what happened between two statuses to the events; none: nobody watched before.
    async fn tell(&self, key: &DatabaseKey, old: Option<&InstanceStatus>, new: &InstanceStatus) {
        let events = match old {
            Some(old) => happened::between(key, old, new),
            None => happened::unwatched(key, new, self.last_told(key).await),
        };
        for event in events {
            let added = self.inner.store.write(move |state| state.add_event(&event));
            if let Err(error) = added.await {
                tracing::warn!(problem = %error.problem(), "an event is not written");
            }
        }
    }

    /// When it was last told that something of a database was put right.
    async fn last_told(&self, key: &DatabaseKey) -> Option<Timestamp> {
        let subject = Subject::from(key).to_string();
        let told = move |state: Access<'_>| state.last_of(&subject, happened::CORRECTED);
        match self.inner.store.read(told).await {
            Ok(last) => last,
            Err(error) => {
                tracing::warn!(problem = %error.problem(), "cannot read events");
                Some(Timestamp::now())
            }
        }
    }

    /// Wakes the engine when the status of an instance changes; starts its agent when it is gone.
    async fn watch_agent(&self, row: DatabaseRow) {
        let socket = self.inner.layout.agent_socket(row.id);
        let (mut serial, mut pause) = (0, PAUSE.0);
        let mut known = None;
        loop {
            match agent::wait_for_status(&socket, serial, ONE_WAIT).await {
                Ok(reported) => {
                    pause = PAUSE.0;
                    if reported.serial != serial {
                        serial = reported.serial;
                        self.tell(&row.key, known.as_ref(), &reported.status).await;
                        known = Some(happened::known(known.take(), reported.status));
                        self.inner.waker.wake();
                    }
                    continue;
                }
                Err(AgentError::Absent) => match self.row_of(&row.key).await {
                    Ok(now) if now.id == row.id && should_run(&now) => {
                        let _one = self.one_at_a_time(row.id).await;
                        self.revive(&now).await;
                    }
                    Ok(_) => return,
                    Err(problem) => {
                        tracing::warn!(database = %row.key, %problem, "cannot read a database");
                    }
                },
                Err(error) => {
                    tracing::debug!(database = %row.key, problem = %error.problem(), "an agent does not answer");
                }
            }
            // A new agent counts from the beginning.
            serial = 0;
            self.inner.waker.wake();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

fn should_run(row: &DatabaseRow) -> bool {
    row.life == Life::Active && !row.purging && row.spec.is_some()
}
