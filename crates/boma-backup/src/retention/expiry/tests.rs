//! What goes and what stays, by tables and on simulated clusters.

use boma_instance::wal::{Lsn, Segment};
use boma_problem::{Class, Problem};
use proptest::prelude::*;

use super::*;
use crate::catalog::{Remains, Unreadable};
use crate::retention::choose::choose;
use crate::retention::worlds::{SIZE, World, at, events};
use boma_instance::backup::RecoveryTarget;

const DAY: i64 = 86_400;

fn policy(days: u16, point_in_time: PointInTime) -> Policy {
    Policy {
        days,
        point_in_time,
    }
}

/// A backup a day, at the end of which something is written.
fn days(count: usize, kinds: &[BackupKind]) -> World {
    let mut world = World::new();
    for day in 0..count {
        world.now = world.now.max(DAY * i64::try_from(day).unwrap());
        world.back_up(kinds[day % kinds.len()]);
        world.write(2 * SIZE);
    }
    world
}

fn gone(world: &World, policy: Policy) -> Expiry {
    expiry(&world.catalog(), policy, at(world.now), None)
}

fn numbers(world: &World, expiry: &Expiry) -> Vec<usize> {
    let place = |label: &Label| world.backups.iter().position(|one| one.label == *label);
    expiry.backups().iter().filter_map(place).collect()
}

const FULL: &[BackupKind] = &[BackupKind::Full];

#[test]
fn backups_of_the_window_stay_and_the_newest_before_it() {
    let world = days(10, FULL);
    let expiry = gone(&world, policy(3, PointInTime::On));
    // Of 0 to 9, 9 ended a moment ago: 7 to 9 are inside the window, 6 ended at its beginning.
    assert_eq!(numbers(&world, &expiry), [5, 4, 3, 2, 1, 0]);
    let kept = world.backups[6].span().first;
    let all = Run {
        first: world.backups[0].span().first,
        last: kept - 1,
    };
    assert_eq!(expiry.log(), [(Timeline(1), all)]);
    assert_eq!(expiry.held(), None);
    let few = days(3, FULL);
    assert!(gone(&few, policy(7, PointInTime::On)).is_empty());
}

#[test]
fn what_a_kept_backup_needs_stays_with_its_log() {
    use BackupKind::{Full, Incremental};
    let world = days(
        10,
        &[Full, Incremental, Incremental, Incremental, Incremental],
    );
    let expiry = gone(&world, policy(2, PointInTime::On));
    // 7 to 9 need 5 and 6; the chain before goes, the newest of it first.
    assert_eq!(numbers(&world, &expiry), [4, 3, 2, 1, 0]);
    let spans: Vec<_> = [5, 6].map(|day| world.backups[day].span()).to_vec();
    for (_, run) in expiry.log() {
        let touches = |span: &Run| run.has(span.first) || run.has(span.last);
        assert!(!spans.iter().any(touches), "{run:?}");
    }
}

#[test]
fn without_point_in_time_recovery_only_the_log_of_backups_stays() {
    let world = days(5, FULL);
    let expiry = gone(&world, policy(2, PointInTime::Off));
    assert_eq!(numbers(&world, &expiry), [1, 0]);
    let catalog = world.catalog();
    let newest = catalog.newest().unwrap().span();
    for number in 0..=Lsn(world.lsn).segment(Timeline(1), SIZE).number {
        let needed = world.backups[2..].iter().any(|one| one.span().has(number));
        let goes = expiry.log().iter().any(|(_, run)| run.has(number));
        let archived = catalog.archive.lines[&Timeline(1)].run(number).is_some();
        assert_eq!(
            goes,
            archived && !needed && number < newest.first,
            "{number}"
        );
    }
}

#[test]
fn a_clock_that_jumps_and_a_long_pause_expire_nothing() {
    let world = days(3, FULL);
    let far = at(world.now + 1000 * DAY);
    let catalog = world.catalog();
    let policy = policy(7, PointInTime::On);
    assert!(expiry(&catalog, policy, far, None).is_empty());
    assert!(expiry(&catalog, policy, at(-1000 * DAY), None).is_empty());
    // A backup that was taken while the clock was wrong: the store's clock was not.
    let mut jumped = world.clone();
    jumped.now += 1000 * DAY;
    jumped.back_up(BackupKind::Full);
    jumped.backups[3].written_at = at(world.now);
    assert!(expiry(&jumped.catalog(), policy, far, None).is_empty());
}

#[test]
fn the_only_whole_backup_stays_however_old_and_nothing_goes_without_one() {
    let mut world = days(4, FULL);
    for place in 1..4 {
        world.lose_pack(place);
    }
    let expiry = gone(&world, policy(1, PointInTime::On));
    assert!(!numbers(&world, &expiry).contains(&0), "{expiry:?}");
    world.lose_pack(0);
    let expiry = gone(&world, policy(1, PointInTime::On));
    assert_eq!(expiry.held(), Some(Held::NothingWhole));
    assert_eq!(
        expiry.held().unwrap().to_string(),
        "no base backup is whole"
    );
    assert!(expiry.is_empty());
}

#[test]
fn a_timeline_of_unknown_origin_holds_everything() {
    let mut world = days(10, FULL);
    world.go_back(Timeline(1), world.commits[5].end);
    world.write(SIZE);
    world.histories.clear();
    let expiry = gone(&world, policy(1, PointInTime::On));
    assert!(expiry.is_empty());
    let held = expiry.held().unwrap().to_string();
    assert_eq!(held, "the history of timeline 2 is not known");
}

#[test]
fn a_backup_that_runs_keeps_what_it_compares_with_and_itself() {
    let world = days(9, FULL);
    let mut catalog = world.catalog();
    let remains = |second: i64| Remains {
        label: Label::new(at(second), BackupKind::Incremental),
        objects: Vec::new(),
        bytes: 0,
    };
    catalog.remains = vec![remains(5), remains(20 * DAY), remains(21 * DAY)];
    let running = Running {
        label: catalog.remains[1].label.clone(),
        parent: Some(world.backups[0].label.clone()),
    };
    let policy = policy(1, PointInTime::On);
    let expiry = super::expiry(&catalog, policy, at(21 * DAY), Some(&running));
    assert_eq!(expiry.remains(), [catalog.remains[0].label.clone()]);
    assert!(!expiry.backups().contains(&world.backups[0].label));
    let over = super::expiry(&catalog, policy, at(21 * DAY), None);
    assert_eq!(over.remains().len(), 3);
    assert!(over.backups().contains(&world.backups[0].label));
}

#[test]
fn packs_that_a_backup_needs_are_no_remains_although_their_manifest_is_lost() {
    use BackupKind::{Full, Incremental};
    let world = days(3, &[Full, Incremental, Incremental]);
    let mut catalog = world.catalog();
    let lost = catalog.backups.remove(0).label;
    catalog.remains = vec![Remains {
        label: lost.clone(),
        objects: Vec::new(),
        bytes: 0,
    }];
    let policy = policy(7, PointInTime::On);
    let expiry_of_two = expiry(&catalog, policy, at(world.now), None);
    assert!(expiry_of_two.remains().is_empty() && expiry_of_two.backups().is_empty());
    // Nor are they when the manifest that needs them cannot be read.
    for backup in std::mem::take(&mut catalog.backups) {
        catalog.unreadable.push(Unreadable {
            label: backup.label,
            problem: Problem::new(Class::Config, "repository-damaged", "x"),
        });
    }
    assert!(expiry(&catalog, policy, at(world.now), None).is_empty());
}

#[test]
fn a_manifest_that_cannot_be_read_keeps_what_it_may_need() {
    use BackupKind::{Full, Incremental};
    let world = days(
        12,
        &[
            Full,
            Incremental,
            Incremental,
            Incremental,
            Incremental,
            Full,
        ],
    );
    let mut catalog = world.catalog();
    let damaged = catalog.backups.remove(10);
    catalog.unreadable.push(Unreadable {
        label: damaged.label,
        problem: Problem::new(Class::Config, "repository-damaged", "x"),
    });
    let expiry = expiry(&catalog, policy(1, PointInTime::On), at(world.now), None);
    // 10 was taken 1 day ago, and what it needs began with 6.
    assert_eq!(numbers(&world, &expiry), [5, 4, 3, 2, 1, 0]);
}

fn after(world: &World, expiry: &Expiry) -> World {
    let mut after = world.clone();
    after
        .backups
        .retain(|backup| !expiry.backups().contains(&backup.label));
    after.segments.retain(|segment, _| {
        let goes = |(timeline, run): &(Timeline, Run)| {
            *timeline == segment.timeline && run.has(segment.number)
        };
        !expiry.log().iter().any(goes)
    });
    after
}

fn scaled(events: &[crate::retention::worlds::Event]) -> World {
    // Waits are hours, so that windows of days fall inside.
    use crate::retention::worlds::Event;
    let mut world = World::new();
    for event in events {
        if let Event::Wait(hours) = event {
            world.now += i64::from(*hours) * 3600;
        } else {
            world.go_on(event);
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_moment_of_the_window_is_as_restorable_as_before(
        events in events(),
        days in 1_u16..5,
        later in 0_i64..10 * DAY,
    ) {
        let world = scaled(&events);
        let policy = policy(days, PointInTime::On);
        let now = at(world.now + later);
        let catalog = world.catalog();
        let expiry = expiry(&catalog, policy, now, None);
        let left = after(&world, &expiry);
        let remaining = left.catalog();
        if let Some(cut) = cut(&catalog, policy, now) {
            let timelines = world.timelines().into_iter().map(Some).chain([None]);
            for timeline in timelines {
                for commit in world.commits.iter().filter(|commit| commit.at >= cut) {
                    // On another timeline, a position is another moment.
                    let way = world.lineage(timeline.unwrap_or(world.timeline));
                    let at_lsn = way.holds(commit.timeline, commit.end);
                    let at_lsn = at_lsn.then_some(RecoveryTarget::Lsn(commit.end));
                    for target in [RecoveryTarget::Time(commit.at)].into_iter().chain(at_lsn) {
                        if let Ok(choice) = choose(&catalog, &target, timeline) {
                            let same = choose(&remaining, &target, timeline);
                            // A position has no time: one before the window may go.
                            let before = matches!(target, RecoveryTarget::Lsn(_))
                                && expiry.backups().contains(&choice.label);
                            prop_assert!(before || same.as_ref() == Ok(&choice), "{same:?} was {choice:?}");
                        }
                    }
                }
            }
        }
        prop_assert_eq!(catalog.newest().map(|one| &one.label), remaining.newest().map(|one| &one.label));
    }

    #[test]
    fn nothing_that_a_kept_backup_needs_goes(
        events in events(),
        days in 1_u16..5,
        off in any::<bool>(),
    ) {
        let world = scaled(&events);
        let policy = policy(days, if off { PointInTime::Off } else { PointInTime::On });
        let catalog = world.catalog();
        let expiry = expiry(&catalog, policy, at(world.now), None);
        let left = after(&world, &expiry);
        let remaining = left.catalog();
        for (place, label) in expiry.backups().iter().enumerate() {
            let later = &expiry.backups()[place + 1..];
            let needed = |other: &Label| catalog.backup(other).is_some_and(|one| one.needs.contains(label));
            prop_assert!(!later.iter().any(needed), "{label} goes before what needs it");
        }
        for backup in &remaining.backups {
            for need in &backup.needs {
                prop_assert!(remaining.backup(need).is_some(), "{need} is gone");
            }
            prop_assert_eq!(remaining.is_whole(backup), catalog.is_whole(backup));
            let target = RecoveryTarget::Backup(backup.label.to_string());
            let was = choose(&catalog, &target, None);
            let is = choose(&remaining, &target, None);
            prop_assert_eq!(was.map(|one| one.label).ok(), is.map(|one| one.label).ok());
        }
        let again = super::expiry(&remaining, policy, at(world.now), None);
        prop_assert!(again.is_empty(), "{again:?}");
        for (timeline, run) in expiry.log() {
            for number in run.first..=run.last {
                let segment = Segment { timeline: *timeline, number };
                prop_assert!(world.segments.contains_key(&segment), "{segment:?} is not there");
            }
        }
    }
}
