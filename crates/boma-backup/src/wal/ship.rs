//! The files that wait, shipped side by side, though PostgreSQL asks for one after the other.
//!
//! PostgreSQL calls `archive_command` for one file, waits for the answer, marks the file as done
//! and calls for the next. What waits behind it is known from `archive_status`: those files are
//! shipped meanwhile, so that the next calls are answered at once. Which ones are shipped already
//! is remembered in memory only. After a crash PostgreSQL asks again, the file is found to be
//! archived with the same content, and all goes on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boma_instance::backup::ArchiveStatus;
use boma_problem::{IntoProblem as _, Problem};
use jiff::Timestamp;
use tokio::sync::watch;

use super::archive::Archive;
use super::backlog;
use super::error::PushError;
use super::source::Stamp;

/// Files on their way at once: two threads seal one of them, one or two more are being written or
/// are with the store. Each holds at most its compressed bytes.
const IN_FLIGHT: usize = 3;

/// What became of a file, for all who wait for it.
type Outcome = Result<(), Arc<PushError>>;

/// Ships the write-ahead log of one server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shipper(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    archive: Archive,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// On their way.
    flights: BTreeMap<String, watch::Receiver<Option<Outcome>>>,
    /// Stored, and not asked for yet.
    shipped: BTreeMap<String, Stamp>,
    /// What waits, in the order in which PostgreSQL will ask.
    waiting: VecDeque<String>,
    last: Option<(String, Timestamp)>,
    failure: Option<Problem>,
}

impl Shipper {
    /// Prepares; nothing is shipped before the first call of [`Shipper::ship`].
    pub fn new(archive: Archive) -> Self {
        Self(Arc::new(Inner {
            archive,
            state: Mutex::default(),
        }))
    }

    /// What it ships with.
    pub fn archive(&self) -> &Archive {
        &self.0.archive
    }

    /// Ships one file, and then goes on with those that wait behind it. `Ok` says that this file
    /// is in the repository durably, whole, and with this content.
    ///
    /// # Cancel safety
    /// A file that is on its way goes on when nobody waits for it any more.
    pub async fn ship(&self, name: &str) -> Result<(), Arc<PushError>> {
        if self.was_shipped(name) {
            self.go_ahead();
            return Ok(());
        }
        let mut flight = self.board(name);
        self.go_ahead();
        let outcome = flight
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|outcome| outcome.clone())
            .unwrap_or_else(|| Err(Arc::new(PushError::Interrupted)));
        self.lock().shipped.remove(name);
        outcome
    }

    /// Ships all that a server left waiting which does not run, and notes it as PostgreSQL would.
    /// What a server has no time for as it stops would wait for its next start, which for one that
    /// is retired never comes.
    pub async fn ship_left(&self) -> Result<(), Arc<PushError>> {
        let wal = self.0.archive.cluster().wal_directory();
        let unread = |source| {
            let path = wal.clone();
            Arc::new(PushError::Read { path, source })
        };
        for left in backlog::ready(&wal).map_err(unread)? {
            self.ship(&left.name).await?;
            backlog::note_archived(&wal, &left.name).map_err(unread)?;
        }
        Ok(())
    }

    /// What is to be said of the archive. Measures what waits.
    pub fn status(&self) -> ArchiveStatus {
        let cluster = self.0.archive.cluster();
        let ready = backlog::ready(&cluster.wal_directory()).unwrap_or_default();
        let state = self.lock();
        let waiting = ready
            .into_iter()
            .filter(|one| !state.shipped.contains_key(&one.name));
        let backlog = backlog::Backlog::of(waiting, cluster.segment_size);
        let (last_file, last_archived_at) = state.last.clone().unzip();
        ArchiveStatus {
            waiting_files: backlog.files,
            waiting_bytes: backlog.bytes,
            waiting_since: backlog.since,
            last_file,
            last_archived_at,
            failure: state.failure.clone(),
        }
    }

    /// Whether it was shipped ahead, and is still the same file. It is asked for once only.
    fn was_shipped(&self, name: &str) -> bool {
        let shipped = self.lock().shipped.remove(name);
        shipped.is_some() && shipped == self.0.archive.stamp(name)
    }

    /// Sends a file on its way, unless it is already.
    fn board(&self, name: &str) -> watch::Receiver<Option<Outcome>> {
        let mut state = self.lock();
        if let Some(flight) = state.flights.get(name) {
            return flight.clone();
        }
        let (arrived, flight) = watch::channel(None);
        state.flights.insert(name.to_owned(), flight.clone());
        drop(state);
        let (shipper, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let outcome = shipper.fly(name).await;
            let went_well = outcome.is_ok();
            // Nobody may wait for it: it was shipped ahead.
            let _unheard = arrived.send(Some(outcome));
            if went_well {
                shipper.go_ahead();
            }
        });
        flight
    }

    async fn fly(&self, name: String) -> Outcome {
        let stamp = self.0.archive.stamp(&name);
        let pushed = self.0.archive.push(&name).await;
        let mut state = self.lock();
        state.flights.remove(&name);
        match pushed {
            Ok(_pushed) => {
                state.failure = None;
                state.last = Some((name.clone(), Timestamp::now()));
                if let Some(stamp) = stamp {
                    state.shipped.insert(name, stamp);
                }
                Ok(())
            }
            Err(error) => {
                // Until PostgreSQL asks again: it knows how long to wait.
                state.waiting.clear();
                let problem = error.problem();
                tracing::warn!(file = name, %problem, "a file of the write-ahead log is not archived");
                state.failure = Some(problem);
                Err(Arc::new(error))
            }
        }
    }

    /// Sends those on their way that wait, as many as there is room for.
    fn go_ahead(&self) {
        let mut state = self.lock();
        if state.waiting.is_empty() {
            self.look_what_waits(&mut state);
        }
        let mut next = Vec::new();
        while state.flights.len() + next.len() < IN_FLIGHT {
            let Some(name) = state.waiting.pop_front() else {
                break;
            };
            if !state.flights.contains_key(&name) && !state.shipped.contains_key(&name) {
                next.push(name);
            }
        }
        drop(state);
        for name in next {
            self.board(&name);
        }
    }

    fn look_what_waits(&self, state: &mut State) {
        let ready = backlog::ready(&self.0.archive.cluster().wal_directory()).unwrap_or_default();
        // What PostgreSQL does not wait for any more was removed or renamed by it.
        state
            .shipped
            .retain(|name, _stamp| ready.iter().any(|one| one.name == *name));
        state.waiting = ready.into_iter().map(|one| one.name).collect();
        let State {
            flights,
            shipped,
            waiting,
            ..
        } = state;
        waiting.retain(|name| !flights.contains_key(name) && !shipped.contains_key(name));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
