//! Any history of manifests, people, crashes and failures: every plan on the way keeps to the
//! invariants (the world checks each), and in the end everything is as the manifests say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use boma_instance::{InstanceId, MajorVersion, Power};
use boma_problem::{Class, Problem};
use jiff::SignedDuration;
use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{UniqueCredentials, World};
use crate::catalog::{Catalog, Subject};
use crate::keys::{DatabaseKey, GrantKey};
use crate::observed::{Life, ProcessState};
use crate::plan::Plan;
use crate::platform::Platform as _;
use crate::review::Verdict;
use crate::testing::{Agent, State, application_key, database_key, machine};

/// Resources of a kind; enough that grants cross.
const EACH: usize = 3;

#[derive(Clone, Debug)]
struct DatabaseModel {
    version: Option<u8>,
    cpus: u8,
    storage: u8,
    is_protected: bool,
    is_suspended: bool,
    has_extension: bool,
}

#[derive(Clone, Debug)]
struct ApplicationModel {
    runs: bool,
    has_pre_deploy: bool,
    release: u8,
    /// Whether it asks for what the platform does not do.
    is_refused: bool,
    /// For each database whether it may be used, and whether only read.
    grants: [Option<bool>; EACH],
}

#[derive(Clone, Debug)]
enum Happening {
    Database(usize, Option<DatabaseModel>),
    Application(usize, Option<ApplicationModel>),
    AgentDies(usize),
    AgentHangs(usize),
    DatabaseFails(usize, bool),
    HoldDatabase(usize, bool),
    HoldApplication(usize, bool),
    Exits(usize),
    PreDeployFails(usize, bool),
    Uninstall(bool),
    Advance(u32),
    Purge(usize),
    Deploy(usize),
    Rotate(usize),
    Apply,
    ApplyAndDie(u8),
}

fn database_model() -> impl Strategy<Value = DatabaseModel> {
    let version = proptest::option::weighted(0.3, prop_oneof![Just(17_u8), Just(18)]);
    (
        version,
        1..4_u8,
        1..4_u8,
        any::<bool>(),
        prop::bool::weighted(0.2),
        any::<bool>(),
    )
        .prop_map(
            |(version, cpus, storage, is_protected, is_suspended, has_extension)| DatabaseModel {
                version,
                cpus,
                storage,
                is_protected,
                is_suspended,
                has_extension,
            },
        )
}

fn application_model() -> impl Strategy<Value = ApplicationModel> {
    let grant = || proptest::option::of(any::<bool>());
    let is_refused = prop::bool::weighted(0.2);
    let grants = [grant(), grant(), grant()];
    (any::<bool>(), any::<bool>(), 0..3_u8, is_refused, grants).prop_map(
        |(runs, has_pre_deploy, release, is_refused, grants)| ApplicationModel {
            runs,
            has_pre_deploy,
            release,
            is_refused,
            grants,
        },
    )
}

fn happening() -> impl Strategy<Value = Happening> {
    let one = || 0..EACH;
    prop_oneof![
        4 => (one(), proptest::option::weighted(0.8, database_model()))
            .prop_map(|(one, model)| Happening::Database(one, model)),
        4 => (one(), proptest::option::weighted(0.8, application_model()))
            .prop_map(|(one, model)| Happening::Application(one, model)),
        1 => one().prop_map(Happening::AgentDies),
        1 => one().prop_map(Happening::AgentHangs),
        1 => (one(), any::<bool>()).prop_map(|(one, fails)| Happening::DatabaseFails(one, fails)),
        1 => (one(), any::<bool>()).prop_map(|(one, held)| Happening::HoldDatabase(one, held)),
        1 => (one(), any::<bool>()).prop_map(|(one, held)| Happening::HoldApplication(one, held)),
        1 => one().prop_map(Happening::Exits),
        1 => (one(), any::<bool>()).prop_map(|(one, fails)| Happening::PreDeployFails(one, fails)),
        1 => any::<bool>().prop_map(Happening::Uninstall),
        1 => (0..2_000_000_u32).prop_map(Happening::Advance),
        1 => one().prop_map(Happening::Purge),
        1 => one().prop_map(Happening::Deploy),
        2 => one().prop_map(Happening::Rotate),
        4 => Just(Happening::Apply),
        4 => (0..40_u8).prop_map(Happening::ApplyAndDie),
    ]
}

/// The manifests, and the world that they are applied to.
struct Model {
    databases: [Option<DatabaseModel>; EACH],
    applications: [Option<ApplicationModel>; EACH],
    world: World,
    /// The instance of each database that was not purged.
    ids: BTreeMap<DatabaseKey, InstanceId>,
}

fn manifest(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: lowops.manifests.v1\nkind: {kind}\nmetadata: {{name: {name}, organization: \
         fincorp, organizational-unit: retail-banking, environment: development, project: \
         login-svc}}\nspec: {{{spec}}}\n"
    )
}

impl Model {
    fn new() -> Self {
        let mut world = World::new();
        world.credentials = Arc::new(UniqueCredentials::default());
        Self {
            databases: [const { None }; EACH],
            applications: [const { None }; EACH],
            world,
            ids: BTreeMap::new(),
        }
    }

    /// Writes the manifests; a grant on a database that is not there is left out.
    fn write(&mut self) {
        self.world.files.clear();
        // So that taking the last one away is not taken for the wrong directory.
        self.world
            .write("keeper.yaml", manifest("Application", "keeper", ""));
        for (index, model) in self.databases.iter().enumerate() {
            let Some(model) = model else { continue };
            let mut spec = format!(
                "cpuCount: {}, storage: {{size: {}Gi}}, deletionProtection: {}, suspended: {}",
                model.cpus, model.storage, model.is_protected, model.is_suspended
            );
            if let Some(version) = model.version {
                write!(spec, ", version: \"{version}\"").unwrap();
            }
            if model.has_extension {
                spec.push_str(", extensions: [pg_trgm]");
            }
            self.world.write(
                &format!("db-{index}.yaml"),
                manifest("Database", &format!("db-{index}"), &spec),
            );
        }
        for (index, model) in self.applications.iter().enumerate() {
            let Some(model) = model else { continue };
            let grants = model.grants.iter().enumerate();
            let grants = grants.filter(|(database, _)| self.databases[*database].is_some());
            let grants = grants.filter_map(|(database, read_only)| {
                read_only.map(|read_only| {
                    format!(
                        "{{name: db-{database}, readOnly: {read_only}, secretSource: {{envVar: DB_{database}}}}}"
                    )
                })
            });
            let grants: Vec<String> = grants.collect();
            let mut spec = format!(
                "env: {{RELEASE: \"{}\"}}, accessControl: {{databases: [{}]}}",
                model.release,
                grants.join(", ")
            );
            if model.runs {
                spec.push_str(", source: {command: [run]}");
            }
            if model.is_refused {
                spec.push_str(", target: {replicas: 2}");
            }
            if model.has_pre_deploy {
                spec.push_str(", preDeploy: migrate");
            }
            self.world.write(
                &format!("app-{index}.yaml"),
                manifest("Application", &format!("app-{index}"), &spec),
            );
        }
    }

    async fn happen(&mut self, happening: Happening) {
        let key = |one: usize| database_key(&format!("db-{one}"));
        let app = |one: usize| application_key(&format!("app-{one}"));
        let platform = self.world.platform.clone();
        match happening {
            Happening::Database(one, model) => self.databases[one] = model,
            Happening::Application(one, model) => self.applications[one] = model,
            Happening::AgentDies(one) => self.database(&key(one), |one| one.agent = Agent::Absent),
            Happening::AgentHangs(one) => self.database(&key(one), |one| one.agent = Agent::Silent),
            Happening::DatabaseFails(one, fails) => self.database(&key(one), |one| {
                let problem = Problem::new(Class::User, "broken", "it is broken");
                one.problem = fails.then_some(problem);
            }),
            Happening::HoldDatabase(one, held) => self.database(&key(one), |one| one.held = held),
            Happening::HoldApplication(one, held) => {
                let mut state = platform.state();
                let Some(one) = state.applications.get_mut(&app(one)) else {
                    return;
                };
                one.held = held;
            }
            Happening::Exits(one) => {
                let mut state = platform.state();
                let at = state.now;
                let Some(one) = state.applications.get_mut(&app(one)) else {
                    return;
                };
                if let Some(ProcessState::Running { deployment, .. }) = one.process.clone() {
                    one.process = Some(ProcessState::Exited {
                        deployment,
                        at,
                        failures: 2,
                    });
                }
            }
            Happening::PreDeployFails(one, fails) => {
                let mut state = platform.state();
                let Some(one) = state.applications.get_mut(&app(one)) else {
                    return;
                };
                let problem = Problem::new(Class::User, "command-failed", "it failed");
                one.pre_deploy_fails = fails.then_some(problem);
            }
            Happening::Uninstall(gone) => {
                let mut servers = machine().servers;
                servers.retain(|build| !gone || build.major != MajorVersion::V17);
                platform.state().capabilities.servers = servers;
            }
            Happening::Advance(seconds) => {
                platform.advance(SignedDuration::from_secs(seconds.into()));
            }
            Happening::Purge(one) => self.purge(&key(one)).await,
            Happening::Deploy(one) => {
                let mut asked = self.world.asked();
                asked.deploy.insert(app(one), platform.now());
                self.apply(asked).await;
            }
            Happening::Rotate(one) => {
                let mut state = platform.state();
                let asked = state.now.as_millisecond().unsigned_abs();
                let granted: Vec<GrantKey> = state.credentials.keys().cloned().collect();
                for grant in granted
                    .into_iter()
                    .filter(|grant| grant.application == app(one))
                {
                    state.rotations.entry(grant).or_default().asked = asked;
                }
            }
            Happening::Apply => self.apply(self.world.asked()).await,
            Happening::ApplyAndDie(effect) => {
                platform.dies_before(effect.into());
                self.apply(self.world.asked()).await;
                platform.revive();
            }
        }
    }

    fn database(
        &self,
        key: &DatabaseKey,
        change: impl FnOnce(&mut crate::testing::SimulatedDatabase),
    ) {
        if let Some(one) = self.world.platform.state().databases.get_mut(key) {
            change(one);
        }
    }

    async fn purge(&mut self, key: &DatabaseKey) {
        let retired = {
            let state = self.world.platform.state();
            let one = state.databases.get(key);
            one.filter(|one| one.life != Life::Active).map(|one| one.id)
        };
        if let Some(id) = retired {
            self.world.platform.purge(key, id).await.unwrap();
            self.ids.remove(key);
        }
    }

    async fn apply(&mut self, asked: crate::plan::Asked) {
        self.write();
        drop(self.world.apply(asked).await);
        for event in &self.world.platform.state().events {
            assert_ne!(event.reason, "ContractBroken", "{}", event.message);
        }
        for (key, one) in &self.world.platform.state().databases {
            let known = self.ids.entry(key.clone()).or_insert(one.id);
            assert_eq!(*known, one.id, "{key} has another instance");
        }
        for key in self.ids.keys() {
            let is_there = self.world.platform.state().databases.contains_key(key);
            assert!(is_there, "{key} is gone, and nobody purged it");
        }
    }

    /// Mends everything that may be broken, and applies.
    async fn in_the_end(&mut self) {
        {
            let mut state = self.world.platform.state();
            state.capabilities.servers = machine().servers;
            for one in state.databases.values_mut() {
                (one.held, one.problem) = (false, None);
            }
            for one in state.applications.values_mut() {
                (one.held, one.pre_deploy_fails) = (false, None);
            }
        }
        self.apply(self.world.asked()).await;
        // What ended by itself waits for its time.
        self.world.platform.advance(SignedDuration::from_hours(1));
        let result = self.world.apply(self.world.asked()).await.unwrap();
        let is_done = result.failed.is_empty() && result.left.steps.is_empty();
        assert!(is_done, "{}{:?}", result.left, result.failed);
        let writes = self.world.platform.state().writes;
        self.world.apply(self.world.asked()).await.unwrap();
        assert_eq!(self.world.platform.state().writes, writes);
        let (catalog, problems) = self.world.catalog();
        assert_eq!(
            problems.iter().filter(|problem| problem.is_error()).count(),
            0
        );
        let state = self.world.platform.state();
        nobody_connects_without_a_grant(&catalog, &state);
        what_was_delivered_works(&result.left, &state);
    }
}

fn nobody_connects_without_a_grant(catalog: &Catalog, state: &State) {
    for (key, one) in &state.databases {
        let Some(spec) = one.converged().filter(|spec| spec.power == Power::On) else {
            continue;
        };
        for login in &spec.logins {
            let granted = catalog.grantees(key).into_iter().any(|grantee| {
                let application = grantee.application.key.clone();
                let grant = GrantKey {
                    application,
                    database: key.clone(),
                };
                let stored = state.credentials.get(&grant);
                let is_own =
                    stored.is_some_and(|(_, all)| all.values().any(|one| one.role == login.role));
                is_own && login.access <= grantee.grant.access
            });
            assert!(granted, "{} connects to {key} without a grant", login.role);
        }
    }
}

/// An environment that nothing stands in the way of holds the passwords that its databases know.
fn what_was_delivered_works(left: &Plan, state: &State) {
    for (key, application) in &state.applications {
        let subject = Subject::from(key);
        let is_hindered = left.blocked.iter().any(|one| one.subject == subject)
            || left.waiting.iter().any(|one| one.subject() == subject);
        let environment = application.environment.iter().filter(|_| !is_hindered);
        for binding in environment.flat_map(|environment| &environment.bindings) {
            let database = &state.databases[&binding.grant.database];
            let logins = database
                .converged()
                .into_iter()
                .flat_map(|spec| &spec.logins);
            let known = logins.filter(|login| login.role == binding.credential.role);
            let verifiers: Vec<_> = known.map(|login| login.verifier.as_ref()).collect();
            let delivered = Some(&binding.credential.verifier);
            assert_eq!(
                verifiers,
                [delivered],
                "{} was given another password",
                binding.grant
            );
        }
    }
}

/// A machine on which everything is as some manifests say, and others that are to take their place:
/// what is planned there, and what a review says without having seen it.
async fn planned_and_reviewed(mut was: Models, mut is: Models) -> (Plan, Plan) {
    for pair in was.0.iter().zip(&mut is.0) {
        if let (Some(was), Some(is)) = pair {
            // Which version a database has is not in the manifests where they leave it out.
            is.version = was.version;
        }
    }
    for one in was.1.iter_mut().chain(&mut is.1).flatten() {
        one.is_refused = false;
    }
    let mut model = Model::new();
    (model.databases, model.applications) = was;
    model.apply(model.world.asked()).await;
    (model.databases, model.applications) = is;
    model.write();
    let planned = model.world.plan(&model.world.asked());
    let Verdict::Planned { plan, .. } = model.world.review().verdict else {
        unreachable!("the manifests have no errors");
    };
    (planned, *plan)
}

type Models = (
    [Option<DatabaseModel>; EACH],
    [Option<ApplicationModel>; EACH],
);

fn models() -> impl Strategy<Value = Models> {
    let database = || proptest::option::weighted(0.8, database_model());
    let application = || proptest::option::weighted(0.8, application_model());
    (
        [database(), database(), database()],
        [application(), application(), application()],
    )
}

/// The plan, less what is not done: a review has other words of warning, and does not repeat what is
/// waited for already.
fn what_is_done(mut plan: Plan) -> String {
    plan.waiting.clear();
    plan.warnings.clear();
    plan.to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_review_says_what_a_platform_would_do(was in models(), is in models()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (planned, reviewed) = runtime.block_on(planned_and_reviewed(was, is));
        assert_eq!(what_is_done(reviewed), what_is_done(planned));
    }

    #[test]
    fn any_history_ends_as_the_manifests_say(history in vec(happening(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut model = Model::new();
            for happening in history {
                model.happen(happening).await;
            }
            model.in_the_end().await;
        });
    }
}
