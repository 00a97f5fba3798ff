//! What a person is told; each case shows its problems as the command line shows them.

use insta::assert_snapshot;

use crate::parse;
use crate::render::{Color, text};

const DATABASE: &str = "\
apiVersion: lowops.manifests.v1
kind: Database
metadata: {name: db, organization: o, organizational-unit: u, environment: e, project: p}
";

const APPLICATION: &str = "\
apiVersion: lowops.manifests.v1
kind: Application
metadata: {name: app, organization: o, organizational-unit: u, environment: e, project: p}
";

/// The problems of a manifest, as text.
fn told(manifest: &str) -> String {
    let parsed = parse("m.yaml", manifest.as_bytes());
    if parsed.problems.iter().any(boma_problem::Problem::is_error) {
        assert_eq!(parsed.documents, []);
    }
    text(&parsed.problems, Color::Never)
}

fn told_of_database(spec: &str) -> String {
    told(&format!("{DATABASE}{spec}"))
}

fn told_of_application(spec: &str) -> String {
    told(&format!("{APPLICATION}{spec}"))
}

#[test]
fn fields_of_a_database() {
    assert_snapshot!(told_of_database(
        "\
spec:
  version: \"14\"
  cpuCount: 0
  memory: lots
  storage: {size: 501Gi, class: Fast SSD}
  clusterSize: 10
  backupConfig:
    enabled: yes
    schedule: every day
    retentionDays: 0
    archiveIntervalSeconds: 1.5
    pointInTimeRecovery: 1
  parameters: {work mem: 1MB, Work_Mem: 2MB, work_mem: 3MB, search_path: [a]}
  extensions: [pg_trgm, PG_TRGM, pg_trgm]
  suspended: \"true\"
  bootstrap: {restore: {database: a/b/c, targetTime: 2026-11-21T09:30:00}}
  access: {projects: [{environment: e}, team-b]}
  drift: ignore
"
    ));
}

#[test]
fn one_moment_is_restored() {
    assert_snapshot!(told_of_database(
        "\
spec:
  bootstrap:
    restore:
      database: accounts-db
      targetLsn: 16B374D848
      targetName: ''
      targetBackup: 20261121T021406Z-full
      targetTime: 2026-11-21T09:30:00Z
      timeline: 0
"
    ));
}

#[test]
fn fields_that_do_not_exist() {
    assert_snapshot!(told_of_database(
        "\
organization: o
spec:
  backup_config: {}
  replicas: 3
  cpus: 4
  size: 10Gi
  zebra: 1
  <<: {a: b}
  [1, 2]: x
  storage: {siez: 1Gi}
"
    ));
    assert_snapshot!(told_of_application(
        "\
spec:
  image: nginx
  replicas: 3
  databases: []
  acessControl:
    databases: []
"
    ));
}

#[test]
fn metadata_that_is_not_whole() {
    assert_snapshot!(told(
        "\
apiVersion: lowops.manifests.v1
kind: Databas
metadata:
  name: 42
  organisation: o
  organizational-unit: Retail Banking
  project:
  namespace: default
  labels: {team: 7}
"
    ));
    assert_snapshot!(told("apiVersion: lowops.manifests.v1\nkind: Database\n"));
    assert_snapshot!(told(
        "apiVersion: lowops.manifests.v1\nkind: Database\nmetadata: [a]\n"
    ));
}

#[test]
fn fields_of_an_application() {
    assert_snapshot!(told_of_application(
        "\
spec:
  source: {image: \"\", command: [\"\"], workingDirectory: 3}
  target: {port: 0, replicas: -1, workload: Deploymen/api}
  env: {PORT: 8080, 2FAST: a, HOST: {secret: A_B}, LIST: [a]}
  preDeploy: {run: migrate}
  accessControl:
    databases:
      - accounts-db
      - readOnly: maybe
        secretSource: DATABASE_URL
"
    ));
    assert_snapshot!(told_of_application(
        "spec: {source: {workingDirectory: /srv}}\n"
    ));
    assert_snapshot!(told_of_application(
        "spec: {source: {image: a, command: b}}\n"
    ));
    assert_snapshot!(told_of_application(
        "spec: {source: {image: a}, target: {replicas: 2, workload: Deployment/a}}\n"
    ));
    assert_snapshot!(told_of_application(
        "spec: {target: {workload: api}, preDeploy: []}\n"
    ));
}

#[test]
fn one_variable_with_two_meanings() {
    assert_snapshot!(told_of_application(
        "\
spec:
  env:
    DATABASE_URL: postgres://elsewhere
  accessControl:
    databases:
      - name: accounts-db
      - name: audit-db
        secretSource: {envVar: AUDIT}
      - name: p/audit-db
        secretSource: {envVar: AUDIT}
"
    ));
}

#[test]
fn versions_that_are_nearly_ours() {
    assert_snapshot!(told("apiVersion: lowops.manifests.v2\nkind: Database\n"));
    assert_snapshot!(told("apiVersion: lowop.manifest.v1\nkind: Database\n"));
    assert_snapshot!(told("kind: Database\nmetadata: {organization: o}\n"));
}

#[test]
fn yaml_that_cannot_be_read() {
    assert_snapshot!(told_of_database("spec:\n  parameters: {a: [1, 2\n"));
    assert_snapshot!(told_of_database("spec:\n\tcpuCount: 4\n"));
    assert_eq!(
        told("a: b: c\n"),
        "",
        "a file that cannot be a manifest is passed over"
    );
    assert_snapshot!(told_of_database(
        "spec:\n  cpuCount: !!float 4\n  memory: *m\n"
    ));
}

#[test]
fn a_manifest_from_get_can_be_applied_again() {
    assert_snapshot!(told_of_database("spec: {}\ncomputed: {phase: Ready}\n"));
}

#[test]
fn json_that_cannot_be_read() {
    let told =
        |text: &str| crate::render::text(&parse("m.json", text.as_bytes()).problems, Color::Never);
    assert_snapshot!(told(
        "{\"apiVersion\": \"lowops.manifests.v1\",\n \"é\": tru}"
    ));
    assert_snapshot!(told("apiVersion: lowops.manifests.v1"));
    assert_snapshot!(told("{\"apiVersion\": \"lowops.manifests.v1\","));
}

#[test]
fn a_plan_that_does_not_exist_is_shown_where_it_is_asked_for() {
    let parsed = parse(
        "m.yaml",
        format!("{DATABASE}spec:\n  plan: por\n").as_bytes(),
    );
    let crate::Manifest::Database(database) = &parsed.documents[0] else {
        panic!("{parsed:?}")
    };
    let problems = database.resolve(&crate::PlanTable::default()).unwrap_err();
    assert_snapshot!(text(&problems, Color::Never));
}

#[test]
fn a_plan_beyond_the_limits_is_refused() {
    let parsed = parse(
        "m.yaml",
        format!("{DATABASE}spec:\n  plan: huge\n").as_bytes(),
    );
    let crate::Manifest::Database(database) = &parsed.documents[0] else {
        panic!("{parsed:?}")
    };
    let plans = r#"{"huge": {"storage": "1Ti", "clusterSize": 0}}"#;
    let problems = database
        .resolve(&serde_json::from_str(plans).unwrap())
        .unwrap_err();
    assert_snapshot!(text(&problems, Color::Never));
}
