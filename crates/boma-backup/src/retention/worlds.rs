//! A cluster that is simulated: it writes, is backed up, goes back in time, and loses things. What
//! is decided from its catalog is compared with what it knows itself.

use std::collections::{BTreeMap, BTreeSet};

use boma_instance::InstanceId;
use boma_instance::backup::{BackupKind, BackupSummary};
use boma_instance::wal::{Lsn, Segment, Timeline};
use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use crate::catalog::{Backup, Catalog, Origin};
use crate::format::label::Label;
use crate::format::names::Prefix;
use crate::timeline::{History, Lineage, Switch};

/// Bytes of a segment.
pub(crate) const SIZE: u32 = 1 << 20;

pub(crate) const PREFIX: Prefix = Prefix {
    instance: InstanceId(Uuid::from_u128(7)),
    system_identifier: 42,
};

/// A moment, in seconds from a beginning of no meaning.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// A transaction that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commit {
    pub(crate) timeline: Timeline,
    pub(crate) end: Lsn,
    pub(crate) at: Timestamp,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) timeline: Timeline,
    pub(crate) lsn: u64,
    pub(crate) commits: Vec<Commit>,
    pub(crate) backups: Vec<Backup>,
    pub(crate) segments: BTreeMap<Segment, Timestamp>,
    pub(crate) histories: BTreeMap<Timeline, (History, Timestamp)>,
}

/// What happens to it.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Write(u32),
    Wait(u32),
    Switch,
    Backup(BackupKind),
    /// Goes back to an earlier commit of its lineage.
    GoBack(prop::sample::Index),
    LoseSegment(prop::sample::Index),
    LosePack(prop::sample::Index),
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            now: 0,
            timeline: Timeline(1),
            lsn: u64::from(SIZE) + 1000,
            commits: Vec::new(),
            backups: Vec::new(),
            segments: BTreeMap::new(),
            histories: BTreeMap::new(),
        }
    }

    pub(crate) fn of(events: &[Event]) -> Self {
        let mut world = Self::new();
        for event in events {
            world.go_on(event);
        }
        world
    }

    pub(crate) fn go_on(&mut self, event: &Event) {
        match event {
            Event::Write(bytes) => self.write(*bytes),
            Event::Wait(seconds) => self.now += i64::from(*seconds),
            Event::Switch => self.switch(),
            Event::Backup(kind) => self.back_up(*kind),
            Event::GoBack(index) => {
                let lineage = self.lineage(self.timeline);
                let way: Vec<_> = self
                    .commits
                    .iter()
                    .filter(|commit| lineage.holds(commit.timeline, commit.end))
                    .collect();
                if !way.is_empty() {
                    let commit = **index.get(&way);
                    self.go_back(commit.timeline, commit.end);
                }
            }
            Event::LoseSegment(index) => {
                let all: Vec<_> = self.segments.keys().copied().collect();
                if !all.is_empty() {
                    self.segments.remove(index.get(&all));
                }
            }
            Event::LosePack(index) => {
                if !self.backups.is_empty() {
                    let place = index.index(self.backups.len());
                    self.lose_pack(place);
                }
            }
        }
    }

    /// Writes and commits.
    pub(crate) fn write(&mut self, bytes: u32) {
        let size = u64::from(SIZE);
        let end = self.lsn + u64::from(bytes.max(1));
        for number in self.lsn / size..end / size {
            self.now += 1;
            self.archive(number);
        }
        self.now += 1;
        self.lsn = end;
        self.commits.push(Commit {
            timeline: self.timeline,
            end: Lsn(end),
            at: at(self.now),
        });
    }

    fn archive(&mut self, number: u64) {
        let segment = Segment {
            timeline: self.timeline,
            number,
        };
        self.segments.insert(segment, at(self.now));
    }

    /// Ends the segment that is being written.
    pub(crate) fn switch(&mut self) {
        let size = u64::from(SIZE);
        if !self.lsn.is_multiple_of(size) {
            self.now += 1;
            self.archive(self.lsn / size);
            self.lsn = self.lsn.next_multiple_of(size);
        }
    }

    pub(crate) fn back_up(&mut self, kind: BackupKind) {
        let lineage = self.lineage(self.timeline);
        let base = self
            .backups
            .iter()
            .filter(|one| one.missing.is_empty() && lineage.holds(one.timeline(), one.stop()))
            .max_by_key(|one| (one.timeline(), one.stop()))
            .cloned();
        let (kind, needs) = match (kind, base) {
            (BackupKind::Incremental, Some(base)) => {
                let needs: BTreeSet<_> = base.needs.iter().cloned().chain([base.label]).collect();
                (kind, needs)
            }
            _ => (BackupKind::Full, BTreeSet::new()),
        };
        let moments: Vec<_> = self.backups.iter().map(|one| one.label.moment()).collect();
        let mut named = self.now;
        while moments.contains(&Label::new(at(named), kind).moment()) {
            named += 1;
        }
        let label = Label::new(at(named), kind);
        let (started_at, start) = (at(self.now), Lsn(self.lsn));
        self.write(100);
        let stop = Lsn(self.lsn);
        self.switch();
        self.now += 1;
        self.backups.push(Backup {
            summary: BackupSummary {
                label: label.to_string(),
                kind,
                started_at,
                stopped_at: at(self.now),
                start_lsn: start,
                stop_lsn: stop,
                timeline: self.timeline,
                data_bytes: 1000,
                stored_bytes: if needs.is_empty() { 1000 } else { 100 },
                server_version: "15.18".into(),
                damaged_pages: 0,
            },
            label,
            needs,
            segment_size: SIZE,
            written_at: at(self.now),
            missing: Vec::new(),
            has_map: true,
        });
    }

    /// Goes on from an earlier moment, on a timeline of its own.
    pub(crate) fn go_back(&mut self, timeline: Timeline, to: Lsn) {
        let mut switches: Vec<_> = self
            .lineage(timeline)
            .parts()
            .iter()
            .filter_map(|part| {
                part.end.map(|end| Switch {
                    parent: part.timeline,
                    at: end,
                    reason: String::new(),
                })
            })
            .collect();
        switches.push(Switch {
            parent: timeline,
            at: to,
            reason: String::new(),
        });
        self.now += 1;
        let newest = self.histories.keys().last().copied();
        self.timeline = Timeline(newest.unwrap_or(Timeline(1)).0 + 1);
        let history = History {
            timeline: self.timeline,
            switches,
        };
        self.histories
            .insert(self.timeline, (history, at(self.now)));
        self.lsn = to.0;
    }

    /// Loses what a backup stored: it, and those that need it, cannot be restored.
    pub(crate) fn lose_pack(&mut self, place: usize) {
        let lost = self.backups[place].label.clone();
        for backup in &mut self.backups {
            if backup.label == lost || backup.needs.contains(&lost) {
                let name = PREFIX.pack(&lost, 1).to_string();
                backup.missing.push(name);
            }
        }
    }

    pub(crate) fn lineage(&self, timeline: Timeline) -> Lineage {
        match self.histories.get(&timeline) {
            Some((history, _)) => Lineage::of(history),
            None => Lineage::alone(timeline),
        }
    }

    /// What a look into the repository shows.
    pub(crate) fn catalog(&self) -> Catalog {
        let mut catalog = Catalog::empty(PREFIX);
        catalog.segment_size = SIZE;
        catalog.backups.clone_from(&self.backups);
        catalog
            .backups
            .sort_by(|one, other| one.label.cmp(&other.label));
        let lines = &mut catalog.archive.lines;
        for segment in self.segments.keys() {
            let line = lines.entry(segment.timeline).or_default();
            line.push(segment.number);
        }
        for (timeline, (history, begun_at)) in &self.histories {
            lines.entry(*timeline).or_default().history = Some(Origin::Known {
                history: history.clone(),
                begun_at: Some(*begun_at),
            });
        }
        for segment in catalog.archive.segments_of_interest(SIZE) {
            let time = self.segments.get(&segment);
            if let (Some(time), Some(line)) =
                (time, catalog.archive.lines.get_mut(&segment.timeline))
            {
                line.times.insert(segment.number, *time);
            }
        }
        catalog
    }

    /// Timelines that there have been.
    pub(crate) fn timelines(&self) -> Vec<Timeline> {
        let newest = self.histories.keys().last().map_or(1, |newest| newest.0);
        (1..=newest).map(Timeline).collect()
    }
}

pub(crate) fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (1..3 * SIZE).prop_map(Event::Write),
        3 => (1_u32..100).prop_map(Event::Write),
        3 => (1_u32..40).prop_map(Event::Wait),
        1 => Just(Event::Switch),
        3 => Just(Event::Backup(BackupKind::Full)),
        4 => Just(Event::Backup(BackupKind::Incremental)),
        1 => any::<prop::sample::Index>().prop_map(Event::GoBack),
        1 => any::<prop::sample::Index>().prop_map(Event::LoseSegment),
        1 => any::<prop::sample::Index>().prop_map(Event::LosePack),
    ];
    prop::collection::vec(event, 1..40)
}
