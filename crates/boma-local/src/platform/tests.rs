use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use boma_engine::observed::AgentState;
use boma_instance::{Power, Resources, Secret};
use boma_problem::IntoProblem;
use uuid::Uuid;

use super::*;
use crate::config::{Addresses, Builds, HostsFile, LocalBuild};

/// Ends this process the hard way, if the environment says that it is to be struck here.
pub(super) fn strike_at(point: &str) {
    if std::env::var_os("BOMA_TEST_STRIKE_AT").is_some_and(|wanted| wanted == point) {
        let _ended = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

fn config(dir: &Path) -> LocalConfig {
    let build = LocalBuild {
        server: boma_engine::observed::ServerBuild {
            major: MajorVersion::V15,
            version: "15.18".to_owned(),
            parameters: std::collections::BTreeMap::new(),
            extensions: BTreeSet::new(),
        },
        bin_dir: dir.join("bin"),
    };
    let builds = Builds {
        servers: vec![build],
        searched: vec!["/usr/lib/postgresql".to_owned()],
    };
    let hosts = dir.join("hosts");
    if !hosts.exists() {
        std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    }
    LocalConfig {
        hosts: HostsFile::At(hosts),
        addresses: Addresses::Automatic { port: 5438 },
        system_user: Some("nobody".to_owned()),
        enforce_limits: false,
        ..LocalConfig::new(dir.join("state"), dir.join("no-boma"), builds)
    }
}

pub(super) async fn open(dir: &Path) -> LocalPlatform {
    LocalPlatform::open(config(dir)).await.unwrap()
}

fn id(number: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(number << 96 | 0xb0))
}

pub(super) fn key(project: &str, name: &str) -> DatabaseKey {
    DatabaseKey::new(format!("fincorp/retail/dev/{project}"), name)
}

fn record() -> DatabaseRecord {
    DatabaseRecord {
        deletion_protection: false,
        retention_days: 7,
        beside: None,
    }
}

fn spec(id: InstanceId, generation: u64) -> InstanceSpec {
    InstanceSpec {
        id,
        generation,
        identity: "fincorp/retail/dev/p/db".to_owned(),
        database: "db".to_owned(),
        version: MajorVersion::V15,
        power: Power::Off,
        resources: Resources {
            cpu_millis: 1000,
            memory_bytes: 1 << 30,
            storage_bytes: 1 << 30,
        },
        parameters: std::collections::BTreeMap::new(),
        extensions: BTreeSet::new(),
        logins: Vec::new(),
        backup: None,
        origin: None,
        drift: boma_instance::Drift::default(),
        storage_class: None,
    }
}

/// Registers and places a database, without an agent.
pub(super) async fn placed(platform: &LocalPlatform, key: &DatabaseKey, number: u128) -> Listen {
    platform
        .record_database(key, id(number), &record())
        .await
        .unwrap();
    platform
        .place(key, &spec(id(number), 1))
        .await
        .unwrap()
        .placement
        .listen
}

fn retired() -> Life {
    Life::Retired {
        since: Timestamp::now(),
        until: Timestamp::now(),
    }
}

#[tokio::test]
async fn addresses_and_names_stay_and_do_not_meet() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(dir.path()).await;
    let first = placed(&platform, &key("login", "accounts"), 1).await;
    let second = placed(&platform, &key("billing", "accounts"), 2).await;
    assert_eq!(
        first.names,
        ["accounts.internal", "accounts.login.internal"]
    );
    assert_eq!(second.names, ["accounts.billing.internal"]);
    assert_ne!(first.address, second.address);
    let hosts = std::fs::read_to_string(dir.path().join("hosts")).unwrap();
    assert!(
        hosts.contains(&format!(
            "{}\taccounts.internal accounts.login.internal\n",
            first.address
        )),
        "{hosts}"
    );

    drop(platform);
    let platform = open(dir.path()).await;
    assert_eq!(placed(&platform, &key("login", "accounts"), 1).await, first);
    let seen = platform.observe().await.unwrap();
    let database = &seen.databases[&key("login", "accounts")];
    assert_eq!(database.listen.as_ref(), Some(&first));
    assert!(matches!(database.agent, AgentState::Absent));
    assert_eq!(database.spec, Some(spec(id(1), 1)));
}

#[tokio::test]
async fn names_that_somebody_removed_come_back_with_the_next_pass() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(dir.path()).await;
    placed(&platform, &key("login", "accounts"), 1).await;
    std::fs::write(dir.path().join("hosts"), "127.0.0.1 localhost\n").unwrap();
    drop(platform.begin_pass(Duration::ZERO).await.unwrap());
    let hosts = std::fs::read_to_string(dir.path().join("hosts")).unwrap();
    assert!(hosts.contains("accounts.internal"), "{hosts}");
}

#[tokio::test]
async fn names_that_others_have_are_left_to_them() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hosts = one.path().join("hosts");
    std::fs::write(&hosts, "192.0.2.7 Orders.internal # of a person\n").unwrap();
    let platform = open(one.path()).await;
    let first = placed(&platform, &key("login", "accounts"), 1).await;
    let orders = placed(&platform, &key("login", "orders"), 2).await;
    assert_eq!(orders.names, ["orders.login.internal"]);

    let config = LocalConfig {
        hosts: HostsFile::At(hosts.clone()),
        ..config(other.path())
    };
    let beside = LocalPlatform::open(config).await.unwrap();
    let again = placed(&beside, &key("login", "accounts"), 1).await;
    assert_eq!(again.names, ["accounts.login.dev.retail.fincorp.internal"]);
    let third = placed(&beside, &key("billing", "accounts"), 2).await;
    assert_eq!(third.names, ["accounts.billing.internal"]);
    // The first installation keeps what it has.
    assert_eq!(placed(&platform, &key("login", "accounts"), 1).await, first);
}

#[tokio::test]
async fn without_a_hosts_file_addresses_are_used() {
    let dir = tempfile::tempdir().unwrap();
    let config = LocalConfig {
        hosts: HostsFile::At("/nowhere/hosts".into()),
        ..config(dir.path())
    };
    let platform = LocalPlatform::open(config).await.unwrap();
    let listen = placed(&platform, &key("login", "accounts"), 1).await;
    assert!(listen.names.is_empty());
    assert_eq!(listen.host(), listen.address.to_string());
}

#[tokio::test]
async fn one_pass_and_one_server_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (open(dir.path()).await, open(dir.path()).await);
    let pass = one.begin_pass(Duration::ZERO).await.unwrap();
    let problem = other.begin_pass(Duration::ZERO).await.unwrap_err();
    assert_eq!(problem.code, "at-work");
    assert!(
        problem
            .message
            .contains(&format!("(process {}, since ", std::process::id())),
        "{problem}"
    );
    drop(pass);
    other.begin_pass(Duration::ZERO).await.unwrap();

    let serving = one.serve().await.unwrap();
    let problem = other.serve().await.unwrap_err();
    assert_eq!(problem.code, "already-serving");
    assert!(problem.hints[0].contains(&format!("kill {}", std::process::id())));
    one.inner.waker.wake();
    tokio::time::timeout(Duration::from_secs(10), serving.changed())
        .await
        .unwrap();
    drop(serving);
    other.serve().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_cannot_be_started_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(dir.path()).await;
    let key = key("login", "accounts");
    let problem = platform
        .put_instance(&key, &spec(id(1), 1))
        .await
        .unwrap_err();
    assert_eq!(problem.code, "database-unknown");
    platform
        .record_database(&key, id(1), &record())
        .await
        .unwrap();
    let problem = platform
        .put_instance(&key, &spec(id(1), 1))
        .await
        .unwrap_err();
    assert_eq!(problem.code, "agent-not-started");
    assert!(
        problem.to_string().starts_with("start `") && problem.to_string().contains("no-boma`: "),
        "{problem}"
    );

    let newer = InstanceSpec {
        version: MajorVersion::V18,
        ..spec(id(1), 2)
    };
    let problem = platform.put_instance(&key, &newer).await.unwrap_err();
    assert_eq!(
        (problem.code.as_str(), problem.message.as_str()),
        (
            "postgres-missing",
            "PostgreSQL 18 is not installed on this machine"
        )
    );
    assert!(problem.hints[0].ends_with("Looked in: /usr/lib/postgresql."));
}

#[tokio::test]
async fn an_older_spec_and_another_id_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(dir.path()).await;
    let key = key("login", "accounts");
    platform
        .record_database(&key, id(1), &record())
        .await
        .unwrap();
    platform.place(&key, &spec(id(1), 5)).await.unwrap();
    let problem = platform
        .put_instance(&key, &spec(id(1), 4))
        .await
        .unwrap_err();
    assert_eq!(problem.code, "spec-outdated");
    let problem = platform
        .put_instance(&key, &spec(id(2), 6))
        .await
        .unwrap_err();
    assert_eq!(problem.code, "instance-other-id");
    let problem = platform
        .record_database(&key, id(2), &record())
        .await
        .unwrap_err();
    assert_eq!(problem.code, "instance-other-id");
}

#[tokio::test]
async fn two_instances_never_share_a_short_name() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(dir.path()).await;
    let like = InstanceId(Uuid::from_u128(id(1).0.as_u128() + 1));
    platform
        .record_database(&key("login", "one"), id(1), &record())
        .await
        .unwrap();
    let problem = platform
        .record_database(&key("login", "other"), like, &record())
        .await
        .unwrap_err();
    assert_eq!(problem.code, "instance-like-named");
    assert!(
        problem
            .message
            .contains("would share its short name with instance 00000001-"),
        "{problem}"
    );
}

#[tokio::test]
async fn a_person_holds_and_releases() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(dir.path()).await;
    let key = key("login", "accounts");
    assert_eq!(
        platform.hold_database(&key).await.unwrap_err().code,
        "database-unknown"
    );
    platform
        .record_database(&key, id(1), &record())
        .await
        .unwrap();
    platform.hold_database(&key).await.unwrap();
    assert!(platform.observe().await.unwrap().databases[&key].held);
    platform.release_database(&key).await.unwrap();
    assert!(!platform.observe().await.unwrap().databases[&key].held);
    let application = ApplicationKey::new("a/b/c/d", "api");
    assert_eq!(
        platform
            .hold_application(&application)
            .await
            .unwrap_err()
            .code,
        "application-unknown"
    );
}

#[tokio::test]
async fn a_missing_key_is_told_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let key = open(dir.path()).await.layout().key();
    std::fs::remove_file(&key).unwrap();
    let problem = LocalPlatform::open(config(dir.path()))
        .await
        .err()
        .unwrap()
        .problem();
    assert_eq!(problem.code, "key-missing");
    assert!(!key.exists());
    std::fs::write(&key, "0".repeat(64)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let problem = LocalPlatform::open(config(dir.path()))
        .await
        .err()
        .unwrap()
        .problem();
    assert_eq!(problem.code, "key-wrong");
}

#[tokio::test]
async fn only_what_is_retired_is_purged_and_nothing_else_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(dir.path()).await;
    let (gone, stays) = (key("login", "gone"), key("login", "stays"));
    for (key, number) in [(&gone, 1), (&stays, 2)] {
        placed(&platform, key, number).await;
        write_data(&platform, id(number));
    }
    let problem = platform.purge(&gone, id(1)).await.unwrap_err();
    assert_eq!(problem.code, "not-retired");
    assert_eq!(
        problem.message,
        "database `fincorp/retail/dev/login/gone` is in use, and only a retired database is purged"
    );
    platform.set_life(&gone, retired()).await.unwrap();
    assert_eq!(
        platform.purge(&gone, id(2)).await.unwrap_err().code,
        "instance-other-id"
    );
    platform.purge(&gone, id(1)).await.unwrap();
    platform.purge(&gone, id(1)).await.unwrap();
    assert_purged(&platform, &gone, id(1)).await;
    assert!(platform.layout().instance(id(2)).join("data/base").exists());
    let hosts = std::fs::read_to_string(dir.path().join("hosts")).unwrap();
    assert!(hosts.contains("stays.internal"), "{hosts}");
}

fn write_data(platform: &LocalPlatform, id: InstanceId) {
    let data = platform.layout().instance(id).join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("base"), "rows").unwrap();
    std::fs::create_dir_all(platform.layout().run(id)).unwrap();
}

async fn assert_purged(platform: &LocalPlatform, key: &DatabaseKey, id: InstanceId) {
    assert!(
        !platform
            .observe()
            .await
            .unwrap()
            .databases
            .contains_key(key)
    );
    let layout = platform.layout();
    for path in [layout.instance(id), layout.tombstone(id), layout.run(id)] {
        assert!(!path.exists(), "{}", path.display());
    }
    let HostsFile::At(hosts) = &platform.inner.config.hosts else {
        panic!("no hosts file")
    };
    let text = std::fs::read_to_string(hosts).unwrap();
    assert!(!text.contains(&*key.name), "{text}");
}

/// Run as a process of its own by the test below; struck wherever the environment says.
#[tokio::test]
#[ignore = "it is the victim of the test below"]
async fn victim_of_a_purge() {
    let Some(dir) = std::env::var_os("BOMA_TEST_DIR") else {
        return;
    };
    let platform = open(Path::new(&dir)).await;
    platform.purge(&key("login", "gone"), id(1)).await.unwrap();
}

#[tokio::test]
async fn a_purge_that_dies_anywhere_is_finished_by_the_next_pass() {
    for point in ["marked", "agent-ended", "buried", "removed", "unnamed"] {
        let dir = tempfile::tempdir().unwrap();
        let key = key("login", "gone");
        let platform = open(dir.path()).await;
        placed(&platform, &key, 1).await;
        write_data(&platform, id(1));
        platform.set_life(&key, retired()).await.unwrap();
        drop(platform);

        let victim = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "platform::tests::victim_of_a_purge",
                "--include-ignored",
            ])
            .env("BOMA_TEST_DIR", dir.path())
            .env("BOMA_TEST_STRIKE_AT", point)
            .output()
            .unwrap();
        assert_eq!(
            victim.status.signal(),
            Some(9),
            "{point}: {}",
            String::from_utf8_lossy(&victim.stdout)
        );

        let platform = open(dir.path()).await;
        let problem = platform
            .put_instance(&key, &spec(id(1), 2))
            .await
            .unwrap_err();
        assert_eq!(
            problem.code, "being-purged",
            "{point}: nothing else may be done with it"
        );
        drop(platform.begin_pass(Duration::ZERO).await.unwrap());
        assert_purged(&platform, &key, id(1)).await;
        assert!(platform.begin_pass(Duration::ZERO).await.is_ok());
    }
}

#[tokio::test]
async fn what_is_so_already_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(dir.path()).await;
    let key = key("login", "accounts");
    placed(&platform, &key, 1).await;
    let written = || {
        let log = platform.layout().database().with_extension("sqlite-wal");
        let hosts = std::fs::metadata(dir.path().join("hosts")).unwrap();
        (
            std::fs::metadata(log).unwrap().len(),
            hosts.modified().unwrap(),
        )
    };
    let before = written();
    drop(platform.begin_pass(Duration::ZERO).await.unwrap());
    platform.observe().await.unwrap();
    platform.place(&key, &spec(id(1), 1)).await.unwrap();
    assert_eq!(written(), before);
    platform.place(&key, &spec(id(1), 2)).await.unwrap();
    assert_ne!(written(), before);
}

#[tokio::test]
async fn fifty_databases_are_observed_quickly_and_placed_without_meeting() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(dir.path()).await;
    let mut addresses = BTreeSet::new();
    for number in 0..50 {
        let listen = placed(&platform, &key("login", &format!("db-{number}")), number).await;
        assert!(addresses.insert((listen.address, listen.port)));
    }
    assert_eq!(platform.observe().await.unwrap().databases.len(), 50);
}

#[tokio::test]
async fn who_exchanges_a_password_second_is_told_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(dir.path()).await;
    let grant = GrantKey {
        application: ApplicationKey::new("a/b/c/d", "api"),
        database: key("login", "accounts"),
    };
    let made = |serial| Credential {
        role: "api_1".to_owned(),
        password: Secret::new("p".to_owned()),
        verifier: Secret::new("v".to_owned()),
        serial,
    };
    let (first, second) = (made(1), made(2));
    let put = platform.store_credential(&grant, Turn::First, &first);
    put.await.unwrap();
    let put = platform.store_credential(&grant, Turn::First, &second);
    let problem = put.await.unwrap_err();
    assert_eq!(problem.code, "password-in-use");
    assert_eq!(
        problem.message,
        format!("the password of {grant} is in use and not replaced")
    );
    let login = ActiveLogin {
        turn: Turn::Second,
        serial: 2,
        since: Timestamp::now(),
    };
    let problem = platform.activate_login(&grant, login).await.unwrap_err();
    assert_eq!(problem.code, "password-other");
    assert_eq!(
        problem.message,
        format!("another password than expected is stored for {grant}")
    );
    assert_eq!(
        platform
            .credential(&grant, Turn::First)
            .await
            .unwrap()
            .serial,
        1
    );
}

/// Killed between the two, the server has its former certificate and the store another one.
#[tokio::test]
async fn a_certificate_counts_as_due_until_its_server_was_told_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let platform = open(dir.path()).await;
    let key = key("login", "accounts");
    placed(&platform, &key, 1).await;
    let spec = spec(id(1), 1);
    assert_eq!(platform.certificates_due().await.unwrap(), []);
    let renewal = platform.renew_certificates("tester").await.unwrap();
    assert_eq!((renewal.certificates, renewal.other_authority), (1, false));
    let due = std::slice::from_ref(&key);
    assert_eq!(platform.certificates_due().await.unwrap(), due);

    let told = platform.place(&key, &spec).await.unwrap();
    assert_eq!(platform.certificates_due().await.unwrap(), due);
    let told_again = platform.place(&key, &spec).await.unwrap();
    assert_ne!(told.placement.tls, told_again.placement.tls);
    platform
        .renewed(spec.id, told.renewed.unwrap())
        .await
        .unwrap();
    assert_eq!(
        platform.certificates_due().await.unwrap(),
        due,
        "the second one is not in use"
    );
    platform
        .renewed(spec.id, told_again.renewed.unwrap())
        .await
        .unwrap();
    assert_eq!(platform.certificates_due().await.unwrap(), []);
    let steady = platform.place(&key, &spec).await.unwrap();
    assert_eq!(steady.placement.tls, told_again.placement.tls);
}
