use crate::expire::tests::seven_days;
use crate::fixture::{Fixture, PREFIX, at, open};
use crate::store::testing::{Faults, Faulty, Hang};

use super::*;

async fn owned() -> Fixture {
    let (fixture, _) = seven_days().await;
    let owner = PREFIX.owner().to_string();
    fixture.put(&owner, vec![1]).await;
    fixture
}

async fn held(fixture: &Fixture) -> Option<Holding> {
    holding(&fixture.repository, PREFIX.instance).await.unwrap()
}

#[tokio::test]
async fn what_lies_in_a_repository_is_told_without_its_database() {
    let fixture = owned().await;
    let found = holdings(&fixture.repository).await.unwrap();
    assert_eq!(found.len(), 1);
    let one = &found[0];
    assert_eq!(one.instance, PREFIX.instance);
    assert_eq!(one.backups.len(), 7);
    let server = one.server.as_ref().unwrap();
    assert_eq!(one.name(), server.identity.rsplit('/').next().unwrap());
    let (from, until) = one.window.unwrap();
    assert!(from < until && until > at(6 * 86_400), "{from} {until}");
    assert!(one.bytes > 0 && one.written_at.is_some());
    // Nothing readable: it has its id for a name.
    for name in fixture.names().await {
        if name.ends_with("/manifest") {
            fixture.repository.delete(&name).await.unwrap();
        }
    }
    let nameless = held(&fixture).await.unwrap();
    assert_eq!(nameless.name(), PREFIX.instance.to_string());
    assert!(nameless.backups.is_empty() && nameless.window.is_none());
}

#[tokio::test]
async fn forgetting_that_is_killed_anywhere_leaves_nothing_half_that_looks_whole() {
    let fixture = owned().await;
    let before = fixture.names().await.len() as u64;
    let store = Faulty::new(fixture.store.clone());
    let repository = open(store.clone()).await;
    store.set(Faults::default());
    let deleted = forget(&repository, PREFIX.instance).await.unwrap();
    assert_eq!((deleted, fixture.names().await.len()), (before, 0));
    assert!(held(&fixture).await.is_none());
    let calls = store.calls();
    assert!(calls > deleted, "{calls}");
    for hang in (0..calls).flat_map(|call| [Hang::Before(call), Hang::After(call)]) {
        let fixture = owned().await;
        let store = Faulty::new(fixture.store.clone());
        let repository = open(store.clone()).await;
        store.set(Faults {
            hang: Some(hang),
            ..Faults::default()
        });
        tokio::select! {
            _ = forget(&repository, PREFIX.instance) => {}
            () = store.hangs() => {}
        }
        let catalog = Catalog::read(&fixture.repository, &PREFIX, &mut Cache::default()).await;
        let catalog = catalog.unwrap();
        for backup in &catalog.backups {
            assert!(catalog.is_whole(backup), "{} at {hang:?}", backup.label);
        }
        // As long as anything is left it is found, and the next call ends it.
        let left = !fixture.names().await.is_empty();
        assert_eq!(held(&fixture).await.is_some(), left, "{hang:?}");
        forget(&fixture.repository, PREFIX.instance).await.unwrap();
        assert!(fixture.names().await.is_empty(), "{hang:?}");
    }
}
