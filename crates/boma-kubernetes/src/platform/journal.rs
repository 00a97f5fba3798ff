//! Keeping what happened, and who did what, in Boma's namespace.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boma_engine::platform::{AuditEntry, Event, PlatformError, RecordedEvent};
use boma_problem::IntoProblem;
use jiff::Timestamp;

use super::{Inner, KubernetesPlatform};
use crate::cluster::{Change, record};
use crate::error::{KubernetesError, boxed};
use crate::journal::{Chunk, Counted, Entry, events, trail};
use crate::names::Part;

/// What comes within this is one write: a pass of the engine says much at once.
const SETTLE: Duration = Duration::from_millis(100);

/// How long writing an event beside its object may take: nothing hangs on it.
const NOTICE: Duration = Duration::from_secs(10);

/// Entries that wait for an API server that does not take them; then the oldest are given up.
const WAITING: usize = 10_000;

/// What is to be written, and who writes.
#[derive(Default)]
pub(super) struct Journal {
    waiting: Mutex<Waiting>,
    counted: Mutex<Counted>,
    /// One at a time; what came meanwhile is written by the next one together.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    entries: Vec<Entry>,
    /// Entries that were ever added, and those that wait no more.
    added: u64,
    done: u64,
}

impl Journal {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry; answers with its number.
    fn add(&self, entry: Entry) -> u64 {
        let mut waiting = self.waiting();
        if waiting.entries.len() >= WAITING {
            waiting.entries.remove(0);
            waiting.done += 1;
        }
        waiting.entries.push(entry);
        waiting.added += 1;
        waiting.added
    }

    /// What waits; none: entry `number` is written already.
    fn take(&self, number: u64) -> Option<Vec<Entry>> {
        let waiting = self.waiting();
        (waiting.done < number).then(|| waiting.entries.clone())
    }

    fn wrote(&self, count: usize) {
        let mut waiting = self.waiting();
        // Old ones may have been given up meanwhile.
        let count = count.min(waiting.entries.len());
        waiting.entries.drain(..count);
        waiting.done += count as u64;
    }
}

impl KubernetesPlatform {
    /// The newest events, oldest first; of one subject, or of all.
    pub fn events(&self, subject: Option<&str>, limit: u32) -> Vec<RecordedEvent> {
        events(&self.inner.chunks(), subject, limit as usize)
    }

    /// The newest entries of the audit trail, oldest first.
    pub fn audit_trail(&self, limit: u32) -> Vec<AuditEntry> {
        trail(&self.inner.chunks(), limit as usize)
    }
}

impl Inner {
    /// The chunks that there are, oldest first.
    fn chunks(&self) -> Vec<Chunk> {
        let mut chunks: Vec<Chunk> = Vec::new();
        for secret in self.secrets(Part::Journal) {
            match record(&secret) {
                Ok(chunk) => chunks.push(chunk),
                Err(error) => tracing::error!(%error, "a part of the journal is passed over"),
            }
        }
        chunks.sort_by_key(|chunk| chunk.number);
        chunks
    }

    /// When an event of this reason about a subject was heard of last; none: never.
    pub(super) fn last_of(&self, subject: &str, reason: &str) -> Option<Timestamp> {
        let told = events(&self.chunks(), Some(subject), usize::MAX);
        let told = told.iter().filter(|one| one.event.reason == reason);
        told.map(|one| one.last).max()
    }

    /// Tells what happened: in this program's log, among the events that are kept, and beside the
    /// object that it is about.
    pub(super) async fn tell(&self, event: &Event) -> Result<(), PlatformError> {
        let Event {
            subject,
            reason,
            message,
            warning,
            ..
        } = event;
        if *warning {
            tracing::warn!(target: "boma::event", %subject, %reason, "{message}");
        } else {
            tracing::info!(target: "boma::event", %subject, %reason, "{message}");
        }
        let heard = {
            let counted = self.journal.counted.lock();
            counted.unwrap_or_else(PoisonError::into_inner).heard(event)
        };
        let Some(recorded) = heard else {
            return Ok(());
        };
        let (noticed, added) = tokio::join!(
            tokio::time::timeout(NOTICE, self.notice(&recorded)),
            self.add(Entry::Happened(recorded.clone()))
        );
        match noticed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let problem = error.problem();
                tracing::warn!(%problem, %subject, "an event is not beside its object");
            }
            Err(_too_late) => tracing::warn!(%subject, "an event is not beside its object in time"),
        }
        added.map_err(boxed)
    }

    /// Adds to the audit trail. It is stored when this returns.
    pub(super) async fn add_audit(&self, entry: &AuditEntry) -> Result<(), PlatformError> {
        self.add(Entry::Did(entry.clone())).await.map_err(boxed)
    }

    /// Adds an entry, together with those that come at the same time.
    async fn add(&self, entry: Entry) -> Result<(), KubernetesError> {
        let number = self.journal.add(entry);
        tokio::time::sleep(SETTLE).await;
        let _turn = self.journal.turn.lock().await;
        while let Some(entries) = self.journal.take(number) {
            let written = self.append(&entries).await?;
            self.journal.wrote(written);
        }
        Ok(())
    }

    /// Adds as many of these entries as the newest chunk has room for, or to a new one; answers how
    /// many.
    async fn append(&self, entries: &[Entry]) -> Result<usize, KubernetesError> {
        self.installation().await?;
        let mut number = self.chunks().last().map_or(0, |chunk| chunk.number);
        loop {
            let home = &self.config.namespace;
            let place = self
                .record_place(home, Chunk::name(number))
                .part(Part::Journal);
            let added = self.cluster.change(&place, |found: Option<Chunk>| {
                Ok(match Chunk::with(found, number, entries) {
                    Some((chunk, added)) => Change::Write(chunk, Some(added)),
                    None => Change::Keep(None),
                })
            });
            match added.await? {
                Some(added) => return Ok(added),
                None => number += 1,
            }
        }
    }
}
