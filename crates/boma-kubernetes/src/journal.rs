//! What happened, and who did what, as it is kept: chunks of a row without an end. Pure.
//!
//! ```text
//!   boma-journal.0 … boma-journal.39    chunk n is in place n mod 40: the newest takes the oldest's
//! ```

use std::collections::HashMap;

use boma_engine::platform::{AuditEntry, Event, RecordedEvent, SAME_EVENT};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Chunks that are kept.
const CHUNKS: u64 = 40;

/// Entries of a chunk, some 250 bytes each: each addition writes one chunk, and an API server takes
/// no object of more than 1 MiB.
const ENTRIES: usize = 250;

/// How often an event that goes on is written: what fails again and again is no reason to write
/// again and again.
const GOES_ON: SignedDuration = SignedDuration::from_mins(5);

/// Different events that are remembered, so that they are counted.
const REMEMBERED: usize = 4096;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Entry {
    /// Somebody did something.
    Did(AuditEntry),
    /// Something happened.
    Happened(RecordedEvent),
}

/// A part of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Chunk {
    /// Counts all chunks that there ever were.
    pub(crate) number: u64,
    /// Oldest first.
    pub(crate) entries: Vec<Entry>,
}

impl Chunk {
    /// The name of the object that a chunk is in.
    pub(crate) fn name(number: u64) -> String {
        format!("boma-journal.{}", number % CHUNKS)
    }

    /// What stands in the place of chunk `number` once as many of these entries as it has room for
    /// are added, and how many these are; none: that chunk is full, or its place is a newer one's.
    pub(crate) fn with(
        found: Option<Self>,
        number: u64,
        entries: &[Entry],
    ) -> Option<(Self, usize)> {
        let mut chunk = match found {
            Some(newer) if newer.number > number => return None,
            Some(same) if same.number == number => same,
            Some(_) | None => Self {
                number,
                entries: Vec::new(),
            },
        };
        let room = ENTRIES.saturating_sub(chunk.entries.len());
        let added = entries.len().min(room);
        chunk.entries.extend_from_slice(&entries[..added]);
        (added > 0).then_some((chunk, added))
    }
}

/// The newest entries of the audit trail, oldest first.
pub(crate) fn trail(chunks: &[Chunk], limit: usize) -> Vec<AuditEntry> {
    let entries = chunks.iter().flat_map(|chunk| &chunk.entries);
    let mut all: Vec<AuditEntry> = entries
        .filter_map(|entry| match entry {
            Entry::Did(entry) => Some(entry.clone()),
            Entry::Happened(_) => None,
        })
        .collect();
    all.split_off(all.len().saturating_sub(limit))
}

/// The newest events, oldest first; of one subject, or of all. The same event again within an hour is
/// one that is counted.
pub(crate) fn events(chunks: &[Chunk], subject: Option<&str>, limit: usize) -> Vec<RecordedEvent> {
    let mut all: Vec<RecordedEvent> = Vec::new();
    let mut known: HashMap<Same, usize> = HashMap::new();
    for entry in chunks.iter().flat_map(|chunk| &chunk.entries) {
        let Entry::Happened(one) = entry else {
            continue;
        };
        if subject.is_some_and(|subject| one.event.subject != subject) {
            continue;
        }
        let same = Same::of(&one.event);
        match known.get(&same).map(|at| &mut all[*at]) {
            Some(before) if goes_on(before.last, one.event.at, SAME_EVENT) => {
                before.last = before.last.max(one.last);
                before.count = before.count.saturating_add(one.count);
            }
            Some(_) | None => {
                known.insert(same, all.len());
                all.push(one.clone());
            }
        }
    }
    all.sort_by_key(|one| one.last);
    all.split_off(all.len().saturating_sub(limit))
}

fn goes_on(last: Timestamp, now: Timestamp, within: SignedDuration) -> bool {
    now.duration_since(last) < within
}

/// What makes two events the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Same {
    subject: String,
    reason: String,
    message: String,
}

impl Same {
    fn of(event: &Event) -> Self {
        Self {
            subject: event.subject.clone(),
            reason: event.reason.clone(),
            message: event.message.clone(),
        }
    }
}

/// When events were written last, and what happened of them since.
#[derive(Debug, Default)]
pub(crate) struct Counted(HashMap<Same, Count>);

#[derive(Debug)]
struct Count {
    written: Timestamp,
    /// What is not written yet.
    more: Option<RecordedEvent>,
}

impl Counted {
    /// What is to be written of an event; none: nothing yet, it is counted.
    pub(crate) fn heard(&mut self, event: &Event) -> Option<RecordedEvent> {
        let once = || RecordedEvent {
            event: event.clone(),
            last: event.at,
            count: 1,
        };
        if self.0.len() >= REMEMBERED {
            // Those that go on are written once too often, which is no harm.
            self.0.clear();
        }
        let count = self.0.entry(Same::of(event)).or_insert(Count {
            written: Timestamp::MIN,
            more: None,
        });
        let now = match count.more.take() {
            Some(before) => RecordedEvent {
                last: before.last.max(event.at),
                count: before.count.saturating_add(1),
                ..before
            },
            None => once(),
        };
        if count.written != Timestamp::MIN && goes_on(count.written, event.at, GOES_ON) {
            count.more = Some(now);
            return None;
        }
        count.written = event.at;
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn event(second: i64, message: &str) -> Event {
        Event {
            at: at(second),
            subject: "Database a/b/c/d/e".to_owned(),
            reason: "StepFailed".to_owned(),
            message: message.to_owned(),
            warning: true,
        }
    }

    fn did(number: usize) -> Entry {
        Entry::Did(AuditEntry {
            at: at(0),
            actor: "ana".to_owned(),
            action: format!("action {number}"),
            subject: "Installation".to_owned(),
            outcome: "done".to_owned(),
        })
    }

    #[test]
    fn a_full_chunk_takes_no_more_and_the_oldest_gives_its_place() {
        let entries: Vec<Entry> = (0..300).map(did).collect();
        let (full, added) = Chunk::with(None, 7, &entries).unwrap();
        assert_eq!((full.entries.len(), added), (ENTRIES, ENTRIES));
        assert_eq!(Chunk::with(Some(full.clone()), 7, &entries), None);
        let (next, added) = Chunk::with(Some(full.clone()), 7 + CHUNKS, &entries[added..]).unwrap();
        assert_eq!((next.number, added), (47, 50));
        assert_eq!(Chunk::name(7), Chunk::name(47));
        assert_eq!(
            Chunk::with(Some(next.clone()), 7, &entries),
            None,
            "it is a newer one's"
        );
        let last = trail(&[full, next], 60);
        assert_eq!((last.len(), &*last[0].action), (60, "action 240"));
        assert_eq!(last[59].action, "action 299");
    }

    #[test]
    fn what_goes_on_is_counted_and_written_seldom() {
        let mut counted = Counted::default();
        let times = [0, 10, 20, 310, 320];
        let written: Vec<Entry> = times
            .iter()
            .filter_map(|second| counted.heard(&event(*second, "no")))
            .map(Entry::Happened)
            .collect();
        assert_eq!(written.len(), 2, "{written:?}");
        let again = RecordedEvent {
            event: event(4000, "no"),
            last: at(4000),
            count: 1,
        };
        let chunk = Chunk {
            number: 0,
            entries: [written, vec![did(1), Entry::Happened(again)]].concat(),
        };
        let chunks = [chunk];
        let told = events(&chunks, None, 10);
        let told: Vec<_> = told
            .iter()
            .map(|one| (one.event.at, one.last, one.count))
            .collect();
        assert_eq!(told, [(at(0), at(310), 4), (at(4000), at(4000), 1)]);
        assert_eq!(events(&chunks, None, 1)[0].count, 1);
        assert!(events(&chunks, Some("Installation"), 10).is_empty());
        assert!(counted.heard(&event(321, "another")).is_some());
    }

    #[test]
    fn a_chunk_reads_as_it_was_written() {
        let one = RecordedEvent {
            event: event(0, "é"),
            last: at(1),
            count: 2,
        };
        let chunk = Chunk {
            number: 3,
            entries: vec![did(1), Entry::Happened(one)],
        };
        let text = serde_json::to_string(&chunk).unwrap();
        assert_eq!(serde_json::from_str::<Chunk>(&text).unwrap(), chunk);
    }
}
