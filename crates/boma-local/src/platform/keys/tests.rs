use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use boma_engine::keys::{ApplicationKey, GrantKey};
use boma_engine::platform::{Binding, Credential, Environment, Platform as _};
use boma_instance::Secret;
use boma_instance::names::Turn;

use super::super::tests::{key, open, placed};
use super::*;

fn grant() -> GrantKey {
    GrantKey {
        application: ApplicationKey::new("a/b/c/d", "api"),
        database: key("login", "accounts"),
    }
}

/// A state with every kind of secret: spec, certificate, authority, password, environment, key of a
/// repository.
async fn fill(platform: &LocalPlatform) {
    placed(platform, &grant().database, 1).await;
    let credential = Credential {
        role: "api_1".to_owned(),
        password: Secret::new("hush".to_owned()),
        verifier: Secret::new("v".to_owned()),
        serial: u64::MAX - 5,
    };
    let grant = grant();
    let put = platform.store_credential(&grant, Turn::First, &credential);
    put.await.unwrap();
    let environment = Environment {
        fingerprint: "f".to_owned(),
        plain: BTreeMap::new(),
        secrets: BTreeMap::new(),
        bindings: vec![Binding {
            env_var: "URL".to_owned(),
            grant: grant.clone(),
            host: "h".to_owned(),
            port: 1,
            database: "accounts".to_owned(),
            credential,
            uri: Secret::new("postgresql://hush".to_owned()),
        }],
    };
    let deliver = platform.deliver_environment(&grant.application, &environment);
    deliver.await.unwrap();
    platform.record_source("/somewhere").await.unwrap();
    let settle = platform.inner.store.write(|state| {
        state.settle_repository_key("default", &Secret::new("repository".to_owned()))
    });
    settle.await.unwrap();
}

async fn is_whole(platform: &LocalPlatform) {
    let stored = platform.credential(&grant(), Turn::First).await.unwrap();
    assert_eq!(stored.password.expose(), "hush");
    let secrets = platform.environment(&grant().application).await.unwrap();
    assert_eq!(secrets["URL"].expose(), "postgresql://hush");
    let seen = platform.observe().await.unwrap();
    assert!(seen.databases[&grant().database].spec.is_some());
    let id = seen.databases[&grant().database].id;
    let read = platform.inner.store.read(move |state| {
        Ok((
            state.certificate(id)?.is_some(),
            state.authorities()?.is_some(),
        ))
    });
    assert_eq!(read.await.unwrap(), (true, true));
    let kept = platform
        .inner
        .store
        .read(|state| state.repository_key("default"));
    assert_eq!(kept.await.unwrap().unwrap().expose(), "repository");
}

fn key_of(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("state/key")).unwrap()
}

#[tokio::test]
async fn who_has_the_state_open_goes_on_with_the_new_key() {
    let dir = tempfile::tempdir().unwrap();
    let serving = open(dir.path()).await;
    fill(&serving).await;
    let former = key_of(dir.path());
    let count = open(dir.path()).await.rotate_key("tester").await.unwrap();
    assert_eq!(
        count, 7,
        "installation, authority, spec, certificate, password, environment, repository"
    );
    assert_ne!(key_of(dir.path()), former);
    is_whole(&serving).await;
    // It writes with the new key as well: nothing may be sealed with the former one again.
    fill_again(&serving).await;
    is_whole(&open(dir.path()).await).await;
    let events = serving.events(None, 10).await.unwrap();
    assert!(events.iter().any(|one| one.event.reason == "KeyRotated"));
}

async fn fill_again(platform: &LocalPlatform) {
    let credential = Credential {
        role: "api_2".to_owned(),
        password: Secret::new("other".to_owned()),
        verifier: Secret::new("v".to_owned()),
        serial: 7,
    };
    let grant = grant();
    let put = platform.store_credential(&grant, Turn::Second, &credential);
    put.await.unwrap();
}

#[tokio::test]
#[ignore = "a victim of the test below"]
async fn victim_of_a_key_change() {
    let Some(dir) = std::env::var_os("BOMA_TEST_DIR") else {
        return;
    };
    let platform = open(Path::new(&dir)).await;
    platform.rotate_key("victim").await.unwrap();
}

#[tokio::test]
async fn a_change_of_the_key_that_is_killed_leaves_a_state_that_opens() {
    for point in [
        "key-begun",
        "key-next-written",
        "key-sealed-anew",
        "key-in-place",
    ] {
        let dir = tempfile::tempdir().unwrap();
        fill(&open(dir.path()).await).await;
        let former = key_of(dir.path());
        let victim = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "platform::keys::tests::victim_of_a_key_change",
                "--include-ignored",
            ])
            .env("BOMA_TEST_DIR", dir.path())
            .env("BOMA_TEST_STRIKE_AT", point)
            .output()
            .unwrap();
        assert_eq!(victim.status.signal(), Some(9), "{point}");
        let platform = open(dir.path()).await;
        is_whole(&platform).await;
        assert!(!dir.path().join("state/key.next").exists(), "{point}");
        let is_changed = matches!(point, "key-sealed-anew" | "key-in-place");
        assert_eq!(key_of(dir.path()) != former, is_changed, "{point}");
        platform.rotate_key("tester").await.unwrap();
        is_whole(&platform).await;
    }
}

/// A column of sealed values that is not sealed anew could not be read after a change of the key.
#[tokio::test]
async fn every_column_that_may_hold_a_secret_is_known() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await);
    let db = rusqlite::Connection::open(dir.path().join("state/boma.sqlite")).unwrap();
    let mut query = db
        .prepare(
            "SELECT t.name || '.' || c.name FROM sqlite_master t, pragma_table_info(t.name) c \
             WHERE t.type = 'table' AND c.type = 'BLOB' ORDER BY 1",
        )
        .unwrap();
    let columns = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let columns: Vec<String> = columns.map(Result::unwrap).collect();
    let known = [
        "applications.environment",
        "certificates.key",
        "databases.spec",
        "logins.secret",
        "meta.value",
    ];
    assert_eq!(columns, known, "add new ones to `PLACES` in store/rekey.rs");
    let mut query = db.prepare("SELECT name FROM meta ORDER BY 1").unwrap();
    let names = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let names: Vec<String> = names.map(Result::unwrap).collect();
    assert_eq!(names, ["authority", "installation"], "and these there, too");
}
