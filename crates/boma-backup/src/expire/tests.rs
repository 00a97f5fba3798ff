//! Deleting is stopped before every single deletion, and gone on with.

use std::sync::Arc;

use boma_instance::wal::{Lsn, Timeline};

use super::*;
use crate::fixture::{Fixture, PREFIX, SIZE, at, open};
use crate::format::manifest::Manifest;
use crate::retention::window::PointInTime;
use crate::store::testing::{Faults, Faulty, Hang};

const DAY: i64 = 86_400;

/// The repository of a fixture, in which things go wrong from now on.
async fn faulty(fixture: &Fixture, faults: Faults) -> (Arc<Faulty>, Repository) {
    let store = Faulty::new(fixture.store.clone());
    let repository = open(store.clone()).await;
    store.set(faults);
    (store, repository)
}

pub(super) fn policy() -> (Policy, Timestamp) {
    let policy = Policy {
        days: 2,
        point_in_time: PointInTime::On,
    };
    (policy, at(7 * DAY))
}

/// Two chains, a day between backups, a segment for each and one behind it; remains of an attempt.
pub(crate) async fn seven_days() -> (Fixture, Vec<Manifest>) {
    let fixture = Fixture::new().await;
    let mut made: Vec<Manifest> = Vec::new();
    for day in 0..7 {
        let number = u64::try_from(day).unwrap() * 2 + 1;
        let second = day * DAY;
        fixture.segment(1, number, second + 1).await;
        fixture.segment(1, number + 1, second + 100).await;
        let parent = (day % 4 != 0).then(|| made.last().unwrap().clone());
        let changed = format!("{day}").into_bytes();
        let files = [("base/1", vec![7; 100]), ("base/2", changed)];
        let manifest = fixture
            .backup(second, number, &files, parent.as_ref())
            .await;
        made.push(manifest);
    }
    let attempt = Label::new(at(3 * DAY + 7), boma_instance::backup::BackupKind::Full);
    for number in 1..3 {
        fixture
            .object(&PREFIX.pack(&attempt, number), &[b"x"])
            .await;
    }
    (fixture, made)
}

pub(super) async fn read(repository: &Repository) -> Catalog {
    Catalog::read(repository, &PREFIX, &mut Cache::default())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_catalog_says_what_is_there() {
    let (fixture, made) = seven_days().await;
    fixture
        .history(8 * DAY, Lsn(u64::from(SIZE) * 14 + 60))
        .await;
    fixture.segment(2, 14, 8 * DAY + 50).await;
    fixture.put(&format!("{PREFIX}/notes.txt"), vec![1]).await;
    fixture
        .put(&format!("{PREFIX}/wal/notes.txt"), vec![1])
        .await;
    let mut cache = Cache::default();
    let catalog = Catalog::read(&fixture.repository, &PREFIX, &mut cache)
        .await
        .unwrap();
    assert_eq!(catalog.segment_size, SIZE);
    let labels: Vec<_> = catalog.backups.iter().map(|one| &one.label).collect();
    let all: Vec<_> = made.iter().map(|one| &one.label).collect();
    assert_eq!(labels, all);
    assert!(
        catalog
            .backups
            .iter()
            .all(|one| one.has_map && catalog.is_whole(one))
    );
    assert_eq!(catalog.backups[3].needs.len(), 3);
    assert_eq!(catalog.remains.len(), 1);
    assert_eq!(catalog.remains[0].objects.len(), 2);
    let line = &catalog.archive.lines[&Timeline(1)];
    assert_eq!(
        (line.runs.len(), line.runs[0].first, line.runs[0].last),
        (1, 1, 14)
    );
    assert_eq!(line.times[&14], at(6 * DAY + 100));
    assert_eq!(catalog.archive.begun_at(Timeline(2)), Some(at(8 * DAY)));
    assert!(
        catalog
            .archive
            .lineage(Timeline(2))
            .unwrap()
            .holds(Timeline(1), Lsn(9))
    );
    assert_eq!(catalog.strangers.len(), 1);
    // What was read once is not read again, and gives the same.
    let again = Catalog::read(&fixture.repository, &PREFIX, &mut cache)
        .await
        .unwrap();
    assert_eq!(again, catalog);
}

#[tokio::test]
async fn damage_is_an_entry_and_a_failing_store_an_error() {
    let (fixture, made) = seven_days().await;
    let name = PREFIX.manifest(&made[2].label).to_string();
    let mut bytes = fixture.bytes(&name).await;
    *bytes.last_mut().unwrap() ^= 1;
    fixture.put(&name, bytes).await;
    fixture
        .repository
        .delete(PREFIX.pack(&made[4].label, 1).as_str())
        .await
        .unwrap();
    fixture
        .repository
        .delete(PREFIX.map(&made[6].label).as_str())
        .await
        .unwrap();
    let catalog = read(&fixture.repository).await;
    assert_eq!(catalog.unreadable.len(), 1);
    assert_eq!(catalog.unreadable[0].label, made[2].label);
    assert!(catalog.unreadable[0].problem.message.contains(&name));
    let damaged: Vec<_> = catalog
        .backups
        .iter()
        .map(|one| !one.missing.is_empty())
        .collect();
    assert_eq!(damaged, [false, false, false, true, true, true]);
    assert!(!catalog.backup(&made[6].label).unwrap().has_map);
    // A repository that is gone is no empty one.
    fixture.repository.delete_folder("").await.unwrap();
    let gone = Catalog::read(&fixture.repository, &PREFIX, &mut Cache::default()).await;
    assert_eq!(gone.unwrap_err().problem().code, "repository-gone");
}

#[tokio::test]
async fn a_listing_that_leaves_a_backup_out_is_not_believed() {
    let (fixture, made) = seven_days().await;
    let mut cache = Cache::default();
    let whole = Catalog::read(&fixture.repository, &PREFIX, &mut cache)
        .await
        .unwrap();
    let faults = Faults {
        hidden: Some(PREFIX.backup_folder(&made[6].label)),
        ..Faults::default()
    };
    let (_store, repository) = faulty(&fixture, faults).await;
    let catalog = Catalog::read(&repository, &PREFIX, &mut cache)
        .await
        .unwrap();
    let labels: Vec<_> = catalog
        .backups
        .iter()
        .map(|one| one.label.clone())
        .collect();
    assert_eq!(labels.len(), whole.backups.len());
}

#[tokio::test]
async fn killed_at_any_call_everything_kept_is_whole_and_the_next_run_ends_it() {
    let (finished, _) = seven_days().await;
    let (store, repository) = faulty(&finished, Faults::default()).await;
    let mut cache = Cache::default();
    let expired = expire(&repository, &PREFIX, &mut cache, policy(), None).await;
    let expired = expired.unwrap();
    // The window begins on day 4; the chain of days 0 to 3 goes, as does the attempt.
    assert_eq!(expired.backups.len(), 4);
    assert_eq!((expired.remains.len(), expired.log_files), (1, 8));
    let end = finished.names().await;
    let calls = store.calls();
    // Four backups of three objects, two remains, eight segments: each is deleted by a call.
    assert!(calls > 4 * 3 + 2 + 8, "{calls}");
    for hang in (0..calls).flat_map(|call| [Hang::Before(call), Hang::After(call)]) {
        let (fixture, made) = seven_days().await;
        let faults = Faults {
            hang: Some(hang),
            ..Faults::default()
        };
        let (store, repository) = faulty(&fixture, faults).await;
        let mut cache = Cache::default();
        tokio::select! {
            _ = expire(&repository, &PREFIX, &mut cache, policy(), None) => {}
            () = store.hangs() => {}
        }
        let catalog = read(&fixture.repository).await;
        for backup in &catalog.backups {
            assert!(catalog.is_whole(backup), "{} at {hang:?}", backup.label);
        }
        for manifest in &made[4..] {
            assert!(catalog.backup(&manifest.label).is_some(), "{hang:?}");
        }
        let again = expire(&fixture.repository, &PREFIX, &mut cache, policy(), None).await;
        again.unwrap();
        assert_eq!(fixture.names().await, end, "{hang:?}");
    }
}

#[tokio::test]
async fn a_store_that_fails_first_is_expired_when_it_answers() {
    let (fixture, _) = seven_days().await;
    let faults = Faults {
        fail: 3,
        ..Faults::default()
    };
    let (_store, repository) = faulty(&fixture, faults).await;
    let before = fixture.names().await;
    let mut cache = Cache::default();
    for _ in 0..3 {
        let failed = expire(&repository, &PREFIX, &mut cache, policy(), None).await;
        assert_eq!(failed.unwrap_err().problem().code, "repository-failed");
        assert_eq!(fixture.names().await, before);
    }
    let expired = expire(&repository, &PREFIX, &mut cache, policy(), None).await;
    assert_eq!(expired.unwrap().backups.len(), 4);
}

#[tokio::test]
async fn nothing_expires_from_under_a_restore() {
    let (fixture, made) = seven_days().await;
    let (repository, mut cache) = (&fixture.repository, Cache::default());
    let by = boma_instance::InstanceId(uuid::Uuid::from_u128(9));
    let lease = lease::Lease::take(repository, PREFIX, by).await.unwrap();
    let before = fixture.names().await.len();
    let held = expire(repository, &PREFIX, &mut cache, policy(), None).await;
    assert_eq!(held.unwrap().held, Some(Held::Restoring));
    let newest = &made[6].label;
    let problem = delete(repository, &PREFIX, &mut cache, newest, None).await;
    let problem = problem.unwrap_err().problem();
    assert_eq!(problem.code, "backups-being-restored");
    // The clock is one more.
    assert_eq!(fixture.names().await.len(), before + 1);
    lease.end().await;
    let expired = expire(repository, &PREFIX, &mut cache, policy(), None).await;
    assert_eq!(expired.unwrap().backups.len(), 4);
}

#[tokio::test]
async fn one_that_runs_keeps_its_objects() {
    let (fixture, _) = seven_days().await;
    let attempt = read(&fixture.repository).await.remains[0].label.clone();
    let running = Running {
        label: attempt.clone(),
        parent: None,
    };
    let mut cache = Cache::default();
    let expired = expire(
        &fixture.repository,
        &PREFIX,
        &mut cache,
        policy(),
        Some(&running),
    );
    assert!(expired.await.unwrap().remains.is_empty());
    assert_eq!(read(&fixture.repository).await.remains[0].label, attempt);
}

#[tokio::test]
async fn a_backup_is_deleted_by_name_unless_it_is_needed_or_the_last() {
    let (fixture, made) = seven_days().await;
    let mut cache = Cache::default();
    let repository = &fixture.repository;
    let error = delete(repository, &PREFIX, &mut cache, &made[4].label, None).await;
    let problem = error.unwrap_err().problem();
    assert_eq!(problem.code, "backup-needed");
    let text = format!("{} is needed by {}", made[4].label, made[5].label);
    assert!(problem.message.contains(&text), "{problem}");
    for manifest in made[1..].iter().rev() {
        delete(repository, &PREFIX, &mut cache, &manifest.label, None)
            .await
            .unwrap();
    }
    let problem = delete(repository, &PREFIX, &mut cache, &made[0].label, None);
    let problem = problem.await.unwrap_err().problem();
    assert_eq!(problem.code, "backup-last");
    assert!(
        problem.message.contains("is the only whole one"),
        "{problem}"
    );
    let problem = delete(repository, &PREFIX, &mut cache, &made[1].label, None);
    let problem = problem.await.unwrap_err().problem();
    assert_eq!(problem.code, "restore-backup-unknown");
    assert_eq!(read(repository).await.backups.len(), 1);
}
