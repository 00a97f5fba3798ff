//! The platform dies before every single effect of a rotation. Whatever is running when it does
//! can connect all the time, and the next apply ends with one open login and a new password.

use std::sync::Arc;

use boma_problem::{Class, Problem};
use jiff::SignedDuration;

use super::world::{UniqueCredentials, World};
use crate::computed::{self, RotationComputed};
use crate::observed::ProcessState;
use crate::testing::{State, application_key};

const METADATA: &str = "metadata: {organization: fincorp, organizational-unit: retail-banking, \
                        environment: development, project: login-svc, name: ";

fn world(days: &str) -> World {
    let mut world = World::new();
    world.credentials = Arc::new(UniqueCredentials::default());
    for name in ["accounts", "ledger"] {
        let text = format!(
            "apiVersion: lowops.manifests.v1\nkind: Database\n{METADATA}{name}}}\nspec: {{}}\n"
        );
        world.write(&format!("{name}.yaml"), text);
    }
    world.write(
        "api.yaml",
        format!(
            "apiVersion: lowops.manifests.v1\nkind: Application\n{METADATA}api}}\n\
             spec: {{source: {{command: [api]}}, preDeploy: migrate, accessControl: {{databases: \
             [{{name: accounts{days}}}, {{name: ledger, secretSource: {{envVar: LEDGER}}}}]}}}}\n"
        ),
    );
    world
}

/// A person asks for new passwords.
fn ask(state: &mut State) {
    let now = state.now.as_millisecond().unsigned_abs();
    let grants: Vec<_> = state.credentials.keys().cloned().collect();
    for grant in grants {
        state.rotations.entry(grant).or_default().asked = now;
    }
}

/// Checks that the process of every application can connect with what it was started with.
fn is_let_in(state: &State) {
    for (key, application) in &state.applications {
        if !matches!(application.process, Some(ProcessState::Running { .. })) {
            continue;
        }
        let environment = application.runs_with.iter();
        for binding in environment.flat_map(|one| &one.bindings) {
            let spec = state.databases[&binding.grant.database]
                .converged()
                .unwrap();
            let login = spec.logins.iter();
            let login = login
                .clone()
                .find(|one| one.role == binding.credential.role);
            let verifier = login.and_then(|login| login.verifier.as_ref());
            let is_open = verifier == Some(&binding.credential.verifier);
            assert!(
                is_open,
                "{key} cannot connect as {}",
                binding.credential.role
            );
        }
    }
}

fn passwords(state: &State) -> Vec<String> {
    let stored = state.credentials.values();
    stored
        .map(|(active, logins)| logins[active].password.expose().clone())
        .collect()
}

/// Checks that all is over: one open login for each grant, none kept, the process on the new one.
fn is_over(state: &State, before: &[String]) {
    is_let_in(state);
    for (old, new) in before.iter().zip(passwords(state)) {
        assert_ne!(*old, new, "a password was not exchanged");
    }
    for database in state.databases.values() {
        let logins = &database.converged().unwrap().logins;
        let open = logins.iter().filter(|login| login.verifier.is_some());
        assert_eq!((logins.len(), open.count()), (2, 1));
    }
    assert!(state.rotations.values().all(|one| one.draining.is_none()));
    let running = state.applications.values();
    for application in running {
        let delivered = application.environment.as_ref().map(|one| &one.fingerprint);
        let runs_with = application.runs_with.as_ref().map(|one| &one.fingerprint);
        assert_eq!(delivered, runs_with);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_dies_before_any_effect_locks_nobody_out_and_comes_to_its_end() {
    let mut crashes = 0;
    for turns in 1..=2 {
        for effect in 0.. {
            let mut world = world("");
            world.apply(world.asked()).await.unwrap();
            for _ in 1..turns {
                ask(&mut world.platform.state());
                let result = world.apply(world.asked()).await.unwrap();
                assert!(result.is_converged());
            }
            let before = passwords(&world.platform.state());
            ask(&mut world.platform.state());
            world.platform.dies_before(effect);
            drop(world.apply(world.asked()).await);
            is_let_in(&world.platform.state());
            if !world.platform.revive() {
                break;
            }
            crashes += 1;
            let result = world.apply(world.asked()).await.unwrap();
            assert!(result.is_converged(), "effect {effect}: {}", result.left);
            is_over(&world.platform.state(), &before);
            let writes = world.platform.state().writes;
            world.apply(world.asked()).await.unwrap();
            assert_eq!(world.platform.state().writes, writes, "effect {effect}");
        }
    }
    assert!(crashes > 30, "only {crashes} crashes");
}

#[tokio::test(start_paused = true)]
async fn a_failed_restart_stops_a_rotation_with_the_former_login_still_good() {
    let mut world = world("");
    world.apply(world.asked()).await.unwrap();
    let before = passwords(&world.platform.state());
    ask(&mut world.platform.state());
    let problem = Problem::new(Class::User, "command-not-found", "run `api`");
    world.platform.fail("restart_application", "", problem);
    let result = world.apply(world.asked()).await.unwrap();
    assert!(!result.is_converged());
    is_let_in(&world.platform.state());
    let (catalog, _) = world.catalog();
    let (key, seen) = (application_key("api"), world.platform.state().observed());
    let want = catalog.application(&key).map(|want| &**want);
    let now = world.platform.now();
    let shown = computed::application(&key, want, &seen, Some(&result.left), now);
    for grant in &shown.grants {
        let is_draining = matches!(grant.rotation, Some(RotationComputed::Draining { .. }));
        assert!(is_draining, "{grant:?}");
    }
    world.platform.mend();
    assert!(world.apply(world.asked()).await.unwrap().is_converged());
    is_over(&world.platform.state(), &before);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_exchanges_a_password_when_its_days_are_over_and_not_before() {
    let mut world = world(", rotationDays: 30");
    world.apply(world.asked()).await.unwrap();
    let before = passwords(&world.platform.state());
    let plan = world.plan(&world.asked());
    assert!(plan.is_empty(), "{plan}");
    let due = plan.look_again().unwrap();
    let left = due.duration_since(world.platform.now());
    assert!(left.as_hours() >= 30 * 24 - 1, "{left:?}");
    world.platform.advance(left);
    assert!(world.apply(world.asked()).await.unwrap().is_converged());
    let after = passwords(&world.platform.state());
    let changed: Vec<bool> = before.iter().zip(&after).map(|(a, b)| a != b).collect();
    assert_eq!(changed, [true, false], "only the grant with a schedule");
    assert!(world.plan(&world.asked()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_exchanged_when_it_is_due_and_the_spec_stays_the_same() {
    let mut world = world("");
    world.apply(world.asked()).await.unwrap();
    let generations = |world: &World| {
        let state = world.platform.state();
        let specs = state.databases.values().map(|one| one.spec.as_ref());
        specs
            .map(|spec| spec.unwrap().generation)
            .collect::<Vec<_>>()
    };
    let before = generations(&world);
    let due = world.platform.now() + SignedDuration::from_hours(24);
    for database in world.platform.state().databases.values_mut() {
        database.renew_at = Some(due);
    }
    let plan = world.plan(&world.asked());
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(plan.look_again(), Some(due));
    world.platform.advance(SignedDuration::from_hours(24));
    let plan = world.plan(&world.asked()).to_string();
    assert_eq!(
        plan.matches("give it another certificate").count(),
        2,
        "{plan}"
    );
    assert!(world.apply(world.asked()).await.unwrap().is_converged());
    assert!(world.plan(&world.asked()).is_empty());
    assert_eq!(generations(&world), before);
}
