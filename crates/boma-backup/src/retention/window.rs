//! The windows of moments that can be restored.
//!
//! Measured is the time at which the server last wrote to a segment, which its head in the
//! repository says. A commit that was acknowledged before that time is in that segment or in an
//! earlier one: had it been in a later one, this one would have been written to its end before.
//! So a window reaches up to the time of the last segment without a gap, and where that time is
//! not known, the end of the window is not known either. The store's own times are not used: they
//! are those of another clock, and later.
//!
//! A running server that has written nothing behind the end of the archive moves the end of the
//! window up to the moment at which it was asked.

use boma_instance::wal::{Lsn, Segment, Timeline};
use jiff::Timestamp;

use crate::catalog::{Backup, Catalog, order};
use crate::timeline::{Lineage, Part};

/// Bytes at the beginning of a segment that say what it is; a server that wrote nothing since the
/// segment before ended stands behind them (`SizeOfXLogLongPHD`).
const PAGE_HEAD: u64 = 40;

/// How far replay gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Where the write-ahead log ends, or has a gap.
    pub lsn: Lsn,
    /// All that was committed by then is there; none: unknown.
    pub time: Option<Timestamp>,
}

/// Moments that can be restored, without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The oldest moment: the end of a base backup.
    pub from: Timestamp,
    /// The newest; none: unknown, or nothing was archived yet that was committed after `from`.
    pub until: Option<Timestamp>,
    /// Position of the oldest moment.
    pub from_lsn: Lsn,
    /// Position of the newest.
    pub until_lsn: Lsn,
}

/// Windows of the way through history that ends in `lineage`, oldest first. More than one: there
/// are gaps in the write-ahead log between them.
pub fn windows(catalog: &Catalog, lineage: &Lineage) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    for (backup, reach) in candidates(catalog, lineage).into_iter().rev() {
        let stopped_at = backup.stopped_at();
        match windows.last_mut() {
            Some(window) if window.until_lsn == reach.lsn => {
                window.from = window.from.min(stopped_at);
            }
            Some(_) | None => windows.push(Window {
                from: stopped_at,
                until: reach.time,
                from_lsn: backup.stop(),
                until_lsn: reach.lsn,
            }),
        }
    }
    for window in &mut windows {
        window.until = window.until.filter(|until| *until >= window.from);
    }
    windows
}

/// The window that reaches up to now; none: nothing can be restored.
///
/// Without point-in-time recovery it reaches from the end of one base backup to that of another,
/// and nothing in between can be restored.
pub fn window(catalog: &Catalog, timeline: Timeline, point_in_time: PointInTime) -> Option<Window> {
    let lineage = catalog
        .archive
        .lineage(timeline)
        .unwrap_or_else(|_unknown| Lineage::alone(timeline));
    match point_in_time {
        PointInTime::On => windows(catalog, &lineage).pop(),
        PointInTime::Off => {
            let whole = candidates(catalog, &lineage);
            let (newest, oldest) = (whole.first()?.0, whole.last()?.0);
            let moments = whole.iter().map(|(backup, _)| backup.stopped_at());
            Some(Window {
                from: moments.clone().min()?,
                until: moments.max(),
                from_lsn: oldest.stop(),
                until_lsn: newest.stop(),
            })
        }
    }
}

/// Whether every moment of the window is to be restorable, or the ends of base backups only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointInTime {
    /// Every moment.
    On,
    /// The ends of base backups.
    Off,
}

impl PointInTime {
    /// As a spec says it.
    pub fn from_spec(spec: &boma_instance::backup::BackupSpec) -> Self {
        if spec.point_in_time {
            Self::On
        } else {
            Self::Off
        }
    }
}

/// Whole backups on a way through history, newest first, each with how far replay gets from it.
pub(crate) fn candidates<'a>(catalog: &'a Catalog, lineage: &Lineage) -> Vec<(&'a Backup, Reach)> {
    let mut found: Vec<_> = catalog
        .whole()
        .filter(|backup| lineage.holds(backup.timeline(), backup.stop()))
        .filter_map(|backup| {
            let reach = reach(catalog, lineage, backup.start());
            (reach.lsn >= backup.stop()).then_some((backup, reach))
        })
        .collect();
    found.sort_by(|(one, _), (other, _)| order(other).cmp(&order(one)));
    found
}

/// Follows the write-ahead log from a position on, as PostgreSQL does: each segment is taken from
/// the newest timeline of the lineage that it can be on.
pub(crate) fn reach(catalog: &Catalog, lineage: &Lineage, start: Lsn) -> Reach {
    let size = u64::from(catalog.segment_size);
    let mut reach = Reach {
        lsn: start,
        time: None,
    };
    let mut number = start.0 / size;
    while let Some(step) = step(catalog, lineage, number) {
        match step {
            Step::Up(last) => {
                reach.lsn = Lsn((last.number + 1) * size);
                reach.time = time(catalog, last, reach.lsn);
                number = last.number + 1;
            }
            Step::Left(at) => {
                reach.lsn = reach.lsn.max(at);
                break;
            }
        }
    }
    reach
}

enum Step {
    /// All segments are there up to this one.
    Up(Segment),
    /// The segment in which a timeline was left is there as the old timeline knows it only, which
    /// is good up to where it was left.
    Left(Lsn),
}

fn step(catalog: &Catalog, lineage: &Lineage, number: u64) -> Option<Step> {
    let size = catalog.segment_size;
    let spans = || {
        lineage
            .parts()
            .iter()
            .map(|part| (part, numbers(part, size)))
    };
    let eligible = spans()
        .rev()
        .filter(|(_, (first, last))| (*first..=*last).contains(&number));
    for (place, (part, (_, last))) in eligible.enumerate() {
        let segment = |number| Segment {
            timeline: part.timeline,
            number,
        };
        let Some(run) = catalog.archive.run(segment(number)) else {
            continue;
        };
        if place > 0 {
            return part.end.map(Step::Left);
        }
        let next_begins = spans()
            .map(|(_, (first, _))| first)
            .find(|first| *first > number);
        let bound = next_begins.map_or(last, |first| last.min(first - 1));
        return Some(Step::Up(segment(run.last.min(bound))));
    }
    None
}

/// Numbers of the first and the last segment of a part. The segment in which a timeline was left
/// is on both.
fn numbers(part: &Part, size: u32) -> (u64, u64) {
    let first = part.begin.segment(part.timeline, size).number;
    let last = part.end.map_or(u64::MAX, |end| {
        end.segment_before(part.timeline, size).number
    });
    (first, last)
}

fn time(catalog: &Catalog, last: Segment, end: Lsn) -> Option<Timestamp> {
    let archived = catalog.archive.time(last);
    let live = catalog
        .live
        .filter(|live| live.timeline == last.timeline && live.inserted <= Lsn(end.0 + PAGE_HEAD));
    archived.max(live.map(|live| live.at))
}
