//! Hearing what agents say: one task for each pod that runs, which asks by long poll.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boma_engine::catalog::Subject;
use boma_engine::happened;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::AgentState;
use boma_engine::platform::Event;
use boma_instance::api::Reported;
use boma_instance::{InstanceId, InstanceStatus};
use boma_problem::{IntoProblem, Problem};
use kube::ResourceExt;
use kube::core::DynamicObject;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::Inner;
use super::databases::assignment_of;
use crate::agent::Address;
use crate::cache::Place;
use crate::desired::secret_entry;
use crate::kinds::Kind;
use crate::names::{self, Part};

/// Longest single wait for a status.
const ONE_WAIT: Duration = Duration::from_mins(1);

/// First and longest pause after an agent could not be asked. A pod that has just started answers
/// within a fraction of a second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(10));

/// Changes that come together are one.
const SETTLE: Duration = Duration::from_millis(10);

/// How many times as long as looking through everything took, it is left alone: a twentieth of a CPU.
const SELDOM: u32 = 20;

/// How often everything is looked through without a reason.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Events that wait to be written, at most.
const WAITING: usize = 4096;

/// What agents say.
pub(super) struct Attendance {
    known: Mutex<HashMap<InstanceId, Known>>,
    /// Whether it was looked once which pods run.
    has_looked: AtomicBool,
    /// Whether this process is the one that tells what happens to servers.
    tells: AtomicBool,
    /// What happened to servers, and is to be written.
    told: (
        mpsc::Sender<Event>,
        tokio::sync::Mutex<mpsc::Receiver<Event>>,
    ),
    news: watch::Sender<u64>,
}

/// An agent that is attended.
struct Known {
    address: Address,
    said: Said,
    task: AbortHandle,
}

/// What an agent said last.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// It was not asked yet.
    Nothing,
    /// This.
    Status(Box<InstanceStatus>),
    /// It does not answer.
    Silence(Problem),
}

impl Default for Attendance {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            known: Mutex::default(),
            has_looked: AtomicBool::new(false),
            tells: AtomicBool::new(false),
            told: (sender, tokio::sync::Mutex::new(receiver)),
            news: watch::Sender::new(0),
        }
    }
}

impl Attendance {
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Where the agent of an instance is, if its pod runs.
    pub(super) fn address(&self, id: InstanceId) -> Option<Address> {
        Some(self.lock().get(&id)?.address.clone())
    }

    /// What it said last; none: its pod does not run.
    pub(super) fn said(&self, id: InstanceId) -> Option<Said> {
        Some(self.lock().get(&id)?.said.clone())
    }

    /// From now on this process tells what happens to servers.
    pub(super) fn begin_to_tell(&self) {
        self.tells.store(true, Ordering::Release);
    }

    /// Whether every agent was asked once.
    pub(super) fn is_whole(&self) -> bool {
        let has_answered = |known: &Known| !matches!(known.said, Said::Nothing);
        self.has_looked.load(Ordering::Acquire) && self.lock().values().all(has_answered)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, id: InstanceId, address: &Address, said: Said) {
        if let Some(known) = self.lock().get_mut(&id)
            && known.address == *address
        {
            known.said = said;
        }
        self.news.send_modify(|count| *count += 1);
    }
}

/// What instances' Secrets and pods said when they were read last, by the place of the Secret.
type AllRead = HashMap<Place, Read>;

/// What the Secret and the pod of an instance said in these versions.
struct Read {
    secret: u64,
    attended: Option<Attended>,
    pod: Option<u64>,
    ip: Option<String>,
}

/// An instance and what its agent is known by.
#[derive(Clone)]
struct Attended {
    id: InstanceId,
    database: DatabaseKey,
    pod: String,
    token: String,
    authority: String,
}

impl Inner {
    /// Keeps one task for each pod that runs, for ever.
    pub(super) async fn attend(self: Arc<Self>) {
        let mut news = self.cluster.news();
        let mut read = AllRead::new();
        let mut tasks = JoinSet::new();
        loop {
            let begun = Instant::now();
            let wanted = self.addresses(&mut read);
            self.attend_these(wanted, &mut tasks);
            while tasks.try_join_next().is_some() {}
            let settle = SETTLE.max(begun.elapsed() * SELDOM);
            // Cancel-safe: a change that is not taken is there the next time.
            drop(tokio::time::timeout(LOOK_AGAIN, news.changed()).await);
            tokio::time::sleep(settle).await;
            news.mark_unchanged();
        }
    }

    fn attend_these(
        self: &Arc<Self>,
        wanted: HashMap<InstanceId, (DatabaseKey, Address)>,
        tasks: &mut JoinSet<()>,
    ) {
        let mut known = self.attendance.lock();
        let before = known.len();
        known.retain(|id, known| {
            let address = wanted.get(id).map(|(_database, address)| address);
            let stays = address == Some(&known.address) && !known.task.is_finished();
            if !stays {
                known.task.abort();
            }
            stays
        });
        let mut changed = known.len() != before;
        for (id, (database, address)) in wanted {
            if known.contains_key(&id) {
                continue;
            }
            changed = true;
            let (this, at) = (self.clone(), address.clone());
            let task = tasks.spawn(async move { this.listen_to((id, &database), at).await });
            let said = Said::Nothing;
            known.insert(
                id,
                Known {
                    address,
                    said,
                    task,
                },
            );
        }
        drop(known);
        if changed | !self.attendance.has_looked.swap(true, Ordering::AcqRel) {
            self.attendance.news.send_modify(|count| *count += 1);
        }
    }

    /// The agents of all pods that run.
    fn addresses(&self, read: &mut AllRead) -> HashMap<InstanceId, (DatabaseKey, Address)> {
        let places = self.cluster.versions_of(Part::Instance);
        let mut next = AllRead::with_capacity(places.len());
        let mut addresses = HashMap::new();
        for (place, version) in places {
            let known = read.remove(&place).filter(|known| known.secret == version);
            let mut known = known.unwrap_or_else(|| self.read_secret(&place, version));
            self.read_pod(&place.0, &mut known);
            if let (Some(one), Some(ip)) = (&known.attended, &known.ip) {
                let address = Address {
                    namespace: place.0.clone(),
                    pod: one.pod.clone(),
                    ip: ip.clone(),
                    name: names::agent(one.id),
                    token: one.token.clone(),
                    authority: one.authority.clone(),
                };
                addresses.insert(one.id, (one.database.clone(), address));
            }
            next.insert(place, known);
        }
        *read = next;
        addresses
    }

    fn read_secret(&self, (namespace, name): &Place, version: u64) -> Read {
        let secret = self.cluster.get(Kind::Secret, namespace, name);
        Read {
            secret: version,
            attended: secret.and_then(|secret| attended(&secret)),
            pod: None,
            ip: None,
        }
    }

    /// Reads the pod of an instance, if it is another than was read.
    fn read_pod(&self, namespace: &str, known: &mut Read) {
        let Some(one) = &known.attended else {
            return;
        };
        let version = self.cluster.version(Kind::Pod, namespace, &one.pod);
        if version != known.pod {
            known.ip = self.running(namespace, one);
            known.pod = version;
        }
    }

    /// The address of a pod whose server's container runs.
    fn running(&self, namespace: &str, one: &Attended) -> Option<String> {
        let pod = self.cluster.get(Kind::Pod, namespace, &one.pod)?;
        let is_its = pod.labels().get(names::INSTANCE_ID) == Some(&one.id.to_string());
        let status = &pod.data["status"];
        let mut containers = status["containerStatuses"].as_array()?.iter();
        let runs = containers.any(|container| container["state"]["running"].is_object());
        let ip = status["podIP"].as_str()?;
        (is_its && runs).then(|| ip.to_owned())
    }

    /// Asks one agent for as long as its pod runs.
    async fn listen_to(&self, (id, database): (InstanceId, &DatabaseKey), at: Address) {
        let (mut serial, mut pause) = (None, PAUSE.0);
        let mut watched = Watched::default();
        loop {
            let wait = if serial.is_some() {
                ONE_WAIT
            } else {
                Duration::ZERO
            };
            match self.agents.status(&at, serial.unwrap_or(0), wait).await {
                Ok(Reported {
                    serial: new,
                    status,
                }) => {
                    pause = PAUSE.0;
                    if serial != Some(new) {
                        let said = Said::Status(Box::new(status.clone()));
                        self.attendance.heard(id, &at, said);
                        if self.attendance.tells.load(Ordering::Acquire) {
                            self.tell_of(database, &mut watched, &status);
                        }
                        watched.before = Some(happened::known(watched.before.take(), status));
                    }
                    serial = Some(new);
                    continue;
                }
                Err(error) => {
                    let said = Said::Silence(error.problem());
                    self.attendance.heard(id, &at, said);
                }
            }
            // A new agent counts from the beginning.
            serial = None;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

/// What is known of a server, for telling what happens to it.
#[derive(Default)]
struct Watched {
    before: Option<InstanceStatus>,
    /// Whether this process has told of it what happened before.
    is_told: bool,
}

impl Inner {
    /// Tells what happened to a server since its last status; what was put right while nobody told
    /// of it, too.
    fn tell_of(&self, database: &DatabaseKey, watched: &mut Watched, now: &InstanceStatus) {
        let mut events = match &watched.before {
            Some(before) => happened::between(database, before, now),
            None => Vec::new(),
        };
        if !watched.is_told && !now.corrections.is_empty() {
            events.retain(|event| event.reason != happened::CORRECTED);
            let told = self.last_of(&Subject::from(database).to_string(), happened::CORRECTED);
            events.extend(happened::unwatched(database, now, told));
        }
        watched.is_told = true;
        for event in events {
            // Whoever listens to agents does not wait for the API server.
            if let Err(error) = self.attendance.told.0.try_send(event) {
                tracing::warn!(%error, "an event is not written: too many wait");
            }
        }
    }

    /// Writes what happens to servers, one after the other, for ever.
    pub(super) async fn write_events(self: Arc<Self>) {
        let mut told = self.attendance.told.1.lock().await;
        while let Some(event) = told.recv().await {
            if let Err(problem) = self.tell(&event).await {
                tracing::warn!(%problem, subject = %event.subject, "an event is not written");
            }
        }
    }
}

fn attended(secret: &DynamicObject) -> Option<Attended> {
    let assignment = assignment_of(secret)?;
    let token = secret_entry(secret, boma_instance::api::pod::TOKEN)?;
    Some(Attended {
        id: assignment.spec.id,
        database: secret.annotations().get(names::IDENTITY)?.parse().ok()?,
        pod: format!("{}-0", secret.name_any()),
        token: String::from_utf8(token).ok()?,
        authority: assignment.placement.tls?.authority,
    })
}

impl From<Said> for AgentState {
    fn from(said: Said) -> Self {
        match said {
            Said::Status(status) => Self::Answering(status),
            Said::Silence(problem) => Self::Silent(problem),
            Said::Nothing => {
                Self::Silent(super::pods::PodTrouble::Starting("asked".into()).problem())
            }
        }
    }
}
