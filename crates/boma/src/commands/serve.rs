//! `boma serve`.

mod dashboard;
mod directory;
mod local;
mod operations;
mod resources;
mod source;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use boma_engine::catalog::Basis;
use boma_engine::engine::{Engine, EngineHandle, EngineState, Parts};
use boma_engine::platform::Platform;
use boma_engine::source::Revision;
use boma_problem::{Class, Problem};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::{Global, ServeArgs};
use crate::commands::plan::new_id;
use crate::memory;
use crate::people::PlatformRegister;
use crate::session::{Need, Session, actor};
use crate::terminal::{Exit, Result, Terminal, Tone};
use dashboard::{Dashboard, Shown};
pub(crate) use dashboard::{DashboardOf, Entrance};
use local::LocalInsight;
pub(crate) use operations::{Desk, OperationsOn};
pub(crate) use source::{LetIn, Sources};
use webhook::Webhook;

/// Keeps everything so as the manifests say, until stopped. What runs goes on running afterwards.
pub(crate) async fn run(args: &ServeArgs, global: &Global, terminal: Terminal) -> Result {
    if args.admission.is_some() {
        return Err(nothing_to_admit().into());
    }
    let session = Session::open(global, Need::Builds).await?;
    let state = session.platform.layout().root();
    let sources = Sources::of(args, state, Some(&session.platform), None)?;
    let serving = session.platform.serve().await?;
    session.platform.prepare_spares_in_use().await?;
    let platform = session.platform.clone();
    let operations = OperationsOn::new(session.platform.clone());
    let served = Served {
        platform: session.platform.clone(),
        basis: session.basis(sources.roots()),
        sources,
        dashboard: Some(DashboardOf {
            operations: Arc::new(operations),
            register: Arc::new(PlatformRegister(session.platform.clone())),
            provider: session.provider().await?,
            section: session.dashboard(),
            insight: Arc::new(LocalInsight::new(session.platform.clone())),
            state: state.to_owned(),
            entrance: Entrance::Machine,
            owner: actor("serve, in the dashboard"),
        }),
        place: format!("state in {}", state.display()),
        converged: Box::new(move || platform.prepare_spares()),
    };
    let changes = move |engine: EngineHandle| async move {
        loop {
            serving.changed().await;
            engine.wake();
        }
    };
    serve_on(served, args, changes, terminal).await
}

/// The API server was to be answered about what is not read here.
pub(crate) fn nothing_to_admit() -> Problem {
    let message = "`--admission` is about custom resources, and they are not among the sources";
    Problem::new(Class::User, "admission-without-resources", message)
        .hint("Name the source `custom-resources`, with `--platform kubernetes`.")
        .hint("Or leave `--admission` out: manifests of files and repositories are checked when they are read.")
}

/// What is served.
pub(crate) struct Served<P> {
    /// Where.
    pub(crate) platform: Arc<P>,
    /// What manifests are read against.
    pub(crate) basis: Basis,
    /// Where they come from.
    pub(crate) sources: Sources,
    /// What a dashboard needs besides; none: there is to be none.
    pub(crate) dashboard: Option<DashboardOf>,
    /// Where the state is, for people.
    pub(crate) place: String,
    /// Done whenever everything is as the manifests say.
    pub(crate) converged: Box<dyn Fn() + Send + Sync>,
}

/// Serves on any platform until asked to end; `changes` goes on beside the engine, and wakes it when
/// there is something to look at.
pub(crate) async fn serve_on<P, C>(
    served: Served<P>,
    args: &ServeArgs,
    changes: impl FnOnce(EngineHandle) -> C,
    terminal: Terminal,
) -> Result
where
    P: Platform,
    C: Future<Output = ()> + Send + 'static,
{
    let Served {
        platform,
        basis,
        sources,
        dashboard,
        place,
        converged,
    } = served;
    let name: Arc<str> = Arc::from(sources.name());
    let dashboard = Dashboard::open(args, dashboard).await?;
    let webhook = Webhook::open(args, sources.told(), terminal).await?;
    let (loaded, snapshots) = watch::channel(None);
    let targets = match &dashboard {
        Some(dashboard) => Some(sources.targets(dashboard.state()).await),
        None => None,
    };
    let reading = tokio::spawn(sources.follow(loaded, basis.clone()));
    let parts = Parts {
        platform,
        around: Session::surroundings("serve"),
        ids: Box::new(new_id),
        basis: basis.clone(),
        source_name: name.clone(),
        source: snapshots.clone(),
    };
    let (engine, handle) = Engine::new(parts);
    if args.change_source {
        handle.accept_other_source().await;
    }
    let waking = tokio::spawn(changes(handle.clone()));
    let (stop, stopped) = watch::channel(false);
    terminal.status(&format!(
        "Serving {name} ({place}). Ctrl-C ends this; databases and applications go on running.",
    ));
    let hearing = webhook.map(|webhook| {
        terminal.status(&format!("Pushes are told at {}.", webhook.url()));
        tokio::spawn(webhook.serve())
    });
    let showing = match dashboard.zip(targets) {
        Some((dashboard, targets)) => {
            let shown = Shown {
                engine: handle.clone(),
                snapshots,
                basis: Arc::new(basis),
                source_name: name,
                targets,
            };
            Some(dashboard.start(shown, terminal)?)
        }
        None => None,
    };
    let telling = tokio::spawn(tell(handle.state(), converged, terminal));
    // It ends with the engine.
    tokio::spawn(memory::give_back(handle.state()));
    let running = tokio::spawn(engine.run(stopped));
    asked_to_end().await?;
    terminal.status("Ending.");
    stop.send_replace(true);
    // The engine carries the steps that it has begun to their end.
    let ended = running.await;
    for task in [reading, waking, telling].into_iter().chain(hearing) {
        task.abort();
    }
    drop(showing);
    ended.map_err(|error| Problem::from_error(Class::Internal, "engine-panicked", &error))?;
    Ok(Exit::Ok)
}

/// Returns when the process is asked to end.
pub(crate) async fn asked_to_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Both arms are cancel-safe: a signal that is not received is received by nobody else.
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Says on standard error what changed in what is wrong or done.
async fn tell(
    mut state: watch::Receiver<Arc<EngineState>>,
    when_converged: Box<dyn Fn() + Send + Sync>,
    terminal: Terminal,
) {
    let mut said: Vec<Problem> = Vec::new();
    let mut converged = false;
    let mut revisions = BTreeMap::new();
    loop {
        let now = state.borrow_and_update().clone();
        for (label, commit) in &now.revisions {
            if revisions.get(label) != Some(commit) {
                terminal.status(&in_force(label, commit));
            }
        }
        revisions.clone_from(&now.revisions);
        let problems = problems_of(&now);
        if problems != said {
            terminal.problems(&problems);
            said = problems;
        }
        if now.is_converged() != converged {
            converged = now.is_converged();
            if converged {
                let line = "Everything is as the manifests say.";
                terminal.status(&terminal.paint_err(Tone::Ok, line));
                when_converged();
            }
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// The commit that holds from now on. What its author wrote is text from elsewhere.
fn in_force(label: &str, commit: &Revision) -> String {
    let said = format!("“{}” by {}", commit.subject, commit.author);
    let said: String = said.chars().filter(|letter| !letter.is_control()).collect();
    let of = match label {
        "" => String::new(),
        label => format!(" of {label}"),
    };
    format!("Commit {}{of} is in force: {said}.", commit.short())
}

fn problems_of(state: &EngineState) -> Vec<Problem> {
    let mut problems = state.source_problems.clone();
    problems.extend(state.platform_problem.clone());
    problems.extend(
        state
            .plan
            .blocked
            .iter()
            .map(|blocked| blocked.problem.clone()),
    );
    problems.extend(
        state
            .failures
            .values()
            .map(|failure| failure.problem.clone()),
    );
    problems
}
