//! A manifest that is written as YAML and read again is the same manifest.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;

use insta::assert_snapshot;
use jiff::Timestamp;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;

use crate::{
    AccessControl, AccessSpec, AllowedProject, Application, ApplicationSpec, BackupConfig,
    Bootstrap, Command, CpuCount, Database, DatabaseGrant, DatabaseSpec, Drift, EnvValue,
    LogPosition, Manifest, Metadata, Origin, ProjectIdentity, Quantity, Restore, RestoreTarget,
    Source, SourceFile, StorageSpec, Target, VariableName, Version, WorkloadReference, parse,
};

/// Any value of a type that is read from text, from texts of a pattern.
fn like<T: FromStr<Err: Debug> + Debug>(pattern: &'static str) -> impl Strategy<Value = T> {
    pattern.prop_map(|text| text.parse().unwrap())
}

fn label<T: FromStr<Err: Debug> + Debug>() -> impl Strategy<Value = T> {
    // Among labels are words that YAML could take for something else.
    let word = prop::sample::select(vec!["null", "true", "on", "1e3", "0x1f", "2026-01-01", "0"]);
    prop_oneof![
        "[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?",
        word.prop_map(str::to_owned)
    ]
    .prop_map(|text| text.parse().unwrap())
}

/// Texts that a writer could get wrong.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|text| text.replace('\0', "")),
        "[ \n\t:#'\"|>&*!%@`\\-\\[\\]{}?,~a]{0,30}",
        prop::sample::select(vec![
            "",
            " ",
            "\n",
            "null",
            "true",
            "Yes",
            "1",
            "0o7",
            "1.0",
            ".inf",
            "=",
            "<<",
            "---",
            "a\n",
            "a\n\n",
            "\na",
            " a\nb",
            "a \n b\n",
            "é\u{85}b",
            "\u{2028}",
            "\u{feff}",
            "\r\n",
        ])
        .prop_map(str::to_owned),
    ]
}

fn line() -> impl Strategy<Value = String> {
    "[ -~é]{0,30}[!-~]"
}

fn identity() -> impl Strategy<Value = ProjectIdentity> {
    (label(), label(), label(), label()).prop_map(
        |(organization, organizational_unit, environment, project)| ProjectIdentity {
            organization,
            organizational_unit,
            environment,
            project,
        },
    )
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let free = || btree_map(any_text(), any_text(), 0..3);
    (label(), identity(), free(), free()).prop_map(|(name, project, labels, annotations)| {
        Metadata {
            name,
            project,
            labels,
            annotations,
        }
    })
}

fn reference<T: FromStr<Err: Debug> + Debug>() -> impl Strategy<Value = T> {
    like("([a-z]{1,5}/|([a-z]{1,5}/){4})?[a-z][a-z0-9-]{0,10}[a-z]")
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_i64, 0..1_000_000_000)
        .prop_map(|(second, nanosecond)| Timestamp::new(second, nanosecond).unwrap())
}

fn storage() -> impl Strategy<Value = StorageSpec> {
    let size = (1 << 30..=500_u64 << 30).prop_map(Quantity::from_bytes);
    (of(size), of(label())).prop_map(|(size, class)| StorageSpec { size, class })
}

fn backup() -> impl Strategy<Value = BackupConfig> {
    let schedule = like("([0-9]|[1-5][0-9]|\\*/5) (1?[0-9]|2[0-3]) \\* \\* (\\*|[0-6]|MON-FRI)");
    (
        of(any::<bool>()),
        of(schedule),
        of(1..=365_u16),
        of(any::<bool>()),
        of(1..=3600_u16),
        of(like("[a-z][a-z0-9]{0,8}")),
    )
        .prop_map(
            |(enabled, schedule, retention_days, any_moment, interval, repository)| BackupConfig {
                enabled,
                schedule,
                retention_days,
                point_in_time_recovery: any_moment,
                archive_interval_seconds: interval,
                repository,
            },
        )
}

fn bootstrap() -> impl Strategy<Value = Bootstrap> {
    let target = prop_oneof![
        moment().prop_map(RestoreTarget::Time),
        any::<u64>().prop_map(|at| RestoreTarget::Position(LogPosition(at))),
        like("[ -~]{1,63}").prop_map(RestoreTarget::Point),
        like("[0-9]{8}T[0-9]{6}Z-full").prop_map(RestoreTarget::Backup),
    ];
    let restore = (reference(), of(target), of(1..=u32::MAX), of(any::<u128>())).prop_map(
        |(database, target, timeline, instance)| Restore {
            database,
            instance: instance.map(uuid::Uuid::from_u128),
            repository: instance.map(|_| "default".parse().unwrap()),
            target,
            timeline,
        },
    );
    of(restore).prop_map(|restore| Bootstrap { restore })
}

fn access() -> impl Strategy<Value = AccessSpec> {
    let project = (of(label()), of(label()), of(label()), label()).prop_map(
        |(organization, organizational_unit, environment, project)| AllowedProject {
            organization,
            organizational_unit,
            environment,
            project,
        },
    );
    vec(project, 0..3).prop_map(|projects| AccessSpec { projects })
}

fn database_spec() -> impl Strategy<Value = DatabaseSpec> {
    let size = (
        of(prop::sample::select(Version::ALL.to_vec())),
        of(label()),
        of((1..=1_024_000_u32).prop_map(CpuCount::from_millis)),
        of((128 << 20..=1_u64 << 44).prop_map(Quantity::from_bytes)),
        of(storage()),
        of(1..=9_u8),
    );
    let inside = (
        of(backup()),
        btree_map(
            like("[a-z_]{1,8}(\\.[a-z0-9_]{1,8})?"),
            "[ -~é]{0,20}",
            0..4,
        ),
        btree_set(like("[a-z0-9][a-z0-9_-]{0,8}[a-z0-9]"), 0..4),
    );
    let life = (
        of(any::<bool>()),
        of(any::<bool>()),
        of(bootstrap()),
        of(access()),
        of(prop_oneof![Just(Drift::Correct), Just(Drift::Report)]),
    );
    (size, inside, life).prop_map(
        |(
            (version, plan, cpu_count, memory, storage, cluster_size),
            (backup_config, parameters, extensions),
            (suspended, deletion_protection, bootstrap, access, drift),
        )| DatabaseSpec {
            version,
            plan,
            cpu_count,
            memory,
            storage,
            cluster_size,
            backup_config,
            parameters,
            extensions,
            suspended,
            deletion_protection,
            bootstrap,
            access,
            drift,
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        any_text()
            .prop_filter("a command is not blank", |text| !text.trim().is_empty())
            .prop_map(Command::Shell),
        (line(), vec(any_text(), 0..3))
            .prop_map(|(program, words)| Command::Program([vec![program], words].concat())),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        line().prop_map(|image| Source::Image { image }),
        (command(), of(line())).prop_map(|(command, working_directory)| Source::Command {
            command,
            working_directory
        }),
    ]
}

/// A source, or an existing workload; they exclude each other.
fn source_and_target() -> impl Strategy<Value = (Option<Source>, Option<Target>)> {
    let own =
        (of(source()), of((of(1..=65535_u16), of(0..=1000_u16)))).prop_map(|(source, target)| {
            let target = target.map(|(port, replicas)| Target {
                port,
                replicas,
                workload: None,
            });
            (source, target)
        });
    let attached = (of(1..=65535_u16), like::<String>("[a-z]{1,9}")).prop_map(|(port, name)| {
        let kind = crate::WorkloadKind::StatefulSet;
        let workload = Some(WorkloadReference {
            kind,
            name: name.parse().unwrap(),
        });
        (
            None,
            Some(Target {
                port,
                replicas: None,
                workload,
            }),
        )
    });
    prop_oneof![own, attached]
}

fn env_value() -> impl Strategy<Value = EnvValue> {
    prop_oneof![
        any_text().prop_map(EnvValue::Text),
        label().prop_map(|secret| EnvValue::Secret { secret }),
    ]
}

fn application_spec() -> impl Strategy<Value = ApplicationSpec> {
    let env = btree_map(
        like::<VariableName>("[A-Z_][A-Z0-9_]{0,10}"),
        env_value(),
        0..4,
    );
    // Databases and variables of their own, so that no two grants meet.
    let days = proptest::option::of(1..=3650_u16);
    let grants = vec((reference::<String>(), any::<bool>(), days), 0..4).prop_map(|grants| {
        let databases =
            grants
                .into_iter()
                .enumerate()
                .map(|(index, (name, read_only, rotation_days))| {
                    let name = format!("{name}{index}").parse().unwrap();
                    let env_var = VariableName::new(format!("database_{index}")).unwrap();
                    DatabaseGrant {
                        name,
                        read_only,
                        env_var,
                        rotation_days,
                    }
                });
        AccessControl {
            databases: databases.collect(),
        }
    });
    (source_and_target(), env, of(command()), grants).prop_map(
        |((source, target), env, pre_deploy, access_control)| ApplicationSpec {
            source,
            target,
            env,
            pre_deploy,
            access_control,
        },
    )
}

fn origin() -> Origin {
    Origin::new(&SourceFile::new("made.yaml", Vec::new()), 0)
}

fn database() -> impl Strategy<Value = Manifest> {
    (metadata(), database_spec()).prop_map(|(metadata, spec)| {
        Manifest::Database(Database {
            metadata,
            spec,
            origin: origin(),
        })
    })
}

fn application() -> impl Strategy<Value = Manifest> {
    (metadata(), application_spec()).prop_map(|(metadata, spec)| {
        Manifest::Application(Application {
            metadata,
            spec,
            origin: origin(),
        })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(manifest in prop_oneof![database(), application()]) {
        let yaml = manifest.to_yaml();
        let parsed = parse("a.yaml", yaml.as_bytes());
        prop_assert_eq!(&parsed.problems, &[], "{}", yaml);
        prop_assert_eq!(&*parsed.documents, std::slice::from_ref(&manifest), "{}", yaml);

        let json = serde_json::to_string_pretty(&manifest).unwrap();
        let parsed = parse("a.json", json.as_bytes());
        prop_assert_eq!(&parsed.problems, &[], "{}", json);
        prop_assert_eq!(&parsed.documents, &[manifest], "{}", json);
    }
}

#[test]
fn yaml_has_the_order_of_the_reference() {
    let text = "\
spec: {extensions: [b, a], cpuCount: 0.5, version: 16, parameters: {log_statement: \"off\"}}
metadata: {project: p, environment: e, organizational-unit: u, organization: o, name: db}
kind: Database
apiVersion: lowops.manifests/v1
";
    assert_snapshot!(parse("a.yaml", text.as_bytes()).documents[0].to_yaml());
    let text = "\
apiVersion: lowops.manifests.v1
kind: Application
metadata: {project: p, environment: e, organizational-unit: u, organization: o, name: app}
spec:
  accessControl: {databases: [{name: db}, {name: p/audit, readOnly: true, secretSource: {envVar: AUDIT}}]}
  env: {B: \"1\", A: {secret: a}}
  source: {workingDirectory: /srv, command: \"one\\ntwo\\n\"}
  preDeploy: [./migrate, --all]
  target: {port: 80}
";
    assert_snapshot!(parse("a.yaml", text.as_bytes()).documents[0].to_yaml());
    let empty: BTreeMap<String, String> = BTreeMap::new();
    assert_eq!(parse("a.yaml", b"# nothing\n").documents.len(), empty.len());
}
