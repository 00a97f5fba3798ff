//! Whether the next base backup is full or incremental.
//!
//! An incremental backup compares every block with the hashes of the one before, whatever its
//! timeline or time, so it is as exact as a full one. It depends on the packs of the ones before,
//! though: one lost object of the full one loses the whole chain. So a chain ends after 30 days,
//! or when its increments have added half of what the full one holds: then a full one costs not
//! much more, restores from fewer objects, and lets the old chain expire as a whole. It also ends
//! wherever it is not certain that what is there now comes from what was backed up.

use boma_instance::backup::BackupKind;
use boma_instance::wal::Timeline;
use jiff::{SignedDuration, Timestamp};

use crate::catalog::{Backup, Catalog, order};
use crate::format::label::Label;

/// Days after which a chain ends.
const LONGEST_CHAIN_DAYS: i64 = 30;

/// The server that is to be backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its full version: `15.18`.
    pub version: String,
    /// On which line of history it is.
    pub timeline: Timeline,
}

/// How the next base backup is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Everything is stored.
    Full(WhyFull),
    /// What differs from this backup is stored.
    Incremental(Label),
}

/// Why the next backup is a full one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyFull {
    /// There is no whole backup with hashes of its blocks.
    NothingWhole,
    /// Those that there are, are not of what the server has now, or nobody knows.
    OtherHistory,
    /// They are of another major version.
    OtherVersion,
    /// The full one that the chain began with is not there any more.
    NoBeginning,
    /// The chain is old, or begins in the future.
    Old,
    /// Increments have added half of what the full one holds.
    Grown,
}

impl Next {
    /// The kind.
    pub fn kind(&self) -> BackupKind {
        match self {
            Self::Full(_) => BackupKind::Full,
            Self::Incremental(_) => BackupKind::Incremental,
        }
    }
}

/// Decides how the next base backup is taken.
pub fn next(catalog: &Catalog, server: &Server, now: Timestamp) -> Next {
    match parent(catalog, server, now) {
        Ok(parent) => Next::Incremental(parent.label.clone()),
        Err(why) => Next::Full(why),
    }
}

fn parent<'a>(
    catalog: &'a Catalog,
    server: &Server,
    now: Timestamp,
) -> Result<&'a Backup, WhyFull> {
    let with_hashes = || catalog.whole().filter(|backup| backup.has_map);
    with_hashes().next().ok_or(WhyFull::NothingWhole)?;
    let lineage = catalog.archive.lineage(server.timeline);
    let lineage = lineage.map_err(|_unknown| WhyFull::OtherHistory)?;
    let parent = with_hashes()
        .filter(|backup| lineage.holds(backup.timeline(), backup.stop()))
        .max_by_key(|backup| order(backup))
        .ok_or(WhyFull::OtherHistory)?;
    if major(&parent.summary.server_version) != major(&server.version) {
        return Err(WhyFull::OtherVersion);
    }
    let beginning = match parent.needs.first() {
        Some(first) => catalog.backup(first).ok_or(WhyFull::NoBeginning)?,
        None => parent,
    };
    let age = now.duration_since(beginning.summary.started_at);
    let longest = SignedDuration::from_hours(24 * LONGEST_CHAIN_DAYS);
    if age >= longest || age < SignedDuration::ZERO {
        return Err(WhyFull::Old);
    }
    let added: u64 = catalog
        .backups
        .iter()
        .filter(|backup| backup.needs.contains(&beginning.label))
        .map(|backup| backup.summary.stored_bytes)
        .sum();
    if added > beginning.summary.stored_bytes / 2 {
        return Err(WhyFull::Grown);
    }
    Ok(parent)
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::worlds::{SIZE, World, at};

    const DAY: i64 = 86_400;

    fn chain(increments: usize) -> World {
        let mut world = World::new();
        world.back_up(BackupKind::Full);
        for _ in 0..increments {
            world.now += DAY;
            world.back_up(BackupKind::Incremental);
        }
        world
    }

    fn decide(world: &World, version: &str) -> Next {
        let server = Server {
            version: version.into(),
            timeline: world.timeline,
        };
        next(&world.catalog(), &server, at(world.now))
    }

    #[test]
    fn the_first_is_full_and_the_next_compares_with_the_newest() {
        assert_eq!(
            decide(&World::new(), "15.18"),
            Next::Full(WhyFull::NothingWhole)
        );
        let world = chain(3);
        let next = decide(&world, "15.19");
        assert_eq!(next, Next::Incremental(world.backups[3].label.clone()));
        assert_eq!(next.kind(), BackupKind::Incremental);
    }

    #[test]
    fn a_chain_ends_when_it_is_old_or_has_grown() {
        let mut world = chain(2);
        world.now = 30 * DAY - 1;
        assert_eq!(decide(&world, "15.18").kind(), BackupKind::Incremental);
        world.now = 30 * DAY;
        assert_eq!(decide(&world, "15.18"), Next::Full(WhyFull::Old));
        // The clock was set back behind the full one.
        world.now = -1;
        assert_eq!(decide(&world, "15.18"), Next::Full(WhyFull::Old));
        // Increments of 100 bytes on a full one of 1000.
        assert_eq!(decide(&chain(5), "15.18").kind(), BackupKind::Incremental);
        assert_eq!(decide(&chain(6), "15.18"), Next::Full(WhyFull::Grown));
    }

    #[test]
    fn a_doubt_about_what_the_server_has_makes_it_full() {
        let mut world = chain(1);
        assert_eq!(decide(&world, "16.2"), Next::Full(WhyFull::OtherVersion));
        let (before, after) = (world.commits[0].end, world.commits[1].end);
        world.write(2 * SIZE);
        world.go_back(Timeline(1), after);
        let newest = world.backups[1].label.clone();
        assert_eq!(decide(&world, "15.18"), Next::Incremental(newest));
        // The newest is of a moment that the server went back behind.
        world.go_back(Timeline(1), before);
        let first = world.backups[0].label.clone();
        assert_eq!(decide(&world, "15.18"), Next::Incremental(first));
        world.histories.clear();
        assert_eq!(decide(&world, "15.18"), Next::Full(WhyFull::OtherHistory));
    }

    #[test]
    fn a_chain_that_is_not_whole_is_not_gone_on_with() {
        let mut world = chain(2);
        world.backups[2].has_map = false;
        let second = world.backups[1].label.clone();
        assert_eq!(decide(&world, "15.18"), Next::Incremental(second));
        let mut beheaded = chain(1);
        beheaded.backups.remove(0);
        assert_eq!(decide(&beheaded, "15.18"), Next::Full(WhyFull::NoBeginning));
        world.lose_pack(0);
        assert_eq!(decide(&world, "15.18"), Next::Full(WhyFull::NothingWhole));
    }
}
