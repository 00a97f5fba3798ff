//! A repository in a directory.

use boma_instance::wal::{Timeline, WalFile};
use boma_instance::{InstanceId, Secret};
use boma_problem::IntoProblem as _;
use object_store::memory::InMemory;
use uuid::Uuid;

use super::*;
use crate::format::names::Prefix;

const PREFIX: Prefix = Prefix {
    instance: InstanceId(Uuid::from_u128(7)),
    system_identifier: 42,
};

fn key(byte: u8) -> RepositoryKey {
    RepositoryKey::new([byte; KEY_BYTES])
}

fn access(path: &std::path::Path, key: &RepositoryKey) -> RepositoryAccess {
    RepositoryAccess {
        location: RepositoryLocation::Directory {
            path: path.to_string_lossy().into_owned(),
        },
        key: key.export(),
        compression_level: 3,
    }
}

async fn in_directory(path: &std::path::Path) -> Repository {
    Repository::open(&access(path, &key(1))).await.unwrap()
}

#[tokio::test]
async fn what_is_stored_is_read_back_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let repository = in_directory(dir.path()).await;
    let name = PREFIX.wal(WalFile::History(Timeline(2)), 16 << 20);
    assert_eq!(repository.get(&name).await.unwrap(), None);
    assert_eq!(
        repository.put_new(&name, b"one").await.unwrap(),
        Put::Stored
    );
    assert_eq!(
        repository.put_new(&name, b"two").await.unwrap(),
        Put::Exists
    );
    let again = in_directory(dir.path()).await;
    assert_eq!(again.id(), repository.id());
    assert_eq!(again.get(&name).await.unwrap().unwrap(), b"one");
    let listed = again.list(&PREFIX.wal_folder()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name, name.as_str());
    again.delete_folder(&PREFIX.to_string()).await.unwrap();
    assert_eq!(again.get(&name).await.unwrap(), None);
}

#[tokio::test]
async fn nothing_in_it_can_be_read_without_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let repository = in_directory(dir.path()).await;
    let name = PREFIX.owner();
    repository
        .replace(&name, b"a secret of a database")
        .await
        .unwrap();
    let stored = std::fs::read(dir.path().join(name.as_str())).unwrap();
    let text = String::from_utf8_lossy(&stored);
    assert!(!text.contains("secret"), "{text}");
    let error = Repository::open(&access(dir.path(), &key(2)))
        .await
        .unwrap_err();
    assert_eq!(error.problem().code, "repository-other-key");
    assert!(
        error.to_string().contains(&key(1).id().to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_damaged_object_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let repository = in_directory(dir.path()).await;
    let name = PREFIX.owner();
    repository.replace(&name, b"x").await.unwrap();
    let path = dir.path().join(name.as_str());
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let problem = repository.get(&name).await.unwrap_err().problem();
    assert_eq!(problem.code, "repository-damaged");
    assert!(problem.message.contains(name.as_str()), "{problem}");
    assert!(problem.hints[0].contains("boma backup verify"), "{problem}");
    let range = repository.get_range(&name, 0..10_000).await.unwrap_err();
    assert!(range.to_string().contains("is cut short"), "{range}");
}

#[tokio::test]
async fn a_marker_that_was_changed_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let repository = in_directory(dir.path()).await;
    repository.confirm().await.unwrap();
    let path = dir.path().join("boma-repository.json");
    let whole = std::fs::read(&path).unwrap();
    let mut codes = std::collections::BTreeSet::new();
    for at in 0..whole.len() {
        // In letters: the other case, which many a reader takes for the same.
        for bit in [1, 0x20] {
            let mut changed = whole.clone();
            changed[at] ^= bit;
            std::fs::write(&path, changed).unwrap();
            let opened = Repository::open(&access(dir.path(), &key(1))).await;
            let problem = opened.unwrap_err().problem();
            assert!(problem.message.contains("repository"), "{problem}");
            codes.insert(problem.code);
            let gone = repository.confirm().await.unwrap_err().problem();
            assert_eq!(gone.code, "repository-gone", "byte {at}");
        }
    }
    let expected = [
        "repository-damaged",
        "repository-not-readable",
        "repository-other-key",
    ];
    assert!(codes.iter().map(String::as_str).eq(expected), "{codes:?}");
    // Another repository's id, put in by somebody who does not have the key.
    let text = String::from_utf8(whole.clone()).unwrap();
    let other = Uuid::from_u128(9).to_string();
    let text = text.replace(&repository.id().to_string(), &other);
    std::fs::write(&path, text).unwrap();
    let error = Repository::open(&access(dir.path(), &key(1)))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("was changed after it was written"),
        "{error}"
    );
    std::fs::write(&path, whole).unwrap();
    assert_eq!(in_directory(dir.path()).await.id(), repository.id());
}

#[tokio::test]
async fn what_is_written_to_where_a_disk_was_does_not_count_as_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (place, away) = (dir.path().join("place"), dir.path().join("away"));
    let repository = Repository::open(&access(&place, &key(1))).await.unwrap();
    std::fs::rename(&place, &away).unwrap();
    std::fs::create_dir(&place).unwrap();
    let name = PREFIX.owner();
    let error = repository.put_new(&name, b"x").await.unwrap_err();
    assert_eq!(error.problem().code, "repository-gone");
    let error = repository.replace(&name, b"x").await.unwrap_err();
    assert_eq!(error.problem().code, "repository-gone");
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::rename(&away, &place).unwrap();
    assert_eq!(repository.put_new(&name, b"x").await.unwrap(), Put::Stored);
}

#[tokio::test]
async fn a_known_repository_is_never_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (place, away) = (dir.path().join("place"), dir.path().join("away"));
    let access = access(&place, &key(1));
    let id = Repository::open(&access).await.unwrap().id();
    assert_eq!(Repository::open_known(&access, id).await.unwrap().id(), id);
    std::fs::rename(&place, &away).unwrap();
    let expect_gone = async |there: bool| {
        let error = Repository::open_known(&access, id).await.unwrap_err();
        assert_eq!(error.problem().code, "repository-gone", "{error}");
        assert_eq!(place.exists(), there);
    };
    expect_gone(false).await;
    // Where a disk is mounted when it is there.
    std::fs::create_dir(&place).unwrap();
    expect_gone(true).await;
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    // Another repository was made meanwhile.
    assert_ne!(Repository::open(&access).await.unwrap().id(), id);
    expect_gone(true).await;
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::rename(&away, &place).unwrap();
    assert_eq!(Repository::open_known(&access, id).await.unwrap().id(), id);
}

#[tokio::test]
async fn a_place_that_cannot_be_used_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Repository::open(&access(&file, &key(1))).await.unwrap_err();
    let problem = error.problem();
    assert_eq!(problem.code, "repository-misconfigured");
    assert!(problem.to_string().contains("file"), "{problem}");
    let mut wrong = access(dir.path(), &key(1));
    wrong.key = Secret::new("hunter2".into());
    let problem = Repository::open(&wrong).await.unwrap_err().problem();
    assert_eq!(problem.code, "repository-key-invalid");
    assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
}

#[tokio::test]
async fn what_boma_did_not_make_is_left_alone() {
    for (text, code) in [
        ("hello", "repository-not-readable"),
        (
            r#"{"about":"","format":2,"id":"00000000-0000-0000-0000-000000000007","keyId":"0","seal":""}"#,
            "repository-not-readable",
        ),
    ] {
        let store = Arc::new(InMemory::new());
        store
            .put(&path("boma-repository.json"), PutPayload::from(text))
            .await
            .unwrap();
        let error = Repository::open_store(store, key(1), 3).await.unwrap_err();
        assert_eq!(error.problem().code, code, "{error}");
    }
}

#[test]
fn errors_of_a_store_say_what_was_tried() {
    let error = StoreError::failed(
        Operation::List,
        "instances",
        object_store::Error::NotImplemented {
            operation: "x".into(),
            implementer: "y".into(),
        },
    );
    let problem = error.problem();
    assert_eq!(problem.code, "repository-failed");
    assert!(problem.message.contains("list `instances`"), "{problem}");
    let problem = StoreError::NoRandomness.problem();
    assert_eq!(problem.code, "no-randomness");
    assert!(problem.message.contains("no random numbers"), "{problem}");
}
