//! What is in one instance's part of a repository. The types and questions here are pure;
//! [`Catalog::read`] fills them.
//!
//! Nothing is left out in silence: a manifest that does not open is an entry with its problem, and
//! a store that fails is an error, never an empty catalog.

mod read;

use std::collections::{BTreeMap, BTreeSet};

use boma_instance::backup::BackupSummary;
use boma_instance::wal::{Lsn, Segment, Timeline, WalFile};
use boma_problem::{Class, Problem};
use jiff::Timestamp;

use crate::format::label::Label;
use crate::format::names::Prefix;
use crate::store::Listed;
use crate::timeline::{History, Lineage};

pub use read::Cache;

/// Bytes of a segment where no backup says it: PostgreSQL's own choice.
pub const USUAL_SEGMENT: u32 = 16 << 20;

/// What is in one instance's part of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// Which part.
    pub prefix: Prefix,
    /// Bytes of a segment of the write-ahead log, as the backups say.
    pub segment_size: u32,
    /// Base backups that have a manifest, sorted by name.
    pub backups: Vec<Backup>,
    /// Manifests that are there and cannot be read, sorted by name.
    pub unreadable: Vec<Unreadable>,
    /// Base backups without a manifest: what an attempt left, or one that is running.
    pub remains: Vec<Remains>,
    /// The write-ahead log.
    pub archive: Archive,
    /// Objects that Boma does not write; they are left alone.
    pub strangers: Vec<String>,
    /// Objects that are there, and that the listings leave out; none, where the store is in order.
    pub unlisted: Vec<Listed>,
    /// What the running server said of itself, where it was asked.
    pub live: Option<Live>,
}

/// A base backup that has a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Its name.
    pub label: Label,
    /// What people want to know of it.
    pub summary: BackupSummary,
    /// Earlier backups whose packs it needs.
    pub needs: BTreeSet<Label>,
    /// Bytes of a segment of its server's write-ahead log.
    pub segment_size: u32,
    /// When its manifest was stored, by the store's clock.
    pub written_at: Timestamp,
    /// Objects that its manifest names and that are not there, or are of another length.
    pub missing: Vec<String>,
    /// Whether the hashes of its blocks are there: what the next backup compares with.
    pub has_map: bool,
}

/// A manifest that is there and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Whose.
    pub label: Label,
    /// Why.
    pub problem: Problem,
}

/// A base backup without a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// Its name.
    pub label: Label,
    /// Whole names of its objects.
    pub objects: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
}

/// What a running server said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// When it was asked; taken before it answered.
    pub at: Timestamp,
    /// On which line of history it is.
    pub timeline: Timeline,
    /// `pg_current_wal_insert_lsn()`: nothing is written behind it.
    pub inserted: Lsn,
}

/// The write-ahead log of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive {
    /// By line of history.
    pub lines: BTreeMap<Timeline, Line>,
}

/// What is archived of one timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Segments without a gap, in order; between two of them is one.
    pub runs: Vec<Run>,
    /// Incomplete segments, and what PostgreSQL notes of backups.
    pub others: BTreeSet<WalFile>,
    /// Where it came from.
    pub history: Option<Origin>,
    /// When segments were last written to on the server, by their number; only those that
    /// matter were looked at.
    pub times: BTreeMap<u64, Timestamp>,
    /// Bytes of all its objects.
    pub bytes: u64,
}

/// The history file of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was read.
    Known {
        /// What it says.
        history: History,
        /// When the timeline began, by the server's clock; none: unknown.
        begun_at: Option<Timestamp>,
    },
    /// It is there and cannot be read.
    Damaged(Problem),
}

/// Segments of one timeline without a gap: numbers of the first and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Run {
    /// Whether a segment is one of them.
    pub fn has(self, number: u64) -> bool {
        (self.first..=self.last).contains(&number)
    }
}

/// Segments that are missing between two that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// On which line of history.
    pub timeline: Timeline,
    /// The first and the last missing one.
    pub missing: Run,
}

impl Line {
    /// The run that a segment is in.
    pub fn run(&self, number: u64) -> Option<Run> {
        let behind = self.runs.partition_point(|run| run.first <= number);
        let run = *self.runs.get(behind.checked_sub(1)?)?;
        run.has(number).then_some(run)
    }

    /// Adds a segment; they come in order.
    pub(crate) fn push(&mut self, number: u64) {
        match self.runs.last_mut() {
            Some(run) if number == run.last + 1 => run.last = number,
            Some(run) if number <= run.last => {}
            _ => self.runs.push(Run {
                first: number,
                last: number,
            }),
        }
    }
}

impl Line {
    /// Takes out segments.
    fn remove(&mut self, is_out: impl Fn(u64) -> bool) {
        let runs = std::mem::take(&mut self.runs);
        let numbers = runs.into_iter().flat_map(|run| run.first..=run.last);
        for number in numbers.filter(|number| !is_out(*number)) {
            self.push(number);
        }
    }
}

impl Archive {
    /// Whether a timeline has any file here.
    pub fn knows(&self, timeline: Timeline) -> bool {
        self.lines.contains_key(&timeline)
    }

    /// The run that a segment is in.
    pub fn run(&self, segment: Segment) -> Option<Run> {
        self.lines.get(&segment.timeline)?.run(segment.number)
    }

    /// When a segment was last written to on the server; none: it was not looked at.
    pub fn time(&self, segment: Segment) -> Option<Timestamp> {
        let line = self.lines.get(&segment.timeline)?;
        line.times.get(&segment.number).copied()
    }

    /// When a timeline began, by the server's clock; none: unknown.
    pub fn begun_at(&self, timeline: Timeline) -> Option<Timestamp> {
        match &self.lines.get(&timeline)?.history {
            Some(Origin::Known { begun_at, .. }) => *begun_at,
            Some(Origin::Damaged(_)) | None => None,
        }
    }

    /// A timeline with all that came before it. The first has no history file; for each other one
    /// PostgreSQL archives it before anything else.
    pub fn lineage(&self, timeline: Timeline) -> Result<Lineage, Box<Problem>> {
        let history = self
            .lines
            .get(&timeline)
            .and_then(|line| line.history.as_ref());
        match history {
            Some(Origin::Known { history, .. }) => Ok(Lineage::of(history)),
            Some(Origin::Damaged(problem)) => Err(Box::new(problem.clone())),
            None if timeline == Timeline(1) => Ok(Lineage::alone(timeline)),
            None => {
                let text = format!("the archive has no history of timeline {timeline}");
                let problem = Problem::new(Class::Config, "history-missing", text);
                Err(Box::new(problem.hint(
                    "Name another timeline, or restore to the end of a base backup.",
                )))
            }
        }
    }

    /// Segments whose times matter: the last of each run, and those at which a timeline was left.
    pub(crate) fn segments_of_interest(&self, segment_size: u32) -> BTreeSet<Segment> {
        let mut wanted = BTreeSet::new();
        for (timeline, line) in &self.lines {
            wanted.extend(line.runs.iter().map(|run| Segment {
                timeline: *timeline,
                number: run.last,
            }));
            let Some(Origin::Known { history, .. }) = &line.history else {
                continue;
            };
            for switch in &history.switches {
                let at = switch.at.segment(switch.parent, segment_size);
                wanted.insert(at);
                wanted.extend(
                    at.number
                        .checked_sub(1)
                        .map(|number| Segment { number, ..at }),
                );
            }
        }
        wanted
    }

    /// Segments that are missing between two that are there.
    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for (timeline, line) in &self.lines {
            gaps.extend(line.runs.windows(2).map(|pair| Gap {
                timeline: *timeline,
                missing: Run {
                    first: pair[0].last + 1,
                    last: pair[1].first - 1,
                },
            }));
        }
        gaps
    }
}

impl Backup {
    /// Where replay starts.
    pub fn start(&self) -> Lsn {
        self.summary.start_lsn
    }

    /// From where on the data is consistent.
    pub fn stop(&self) -> Lsn {
        self.summary.stop_lsn
    }

    /// On which line of history it is.
    pub fn timeline(&self) -> Timeline {
        self.summary.timeline
    }

    /// When it ended.
    pub fn stopped_at(&self) -> Timestamp {
        self.summary.stopped_at
    }

    /// Segments that it needs to become consistent.
    pub fn span(&self) -> Run {
        let first = self.start().segment(self.timeline(), self.segment_size);
        let last = self
            .stop()
            .segment_before(self.timeline(), self.segment_size);
        Run {
            first: first.number,
            last: last.number.max(first.number),
        }
    }
}

impl Catalog {
    /// One with nothing in it.
    pub fn empty(prefix: Prefix) -> Self {
        Self {
            prefix,
            segment_size: USUAL_SEGMENT,
            backups: Vec::new(),
            unreadable: Vec::new(),
            remains: Vec::new(),
            archive: Archive::default(),
            strangers: Vec::new(),
            unlisted: Vec::new(),
            live: None,
        }
    }

    /// Adds what a running server said of itself.
    #[must_use]
    pub fn with_live(mut self, live: Option<Live>) -> Self {
        self.live = live;
        self
    }

    /// A backup by its name.
    pub fn backup(&self, label: &Label) -> Option<&Backup> {
        self.backups.iter().find(|backup| backup.label == *label)
    }

    /// Whether a backup can be restored as far as a listing shows: its objects are there, and so
    /// is the write-ahead log that makes it consistent.
    pub fn is_whole(&self, backup: &Backup) -> bool {
        let span = backup.span();
        let first = Segment {
            timeline: backup.timeline(),
            number: span.first,
        };
        let run = self.archive.run(first);
        backup.missing.is_empty() && run.is_some_and(|run| run.has(span.last))
    }

    /// Backups that can be restored as far as a listing shows.
    pub fn whole(&self) -> impl Iterator<Item = &Backup> {
        self.backups.iter().filter(|backup| self.is_whole(backup))
    }

    /// The newest whole backup, by its place in the write-ahead log: clocks may go back.
    pub fn newest(&self) -> Option<&Backup> {
        self.whole().max_by_key(|backup| order(backup))
    }

    /// The newest line of history of which there is anything.
    pub fn newest_timeline(&self) -> Option<Timeline> {
        let archived = self.archive.lines.keys().copied();
        let backed_up = self.backups.iter().map(Backup::timeline);
        archived.chain(backed_up).max()
    }
}

/// Orders backups of one lineage as their server took them.
pub(crate) fn order(backup: &Backup) -> (Timeline, Lsn, &Label) {
    (backup.timeline(), backup.stop(), &backup.label)
}
