//! Listings that leave out what is there, and show what is not.

use std::sync::Arc;

use boma_instance::wal::Lsn;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};

use super::tests::{policy, read, seven_days};
use super::*;
use crate::fixture::{Fixture, PREFIX, SIZE, at, open};
use crate::retention::window::{Window, windows};
use crate::store::testing::{Faults, Faulty};

/// Seven days of a database, and what came of it on another line of history.
async fn fixture() -> Fixture {
    let (fixture, _) = seven_days().await;
    let left_at = Lsn(u64::from(SIZE) * 14 + 60);
    fixture.history(7 * 86_400, left_at).await;
    fixture.segment(2, 14, 7 * 86_400 + 50).await;
    fixture.segment(2, 15, 7 * 86_400 + 60).await;
    fixture
}

/// The moments that can really be restored, on every line of history.
async fn restorable(fixture: &Fixture) -> Vec<Vec<Window>> {
    let catalog = read(&fixture.repository).await;
    let lines = catalog.archive.lines.keys();
    let lineages = lines.filter_map(|timeline| catalog.archive.lineage(*timeline).ok());
    lineages.map(|one| windows(&catalog, &one)).collect()
}

/// Fails unless all of `less` can be restored still.
fn expect_at_least(more: &[Vec<Window>], less: &[Vec<Window>], lie: &str) {
    assert_eq!(more.len(), less.len(), "{lie}");
    for (more, less) in more.iter().zip(less) {
        for window in less {
            let has = |one: &Window| one.from <= window.from && one.until_lsn >= window.until_lsn;
            assert!(more.iter().any(has), "{lie}: {window:?} of {more:?}");
        }
    }
}

/// Lets expire what may go, as whoever sees this listing for the first time sees it.
async fn expire_by(fixture: &Fixture, listing: Vec<ObjectMeta>) -> Result<Expired, StoreError> {
    let store = Faulty::new(fixture.store.clone());
    let repository = open(store.clone()).await;
    store.set(Faults {
        stale: Some(listing),
        ..Faults::default()
    });
    expire(&repository, &PREFIX, &mut Cache::default(), policy(), None).await
}

async fn listing(fixture: &Fixture) -> Vec<ObjectMeta> {
    let store = Faulty::new(Arc::clone(&fixture.store) as _);
    let mut listing = store.snapshot().await.unwrap();
    listing.sort_by(|one, other| one.location.cmp(&other.location));
    listing
}

/// The same, when all that may go has gone: what is left is needed, and nothing older is there.
async fn expired() -> Fixture {
    let fixture = fixture().await;
    expire_by(&fixture, listing(&fixture).await).await.unwrap();
    fixture
}

#[tokio::test]
async fn what_nothing_older_replaces_stays_when_it_is_not_listed() {
    let expected = restorable(&expired().await).await;
    for hidden in &listing(&expired().await).await {
        let fixture = expired().await;
        let mut lie = listing(&fixture).await;
        lie.retain(|one| one.location != hidden.location);
        expire_by(&fixture, lie).await.unwrap();
        expect_at_least(
            &restorable(&fixture).await,
            &expected,
            hidden.location.as_ref(),
        );
    }
}

#[tokio::test]
async fn a_listing_that_leaves_out_what_is_there_loses_no_moment() {
    let truly = fixture().await;
    expire_by(&truly, listing(&truly).await).await.unwrap();
    let expected = restorable(&truly).await;
    assert!(expected.iter().flatten().next().is_some());
    let all = listing(&fixture().await).await;
    // Each alone, and each with all that is in its folder.
    let folder = |name: &str| {
        name.rsplit_once('/')
            .map_or(String::new(), |(at, _)| at.to_owned())
    };
    for hidden in &all {
        let name = hidden.location.to_string();
        let same = |one: &ObjectMeta| folder(one.location.as_ref()) == folder(&name);
        for whole_folder in [false, true] {
            let fixture = fixture().await;
            let mut lie = listing(&fixture).await;
            lie.retain(|one| one.location != hidden.location && !(whole_folder && same(one)));
            expire_by(&fixture, lie).await.unwrap();
            expect_at_least(&restorable(&fixture).await, &expected, &name);
        }
    }
}

#[tokio::test]
async fn a_listing_that_shows_what_is_gone_loses_no_moment() {
    let all = listing(&fixture().await).await;
    for gone in &all {
        let lose = async || {
            let fixture = fixture().await;
            let before = listing(&fixture).await;
            fixture.store.delete(&gone.location).await.unwrap();
            (fixture, before)
        };
        let (truly, _) = lose().await;
        let known = expire_by(&truly, listing(&truly).await).await;
        let (fixture, before) = lose().await;
        let fooled = expire_by(&fixture, before).await;
        if gone.location == Path::from("boma-repository.json") || known.is_err() {
            continue;
        }
        let name = gone.location.to_string();
        assert!(fooled.is_ok(), "{name}: {fooled:?}");
        expect_at_least(
            &restorable(&fixture).await,
            &restorable(&truly).await,
            &name,
        );
    }
}

#[tokio::test]
async fn what_is_listed_and_was_never_there_is_nothing() {
    let truly = fixture().await;
    expire_by(&truly, listing(&truly).await).await.unwrap();
    let expected = restorable(&truly).await;
    let label = Label::new(at(8 * 86_400), boma_instance::backup::BackupKind::Full);
    let segment = Segment {
        timeline: boma_instance::wal::Timeline(1),
        number: 99,
    };
    let ghosts = [
        PREFIX.manifest(&label),
        PREFIX.pack(&label, 1),
        PREFIX.map(&label),
        PREFIX.wal(WalFile::Segment(segment), SIZE),
    ];
    for ghost in ghosts {
        let fixture = fixture().await;
        let store = Faulty::new(fixture.store.clone());
        let repository = open(store.clone()).await;
        store.set(Faults {
            ghost: Some(ghost.to_string()),
            ..Faults::default()
        });
        let expired = expire(&repository, &PREFIX, &mut Cache::default(), policy(), None).await;
        assert!(expired.is_ok(), "{ghost}: {expired:?}");
        expect_at_least(&restorable(&fixture).await, &expected, ghost.as_str());
    }
}
