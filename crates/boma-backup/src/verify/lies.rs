//! Verifying, and choosing what to restore, by listings that lie.

use boma_instance::backup::RecoveryTarget;

use super::tests::fixture;
use super::*;
use crate::fixture::{Fixture, PREFIX, open};
use crate::retention::choose::{Choice, choose};
use crate::store::testing::{Faults, Faulty};

/// The repository of a fixture, with listings that lie.
async fn lying(fixture: &Fixture, faults: Faults) -> Repository {
    let store = Faulty::new(fixture.store.clone());
    let repository = open(store.clone()).await;
    store.set(faults);
    repository
}

async fn newest(repository: &Repository) -> Choice {
    let catalog = Catalog::read(repository, &PREFIX, &mut Cache::default()).await;
    choose(&catalog.unwrap(), &RecoveryTarget::Latest, None).unwrap()
}

fn hiding(name: &str) -> Faults {
    Faults {
        hidden: Some(name.to_owned()),
        ..Faults::default()
    }
}

#[tokio::test]
async fn what_is_there_and_not_listed_is_no_damage() {
    let (fixture, made) = fixture().await;
    for name in fixture.names().await {
        let repository = lying(&fixture, hiding(&name)).await;
        let report = verify(&repository, &PREFIX, &Meter::new()).await.unwrap();
        if name.ends_with("/owner") {
            // Nothing else names it.
            assert!(!report.is_clean());
            continue;
        }
        assert!(report.is_clean(), "{name}: {report:?}");
        assert_eq!(report.whole.len(), made.len(), "{name}");
    }
}

#[tokio::test]
async fn what_is_listed_and_not_there_is_named() {
    let (fixture, _) = fixture().await;
    let label = Label::new(
        crate::fixture::at(900),
        boma_instance::backup::BackupKind::Full,
    );
    let segment = Segment {
        timeline: Timeline(1),
        number: 5,
    };
    let ghosts = [
        PREFIX.manifest(&label),
        PREFIX.pack(&label, 1),
        PREFIX.wal(WalFile::Segment(segment), crate::fixture::SIZE),
    ];
    for ghost in ghosts {
        let faults = Faults {
            ghost: Some(ghost.to_string()),
            ..Faults::default()
        };
        let repository = lying(&fixture, faults).await;
        let report = verify(&repository, &PREFIX, &Meter::new()).await.unwrap();
        let found = report
            .findings
            .iter()
            .find(|one| one.object == ghost.as_str());
        let found = found.expect("it is not there");
        assert_eq!(found.problem.code, "repository-damaged");
    }
    let name = PREFIX.pack(&label, 1);
    let missing = fixture.repository.get_range(&name, 0..1).await.unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("is not in the backup repository"),
        "{missing}"
    );
}

#[tokio::test]
async fn a_listing_that_is_behind_does_not_make_an_older_timeline_the_newest() {
    let (fixture, _) = fixture().await;
    let expected = newest(&fixture.repository).await;
    assert_eq!(expected.timeline, Timeline(2));
    for name in ["wal/00000002", "00000002.history"] {
        let repository = lying(&fixture, hiding(name)).await;
        let choice = newest(&repository).await;
        assert_eq!(choice.timeline, expected.timeline, "{name}");
        assert_eq!(choice.label, expected.label, "{name}");
    }
}
