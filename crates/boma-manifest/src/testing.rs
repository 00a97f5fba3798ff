//! Whole repositories of manifests, for tests and benchmarks of other crates.

use std::fmt::Write as _;

/// Databases of one project; more than a real team has, so that references within a project are
/// looked for among several.
const DATABASES_PER_PROJECT: usize = 10;

/// A repository of `databases` databases and twice as many applications: for each database a file
/// of its own, and one with an application that writes and one that reads it.
///
/// All of them are valid, and the same every time.
pub fn repository(databases: usize) -> Vec<(String, String)> {
    (0..databases)
        .flat_map(|number| [database(number), applications(number)])
        .collect()
}

/// The file of one database of [`repository`].
pub fn database(number: usize) -> (String, String) {
    let project = number / DATABASES_PER_PROJECT;
    let mut text = document("Database", &format!("orders-{number}"), project);
    write!(
        text,
        "spec:
  version: \"{version}\"
  cpuCount: {cpus}
  memory: {memory}Gi
  storage:
    size: {size}Gi
  clusterSize: 1
  backupConfig:
    enabled: true
    retentionDays: {days}
  parameters:
    work_mem: 16MB
    random_page_cost: 1.1
  extensions:
    - pg_trgm
",
        version = 15 + number % 4,
        cpus = 1 + number % 8,
        memory = 2 + number % 30,
        size = 10 + number % 400,
        days = 1 + number % 30,
    )
    .expect("writing to a string should not fail");
    (
        format!("project/project-{project}/database/orders-{number}.yaml"),
        text,
    )
}

fn applications(number: usize) -> (String, String) {
    let project = number / DATABASES_PER_PROJECT;
    let mut text = String::new();
    for (name, read_only) in [("shop", false), ("report", true)] {
        let application = document("Application", &format!("{name}-{number}"), project);
        write!(
            text,
            "---
{application}spec:
  source:
    image: registry.example.com/{name}:1.{number}
  target:
    port: 8080
  env:
    LOG_LEVEL: info
  accessControl:
    databases:
      - name: orders-{number}
        readOnly: {read_only}
        secretSource:
          envVar: DATABASE_CONNECTION_STRING
"
        )
        .expect("writing to a string should not fail");
    }
    (
        format!("project/project-{project}/application/shop-{number}.yaml"),
        text,
    )
}

fn document(kind: &str, name: &str, project: usize) -> String {
    format!(
        "apiVersion: lowops.manifests.v1
kind: {kind}
metadata:
  name: {name}
  # The identity of the project:
  project: project-{project}
  environment: development
  organizational-unit: retail
  organization: fincorp
"
    )
}
