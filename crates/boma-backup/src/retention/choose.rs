//! Which base backup to start from, for a moment to restore to.

#[cfg(test)]
mod tests;

use std::fmt;

use boma_instance::backup::RecoveryTarget;
use boma_instance::wal::{Lsn, Timeline};
use boma_problem::{Class, IntoProblem, Problem};
use jiff::Timestamp;

use super::window::{Reach, Window, candidates, reach, windows};
use crate::catalog::{Backup, Catalog};
use crate::format::label::Label;
use crate::timeline::Lineage;

/// What to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The base backup to start from.
    pub label: Label,
    /// `recovery_target_timeline`.
    pub timeline: Timeline,
    /// Where replay starts.
    pub start: Lsn,
    /// From where on the data is consistent.
    pub stop: Lsn,
    /// How far replay could get.
    pub reach: Reach,
}

/// Why nothing can be restored to a moment. Said before anything starts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing to start from.
    #[error("there is no base backup to restore{}", and_unreadable(*.unreadable))]
    NoBackup {
        /// Backups whose manifest cannot be read.
        unreadable: usize,
    },
    /// No backup has this name.
    #[error("there is no base backup {label:?}")]
    UnknownBackup {
        /// The name.
        label: String,
    },
    /// Its manifest cannot be read.
    #[error("the base backup {label} cannot be read")]
    Unreadable {
        /// The name.
        label: Label,
        /// Why.
        problem: Box<Problem>,
    },
    /// Something that it needs is not there.
    #[error("the base backup {label} is not whole: {missing} is missing")]
    NotWhole {
        /// The name.
        label: Label,
        /// What is missing.
        missing: String,
    },
    /// Nothing was ever archived of it.
    #[error("there is no timeline {timeline}; there is {}", Listing(.known))]
    UnknownTimeline {
        /// The one that was asked for.
        timeline: Timeline,
        /// Those that there are.
        known: Vec<Timeline>,
    },
    /// Nobody knows where a timeline came from.
    #[error("the history of timeline {timeline} is not known: {problem}")]
    UnknownHistory {
        /// Which.
        timeline: Timeline,
        /// Why.
        problem: Box<Problem>,
    },
    /// No backup reaches it.
    #[error("{} cannot be restored: {}", Target(.target), Reachable(.windows))]
    Outside {
        /// The moment.
        target: RecoveryTarget,
        /// What can be restored.
        windows: Vec<Window>,
    },
    /// It is on a line of history that was left before.
    #[error(
        "{} is on timeline {timeline}, which was left before it: the database goes on from an earlier moment",
        Target(.target)
    )]
    Abandoned {
        /// The moment.
        target: RecoveryTarget,
        /// The line of history that it is on.
        timeline: Timeline,
    },
}

impl IntoProblem for Refusal {
    fn problem(&self) -> Problem {
        let problem = |code| Problem::from_error(Class::User, code, self);
        match self {
            Self::NoBackup { .. } => problem("restore-no-backup")
                .hint("`boma backup create DATABASE` takes one now."),
            Self::UnknownBackup { .. } => problem("restore-backup-unknown")
                .hint("`boma backup list DATABASE` shows the base backups that there are."),
            Self::Unreadable { problem: cause, .. } => problem("restore-backup-damaged")
                .hint(format!("{cause}."))
                .hint("Restore from another: `boma backup list DATABASE` shows them."),
            Self::NotWhole { .. } => problem("restore-backup-damaged").hint(
                "`boma backup verify DATABASE` says what is damaged; `boma backup list DATABASE` shows other backups.",
            ),
            Self::UnknownTimeline { .. } => problem("restore-timeline-unknown")
                .hint("Leave the timeline out, and the newest is taken."),
            Self::UnknownHistory { .. } => problem("restore-timeline-unknown")
                .hint("Name another timeline, or restore to the end of a base backup."),
            Self::Outside { .. } => problem("restore-target-outside")
                .hint("Name a moment inside, or a base backup: `boma backup list DATABASE` shows them."),
            Self::Abandoned { timeline, .. } => problem("restore-target-abandoned").hint(format!(
                "To have that state, say so: `--timeline {timeline}`."
            )),
        }
    }
}

/// Chooses the newest base backup from which a moment can be reached. Without a timeline, the way
/// through history is that of the newest one.
///
/// Where a restore point lies is not known before it is replayed: it is looked for from the oldest
/// backup on whose log goes on without a gap up to now.
pub fn choose(
    catalog: &Catalog,
    target: &RecoveryTarget,
    timeline: Option<Timeline>,
) -> Result<Choice, Refusal> {
    let newest = catalog.newest_timeline();
    let (Some(newest), false) = (newest, catalog.backups.is_empty()) else {
        return by_label(catalog, target, timeline).unwrap_or(Err(Refusal::NoBackup {
            unreadable: catalog.unreadable.len(),
        }));
    };
    if let Some(chosen) = by_label(catalog, target, timeline) {
        return chosen;
    }
    let wanted = known_timeline(catalog, timeline.unwrap_or(newest))?;
    let way = Way::of(catalog, wanted)?;
    match (timeline, way.choose(target)) {
        (None, Ok(choice)) => match left_before(catalog, &way.lineage, target) {
            Some(timeline) => Err(Refusal::Abandoned {
                target: target.clone(),
                timeline,
            }),
            None => Ok(choice),
        },
        (None, Err(refusal @ Refusal::Outside { .. })) => Err(elsewhere(catalog, target, refusal)),
        (_, chosen) => chosen,
    }
}

/// A way through history with what can be restored on it.
struct Way<'a> {
    catalog: &'a Catalog,
    lineage: Lineage,
    /// Newest first.
    candidates: Vec<(&'a Backup, Reach)>,
}

impl<'a> Way<'a> {
    fn of(catalog: &'a Catalog, timeline: Timeline) -> Result<Self, Refusal> {
        let lineage = catalog
            .archive
            .lineage(timeline)
            .map_err(|problem| Refusal::UnknownHistory { timeline, problem })?;
        let candidates = candidates(catalog, &lineage);
        Ok(Self {
            catalog,
            lineage,
            candidates,
        })
    }

    fn choose(&self, target: &RecoveryTarget) -> Result<Choice, Refusal> {
        let newest_reach = self.candidates.first().map(|(_, reach)| reach.lsn);
        let mut fitting = self
            .candidates
            .iter()
            .filter(|(backup, reach)| match target {
                RecoveryTarget::Latest | RecoveryTarget::Backup(_) => true,
                RecoveryTarget::Name(_) => Some(reach.lsn) == newest_reach,
                RecoveryTarget::Lsn(lsn) => backup.stop() <= *lsn && *lsn <= reach.lsn,
                RecoveryTarget::Time(time) => {
                    backup.stopped_at() <= *time && reach.time.is_some_and(|until| *time <= until)
                }
            });
        let found = if matches!(target, RecoveryTarget::Name(_)) {
            fitting.next_back()
        } else {
            fitting.next()
        };
        found
            .map(|(backup, reach)| choice(backup, self.lineage.timeline(), *reach))
            .ok_or_else(|| Refusal::Outside {
                target: target.clone(),
                windows: windows(self.catalog, &self.lineage),
            })
    }
}

fn choice(backup: &Backup, timeline: Timeline, reach: Reach) -> Choice {
    Choice {
        label: backup.label.clone(),
        timeline,
        start: backup.start(),
        stop: backup.stop(),
        reach,
    }
}

/// The end of a backup that is named: on its own timeline, whatever came later.
fn by_label(
    catalog: &Catalog,
    target: &RecoveryTarget,
    timeline: Option<Timeline>,
) -> Option<Result<Choice, Refusal>> {
    let RecoveryTarget::Backup(name) = target else {
        return None;
    };
    let unknown = || Refusal::UnknownBackup {
        label: name.clone(),
    };
    let Ok(label) = name.parse::<Label>() else {
        return Some(Err(unknown()));
    };
    let damaged = catalog.unreadable.iter().find(|one| one.label == label);
    if let Some(damaged) = damaged {
        return Some(Err(Refusal::Unreadable {
            label,
            problem: Box::new(damaged.problem.clone()),
        }));
    }
    let Some(backup) = catalog.backup(&label) else {
        return Some(Err(unknown()));
    };
    if let Some(wanted) = timeline.filter(|wanted| *wanted != backup.timeline()) {
        return Some(Err(Refusal::UnknownTimeline {
            timeline: wanted,
            known: vec![backup.timeline()],
        }));
    }
    let own = Lineage::alone(backup.timeline());
    let reach = reach(catalog, &own, backup.start());
    if let Some(missing) = backup.missing.first() {
        let missing = format!("`{missing}`");
        return Some(Err(Refusal::NotWhole { label, missing }));
    }
    if reach.lsn < backup.stop() {
        let missing = reach.lsn.segment(backup.timeline(), backup.segment_size);
        let missing = missing.file_name(backup.segment_size);
        let missing = format!("`{missing}` of the write-ahead log");
        return Some(Err(Refusal::NotWhole { label, missing }));
    }
    Some(Ok(choice(backup, backup.timeline(), reach)))
}

fn known_timeline(catalog: &Catalog, timeline: Timeline) -> Result<Timeline, Refusal> {
    let mut known: Vec<_> = catalog.archive.lines.keys().copied().collect();
    known.extend(catalog.backups.iter().map(Backup::timeline));
    known.sort();
    known.dedup();
    if known.contains(&timeline) {
        Ok(timeline)
    } else {
        Err(Refusal::UnknownTimeline { timeline, known })
    }
}

/// The timeline that the database was on at a moment, when the newest one comes from an earlier
/// moment of it: what was there then is not what the newest timeline has.
fn left_before(catalog: &Catalog, lineage: &Lineage, target: &RecoveryTarget) -> Option<Timeline> {
    let RecoveryTarget::Time(time) = target else {
        return None;
    };
    let begun_at = |timeline| catalog.archive.begun_at(timeline);
    // On which timeline the server was then: the newest one that had begun.
    let began_later = |timeline: &Timeline| begun_at(*timeline).is_some_and(|at| *time < at);
    let lines = catalog.archive.lines.keys().copied();
    let then = lines.rev().find(|timeline| !began_later(timeline))?;
    let Some(part) = lineage.part(then) else {
        // It is no part of the way to the newest one at all.
        return (then < lineage.timeline()).then_some(then);
    };
    let end = part.end?;
    let size = catalog.segment_size;
    let at = end.segment(then, size);
    let before = end.segment_before(then, size);
    let line = catalog.archive.lines.get(&then)?;
    // Nothing of it is there behind the place where it was left: nothing to take by mistake.
    let goes_on = line.runs.last().is_some_and(|run| run.last >= at.number);
    let surely_before = catalog
        .archive
        .time(boma_instance::wal::Segment {
            number: before.number.saturating_sub(u64::from(before == at)),
            ..before
        })
        .is_some_and(|left| *time <= left);
    (goes_on && !surely_before).then_some(then)
}

/// Looks for a moment that is not on the way to the newest timeline on the others.
fn elsewhere(catalog: &Catalog, target: &RecoveryTarget, refusal: Refusal) -> Refusal {
    let lines = catalog.archive.lines.keys().copied().rev();
    let reaches = |timeline: &Timeline| {
        Way::of(catalog, *timeline).is_ok_and(|way| way.choose(target).is_ok())
    };
    let found = lines.into_iter().find(reaches);
    found.map_or(refusal, |timeline| Refusal::Abandoned {
        target: target.clone(),
        timeline,
    })
}

fn and_unreadable(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!("; {count} cannot be read"),
    }
}

struct Target<'a>(&'a RecoveryTarget);

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            RecoveryTarget::Latest => f.write_str("the newest state"),
            RecoveryTarget::Time(time) => time.fmt(f),
            RecoveryTarget::Lsn(lsn) => write!(f, "position {lsn}"),
            RecoveryTarget::Name(name) => write!(f, "restore point {name:?}"),
            RecoveryTarget::Backup(label) => write!(f, "base backup {label}"),
        }
    }
}

struct Reachable<'a>(&'a [Window]);

impl fmt::Display for Reachable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no base backup with its write-ahead log is whole");
        }
        f.write_str("what can be restored is ")?;
        for (at, window) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(", and ")?;
            }
            window.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} ", self.from)?;
        match self.until {
            Some(until) => write!(f, "to {until}")?,
            None => f.write_str("to a time that is not known")?,
        }
        write!(f, " ({} to {})", self.from_lsn, self.until_lsn)
    }
}

struct Listing<'a>(&'a [Timeline]);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, timeline) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            timeline.fmt(f)?;
        }
        Ok(())
    }
}

impl Window {
    /// Whether a time is inside.
    pub fn has(&self, time: Timestamp) -> bool {
        self.from <= time && self.until.is_some_and(|until| time <= until)
    }
}
