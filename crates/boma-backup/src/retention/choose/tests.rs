//! Choices and windows, by tables and against a simulated cluster.

use boma_instance::backup::BackupKind;
use boma_instance::wal::Segment;
use proptest::prelude::*;

use super::*;
use crate::catalog::{Live, Unreadable};
use crate::retention::window::{PointInTime, window};
use crate::retention::worlds::{PREFIX, SIZE, World, at, events};

/// Two full backups with a segment of log each, and one behind them.
fn two() -> World {
    let mut world = World::new();
    world.back_up(BackupKind::Full);
    world.write(3 * SIZE);
    world.now += 100;
    world.back_up(BackupKind::Full);
    world.write(2 * SIZE);
    world
}

fn latest(world: &World) -> Result<Choice, Refusal> {
    choose(&world.catalog(), &RecoveryTarget::Latest, None)
}

fn to_time(world: &World, time: Timestamp) -> Result<Choice, Refusal> {
    choose(&world.catalog(), &RecoveryTarget::Time(time), None)
}

fn whole_window(world: &World) -> Window {
    window(&world.catalog(), world.timeline, PointInTime::On).unwrap()
}

#[test]
fn the_newest_backup_that_ended_before_the_target_is_taken() {
    let world = two();
    let window = whole_window(&world);
    let (one, two) = (&world.backups[0], &world.backups[1]);
    assert_eq!(window.from, one.stopped_at());
    assert_eq!(
        window.until_lsn,
        Lsn(world.lsn / u64::from(SIZE) * u64::from(SIZE))
    );
    let until = window.until.unwrap();
    for (time, backup) in [
        (one.stopped_at(), one),
        (two.summary.started_at, one),
        (two.stopped_at(), two),
        (until, two),
    ] {
        assert_eq!(to_time(&world, time).unwrap().label, backup.label, "{time}");
    }
    assert_eq!(latest(&world).unwrap().label, two.label);
    for (lsn, backup) in [
        (one.stop(), one),
        (two.stop(), two),
        (window.until_lsn, two),
    ] {
        let target = RecoveryTarget::Lsn(lsn);
        let choice = choose(&world.catalog(), &target, None).unwrap();
        assert_eq!(choice.label, backup.label, "{lsn}");
    }
}

#[test]
fn a_target_outside_is_refused_with_the_window_in_the_text() {
    let world = two();
    let window = whole_window(&world);
    let second = jiff::SignedDuration::from_secs(1);
    let targets = [
        RecoveryTarget::Time(window.from - second),
        RecoveryTarget::Time(window.until.unwrap() + second),
        RecoveryTarget::Lsn(Lsn(window.from_lsn.0 - 1)),
        RecoveryTarget::Lsn(Lsn(window.until_lsn.0 + 1)),
    ];
    for target in targets {
        let refusal = choose(&world.catalog(), &target, None).unwrap_err();
        let problem = refusal.problem();
        assert_eq!(problem.code, "restore-target-outside");
        assert_eq!(problem.class, Class::User);
        let (from, until) = (window.from, window.until.unwrap());
        let shown = format!("cannot be restored: what can be restored is from {from} to {until} (");
        assert!(problem.message.contains(&shown), "{problem}");
    }
}

#[test]
fn a_gap_ends_a_window_and_what_lies_in_it_is_refused() {
    let mut world = two();
    let lost = world.backups[1].span().first - 1;
    world.segments.remove(&Segment {
        timeline: Timeline(1),
        number: lost,
    });
    let catalog = world.catalog();
    assert_eq!(catalog.archive.gaps().len(), 1);
    assert_eq!(catalog.archive.gaps()[0].missing.first, lost);
    let found = windows(&catalog, &world.lineage(Timeline(1)));
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].until_lsn, Lsn(lost * u64::from(SIZE)));
    assert_eq!(whole_window(&world).from, world.backups[1].stopped_at());
    let inside = world.backups[1].summary.started_at;
    let refusal = to_time(&world, inside).unwrap_err();
    assert!(refusal.to_string().contains(", and from "), "{refusal}");
    assert!(found[0].has(found[0].from) && !found[0].has(inside));
}

#[test]
fn a_restore_point_is_looked_for_from_the_oldest_backup_without_a_gap() {
    let mut world = two();
    let target = RecoveryTarget::Name("before-release".into());
    let choice = choose(&world.catalog(), &target, None).unwrap();
    assert_eq!(choice.label, world.backups[0].label);
    let number = world.backups[1].span().first - 1;
    world.segments.remove(&Segment {
        timeline: Timeline(1),
        number,
    });
    let choice = choose(&world.catalog(), &target, None).unwrap();
    assert_eq!(choice.label, world.backups[1].label);
}

#[test]
fn a_backup_by_name_is_restored_to_its_end_or_refused() {
    let mut world = two();
    let label = world.backups[0].label.clone();
    let target = RecoveryTarget::Backup(label.to_string());
    let choice = choose(&world.catalog(), &target, None).unwrap();
    assert_eq!(
        (choice.label, choice.timeline),
        (label.clone(), Timeline(1))
    );
    let number = world.backups[0].span().last;
    world.segments.remove(&Segment {
        timeline: Timeline(1),
        number,
    });
    let problem = choose(&world.catalog(), &target, None)
        .unwrap_err()
        .problem();
    assert_eq!(problem.code, "restore-backup-damaged");
    assert!(
        problem
            .message
            .contains("of the write-ahead log is missing"),
        "{problem}"
    );
    world.lose_pack(0);
    let problem = choose(&world.catalog(), &target, None)
        .unwrap_err()
        .problem();
    assert!(
        problem.message.contains("pack-00001` is missing"),
        "{problem}"
    );
    let refusal = choose(&world.catalog(), &target, Some(Timeline(2))).unwrap_err();
    assert_eq!(refusal.to_string(), "there is no timeline 2; there is 1");
    for name in ["20261121T021406Z-full", "newest"] {
        let target = RecoveryTarget::Backup(name.into());
        let problem = choose(&world.catalog(), &target, None)
            .unwrap_err()
            .problem();
        assert_eq!(problem.code, "restore-backup-unknown");
        assert!(problem.message.contains(name), "{problem}");
    }
}

#[test]
fn a_manifest_that_cannot_be_read_is_said_to_be_damaged() {
    let mut catalog = two().catalog();
    let label = catalog.backups.remove(1).label;
    catalog.unreadable.push(Unreadable {
        label: label.clone(),
        problem: Problem::new(Class::Config, "repository-damaged", "the seal is broken"),
    });
    let target = RecoveryTarget::Backup(label.to_string());
    let problem = choose(&catalog, &target, None).unwrap_err().problem();
    assert_eq!(problem.code, "restore-backup-damaged");
    assert!(
        problem.hints[0].contains("the seal is broken"),
        "{problem:?}"
    );
    catalog.backups.clear();
    let problem = choose(&catalog, &RecoveryTarget::Latest, None)
        .unwrap_err()
        .problem();
    assert_eq!(problem.code, "restore-no-backup");
    assert_eq!(
        problem.message,
        "there is no base backup to restore; 1 cannot be read"
    );
    assert!(
        problem.hints[0].contains("boma backup create"),
        "{problem:?}"
    );
    let empty = Catalog::empty(PREFIX);
    let refusal = choose(&empty, &RecoveryTarget::Latest, None).unwrap_err();
    assert_eq!(refusal.to_string(), "there is no base backup to restore");
}

#[test]
fn what_was_left_behind_by_going_back_is_refused_unless_it_is_named() {
    let mut world = two();
    let (left_at, until) = (world.commits[0].end, whole_window(&world).until.unwrap());
    world.now += 50;
    world.go_back(Timeline(1), left_at);
    world.write(2 * SIZE);
    let catalog = world.catalog();
    let then = RecoveryTarget::Time(until);
    let problem = choose(&catalog, &then, None).unwrap_err().problem();
    assert_eq!(problem.code, "restore-target-abandoned");
    assert!(
        problem
            .message
            .contains("is on timeline 1, which was left before it"),
        "{problem}"
    );
    assert!(problem.hints[0].contains("`--timeline 1`"), "{problem:?}");
    let choice = choose(&catalog, &then, Some(Timeline(1))).unwrap();
    assert_eq!(choice.label, world.backups[1].label);
    // The newest state is that of the new timeline, reached from the backup before it was left.
    let choice = choose(&catalog, &RecoveryTarget::Latest, None).unwrap();
    assert_eq!(choice.timeline, Timeline(2));
    assert_eq!(choice.label, world.backups[0].label);
    // A position that only the old timeline reached.
    let far = RecoveryTarget::Lsn(world.backups[1].stop());
    let problem = choose(&catalog, &far, None).unwrap_err().problem();
    assert_eq!(problem.code, "restore-target-abandoned");
    assert!(choose(&catalog, &far, Some(Timeline(1))).is_ok());
}

#[test]
fn a_timeline_without_its_history_is_not_guessed_at() {
    let mut world = two();
    world.go_back(Timeline(1), world.commits[0].end);
    world.write(2 * SIZE);
    world.histories.clear();
    let catalog = world.catalog();
    let problem = choose(&catalog, &RecoveryTarget::Latest, None)
        .unwrap_err()
        .problem();
    assert_eq!(problem.code, "restore-timeline-unknown");
    assert!(
        problem
            .message
            .contains("the archive has no history of timeline 2"),
        "{problem}"
    );
    let lineage = catalog.archive.lineage(Timeline(2)).unwrap_err();
    assert_eq!(lineage.code, "history-missing");
    let problem = choose(&catalog, &RecoveryTarget::Latest, Some(Timeline(9)));
    let problem = problem.unwrap_err().problem();
    assert_eq!(problem.code, "restore-timeline-unknown");
    assert!(
        problem.message.contains("no timeline 9; there is 1, 2"),
        "{problem}"
    );
    assert!(choose(&catalog, &RecoveryTarget::Latest, Some(Timeline(1))).is_ok());
}

#[test]
fn a_server_that_wrote_nothing_since_moves_the_end_of_the_window() {
    let mut world = World::new();
    world.back_up(BackupKind::Full);
    let quiet = window(&world.catalog(), Timeline(1), PointInTime::On).unwrap();
    // The segment was written to before the backup had ended: no moment is sure yet.
    assert_eq!(quiet.until, None);
    assert!(quiet.to_string().contains("to a time that is not known"));
    for (inserted, until) in [
        (world.lsn, Some(at(900))),
        (world.lsn + 40, Some(at(900))),
        (world.lsn + 41, None),
    ] {
        let live = Live {
            at: at(900),
            timeline: Timeline(1),
            inserted: Lsn(inserted),
        };
        let catalog = world.catalog().with_live(Some(live));
        let window = window(&catalog, Timeline(1), PointInTime::On).unwrap();
        assert_eq!(window.until, until);
    }
}

#[test]
fn without_point_in_time_recovery_the_window_is_between_backups() {
    let world = two();
    let window = window(&world.catalog(), Timeline(1), PointInTime::Off).unwrap();
    assert_eq!(window.from, world.backups[0].stopped_at());
    assert_eq!(window.until, Some(world.backups[1].stopped_at()));
    assert_eq!(
        super::super::window::window(&Catalog::empty(PREFIX), Timeline(1), PointInTime::Off),
        None
    );
}

/// How far replay gets, segment by segment and without any cleverness.
fn replay(world: &World, lineage: &Lineage, backup: &Backup) -> (u64, Option<Timestamp>) {
    let size = u64::from(SIZE);
    let mut number = backup.start().0 / size;
    let mut reached = (backup.start().0, None);
    loop {
        let mut place = 0;
        let mut next = None;
        for part in lineage.parts().iter().rev() {
            let (begin, end) = (number * size, (number + 1) * size);
            if part.begin.0 >= end || part.end.is_some_and(|left| left.0 <= begin) {
                continue;
            }
            let segment = Segment {
                timeline: part.timeline,
                number,
            };
            if let Some(time) = world.segments.get(&segment) {
                next = Some((place, part.end, *time));
                break;
            }
            place += 1;
        }
        match next {
            Some((0, _, time)) => reached = ((number + 1) * size, Some(time)),
            Some((_, Some(left), _)) => return (reached.0.max(left.0), reached.1),
            Some((_, None, _)) | None => return reached,
        }
        number += 1;
    }
}

fn expected<'a>(world: &'a World, lineage: &Lineage, time: Timestamp) -> Option<&'a Backup> {
    let fits = |backup: &&Backup| {
        let (lsn, until) = replay(world, lineage, backup);
        backup.missing.is_empty()
            && lineage.holds(backup.timeline(), backup.stop())
            && lsn >= backup.stop().0
            && own_log(world, backup)
            && backup.stopped_at() <= time
            && until.is_some_and(|until| time <= until)
    };
    world
        .backups
        .iter()
        .filter(fits)
        .max_by_key(|backup| (backup.timeline(), backup.stop()))
}

fn own_log(world: &World, backup: &Backup) -> bool {
    let span = backup.span();
    (span.first..=span.last).all(|number| {
        world.segments.contains_key(&Segment {
            timeline: backup.timeline(),
            number,
        })
    })
}

fn moments(world: &World) -> Vec<Timestamp> {
    let known = world
        .backups
        .iter()
        .flat_map(|backup| [backup.summary.started_at, backup.stopped_at()])
        .chain(world.commits.iter().map(|commit| commit.at))
        .chain(world.segments.values().copied());
    let mut moments: Vec<_> = known
        .flat_map(|time| [-1, 0, 1].map(|by| time + jiff::SignedDuration::from_secs(by)))
        .collect();
    moments.sort();
    moments.dedup();
    moments
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_choice_is_that_of_a_model_that_looks_at_every_segment(events in events()) {
        let world = World::of(&events);
        let catalog = world.catalog();
        for timeline in world.timelines() {
            let lineage = world.lineage(timeline);
            let windows = windows(&catalog, &lineage);
            for time in moments(&world) {
                let chosen = choose(&catalog, &RecoveryTarget::Time(time), Some(timeline)).ok();
                let wanted = expected(&world, &lineage, time);
                prop_assert_eq!(
                    chosen.as_ref().map(|choice| &choice.label),
                    wanted.map(|backup| &backup.label)
                );
                prop_assert_eq!(chosen.is_some(), windows.iter().any(|window| window.has(time)));
                let Some(choice) = chosen else { continue };
                for commit in &world.commits {
                    let due = lineage.holds(commit.timeline, commit.end) && commit.at <= time;
                    prop_assert!(!due || commit.end <= choice.reach.lsn, "{commit:?} is lost");
                }
            }
        }
    }

    #[test]
    fn without_a_timeline_nobody_gets_another_state_than_there_was(events in events()) {
        let world = World::of(&events);
        let catalog = world.catalog();
        for time in moments(&world) {
            let Ok(choice) = choose(&catalog, &RecoveryTarget::Time(time), None) else { continue };
            let begun = world.histories.iter().rev().find(|(_, (_, begun))| *begun <= time);
            let then = world.lineage(begun.map_or(Timeline(1), |(timeline, _)| *timeline));
            let restored = world.lineage(choice.timeline);
            for commit in world.commits.iter().filter(|commit| commit.at <= time) {
                let segment = Lsn(commit.end.0 - 1).segment(commit.timeline, SIZE);
                let archived = world.segments.contains_key(&segment);
                let was_there = archived && then.holds(commit.timeline, commit.end);
                prop_assert!(
                    !was_there || restored.holds(commit.timeline, commit.end),
                    "{commit:?} was there at {time}"
                );
            }
        }
    }

    #[test]
    fn a_position_is_reached_from_a_backup_before_it(events in events(), index: prop::sample::Index) {
        let world = World::of(&events);
        prop_assume!(!world.commits.is_empty());
        let commit = index.get(&world.commits);
        let target = RecoveryTarget::Lsn(commit.end);
        let timeline = Some(commit.timeline);
        if let Ok(choice) = choose(&world.catalog(), &target, timeline) {
            prop_assert!(choice.stop <= commit.end && commit.end <= choice.reach.lsn);
            let lineage = world.lineage(commit.timeline);
            let better = world.catalog().whole().any(|backup| {
                lineage.holds(backup.timeline(), backup.stop())
                    && backup.stop() <= commit.end
                    && backup.stop() > choice.stop
            });
            prop_assert!(!better);
        }
    }
}
