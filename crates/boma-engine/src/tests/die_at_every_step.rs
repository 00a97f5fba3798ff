//! The platform dies before every single effect of an apply; the next apply must bring about what
//! an undisturbed one would have, and must not have lost anything on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use boma_instance::{InstanceId, InstanceSpec};

use super::world::{UniqueCredentials, World};
use crate::converge::Convergence;
use crate::keys::{DatabaseKey, GrantKey};
use crate::observed::{Life, ProcessState};
use crate::testing::State;

/// A manifest with these lines in its spec.
fn manifest(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: lowops.manifests.v1\nkind: {kind}\nmetadata:\n  name: {name}\n  \
         organization: fincorp\n  organizational-unit: retail-banking\n  \
         environment: development\n  project: login-svc\nspec: {spec}\n"
    )
}

/// The files of one state of the source.
type Files = BTreeMap<String, String>;

fn files(resources: &[(&str, &str, &str)]) -> Files {
    let files = resources.iter();
    files
        .map(|(kind, name, spec)| (format!("{name}.yaml"), manifest(kind, name, spec)))
        .collect()
}

/// A story: the states that a source goes through, one apply each.
fn story() -> Vec<Files> {
    let api = "{source: {command: [api]}, preDeploy: migrate, accessControl: {databases: [\
               {name: accounts}, {name: ledger, secretSource: {envVar: LEDGER}}]}}";
    let reader = "{source: {command: [report]}, accessControl: {databases: [\
                  {name: accounts, readOnly: true}]}}";
    let changed = "{source: {command: [api]}, env: {A: b}, preDeploy: migrate, accessControl: \
                   {databases: [{name: accounts, readOnly: true}]}}";
    let open = "{deletionProtection: false}";
    vec![
        files(&[("Database", "accounts", open), ("Application", "api", "{}")]),
        files(&[
            (
                "Database",
                "accounts",
                "{deletionProtection: false, cpuCount: 2}",
            ),
            ("Database", "ledger", open),
            ("Application", "api", api),
            ("Application", "reader", reader),
        ]),
        files(&[
            (
                "Database",
                "accounts",
                "{deletionProtection: false, suspended: true}",
            ),
            ("Database", "ledger", open),
            ("Application", "api", changed),
            ("Application", "reader", reader),
        ]),
        files(&[
            ("Database", "accounts", open),
            ("Application", "api", changed),
        ]),
        files(&[("Application", "api", "{source: {command: [api]}}")]),
        files(&[
            ("Database", "accounts", open),
            ("Database", "ledger", open),
            ("Application", "api", api),
        ]),
    ]
}

/// What must be the same in the end, whatever happened on the way.
#[derive(Debug, PartialEq)]
struct End {
    databases: BTreeMap<DatabaseKey, (bool, Option<InstanceSpec>)>,
    grants: Vec<GrantKey>,
    applications: BTreeMap<String, (bool, Vec<String>)>,
}

fn end(state: &State) -> End {
    let databases = state.databases.iter().map(|(key, one)| {
        let spec = one.spec.as_ref().map(|spec| InstanceSpec {
            // How often something had to be tried, and with which id and password, may differ.
            id: InstanceId(uuid::Uuid::nil()),
            generation: 0,
            logins: spec
                .logins
                .iter()
                .cloned()
                .map(|login| boma_instance::LoginSpec {
                    verifier: None,
                    ..login
                })
                .collect(),
            ..spec.clone()
        });
        (key.clone(), (one.life == Life::Active, spec))
    });
    let applications = state.applications.iter().map(|(key, one)| {
        let runs = matches!(one.process, Some(ProcessState::Running { .. }));
        let environment = one.environment.as_ref();
        let bound = environment
            .iter()
            .flat_map(|one| &one.bindings)
            .map(|one| &one.env_var);
        let plain = environment.iter().flat_map(|one| one.plain.keys());
        (
            key.to_string(),
            (runs, bound.chain(plain).cloned().collect()),
        )
    });
    End {
        databases: databases.collect(),
        grants: state.credentials.keys().cloned().collect(),
        applications: applications.collect(),
    }
}

/// Passwords and ids that somebody may rely on already.
struct Relied {
    ids: BTreeMap<DatabaseKey, InstanceId>,
    passwords: BTreeMap<GrantKey, String>,
}

fn relied(state: &State) -> Relied {
    let ids = state
        .databases
        .iter()
        .map(|(key, one)| (key.clone(), one.id));
    let environments = state
        .applications
        .values()
        .filter_map(|one| one.environment.as_ref());
    let bindings = environments.flat_map(|environment| &environment.bindings);
    let passwords =
        bindings.map(|one| (one.grant.clone(), one.credential.password.expose().clone()));
    Relied {
        ids: ids.collect(),
        passwords: passwords.collect(),
    }
}

/// Checks that what was relied on before a crash is there after it.
fn is_kept(before: &Relied, state: &State) {
    for (key, id) in &before.ids {
        assert_eq!(state.databases[key].id, *id, "{key} has another instance");
    }
    for (grant, password) in &before.passwords {
        let Some((active, logins)) = state.credentials.get(grant) else {
            continue;
        };
        assert_eq!(
            logins[active].password.expose(),
            password,
            "{grant} has another password"
        );
    }
}

/// Checks that there is nothing left to do; what waits for a suspended database may wait.
fn is_settled(result: &Convergence) {
    let is_settled = result.left.steps.is_empty() && result.left.blocked.is_empty();
    assert!(
        is_settled && result.failed.is_empty(),
        "{}{:?}",
        result.left,
        result.failed
    );
}

/// A world that has gone through the first states of the story.
async fn at_state(states: &[Files]) -> World {
    let mut world = World::new();
    world.credentials = Arc::new(UniqueCredentials::default());
    for files in states {
        world.files.clone_from(files);
        let result = world.apply(world.asked()).await.unwrap();
        is_settled(&result);
    }
    world
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_any_effect_is_repaired_by_the_next_apply() {
    let story = story();
    let mut crashes = 0;
    for count in 1..=story.len() {
        let states = &story[..count];
        let undisturbed = end(&at_state(states).await.platform.state());
        for effect in 0.. {
            let mut world = at_state(&states[..count - 1]).await;
            world.files.clone_from(&states[count - 1]);
            let before = relied(&world.platform.state());
            world.platform.dies_before(effect);
            drop(world.apply(world.asked()).await);
            if !world.platform.revive() {
                break;
            }
            crashes += 1;
            is_kept(&before, &world.platform.state());
            let relied_on = relied(&world.platform.state());
            let result = world.apply(world.asked()).await.unwrap();
            is_settled(&result);
            is_kept(&relied_on, &world.platform.state());
            let ended = end(&world.platform.state());
            assert_eq!(ended, undisturbed, "state {count}, effect {effect}");
            let writes = world.platform.state().writes;
            is_settled(&world.apply(world.asked()).await.unwrap());
            assert_eq!(
                world.platform.state().writes,
                writes,
                "an apply that had nothing to do"
            );
        }
    }
    assert!(
        crashes > 50,
        "only {crashes} crashes: the story is too short"
    );
}
