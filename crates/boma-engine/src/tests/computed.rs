//! What a person is told of each resource.

use crate::computed;
use crate::plan::Plan;
use crate::testing::{Agent, application_key, database_key};

use super::world::World;

const DATABASE: &str = "apiVersion: lowops.manifests.v1
kind: Database
metadata: {name: accounts-db, organization: fincorp, organizational-unit: retail-banking, environment: development, project: login-svc}
spec: {version: \"16\", deletionProtection: false}
";

const APPLICATION: &str = "apiVersion: lowops.manifests.v1
kind: Application
metadata: {name: auth-api, organization: fincorp, organizational-unit: retail-banking, environment: development, project: login-svc}
spec: {source: {command: [node]}, target: {port: 8080}, accessControl: {databases: [{name: accounts-db}]}}
";

fn world() -> World {
    let mut world = World::new();
    world.write("accounts-db.yaml", DATABASE);
    world.write("auth-api.yaml", APPLICATION);
    world
}

/// Both blocks, as `get -o json` prints them.
fn both(world: &World, plan: Option<&Plan>) -> String {
    let (catalog, _) = world.catalog();
    let seen = world.platform.state().observed();
    let key = application_key("auth-api");
    let database = computed::database(&database_key("accounts-db"), Some(&catalog), &seen, plan);
    let want = catalog.application(&key).map(|want| &**want);
    let application = computed::application(&key, want, &seen, plan, world.platform.now());
    let database = serde_json::to_string_pretty(&database).unwrap();
    let application = serde_json::to_string_pretty(&application).unwrap();
    format!("{database}\n{application}")
}

#[tokio::test(start_paused = true)]
#[expect(clippy::too_many_lines, reason = "the text that it compares is long")]
async fn everything_that_was_measured_is_shown() {
    let mut world = world();
    let asked = world.asked();
    world.apply(asked.clone()).await.unwrap();
    let plan = world.plan(&asked);
    insta::assert_snapshot!(both(&world, Some(&plan)), @r#"
    {
      "phase": "Ready",
      "conditions": [
        {
          "type": "InSync",
          "status": "True",
          "reason": "AsItShouldBe",
          "message": "it is as its manifest says"
        }
      ],
      "id": "00000000-0000-0000-0000-000000000001",
      "host": "accounts-db.internal",
      "port": 5432,
      "databaseName": "accounts_db",
      "version": "16.4",
      "primary": "accounts-db-1",
      "instances": [
        {
          "name": "accounts-db-1",
          "phase": "Ready",
          "pid": 4242,
          "startedAt": "2026-11-21T10:00:00.8Z",
          "pendingRestart": []
        }
      ],
      "access": [
        {
          "application": "fincorp/retail-banking/development/login-svc/auth-api",
          "access": "read-write",
          "otherProject": false,
          "roles": [
            "auth_api_1"
          ]
        }
      ],
      "admittedProjects": [],
      "storageBytesUsed": null,
      "lastBackup": null,
      "lastVerifiedRestore": null,
      "recoverableFrom": null,
      "recoverableUntil": null,
      "archiveWaitingBytes": null,
      "archiveWaitingSince": null,
      "observedGeneration": 1,
      "observedAt": "2026-11-21T10:00:00.8Z"
    }
    {
      "phase": "Running",
      "conditions": [
        {
          "type": "InSync",
          "status": "True",
          "reason": "AsItShouldBe",
          "message": "it is as its manifest says"
        }
      ],
      "grants": [
        {
          "database": "fincorp/retail-banking/development/login-svc/accounts-db",
          "otherProject": false,
          "access": "read-write",
          "envVar": "DATABASE_URL",
          "role": "auth_api_1",
          "passwordSince": "2026-11-21T10:00:00.1Z",
          "rotation": {
            "stage": "steady",
            "due": null
          }
        }
      ],
      "environment": [
        "DATABASE_URL",
        "PORT"
      ],
      "process": {
        "pid": 1,
        "since": "2026-11-21T10:00:00.6Z",
        "endedAt": null,
        "failures": 0
      },
      "preDeploy": null
    }
    "#);
}

#[test]
fn what_nothing_is_known_of_is_unknown() {
    let mut world = world();
    let plan = world.plan(&world.asked());
    insta::assert_snapshot!(both(&world, Some(&plan)), @r#"
    {
      "phase": "Pending",
      "conditions": [
        {
          "type": "InSync",
          "status": "False",
          "reason": "ToBeChanged",
          "message": "there is something to do; `boma plan` shows it"
        }
      ],
      "id": null,
      "host": null,
      "port": null,
      "databaseName": "accounts_db",
      "version": null,
      "primary": null,
      "instances": [],
      "access": [
        {
          "application": "fincorp/retail-banking/development/login-svc/auth-api",
          "access": "read-write",
          "otherProject": false,
          "roles": []
        }
      ],
      "admittedProjects": [],
      "storageBytesUsed": null,
      "lastBackup": null,
      "lastVerifiedRestore": null,
      "recoverableFrom": null,
      "recoverableUntil": null,
      "archiveWaitingBytes": null,
      "archiveWaitingSince": null,
      "observedGeneration": null,
      "observedAt": null
    }
    {
      "phase": "Pending",
      "conditions": [
        {
          "type": "InSync",
          "status": "False",
          "reason": "ToBeChanged",
          "message": "there is something to do; `boma plan` shows it"
        }
      ],
      "grants": [
        {
          "database": "fincorp/retail-banking/development/login-svc/accounts-db",
          "otherProject": false,
          "access": "read-write",
          "envVar": "DATABASE_URL",
          "role": null,
          "passwordSince": null,
          "rotation": null
        }
      ],
      "environment": [
        "DATABASE_URL",
        "PORT"
      ],
      "process": null,
      "preDeploy": null
    }
    "#);
}

#[tokio::test(start_paused = true)]
async fn a_silent_agent_leaves_nothing_known_of_its_server() {
    let mut world = world();
    world.apply(world.asked()).await.unwrap();
    let key = database_key("accounts-db");
    world
        .platform
        .state()
        .databases
        .get_mut(&key)
        .unwrap()
        .agent = Agent::Silent;
    let seen = world.platform.state().observed();
    let shown = computed::database(&key, None, &seen, None);
    assert_eq!(shown.phase.to_string(), "Unknown");
    assert_eq!((shown.version, shown.primary), (None, None));
    assert!(shown.id.is_some() && shown.host.is_some());
    assert_eq!(shown.problems.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retired_database_says_how_long_it_is_kept() {
    let mut world = world();
    world.apply(world.asked()).await.unwrap();
    world.files.clear();
    world.write(
        "keeper.yaml",
        APPLICATION.replace(", accessControl: {databases: [{name: accounts-db}]}", ""),
    );
    world.apply(world.asked()).await.unwrap();
    let seen = world.platform.state().observed();
    let shown = computed::database(&database_key("accounts-db"), None, &seen, None);
    assert_eq!(shown.phase.to_string(), "Retired");
    assert!(shown.kept_until.is_some());
}
