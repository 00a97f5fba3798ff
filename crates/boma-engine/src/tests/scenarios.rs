//! Scenario scripts: `tests/scenarios/*.txt`. Each reads like a session at a terminal:
//!
//! ```text
//! # What it shows.
//! $ write accounts-db.yaml
//! | kind: Database
//! $ apply
//! (what is printed)
//! ```
//!
//! Lines after `| ` are what a command reads; all others up to the next command are what it prints.
//! `BOMA_ACCEPT=1` writes what is printed into the scripts; review it like prose.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use boma_instance::backup::RecoveryTarget;
use boma_problem::{Class, Problem};
use jiff::SignedDuration;

use super::world::World;
use crate::converge::Convergence;
use crate::keys::{ApplicationKey, DatabaseKey};
use crate::observed::{Feature, Life, ProcessState, ReplacedBy, Replacement};
use crate::plan::{Asked, OtherSource, PlanView};
use crate::platform::Platform as _;
use crate::review::markdown;
use crate::testing::{Agent, State, application_key, database_key, secret_key};

/// A command of a script with what it reads.
struct Command {
    line: String,
    input: Vec<String>,
}

#[tokio::test(start_paused = true)]
async fn every_scenario_prints_what_its_script_says() {
    // As it is now, not as it was when this was compiled: target directories are copied.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let folder = Path::new(&package).join("tests/scenarios");
    let mut scripts: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let accept = std::env::var_os("BOMA_ACCEPT").is_some();
    let mut differ = Vec::new();
    let mut kinds = BTreeSet::new();
    for path in scripts {
        let script = fs::read_to_string(&path).unwrap();
        let printed = run(&script, &mut kinds).await;
        let last = printed.rsplit("\n$ ").next().unwrap();
        let ends = last.starts_with("apply\nNothing to do.\n");
        if accept {
            fs::write(&path, &printed).unwrap();
        } else if printed != script {
            differ.push(format!("{}\n{printed}", path.display()));
        }
        assert!(
            ends,
            "{} does not end with an apply that does nothing",
            path.display()
        );
    }
    assert!(
        differ.is_empty(),
        "BOMA_ACCEPT=1 accepts this:\n{}",
        differ.join("\n")
    );
    assert_eq!(
        kinds,
        ALL_KINDS.into(),
        "every kind of step and of waiting is shown somewhere"
    );
}

/// All kinds of steps and of waiting.
const ALL_KINDS: [&str; 22] = [
    "activate-login",
    "await-converged",
    "await-drained",
    "backoff",
    "blocked-database",
    "deliver-environment",
    "exchange",
    "forget-application",
    "forget-grant",
    "held",
    "issue-credential",
    "pick-up",
    "put-instance",
    "record-database",
    "record-source",
    "release-login",
    "restart-application",
    "rotation-due",
    "run-pre-deploy",
    "set-life",
    "stop-application",
    "stopped-database",
];

/// Text with empty lines, or with the bars of what a command reads.
fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for line in text.lines() {
        writeln!(quoted, "> {line}").unwrap();
    }
    quoted
}

/// Runs a script and writes it anew, with what is printed now.
async fn run(script: &str, kinds: &mut BTreeSet<&'static str>) -> String {
    let mut world = World::new();
    let mut written = String::new();
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("$ ") else {
            // Comments and empty lines before a command stay; what was printed is printed anew.
            if line.starts_with('#') || line.is_empty() {
                writeln!(written, "{line}").unwrap();
            }
            continue;
        };
        writeln!(written, "{line}").unwrap();
        let mut input = Vec::new();
        while let Some(text) = lines.peek().and_then(|line| line.strip_prefix('|')) {
            writeln!(written, "|{text}").unwrap();
            input.push(text.strip_prefix(' ').unwrap_or(text).to_owned());
            lines.next();
        }
        let command = Command {
            line: command.to_owned(),
            input,
        };
        written.push_str(&perform(&mut world, &command).await);
    }
    kinds.append(&mut world.kinds);
    written
}

async fn perform(world: &mut World, command: &Command) -> String {
    let words: Vec<&str> = command.line.split(' ').collect();
    match words.as_slice() {
        ["write", name] => {
            world.write(name, command.input.join("\n") + "\n");
            String::new()
        }
        ["remove", name] => {
            world.files.remove(*name).unwrap();
            String::new()
        }
        ["edit", name] => edit(world, name, &command.input),
        ["validate"] => validate(world),
        ["plan"] => world.plan(&world.asked()).to_string(),
        ["plan", "--json"] => {
            let plan = world.plan(&world.asked());
            serde_json::to_string_pretty(&PlanView::from(&plan)).unwrap() + "\n"
        }
        ["review"] => quoted(&world.review().to_string()),
        ["review", "--markdown"] => quoted(&markdown(&world.review())),
        ["apply", options @ ..] => {
            let mut asked = world.asked();
            if options.contains(&"--change-source") {
                asked.other_source = OtherSource::Meant;
            }
            apply(world, asked).await
        }
        ["deploy", name] => {
            let mut asked = world.asked();
            asked
                .deploy
                .insert(application_key(name), world.platform.now());
            apply(world, asked).await
        }
        ["source", path] => {
            (*path).clone_into(&mut world.source);
            String::new()
        }
        ["show"] => show(&world.platform.state()),
        words => happen(world, words).await,
    }
}

fn edit(world: &mut World, name: &str, input: &[String]) -> String {
    let text = world.files.get_mut(name).unwrap();
    let old: Vec<&str> = input
        .iter()
        .filter_map(|line| line.strip_prefix('-'))
        .collect();
    let new: Vec<&str> = input
        .iter()
        .filter_map(|line| line.strip_prefix('+'))
        .collect();
    let (old, new) = (old.join("\n"), new.join("\n"));
    assert!(text.contains(&old), "{name} does not hold {old:?}");
    *text = text.replacen(&old, &new, 1);
    String::new()
}

fn validate(world: &World) -> String {
    let (_, problems) = world.catalog();
    let mut text = String::new();
    for problem in problems {
        print(&mut text, "", &problem);
    }
    if text.is_empty() {
        "No problems.\n".to_owned()
    } else {
        text
    }
}

fn print(text: &mut String, before: &str, problem: &Problem) {
    let place = problem
        .place
        .as_ref()
        .map(|place| format!("{place}: "))
        .unwrap_or_default();
    writeln!(text, "{before}{place}{problem}").unwrap();
    for (what, place) in &problem.related {
        writeln!(text, "{before}  {what}: {place}").unwrap();
    }
    for hint in &problem.hints {
        writeln!(text, "{before}  {hint}").unwrap();
    }
}

async fn apply(world: &mut World, asked: Asked) -> String {
    let (_, problems) = world.catalog();
    if problems.iter().any(Problem::is_error) {
        return validate(world);
    }
    let plan = world.plan(&asked);
    let mut text = plan.to_string();
    if plan.steps.is_empty() {
        return text;
    }
    match world.apply(asked).await {
        Ok(result) => text.push_str(&outcome(&result)),
        Err(problem) => print(&mut text, "", &problem),
    }
    text
}

fn outcome(result: &Convergence) -> String {
    let mut text = String::new();
    for failure in &result.failed {
        writeln!(text, "Failed: {}: {}", failure.subject, failure.action).unwrap();
        print(&mut text, "  ", &failure.problem);
    }
    let steps = if result.done == 1 { "step" } else { "steps" };
    if result.is_converged() {
        writeln!(text, "Done: {} {steps}.", result.done).unwrap();
    } else {
        writeln!(text, "Done: {} {steps}. Left:", result.done).unwrap();
        for line in result.left.to_string().lines() {
            writeln!(text, "  {line}").unwrap();
        }
    }
    text
}

/// Something that happens on the platform, apart from the engine.
async fn happen(world: &World, words: &[&str]) -> String {
    let platform = &world.platform;
    match words {
        ["advance", seconds] => {
            platform.advance(SignedDuration::from_secs(seconds.parse().unwrap()));
        }
        ["stop", name] => hold(&mut platform.state(), name, true),
        ["start", name] => hold(&mut platform.state(), name, false),
        ["rotate", name] => rotate(&mut platform.state(), name),
        ["restores-in-place", name] => replace(&mut platform.state(), name, backups()),
        ["undoes-restore", name] => replace(&mut platform.state(), name, ReplacedBy::Kept),
        ["sessions", name, role, count] => {
            let place = (database_key(name), (*role).to_owned());
            let count = count.parse().unwrap();
            platform.state().connections.insert(place, count);
        }
        ["exits", name] => exits(&mut platform.state(), name),
        ["agent-dies", name] => database(&mut platform.state(), name).agent = Agent::Absent,
        ["agent-hangs", name] => database(&mut platform.state(), name).agent = Agent::Silent,
        ["spec-lost", name] => spec_lost(&mut platform.state(), name),
        ["spec-put-back", name] => spec_put_back(&mut platform.state(), name),
        [
            "installs" | "uninstalls" | "has" | "has-no" | "stores" | "forgets",
            ..,
        ] => {
            provide(&mut platform.state(), words);
        }
        ["pre-deploy-fails", name] => pre_deploy_of(&mut platform.state(), name, false),
        ["pre-deploy-works", name] => pre_deploy_of(&mut platform.state(), name, true),
        ["database-fails", name] => {
            let problem = Problem::new(Class::User, "disk-full", "there is no space on the disk")
                .hint("Make room, then it goes on by itself.");
            database(&mut platform.state(), name).problem = Some(problem);
        }
        ["database-works", name] => database(&mut platform.state(), name).problem = None,
        ["fails", method, rest @ ..] => {
            let class = if rest.contains(&"soon-over") {
                Class::Transient
            } else {
                Class::Config
            };
            let problem = Problem::new(class, "broken", format!("{method} is broken"));
            platform.fail(method, "", problem);
        }
        ["mends"] => platform.mend(),
        ["purge", name] => {
            let id = database(&mut platform.state(), name).id;
            platform.purge(&database_key(name), id).await.unwrap();
        }
        words => panic!("there is no command {words:?}"),
    }
    String::new()
}

fn database<'s>(state: &'s mut State, name: &str) -> &'s mut crate::testing::SimulatedDatabase {
    state.databases.get_mut(&database_key(name)).unwrap()
}

fn spec_lost(state: &mut State, name: &str) {
    let database = database(state, name);
    (database.spec, database.listen) = (None, None);
}

fn spec_put_back(state: &mut State, name: &str) {
    let spec = &mut database(state, name).spec;
    spec.as_mut().unwrap().generation = 1;
}

fn hold(state: &mut State, name: &str, held: bool) {
    if let Some(database) = state.databases.get_mut(&database_key(name)) {
        database.held = held;
    } else {
        state
            .applications
            .get_mut(&application_key(name))
            .unwrap()
            .held = held;
    }
}

fn rotate(state: &mut State, name: &str) {
    let now = state.now.as_millisecond().unsigned_abs();
    let granted: Vec<_> = state.credentials.keys().cloned().collect();
    for grant in granted {
        if grant.application == application_key(name) {
            state.rotations.entry(grant).or_default().asked = now;
        }
    }
}

fn pre_deploy_of(state: &mut State, name: &str, works: bool) {
    let why = (!works).then_some("npm run migrate ended with status 1");
    pre_deploy(state, name, why);
}

fn exits(state: &mut State, name: &str) {
    let at = state.now;
    let application = state.applications.get_mut(&application_key(name)).unwrap();
    let Some(ProcessState::Running { deployment, .. }) = application.process.take() else {
        panic!("{name} does not run");
    };
    let failures = 3;
    application.process = Some(ProcessState::Exited {
        deployment,
        at,
        failures,
    });
}

fn pre_deploy(state: &mut State, name: &str, fails: Option<&str>) {
    let application = state.applications.get_mut(&application_key(name)).unwrap();
    application.pre_deploy_fails =
        fails.map(|text| Problem::new(Class::User, "command-failed", text));
}

/// What the machine has, and what it has no more.
fn provide(state: &mut State, words: &[&str]) {
    match *words {
        ["installs", version] => {
            let version = version.parse().unwrap();
            state
                .capabilities
                .servers
                .retain(|build| build.major != version);
            let build = crate::testing::machine().servers.into_iter();
            let build = build.filter(|build| build.major == version);
            state.capabilities.servers.extend(build);
        }
        ["uninstalls", version] => {
            let version = version.parse().unwrap();
            state
                .capabilities
                .servers
                .retain(|build| build.major != version);
        }
        ["has-no", "commands"] => {
            state.capabilities.features.remove(&Feature::Commands);
        }
        ["has", "storage-classes"] => {
            state.capabilities.features.insert(Feature::StorageClasses);
        }
        ["stores", "secret", name, "without-value", entries] => {
            let entries = entries.split(',').filter(|one| !one.is_empty());
            let entries = entries.map(str::to_owned).collect();
            let secret = secret_key(name);
            state.secrets.remove(&secret);
            state.secrets_without_value.insert(secret, entries);
        }
        ["stores", "secret", name, revision] => {
            let secret = secret_key(name);
            state.secrets.insert(secret, (*revision).to_owned());
        }
        ["forgets", "secret", name] => {
            state.secrets.remove(&secret_key(name));
        }
        ["has", "cpu", millis] => {
            state.capabilities.cpu_millis = Some(millis.parse().unwrap());
        }
        ["has", "memory", bytes] => {
            state.capabilities.memory_bytes = Some(bytes.parse().unwrap());
        }
        _ => panic!("there is no command {words:?}"),
    }
}

/// What is there: databases with their logins, applications with their variables.
fn backups() -> ReplacedBy {
    ReplacedBy::Backups {
        target: RecoveryTarget::Latest,
        timeline: None,
    }
}

fn replace(state: &mut State, name: &str, by: ReplacedBy) {
    let wish = Replacement {
        beside: database_key(&format!("{name}.restore-1")),
        by,
        asked_at: state.now,
    };
    state.replacements.insert(database_key(name), wish);
}

fn show(state: &State) -> String {
    let mut text = String::new();
    for (key, database) in &state.databases {
        writeln!(text, "{}", show_database(key, database)).unwrap();
    }
    for (key, application) in &state.applications {
        writeln!(text, "{}", show_application(key, application)).unwrap();
    }
    if text.is_empty() {
        "Nothing.\n".to_owned()
    } else {
        text
    }
}

fn show_database(key: &DatabaseKey, one: &crate::testing::SimulatedDatabase) -> String {
    let mut text = format!("Database {}, instance {}", key.name, one.id.0.as_u128());
    match one.life {
        Life::Active => {}
        Life::Retired { until, .. } => write!(text, ", retired until {until}").unwrap(),
    }
    let Some(spec) = one.converged() else {
        return text + ", no server";
    };
    let power = format!("{:?}", spec.power).to_lowercase();
    write!(
        text,
        ", PostgreSQL {}, {power}, generation {}",
        spec.version, spec.generation
    )
    .unwrap();
    for login in &spec.logins {
        write!(text, "\n  login {} {:?}", login.role, login.access).unwrap();
        if login.verifier.is_none() {
            text.push_str(", locked");
        }
    }
    text
}

fn show_application(key: &ApplicationKey, one: &crate::testing::SimulatedApplication) -> String {
    let mut text = format!("Application {}", key.name);
    match &one.process {
        None => {}
        Some(ProcessState::NotRunning) => text.push_str(", not running"),
        Some(ProcessState::Running { .. }) => text.push_str(", running"),
        Some(ProcessState::Exited { .. }) => text.push_str(", ended"),
    }
    write!(
        text,
        ", started {} times, preDeploy run {} times",
        one.starts, one.pre_deploys
    )
    .unwrap();
    for (name, value) in one
        .environment
        .iter()
        .flat_map(|environment| &environment.plain)
    {
        write!(text, "\n  {name}={value}").unwrap();
    }
    for binding in one
        .environment
        .iter()
        .flat_map(|environment| &environment.bindings)
    {
        write!(text, "\n  {}={}", binding.env_var, binding.uri.expose()).unwrap();
    }
    text
}
