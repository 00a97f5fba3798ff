//! What may go.
//!
//! Kept are the base backups that ended inside the window, the newest before it on every line of
//! history that reaches into the window, all that these need, and always the newest whole one. Of
//! the write-ahead log, what is needed to go on from them; without point-in-time recovery, only
//! what makes each consistent. History files always stay: they are small, and without them nobody
//! knows which way led where.
//!
//! The window is counted back from the earliest of three moments: now, the end of the newest whole
//! backup, and the store's time of it. So neither a clock that jumps ahead, nor a database that
//! was not backed up for long, lets what is there expire.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use boma_instance::backup::BackupKind;
use boma_instance::wal::{Timeline, WalFile};
use jiff::{SignedDuration, Timestamp};

use super::window::{PointInTime, candidates};
use crate::catalog::{Backup, Catalog, Run, order};
use crate::format::label::Label;
use crate::timeline::Lineage;

/// What is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Days that can be gone back.
    pub days: u16,
    /// Whether to every moment of them.
    pub point_in_time: PointInTime,
}

/// A base backup that is being taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its name.
    pub label: Label,
    /// The one that it compares with.
    pub parent: Option<Label>,
}

/// What may go. Only a look into the repository makes one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expiry {
    backups: Vec<Label>,
    remains: Vec<Label>,
    log: Vec<(Timeline, Run)>,
    others: Vec<WalFile>,
    held: Option<Held>,
}

/// Why nothing expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// No backup is whole: whatever is there may be the last hope.
    NothingWhole,
    /// Somebody restores from it.
    Restoring,
    /// Nobody knows where a timeline came from, so nobody knows what it needs.
    UnknownHistory(Timeline),
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingWhole => f.write_str("no base backup is whole"),
            Self::Restoring => f.write_str("somebody restores from it"),
            Self::UnknownHistory(timeline) => {
                write!(f, "the history of timeline {timeline} is not known")
            }
        }
    }
}

impl Expiry {
    /// Base backups, each before those that it needs.
    pub fn backups(&self) -> &[Label] {
        &self.backups
    }

    /// What attempts left that never became backups.
    pub fn remains(&self) -> &[Label] {
        &self.remains
    }

    /// Segments of the write-ahead log, oldest first.
    pub fn log(&self) -> &[(Timeline, Run)] {
        &self.log
    }

    /// Other files of the write-ahead log.
    pub fn others(&self) -> &[WalFile] {
        &self.others
    }

    /// Why nothing expires although it is old enough, where that is so.
    pub fn held(&self) -> Option<Held> {
        self.held
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.backups.is_empty()
            && self.remains.is_empty()
            && self.log.is_empty()
            && self.others.is_empty()
    }
}

/// Decides what may go.
pub fn expiry(
    catalog: &Catalog,
    policy: Policy,
    now: Timestamp,
    running: Option<&Running>,
) -> Expiry {
    let mut expiry = Expiry {
        remains: remains(catalog, running),
        ..Expiry::default()
    };
    let (cut, lineages) = match (cut(catalog, policy, now), lineages(catalog)) {
        (Some(cut), Ok(lineages)) => (cut, lineages),
        (None, _) => {
            expiry.held = Some(Held::NothingWhole);
            return expiry;
        }
        (_, Err(timeline)) => {
            expiry.held = Some(Held::UnknownHistory(timeline));
            return expiry;
        }
    };
    let mut window = kept_for_window(catalog, &lineages, (cut, policy.point_in_time));
    window.extend(running.and_then(|running| running.parent.clone()));
    let kept = with_what_they_need(catalog, &window);
    expiry.backups = dependants_first(catalog, &kept);
    let log = Log {
        catalog,
        cut,
        window: window
            .iter()
            .filter_map(|label| catalog.backup(label))
            .collect(),
        kept: kept
            .iter()
            .filter_map(|label| catalog.backup(label))
            .collect(),
    };
    for (timeline, line) in &catalog.archive.lines {
        let Some(lineage) = lineages.get(timeline) else {
            continue;
        };
        let from = log.keep_from(lineage, policy.point_in_time);
        let spans = log.spans(*timeline);
        let gone = line.runs.iter().flat_map(|run| without(*run, from, &spans));
        expiry.log.extend(gone.map(|run| (*timeline, run)));
        let old = |file: &&WalFile| from.is_none_or(|from| number(**file) < from);
        expiry.others.extend(line.others.iter().filter(old));
    }
    expiry
}

/// What ended before it is outside the window; none: no backup is whole.
fn cut(catalog: &Catalog, policy: Policy, now: Timestamp) -> Option<Timestamp> {
    let newest = catalog.newest()?;
    let reference = now.min(newest.stopped_at()).min(newest.written_at);
    let window = SignedDuration::from_hours(24 * i64::from(policy.days));
    Some(reference.checked_sub(window).unwrap_or(Timestamp::MIN))
}

/// Where each timeline came from; the error is one of which that is not known.
fn lineages(catalog: &Catalog) -> Result<BTreeMap<Timeline, Lineage>, Timeline> {
    let archived = catalog.archive.lines.keys().copied();
    archived
        .chain(catalog.backups.iter().map(Backup::timeline))
        .map(|timeline| {
            let lineage = catalog.archive.lineage(timeline);
            let lineage = lineage.map_err(|_damaged_or_missing| timeline)?;
            Ok((timeline, lineage))
        })
        .collect()
}

/// Backups that moments of the window start from.
fn kept_for_window(
    catalog: &Catalog,
    lineages: &BTreeMap<Timeline, Lineage>,
    (cut, point_in_time): (Timestamp, PointInTime),
) -> BTreeSet<Label> {
    let mut kept: BTreeSet<_> = catalog
        .backups
        .iter()
        .filter(|backup| backup.stopped_at() > cut)
        .map(|backup| backup.label.clone())
        .collect();
    kept.extend(catalog.newest().map(|backup| backup.label.clone()));
    for (timeline, lineage) in lineages {
        let is_newest = catalog.newest_timeline() == Some(*timeline);
        let left_later =
            point_in_time == PointInTime::On && reaches_into_window(catalog, *timeline, cut);
        if !is_newest && !left_later {
            continue;
        }
        let before = candidates(catalog, lineage)
            .into_iter()
            .map(|(backup, _)| backup)
            .filter(|backup| backup.stopped_at() <= cut)
            .max_by_key(|backup| order(backup));
        kept.extend(before.map(|backup| backup.label.clone()));
    }
    kept
}

/// Whether something of a timeline may have been written after the beginning of the window.
fn reaches_into_window(catalog: &Catalog, timeline: Timeline, cut: Timestamp) -> bool {
    let line = catalog.archive.lines.get(&timeline);
    line.is_some_and(|line| {
        line.runs.iter().any(|run| {
            let ended = line.times.get(&run.last);
            ended.is_none_or(|ended| *ended > cut)
        })
    })
}

/// What is kept, with all that it needs. A manifest that cannot be read does not say what it
/// needs; that can only be what was taken since the last full one before it.
fn with_what_they_need(catalog: &Catalog, window: &BTreeSet<Label>) -> BTreeSet<Label> {
    let mut kept = window.clone();
    for unreadable in unreadable_in_window(catalog, window) {
        let mut before: Vec<_> = labels(catalog)
            .filter(|label| label.moment() <= unreadable.moment())
            .collect();
        before.sort_by(|one, other| one.moment().cmp(other.moment()));
        let full = before
            .iter()
            .rposition(|label| label.kind() == BackupKind::Full && *label != unreadable);
        kept.extend(before.split_off(full.unwrap_or(0)).into_iter().cloned());
    }
    let needed: Vec<_> = kept
        .iter()
        .filter_map(|label| catalog.backup(label))
        .flat_map(|backup| backup.needs.iter().cloned())
        .collect();
    kept.extend(needed);
    kept
}

/// Those that are not older than all that is kept.
fn unreadable_in_window<'a>(
    catalog: &'a Catalog,
    window: &BTreeSet<Label>,
) -> impl Iterator<Item = &'a Label> {
    let oldest = window.first().cloned();
    let labels = catalog.unreadable.iter().map(|one| &one.label);
    labels.filter(move |label| oldest.as_ref().is_none_or(|oldest| *label >= oldest))
}

fn labels(catalog: &Catalog) -> impl Iterator<Item = &Label> {
    let readable = catalog.backups.iter().map(|backup| &backup.label);
    readable.chain(catalog.unreadable.iter().map(|one| &one.label))
}

/// All others, each before those that it needs.
fn dependants_first(catalog: &Catalog, kept: &BTreeSet<Label>) -> Vec<Label> {
    let mut gone: Vec<_> = labels(catalog)
        .filter(|label| !kept.contains(*label))
        .cloned()
        .collect();
    // Newest first; what needs more comes before what it needs, also when a clock was set back.
    gone.sort_by(|one, other| other.moment().cmp(one.moment()));
    let mut sorted = Vec::with_capacity(gone.len());
    while !gone.is_empty() {
        let needed: BTreeSet<_> = gone
            .iter()
            .filter_map(|label| catalog.backup(label))
            .flat_map(|backup| &backup.needs)
            .collect();
        let place = gone.iter().position(|label| !needed.contains(label));
        sorted.push(gone.remove(place.unwrap_or(0)));
    }
    sorted
}

/// Attempts that are over. What a backup needs is no remains, even if its own manifest is lost;
/// nor is what one needs whose manifest cannot be read.
fn remains(catalog: &Catalog, running: Option<&Running>) -> Vec<Label> {
    let needed: BTreeSet<_> = catalog
        .backups
        .iter()
        .flat_map(|backup| &backup.needs)
        .collect();
    let doubtful = catalog
        .unreadable
        .iter()
        .map(|one| one.label.moment())
        .max();
    let is_over = |label: &Label| {
        running.is_none_or(|running| label.moment() < running.label.moment())
            && doubtful.is_none_or(|doubtful| label.moment() > doubtful)
    };
    catalog
        .remains
        .iter()
        .map(|one| &one.label)
        .filter(|label| is_over(label) && !needed.contains(label))
        .cloned()
        .collect()
}

struct Log<'a> {
    catalog: &'a Catalog,
    /// Where the window begins.
    cut: Timestamp,
    /// Backups that moments of the window start from.
    window: Vec<&'a Backup>,
    /// These, and those that they need.
    kept: Vec<&'a Backup>,
}

impl Log<'_> {
    /// The oldest segment of a timeline from which on all stay; none: none has to.
    fn keep_from(&self, lineage: &Lineage, point_in_time: PointInTime) -> Option<u64> {
        let is_newest = self.catalog.newest_timeline() == Some(lineage.timeline());
        let on_it: Vec<_> = self
            .window
            .iter()
            .filter(|backup| lineage.holds(backup.timeline(), backup.stop()))
            .collect();
        let starts = on_it.iter().map(|backup| backup.span().first);
        let reaches_back = on_it.iter().any(|backup| backup.stopped_at() <= self.cut);
        match (point_in_time, is_newest) {
            // Nothing that is known reaches back to where the window begins. What does may not be
            // listed, and would be worth nothing without its log.
            (PointInTime::On, true) if !reaches_back => Some(0),
            (PointInTime::On, true | false) => starts.min(),
            (PointInTime::Off, true) => Some(starts.max().unwrap_or(0)),
            (PointInTime::Off, false) => None,
        }
    }

    /// Segments that make the kept backups of a timeline consistent.
    fn spans(&self, timeline: Timeline) -> Vec<Run> {
        let mut spans: Vec<_> = self
            .kept
            .iter()
            .filter(|backup| backup.timeline() == timeline)
            .map(|backup| backup.span())
            .collect();
        spans.sort();
        spans
    }
}

/// What is left of a run without all from a segment on, and without some spans.
fn without(run: Run, from: Option<u64>, spans: &[Run]) -> Vec<Run> {
    let mut left = Vec::new();
    let end = from.map_or(run.last + 1, |from| from.min(run.last + 1));
    let mut first = run.first;
    for span in spans {
        if span.first > first && first < end {
            left.push(Run {
                first,
                last: (span.first - 1).min(end - 1),
            });
        }
        first = first.max(span.last + 1);
    }
    if first < end {
        left.push(Run {
            first,
            last: end - 1,
        });
    }
    left
}

fn number(file: WalFile) -> u64 {
    match file {
        WalFile::Segment(segment) | WalFile::Partial(segment) | WalFile::Label(segment, _) => {
            segment.number
        }
        // Never expires.
        WalFile::History(_) => u64::MAX,
    }
}
