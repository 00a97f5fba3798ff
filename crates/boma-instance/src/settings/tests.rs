use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::backup::BackupSpec;
use crate::{
    Access, Assignment, InstanceId, InstanceSpec, Listen, LoginSpec, MajorVersion, Placement,
    Power, Resources, Secret, TlsMaterial,
};

const GIB: u64 = 1 << 30;

fn spec(cpu_millis: u32, memory_bytes: u64, storage_bytes: u64) -> InstanceSpec {
    InstanceSpec {
        id: InstanceId(Uuid::from_u128(0x1234_5678 << 96)),
        generation: 1,
        identity: "fincorp/retail-banking/development/login-svc/accounts-db".into(),
        database: "accounts_db".into(),
        version: MajorVersion::V17,
        power: Power::On,
        resources: Resources {
            cpu_millis,
            memory_bytes,
            storage_bytes,
        },
        parameters: BTreeMap::new(),
        extensions: BTreeSet::new(),
        logins: Vec::new(),
        backup: None,
        origin: None,
        drift: crate::Drift::default(),
        storage_class: None,
    }
}

fn assignment(spec: InstanceSpec) -> Assignment {
    Assignment {
        spec,
        placement: Placement {
            listen: Listen {
                address: [127, 9, 8, 7].into(),
                port: 5432,
                names: Vec::new(),
            },
            bind: None,
            tls: Some(TlsMaterial {
                certificate: String::new(),
                key: Secret::new(String::new()),
                authority: String::new(),
            }),
            repositories: BTreeMap::new(),
        },
    }
}

fn login(role: &str, verifier: Option<&str>) -> LoginSpec {
    LoginSpec {
        role: role.into(),
        access: Access::ReadOnly,
        verifier: verifier.map(|text| Secret::new(text.to_owned())),
        comment: "login-svc/auth-api".into(),
    }
}

fn paths() -> Paths {
    Paths {
        data: "/d".into(),
        sockets: "/run/it's".into(),
        tls: "/t".into(),
        boma: "/b/boma".into(),
    }
}

fn values(spec: &InstanceSpec) -> BTreeMap<&'static str, String> {
    derive(spec)
        .into_iter()
        .map(|(name, derived)| (name, derived.value))
        .collect()
}

#[test]
fn sizes_follow_from_cpu_memory_and_storage() {
    for (size, expected) in [
        // (CPU in thousandths, memory, storage), the smallest plan first
        (
            (250, GIB / 4, GIB),
            [
                ("shared_buffers", "64MB"),
                ("max_connections", "25"),
                ("work_mem", "6291kB"),
                ("maintenance_work_mem", "16MB"),
                ("max_wal_size", "128MB"),
                ("min_wal_size", "32MB"),
                ("max_parallel_workers_per_gather", "0"),
                ("autovacuum_vacuum_cost_limit", "200"),
            ],
        ),
        (
            (2000, 4 * GIB, 50 * GIB),
            [
                ("shared_buffers", "1024MB"),
                ("max_connections", "256"),
                ("work_mem", "9830kB"),
                ("maintenance_work_mem", "204MB"),
                ("max_wal_size", "5120MB"),
                ("min_wal_size", "1024MB"),
                ("max_parallel_workers_per_gather", "1"),
                ("autovacuum_vacuum_cost_limit", "800"),
            ],
        ),
        (
            (8000, 32 * GIB, 200 * GIB),
            [
                ("shared_buffers", "8192MB"),
                ("max_connections", "500"),
                ("work_mem", "40265kB"),
                ("maintenance_work_mem", "1024MB"),
                ("max_wal_size", "16384MB"),
                ("min_wal_size", "1024MB"),
                ("max_parallel_workers_per_gather", "4"),
                ("autovacuum_vacuum_cost_limit", "2400"),
            ],
        ),
    ] {
        let values = values(&spec(size.0, size.1, size.2));
        for (name, value) in expected {
            assert_eq!(values[name], value, "{name} of {size:?}");
        }
    }
}

#[test]
fn parameters_override_what_is_derived_but_not_what_is_owned() {
    let mut spec = spec(1000, 2 * GIB, 10 * GIB);
    for (name, value) in [
        ("Work_Mem", "1MB"),
        ("FSYNC", "off"),
        ("evil = 1\nfsync", "off"),
        ("search_path", "a\nfsync = off"),
        ("pg_stat_statements.track", "all"),
    ] {
        spec.parameters.insert(name.into(), value.into());
    }
    let text = render_conf(&assignment(spec), &paths());
    assert!(text.contains("\nwork_mem = '1MB'\n"), "{text}");
    assert_eq!(
        text.matches("work_mem = ").count(),
        2,
        "work_mem and maintenance_work_mem:\n{text}"
    );
    assert!(text.contains("\nfsync = 'on'\n"));
    assert!(
        !text.contains("'off'\nfsync") && !text.contains("evil") && !text.contains("search_path")
    );
    assert!(text.contains("\npg_stat_statements.track = 'all'\n"));
    assert!(text.contains("unix_socket_directories = '\"/run/it''s\"'\n"));
}

#[test]
fn extensions_bring_the_libraries_they_need() {
    let mut spec = spec(1000, 2 * GIB, 10 * GIB);
    assert!(!effective(&spec).contains_key("shared_preload_libraries"));
    spec.extensions = ["hstore", "pg_stat_statements"].map(String::from).into();
    spec.parameters.insert(
        "shared_preload_libraries".into(),
        "auto_explain, pg_stat_statements".into(),
    );
    assert_eq!(
        effective(&spec)["shared_preload_libraries"],
        "pg_stat_statements, auto_explain"
    );
}

#[test]
fn hba_names_open_logins_and_rejects_the_rest() {
    let mut spec = spec(1000, 2 * GIB, 10 * GIB);
    spec.logins = vec![
        login("auth_api_1", Some("v")),
        login("auth_api_2", None),
        login("odd \"name\", all", Some("v")),
        login("/.*", Some("v")),
        login("two\nlines", Some("v")),
    ];
    let mut want = assignment(spec);
    let expected = r#"# Written by Boma from the grants in manifests.
local all "postgres" peer map=boma
local all all reject
host "accounts_db" "auth_api_1" 127.0.0.0/8 scram-sha-256
host "accounts_db" "odd ""name"", all" 127.0.0.0/8 scram-sha-256
host all all all reject
host replication all all reject
"#;
    assert_eq!(render_hba(&want), expected);
    want.placement.listen.address = [0, 0, 0, 0].into();
    assert!(render_hba(&want).contains("\nhostssl \"accounts_db\" \"auth_api_1\" all "));
    want.placement.tls = None;
    assert!(
        render_hba(&want).contains("\nhost \"accounts_db\" \"auth_api_1\" all scram-sha-256\n")
    );
    assert_eq!(
        render_ident("boma"),
        "# Written by Boma.\nboma \"boma\" \"postgres\"\n"
    );
}

/// `docs/settings.md` has a row for each setting, with the reason that the code has.
#[test]
fn the_page_of_settings_is_complete() {
    let page = include_str!("../../../../docs/settings.md");
    let mut missing = Vec::new();
    for version in MajorVersion::ALL {
        let mut spec = spec(1000, 2 * GIB, 10 * GIB);
        spec.version = version;
        for (name, derived) in derive(&spec) {
            missing.push(format!("| `{name}` | {} |", derived.reason));
        }
    }
    for (name, reason) in owned::OWNED {
        missing.push(format!("| `{name}` | {reason} |"));
    }
    missing.retain(|row| !page.contains(row));
    missing.sort();
    missing.dedup();
    assert!(
        missing.is_empty(),
        "docs/settings.md lacks these rows:\n{}",
        missing.join("\n")
    );
}

/// Reads one line as `guc-file.l` and `GUC_scanstr` do.
fn read_line(line: &str) -> Option<(&str, String)> {
    let (name, rest) = line.split_once(" = '")?;
    let mut value = String::new();
    let mut letters = rest.chars();
    loop {
        match letters.next()? {
            '\'' => match letters.next() {
                None => return Some((name, value)),
                Some('\'') => value.push('\''),
                Some(_) => return None,
            },
            '\\' => value.push(match letters.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            }),
            other => value.push(other),
        }
    }
}

proptest! {
    #[test]
    fn any_value_is_read_back_as_it_was(value in "\\PC*|[\\\\'\n\t ]{0,8}") {
        let mut spec = spec(1000, 2 * GIB, 10 * GIB);
        spec.parameters.insert("search_path".into(), value.clone());
        let mut want = assignment(spec);
        want.spec.database = value.clone();
        let text = render_conf(&want, &paths());
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let read: Option<BTreeMap<_, _>> = lines.iter().map(|line| read_line(line)).collect();
        let read = read.expect("each line should be a setting");
        if !value.contains('\n') {
            prop_assert_eq!(&read["search_path"], &value);
        }
        prop_assert_eq!(&read["fsync"], "on");
    }

    #[test]
    fn any_name_stays_one_field_of_one_hba_line(role in "\\PC{1,20}|[\"\\\\, \n/+#]{1,8}") {
        let mut spec = spec(1000, 2 * GIB, 10 * GIB);
        let before = render_hba(&assignment(spec.clone())).lines().count();
        spec.logins = vec![login(&role, Some("v"))];
        let text = render_hba(&assignment(spec));
        prop_assert!(text.lines().count() <= before + 1);
        if let Some(line) = text.lines().find(|line| line.starts_with("host \"accounts_db\"")) {
            let field = line.strip_prefix("host \"accounts_db\" \"").unwrap();
            let field = field.strip_suffix("\" 127.0.0.0/8 scram-sha-256").unwrap();
            prop_assert!(!field.replace("\"\"", "").contains('"'));
            prop_assert_eq!(field.replace("\"\"", "\""), role);
        }
    }
}

fn backed_up() -> InstanceSpec {
    InstanceSpec {
        backup: Some(BackupSpec {
            repository: "default".into(),
            schedule: "0 2 * * *".into(),
            retention_days: 7,
            point_in_time: true,
            archive_interval_seconds: 300,
        }),
        ..spec(1000, 2 * GIB, 10 * GIB)
    }
}

#[test]
fn a_server_is_always_ready_to_archive() {
    let without = render_conf(&assignment(spec(1000, 2 * GIB, 10 * GIB)), &paths());
    assert!(without.contains("archive_mode = 'on'"), "{without}");
    assert!(without.contains("archive_command = 'true'"), "{without}");
    assert!(without.contains("archive_timeout = '0'"), "{without}");
    let with = render_conf(&assignment(backed_up()), &paths());
    assert!(with.contains("archive_mode = 'on'"), "{with}");
    assert!(!with.contains("archive_command = 'true'"), "{with}");
    assert!(with.contains("archive_timeout = '300s'"), "{with}");
}

#[test]
fn a_spec_from_before_backups_is_still_read() {
    let mut stored = serde_json::to_value(assignment(backed_up())).unwrap();
    let spec = stored["spec"].as_object_mut().unwrap();
    assert!(spec.remove("backup").is_some());
    assert!(spec.remove("origin").is_none());
    let read: Assignment = serde_json::from_value(stored).unwrap();
    assert_eq!(read.spec.backup, None);
    assert_eq!(read.spec.origin, None);
    assert!(read.placement.repositories.is_empty());
}

#[test]
fn statements_that_are_no_queries_are_not_collected_unless_somebody_says_so() {
    const NAME: &str = "pg_stat_statements.track_utility";
    let mut spec = spec(1000, GIB, GIB);
    assert_eq!(effective(&spec).get(NAME), None);
    spec.extensions.insert("pg_stat_statements".into());
    assert_eq!(effective(&spec).get(NAME).map(String::as_str), Some("off"));
    spec.parameters.insert(NAME.into(), "on".into());
    assert_eq!(effective(&spec).get(NAME).map(String::as_str), Some("on"));
}
