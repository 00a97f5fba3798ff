use std::collections::BTreeMap;

use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey};
use boma_engine::observed::{DatabaseRecord, Life};
use boma_engine::platform::{
    ActiveLogin, AskedRotation, AuditEntry, Binding, Credential, Environment, Event,
};
use boma_instance::names::Turn;
use boma_instance::{InstanceId, Secret};
use jiff::{SignedDuration, Timestamp};

use super::*;

fn sealer(byte: u8) -> Sealer {
    Sealer::new(&[byte; 32]).unwrap()
}

fn open(dir: &tempfile::TempDir) -> Store {
    Store::open(&dir.path().join("boma.sqlite"), sealer(1)).unwrap()
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn id(number: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(number))
}

fn record() -> DatabaseRecord {
    DatabaseRecord {
        deletion_protection: true,
        retention_days: 7,
        beside: None,
    }
}

fn grant() -> GrantKey {
    GrantKey {
        application: ApplicationKey::new("a/b/c/d", "api"),
        database: DatabaseKey::new("a/b/c/d", "db"),
    }
}

fn credential(password: &str, serial: u64) -> Credential {
    Credential {
        role: "api_1".to_owned(),
        password: Secret::new(password.to_owned()),
        verifier: Secret::new("SCRAM-SHA-256$4096:x".to_owned()),
        serial,
    }
}

fn environment(fingerprint: &str, password: &str) -> Environment {
    Environment {
        fingerprint: fingerprint.to_owned(),
        plain: BTreeMap::from([("MODE".to_owned(), "test".to_owned())]),
        secrets: BTreeMap::new(),
        bindings: vec![Binding {
            env_var: "DATABASE_URL".to_owned(),
            grant: grant(),
            host: "db.internal".to_owned(),
            port: 5432,
            database: "db".to_owned(),
            credential: credential(password, 1),
            uri: Secret::new(format!("postgresql://api_1:{password}@db.internal/db")),
        }],
    }
}

fn event(message: &str, at: Timestamp) -> Event {
    Event {
        at,
        subject: "Database a/b/c/d/db".to_owned(),
        reason: "Started".to_owned(),
        message: message.to_owned(),
        warning: false,
    }
}

#[tokio::test]
async fn an_id_once_given_stays() {
    let (dir, key) = (scratch(), DatabaseKey::new("a/b/c/d", "db"));
    let store = open(&dir);
    for (asked, given) in [(1, 1), (2, 1)] {
        let key = key.clone();
        let got = store
            .write(move |state| state.record_database(&key, id(asked), &record()))
            .await;
        assert_eq!(got.unwrap(), id(given));
    }
    let row = store
        .read(move |state| state.database(&key))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (row.id, row.life, row.held, row.spec.is_none()),
        (id(1), Life::Active, false, true)
    );
}

#[tokio::test]
async fn a_job_that_fails_undoes_itself_alone() {
    let dir = scratch();
    let store = open(&dir);
    let (one, other) = (DatabaseKey::new("p", "one"), DatabaseKey::new("p", "other"));
    let failing = store.write(move |state| {
        state.record_database(&one, id(1), &record())?;
        Err::<(), _>(StoreError::Closed)
    });
    let (failed, done) = tokio::join!(
        failing,
        store.write(move |state| state.record_database(&other, id(2), &record()))
    );
    assert!(failed.is_err());
    assert_eq!(done.unwrap(), id(2));
    let rows = store.read(|state| state.databases()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [id(2)]);
}

#[tokio::test]
async fn credentials_come_back_and_never_stand_in_the_file() {
    let dir = scratch();
    let store = open(&dir);
    let password = "a-password-that-is-easy-to-find";
    store
        .write(move |state| state.store_credential(&grant(), Turn::First, &credential(password, 3)))
        .await
        .unwrap();
    let delivered = environment("f1", password);
    store
        .write(move |state| state.deliver(&grant().application, &delivered))
        .await
        .unwrap();

    let store = open(&dir);
    let grants = store.read(|state| state.grants()).await.unwrap();
    let seen = &grants[&grant()];
    assert_eq!(
        (seen.active, seen.logins[&Turn::First].serial),
        (Turn::First, 3)
    );
    let got = store
        .read(|state| state.credential(&grant(), Turn::First))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(got.password.expose(), password);
    assert!(
        store
            .read(|state| state.credential(&grant(), Turn::Second))
            .await
            .unwrap()
            .is_none()
    );
    let variables = store
        .read(|state| state.environment(&grant().application))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(variables["MODE"].expose(), "test");
    assert!(variables["DATABASE_URL"].expose().contains(password));

    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in [password.as_bytes(), b"SCRAM-SHA-256"] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret));
        }
    }
    store
        .write(|state| state.forget_grant(&grant()))
        .await
        .unwrap();
    assert!(store.read(|state| state.grants()).await.unwrap().is_empty());
    assert!(
        store
            .read(|state| state.credential(&grant(), Turn::First))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_secret_moved_to_another_row_is_refused() {
    let dir = scratch();
    let store = open(&dir);
    for (turn, password) in [(Turn::First, "one"), (Turn::Second, "other")] {
        store
            .write(move |state| state.store_credential(&grant(), turn, &credential(password, 1)))
            .await
            .unwrap();
    }
    let db = Connection::open(dir.path().join("boma.sqlite")).unwrap();
    db.execute(
        "UPDATE logins SET secret = (SELECT secret FROM logins WHERE turn = 'second') WHERE turn = 'first'",
        [],
    )
    .unwrap();
    let error = store
        .read(|state| state.credential(&grant(), Turn::First))
        .await
        .unwrap_err();
    assert_eq!(error.problem().code, "secret-unreadable");
}

#[tokio::test]
async fn a_repeated_delivery_is_the_same_delivery() {
    let dir = scratch();
    let store = open(&dir);
    for (fingerprint, serial) in [("f1", 1), ("f1", 1), ("f2", 2)] {
        let delivered = environment(fingerprint, "p");
        store
            .write(move |state| state.deliver(&grant().application, &delivered))
            .await
            .unwrap();
        let rows = store.read(|state| state.applications()).await.unwrap();
        assert_eq!(
            rows[0].delivered.as_ref().map(|seen| seen.serial),
            Some(serial)
        );
    }
}

#[tokio::test]
async fn the_same_event_within_an_hour_is_counted() {
    let dir = scratch();
    let store = open(&dir);
    let start: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    for (message, minutes) in [("up", 0), ("up", 30), ("down", 31), ("up", 85), ("up", 200)] {
        let event = event(message, start + SignedDuration::from_mins(minutes));
        store
            .write(move |state| state.add_event(&event))
            .await
            .unwrap();
    }
    let events = store.read(|state| state.events(None, 10)).await.unwrap();
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.event.message.as_str(), event.count))
        .collect();
    assert_eq!(seen, [("down", 1), ("up", 3), ("up", 1)]);
    assert!(
        store
            .read(|state| state.events(Some("other"), 10))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn events_are_bounded_and_the_audit_trail_is_in_order() {
    let dir = scratch();
    let store = open(&dir);
    store
        .write(|state| {
            for number in 0..10_050 {
                state.add_event(&event(&number.to_string(), Timestamp::now()))?;
            }
            for action in ["create", "grant"] {
                state.add_audit(&AuditEntry {
                    at: Timestamp::now(),
                    actor: "ann".to_owned(),
                    action: action.to_owned(),
                    subject: "db".to_owned(),
                    outcome: "done".to_owned(),
                })?;
            }
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(
        store
            .read(|state| state.events(None, 20_000))
            .await
            .unwrap()
            .len(),
        10_000
    );
    let audit = store.read(|state| state.audit(10)).await.unwrap();
    assert_eq!(
        audit
            .iter()
            .map(|entry| entry.action.as_str())
            .collect::<Vec<_>>(),
        ["create", "grant"]
    );
}

#[tokio::test]
async fn nobody_else_reads_any_of_its_files() {
    let dir = scratch();
    std::fs::write(dir.path().join("boma.sqlite"), "").unwrap();
    let store = open(&dir);
    store
        .write(|state| state.set_source("/here"))
        .await
        .unwrap();
    let modes: Vec<u32> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().permissions().mode() & 0o777)
        .collect();
    assert_eq!(modes, [0o600; 3]);
}

#[tokio::test]
async fn another_key_is_told_at_once_and_nothing_is_changed() {
    let dir = scratch();
    let installation = open(&dir).installation;
    let Err(error) = Store::open(&dir.path().join("boma.sqlite"), sealer(2)) else {
        panic!("opened with a wrong key");
    };
    let problem = error.problem();
    assert_eq!(problem.code, "key-wrong");
    assert!(
        problem
            .message
            .starts_with("the key does not fit the state in `"),
        "{problem}"
    );
    assert_eq!(open(&dir).installation, installation);
}

#[tokio::test]
async fn a_newer_format_and_a_damaged_file_are_told() {
    let dir = scratch();
    let path = dir.path().join("boma.sqlite");
    drop(open(&dir));
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let problem = Store::open(&path, sealer(1)).err().unwrap().problem();
    assert_eq!(problem.code, "state-too-new");
    assert!(
        problem
            .message
            .ends_with("has format 99, and this version of Boma knows formats up to 3"),
        "{problem}"
    );

    let path = dir.path().join("other.sqlite");
    std::fs::write(
        &path,
        "this is not a database, and it is long enough to look like one",
    )
    .unwrap();
    let problem = Store::open(&path, sealer(1)).err().unwrap().problem();
    assert_eq!(problem.code, "state-damaged");
    assert!(problem.hints[0].contains("bring back `boma.sqlite`"));
}

#[tokio::test]
async fn a_full_disk_is_told_and_passes() {
    let dir = scratch();
    let store = open(&dir);
    let limit = |pages: i64| {
        store.write(move |state| {
            let set: i64 = state
                .db
                .pragma_update_and_check(None, "max_page_count", pages, |row| row.get(0))
                .map_err(StoreError::sql("limit"))?;
            assert!(set > 0);
            Ok(())
        })
    };
    let long = || "x".repeat(200_000);
    limit(1).await.unwrap();
    let error = store
        .write(move |state| state.set_source(&long()))
        .await
        .unwrap_err();
    let problem = error.problem();
    assert_eq!(
        (problem.code.as_str(), problem.class),
        ("disk-full", Class::Config)
    );
    assert!(problem.hints[0].starts_with("Free space"));
    limit(1_000_000).await.unwrap();
    store
        .write(move |state| state.set_source(&long()))
        .await
        .unwrap();
}

/// Run as a process of its own by the test below.
#[tokio::test]
#[ignore = "it is the victim of the test below"]
async fn victim_of_a_kill() {
    use std::io::Write;
    let Some(path) = std::env::var_os("BOMA_TEST_STATE") else {
        return;
    };
    let store = Store::open(Path::new(&path), sealer(1)).unwrap();
    for number in 0_u32.. {
        store
            .write(move |state| state.set_source(&number.to_string()))
            .await
            .unwrap();
        println!("acknowledged {number}");
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    use std::io::{BufRead, BufReader};
    let dir = scratch();
    let path = dir.path().join("boma.sqlite");
    let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::victim_of_a_kill",
            "--include-ignored",
            "--nocapture",
        ])
        .env("BOMA_TEST_STATE", &path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let number = |line: &str| line.split_once("acknowledged ")?.1.parse::<u32>().ok();
    let reached = |line: &str| number(line).is_some_and(|number| number >= 100);
    assert!(lines.by_ref().any(|line| reached(&line.unwrap())));
    victim.kill().unwrap();
    let last = lines
        .filter_map(|line| number(&line.unwrap()))
        .last()
        .unwrap_or(100);
    victim.wait().unwrap();
    let found = open(&dir)
        .read(|state| state.source())
        .await
        .unwrap()
        .unwrap();
    assert!(
        found.parse::<u32>().unwrap() >= last,
        "{found} is older than {last}"
    );
}

#[tokio::test]
async fn a_password_in_use_is_not_replaced_and_turns_follow_what_is_stored() {
    let dir = scratch();
    let store = open(&dir);
    let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let put = |turn, serial| {
        let store = store.clone();
        async move {
            let write = store.write(move |state| {
                state.store_credential(&grant(), turn, &credential("p", serial))
            });
            write.await.unwrap()
        }
    };
    let turn = |turn, serial| {
        let (store, since) = (store.clone(), now);
        let login = ActiveLogin {
            turn,
            serial,
            since,
        };
        async move {
            let write = store.write(move |state| state.activate_login(&grant(), login));
            write.await.unwrap()
        }
    };
    assert!(put(Turn::First, 1).await);
    assert!(!put(Turn::First, 2).await, "it is in use");
    assert!(put(Turn::Second, 3).await && put(Turn::Second, 4).await);
    assert!(!turn(Turn::Second, 3).await, "another one is stored");
    assert!(turn(Turn::Second, 4).await && turn(Turn::Second, 4).await);
    assert!(!put(Turn::First, 5).await, "the former one is kept");
    let seen = store.read(|state| state.grants()).await.unwrap();
    let seen = &seen[&grant()];
    assert_eq!((seen.active, seen.draining), (Turn::Second, Some(now)));
    store
        .write(|state| state.release_login(&grant()))
        .await
        .unwrap();
    assert!(!put(Turn::Second, 6).await && put(Turn::First, 7).await);
}

#[tokio::test]
async fn two_who_ask_for_another_password_ask_for_one() {
    let dir = scratch();
    let store = open(&dir);
    let ask = |at_least| {
        let store = store.clone();
        async move {
            let write = store.write(move |state| state.ask_rotation(&grant(), at_least));
            write.await.unwrap()
        }
    };
    let write =
        store.write(|state| state.store_credential(&grant(), Turn::First, &credential("p", 10)));
    assert!(write.await.unwrap());
    assert_eq!(ask(5).await, AskedRotation::Begins, "the clock went back");
    assert_eq!(ask(30).await, AskedRotation::GoesOn);
    let seen = store.read(|state| state.grants()).await.unwrap();
    assert_eq!(seen[&grant()].asked, 11);
    assert_eq!(store.read(|state| state.wishes()).await.unwrap(), 2);
}

#[tokio::test]
async fn each_grant_has_its_own_turn_in_whatever_order_they_were_stored() {
    let dir = scratch();
    let store = open(&dir);
    let since: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let of = |name| GrantKey {
        application: ApplicationKey::new("a/b/c/d", name),
        ..grant()
    };
    let names = ["web", "api", "job"];
    for (serial, turn) in [(1, Turn::First), (2, Turn::Second)] {
        for name in names {
            let put = store.write(move |state| {
                state.store_credential(&of(name), turn, &credential("p", serial))
            });
            assert!(put.await.unwrap());
        }
    }
    for name in names {
        let login = ActiveLogin {
            turn: Turn::Second,
            serial: 2,
            since,
        };
        let activate = store.write(move |state| state.activate_login(&of(name), login));
        assert!(activate.await.unwrap());
        let seen = store.read(|state| state.grants()).await.unwrap();
        let turns = names.map(|name| seen[&of(name)].active);
        let begun = names.iter().position(|one| *one == name).unwrap() + 1;
        let mut expected = [Turn::First; 3];
        expected[..begun].fill(Turn::Second);
        assert_eq!(turns, expected, "after {name}");
    }
}
