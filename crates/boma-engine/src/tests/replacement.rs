//! The platform dies before every single effect of a restore in place. What the database was is
//! never lost, its applications keep passwords and addresses, and the next apply ends with what
//! was restored in its place.

use std::sync::Arc;

use boma_instance::backup::RecoveryTarget;
use boma_instance::{InstanceId, Power};

use super::world::{UniqueCredentials, World};
use crate::computed;
use crate::keys::DatabaseKey;
use crate::observed::{Life, ProcessState, ReplacedBy, Replacement};
use crate::plan::Stage;
use crate::testing::{State, database_key};

const METADATA: &str = "metadata: {organization: fincorp, organizational-unit: retail-banking, \
                        environment: development, project: login-svc, name: ";

fn beside() -> DatabaseKey {
    database_key("accounts.restore-1")
}

fn world() -> World {
    let mut world = World::new();
    world.credentials = Arc::new(UniqueCredentials::default());
    world.write(
        "accounts.yaml",
        format!(
            "apiVersion: lowops.manifests.v1\nkind: Database\n{METADATA}accounts}}\nspec: {{}}\n"
        ),
    );
    world.write(
        "api.yaml",
        format!(
            "apiVersion: lowops.manifests.v1\nkind: Application\n{METADATA}api}}\n\
             spec: {{source: {{command: [api]}}, accessControl: {{databases: [{{name: accounts}}]}}}}\n"
        ),
    );
    world
}

fn ask(state: &mut State, by: ReplacedBy) {
    let wish = Replacement {
        beside: beside(),
        by,
        asked_at: state.now,
    };
    state.replacements.insert(database_key("accounts"), wish);
}

fn backups() -> ReplacedBy {
    ReplacedBy::Backups {
        target: RecoveryTarget::Latest,
        timeline: None,
    }
}

/// What applications hold of the database: address, user and password.
fn held(state: &State) -> Vec<String> {
    let environments = state.applications.values();
    let environments = environments.filter_map(|one| one.environment.as_ref());
    let bindings = environments.flat_map(|one| &one.bindings);
    bindings.map(|one| one.uri.expose().clone()).collect()
}

/// Checks that both instances are there, and that no two servers are one database's.
fn nothing_is_lost(state: &State, former: InstanceId) {
    let of_former = state.databases.values().filter(|one| one.id == former);
    assert_eq!(of_former.count(), 1, "what the database was is gone");
    let is_on = |one: &&crate::testing::SimulatedDatabase| {
        one.converged()
            .is_some_and(|spec| spec.power == Power::On && !spec.logins.is_empty())
    };
    let open = state.databases.values().filter(is_on).count();
    assert!(open <= 1, "two servers let applications in");
}

fn is_replaced(state: &State, former: InstanceId) {
    let (current, kept) = (
        &state.databases[&database_key("accounts")],
        &state.databases[&beside()],
    );
    assert_ne!(current.id, former);
    assert_eq!((kept.id, current.life), (former, Life::Active));
    let until = jiff::Timestamp::MAX;
    assert!(matches!(kept.life, Life::Retired { until: kept, .. } if kept == until));
    let spec = current.converged().expect("should run");
    assert_eq!((spec.power, spec.logins.len()), (Power::On, 1));
    assert_eq!(
        spec.origin.as_ref().map(|origin| origin.instance),
        Some(former)
    );
    assert!(state.replacements.is_empty());
    assert!(
        state
            .applications
            .values()
            .all(|one| { matches!(one.process, Some(ProcessState::Running { .. })) })
    );
}

#[tokio::test(start_paused = true)]
async fn a_restore_in_place_that_dies_before_any_effect_loses_nothing_and_comes_to_its_end() {
    let mut crashes = 0;
    for effect in 0.. {
        let mut world = world();
        world.apply(world.asked()).await.unwrap();
        let former = world.platform.state().databases[&database_key("accounts")].id;
        let before = held(&world.platform.state());
        let starts = |state: &State| {
            state
                .applications
                .values()
                .map(|one| one.starts)
                .sum::<u64>()
        };
        let started = starts(&world.platform.state());
        ask(&mut world.platform.state(), backups());
        world.platform.dies_before(effect);
        drop(world.apply(world.asked()).await);
        nothing_is_lost(&world.platform.state(), former);
        if !world.platform.revive() {
            break;
        }
        crashes += 1;
        let result = world.apply(world.asked()).await.unwrap();
        assert!(result.is_converged(), "effect {effect}: {}", result.left);
        is_replaced(&world.platform.state(), former);
        assert_eq!(held(&world.platform.state()), before, "effect {effect}");
        assert_eq!(starts(&world.platform.state()), started, "it was restarted");
        let writes = world.platform.state().writes;
        assert!(world.apply(world.asked()).await.unwrap().is_converged());
        assert_eq!(world.platform.state().writes, writes, "effect {effect}");
    }
    assert!(crashes > 10, "only {crashes} crashes");
}

#[tokio::test(start_paused = true)]
async fn what_was_replaced_comes_back_and_dies_before_any_effect_on_the_way() {
    for effect in 0.. {
        let mut world = world();
        world.apply(world.asked()).await.unwrap();
        let first = world.platform.state().databases[&database_key("accounts")].id;
        ask(&mut world.platform.state(), backups());
        world.apply(world.asked()).await.unwrap();
        is_replaced(&world.platform.state(), first);
        let second = world.platform.state().databases[&database_key("accounts")].id;
        ask(&mut world.platform.state(), ReplacedBy::Kept);
        world.platform.dies_before(effect);
        drop(world.apply(world.asked()).await);
        nothing_is_lost(&world.platform.state(), first);
        nothing_is_lost(&world.platform.state(), second);
        if !world.platform.revive() {
            break;
        }
        assert!(world.apply(world.asked()).await.unwrap().is_converged());
        let state = world.platform.state();
        assert_eq!(state.databases[&database_key("accounts")].id, first);
        assert_eq!(state.databases[&beside()].id, second);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_never_well_replaces_nothing_and_is_given_up() {
    let mut world = world();
    world.apply(world.asked()).await.unwrap();
    let key = database_key("accounts");
    let former = world.platform.state().databases[&key].id;
    ask(&mut world.platform.state(), backups());
    let problem =
        boma_problem::Problem::new(boma_problem::Class::User, "x", "it cannot be restored");
    world.platform.fail("await_instance", "", problem);
    let result = world.apply(world.asked()).await.unwrap();
    assert!(!result.is_converged());
    let shown = computed::database(&key, None, &world.platform.state().observed(), None);
    assert_eq!(shown.replacement, Some(Stage::Making));
    assert_eq!(world.platform.state().databases[&key].id, former);
    world.platform.mend();
    world.platform.state().replacements.clear();
    assert!(world.apply(world.asked()).await.unwrap().is_converged());
    let state = world.platform.state();
    assert_eq!(state.databases[&key].id, former);
    let given_up = &state.databases[&beside()];
    assert!(
        matches!(given_up.life, Life::Retired { .. }),
        "{given_up:?}"
    );
}
