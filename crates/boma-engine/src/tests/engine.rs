//! The loop of a server, over the simulated platform and paused time.

use std::sync::Arc;
use std::time::Duration;

use boma_instance::InstanceId;
use boma_manifest::{SourceFile, parse_file};
use boma_problem::{Class, Problem};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::act::Surroundings;
use crate::catalog::Basis;
use crate::engine::{Engine, EngineHandle, EngineState, Parts};
use crate::observed::{Feature, ProcessState};
use crate::source::{File, Snapshot};
use crate::testing::{
    Agent, ForeseenCredentials, SimulatedPlatform, application_key, database_key, machine,
};

/// A running engine.
struct Server {
    platform: Arc<SimulatedPlatform>,
    source: watch::Sender<Option<Arc<Snapshot>>>,
    stop: watch::Sender<bool>,
    handle: EngineHandle,
    task: JoinHandle<()>,
}

impl Server {
    fn start() -> Self {
        Self::start_on(Arc::new(SimulatedPlatform::new(machine())))
    }

    fn start_on(platform: Arc<SimulatedPlatform>) -> Self {
        let (source, sources) = watch::channel(None);
        let (stop, stops) = watch::channel(false);
        let clock = platform.clone();
        let mut next = 0;
        let (engine, handle) = Engine::new(Parts {
            platform: platform.clone(),
            around: Surroundings {
                patience: Duration::from_mins(1),
                clock: Arc::new(move || clock.now()),
                credentials: Arc::new(ForeseenCredentials),
                ..Surroundings::new("boma serve")
            },
            ids: Box::new(move || {
                next += 1;
                InstanceId(Uuid::from_u128(next))
            }),
            basis: Basis::default(),
            source_name: "/srv/manifests".into(),
            source: sources,
        });
        let task = tokio::spawn(engine.run(stops));
        Self {
            platform,
            source,
            stop,
            handle,
            task,
        }
    }

    /// Lets the source hold these manifests, each `kind name spec`.
    fn write(&self, manifests: &[(&str, &str, &str)]) {
        let files = manifests.iter().map(|(kind, name, spec)| {
            let text = format!(
                "apiVersion: lowops.manifests.v1\nkind: {kind}\nmetadata: {{name: {name}, \
                 organization: fincorp, organizational-unit: retail-banking, environment: \
                 development, project: login-svc}}\nspec: {spec}\n"
            );
            let source = SourceFile::new(format!("{name}.yaml"), text.as_bytes());
            let parsed = parse_file(&source);
            Arc::new(File {
                source,
                parsed: Arc::new(parsed),
            })
        });
        let snapshot = Snapshot {
            files: files.collect(),
            ..Snapshot::default()
        };
        self.source.send_replace(Some(Arc::new(snapshot)));
    }

    /// Waits until the engine says that this holds.
    async fn until(&self, what: &str, holds: impl Fn(&EngineState) -> bool) -> Arc<EngineState> {
        let mut states = self.handle.state();
        let wait = states.wait_for(|state| holds(state));
        let waited = tokio::time::timeout(Duration::from_hours(1), wait).await;
        match waited {
            Ok(state) => state.unwrap().clone(),
            Err(late) => panic!("{late}: {what}\n{}", self.handle.state().borrow().plan),
        }
    }

    async fn converged(&self) -> Arc<EngineState> {
        // What was written just now has to be taken over first.
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.until("converged", EngineState::is_converged).await
    }

    /// Whether the database `accounts` takes up a new spec and does not come to its end.
    fn accounts_are_slow(&self, slow: bool) {
        let mut state = self.platform.state();
        let accounts = state.databases.get_mut(&database_key("accounts"));
        accounts.unwrap().slow = slow;
    }

    async fn end(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

const API: &str = "{source: {command: [api]}, preDeploy: migrate, accessControl: {databases: \
                   [{name: accounts}]}}";

#[tokio::test(start_paused = true)]
async fn an_agent_that_comes_by_itself_is_waited_for_and_nothing_is_done_meanwhile() {
    let mut has = machine();
    has.features.insert(Feature::OwnAgents);
    let server = Server::start_on(Arc::new(SimulatedPlatform::new(has)));
    server.write(&[("Database", "accounts", "{}")]);
    server.converged().await;
    let key = database_key("accounts");
    let before = {
        let mut state = server.platform.state();
        state.databases.get_mut(&key).unwrap().agent = Agent::Silent;
        state.audit.clone()
    };
    // Somebody tells of something all the time, as a cluster does.
    for _ in 0..60 {
        server.handle.wake();
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
    let state = server.handle.state().borrow().clone();
    assert!(!state.is_converged(), "{}", state.plan);
    assert_eq!(server.platform.state().audit, before);
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_is_brought_about_and_followed() {
    let server = Server::start();
    server.write(&[("Database", "accounts", "{}"), ("Application", "api", API)]);
    server.converged().await;
    assert_eq!(
        server.platform.state().applications[&application_key("api")].starts,
        1
    );
    server.write(&[
        ("Database", "accounts", "{cpuCount: 2}"),
        ("Application", "api", API),
    ]);
    let state = server.converged().await;
    assert_eq!(state.catalog.as_ref().unwrap().databases().len(), 1);
    let spec = server.platform.state().databases[&database_key("accounts")]
        .spec
        .clone();
    assert_eq!(spec.unwrap().resources.cpu_millis, 2000);
    let writes = server.platform.state().writes;
    server.handle.wake();
    server.converged().await;
    assert_eq!(server.platform.state().writes, writes);
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_with_an_error_changes_nothing_that_runs() {
    let server = Server::start();
    server.write(&[("Database", "accounts", "{}"), ("Application", "api", API)]);
    server.converged().await;
    server.write(&[("Application", "api", API)]);
    let state = server
        .until("a problem", |state| !state.source_problems.is_empty())
        .await;
    assert_eq!(state.source_problems[0].code, "no-such-database");
    assert_eq!(state.catalog.as_ref().unwrap().databases().len(), 1);
    // The last good catalog is in force: what breaks is mended by it.
    server
        .platform
        .state()
        .databases
        .get_mut(&database_key("accounts"))
        .unwrap()
        .agent = Agent::Absent;
    server.handle.wake();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let database = server.platform.state().databases[&database_key("accounts")].clone();
    assert!(matches!(database.agent, Agent::Answering { .. }));
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn without_any_good_source_databases_are_kept_as_they_are() {
    let server = Server::start();
    server.write(&[("Database", "accounts", "{}")]);
    server.converged().await;
    let platform = server.platform.clone();
    server.end().await;

    platform
        .state()
        .databases
        .get_mut(&database_key("accounts"))
        .unwrap()
        .agent = Agent::Absent;
    let server = Server::start_on(platform);
    server.write(&[("Application", "api", API)]);
    server
        .until("kept", |state| {
            state.planned_at.is_some() && state.plan.is_empty()
        })
        .await;
    let database = server.platform.state().databases[&database_key("accounts")].clone();
    assert!(matches!(database.agent, Agent::Answering { .. }));
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_database_holds_up_nobody_else() {
    let server = Server::start();
    server.write(&[
        ("Database", "accounts", "{}"),
        ("Application", "other", "{}"),
    ]);
    server.converged().await;
    server.accounts_are_slow(true);
    server.write(&[
        ("Database", "accounts", "{cpuCount: 2}"),
        ("Application", "other", "{}"),
    ]);
    server
        .until("waiting", |state| !state.plan.is_empty())
        .await;
    server.write(&[
        ("Database", "accounts", "{cpuCount: 2}"),
        ("Application", "other", "{env: {A: b}}"),
    ]);
    // Well before the patience with the database is over.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let other = server.platform.state().applications[&application_key("other")].clone();
    assert_eq!(other.environment.unwrap().plain.len(), 1);
    assert!(!server.handle.state().borrow().is_converged());
    server.accounts_are_slow(false);
    server.converged().await;
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_longer_than_anybody_wants_to_is_told_by_its_status_alone() {
    let server = Server::start();
    server.write(&[("Database", "accounts", "{}")]);
    server.converged().await;
    server.accounts_are_slow(true);
    server.write(&[("Database", "accounts", "{cpuCount: 2}")]);
    let changed = || {
        let state = server.platform.state();
        (state.audit.clone(), state.events.len())
    };
    server
        .until("waiting", |state| {
            !state.plan.is_empty() && changed().0.len() > 3
        })
        .await;
    let before = changed();
    tokio::time::sleep(Duration::from_mins(10)).await;
    let state = server.handle.state().borrow().clone();
    let late = state.failures.values().next();
    let late = late.unwrap().problem.to_string();
    assert!(late.ends_with("is still Converging after 60 s"), "{late}");
    assert_eq!(changed(), before);
    server.accounts_are_slow(false);
    server.converged().await;
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_later_and_later() {
    let server = Server::start();
    let broken = Problem::new(Class::Transient, "broken", "put_instance is broken");
    server.platform.fail("put_instance", "", broken);
    server.write(&[("Database", "accounts", "{}")]);
    server
        .until("a failure", |state| !state.failures.is_empty())
        .await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    let audit = server.platform.state().audit.clone();
    let tries = audit
        .iter()
        .filter(|entry| entry.outcome.contains("broken"))
        .count();
    assert!((5..30).contains(&tries), "{tries} tries in ten minutes");
    server.platform.mend();
    server.until("converged", EngineState::is_converged).await;
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_person_deploys_once() {
    let server = Server::start();
    server.write(&[("Database", "accounts", "{}"), ("Application", "api", API)]);
    server.converged().await;
    server.platform.advance(jiff::SignedDuration::from_mins(1));
    assert!(server.handle.deploy(application_key("api")).await);
    server.converged().await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    let api = server.platform.state().applications[&application_key("api")].clone();
    assert_eq!((api.starts, api.pre_deploys), (2, 2));
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_application_that_ends_is_started_again_when_its_time_has_come() {
    let server = Server::start();
    server.write(&[("Application", "api", "{source: {command: [api]}}")]);
    server.converged().await;
    let at = server.platform.now();
    {
        let mut state = server.platform.state();
        let api = state.applications.get_mut(&application_key("api")).unwrap();
        let Some(ProcessState::Running { deployment, .. }) = api.process.take() else {
            panic!("it should run");
        };
        api.process = Some(ProcessState::Exited {
            deployment,
            at,
            failures: 4,
        });
    }
    server.handle.wake();
    server
        .until("backoff", |state| !state.plan.waiting.is_empty())
        .await;
    // Simulated time and the runtime's time are two: one says when, the other wakes.
    server.platform.advance(jiff::SignedDuration::from_secs(8));
    server.converged().await;
    assert_eq!(
        server.platform.state().applications[&application_key("api")].starts,
        2
    );
    server.end().await;
}
