//! `boma serve`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use boma_engine::catalog::Basis;
use boma_engine::engine::{Engine, EngineState, Parts};
use boma_engine::platform::Platform;
use boma_engine::source::{DirectorySource, Snapshot};
use boma_problem::{Class, Problem};
use notify::{RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::cli::{Global, ServeArgs};
use crate::commands::plan::new_id;
use crate::session::{Need, Session, canonical};
use crate::terminal::{Exit, Result, Terminal, Tone};

/// Editors write a file in several goes; what comes within this is one change.
const SETTLE: Duration = Duration::from_millis(5);

/// Where the kernel does not tell of changes (some network file systems), the directory is read
/// this often.
const READ_AGAIN: Duration = Duration::from_mins(1);

/// Keeps everything so as the manifests say, until stopped. What runs goes on running afterwards.
pub(crate) async fn run(args: &ServeArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::Builds).await?;
    let root = canonical(&args.source.source)?;
    let serving = session.platform.serve().await?;
    session.platform.prepare_spares_in_use().await?;
    let platform = session.platform.clone();
    let served = Served {
        platform: session.platform.clone(),
        basis: session.basis(&root),
        root,
        place: format!("state in {}", session.platform.layout().root().display()),
        converged: Box::new(move || platform.prepare_spares()),
    };
    let changes = move |wake: Arc<Notify>| async move {
        loop {
            serving.changed().await;
            wake.notify_one();
        }
    };
    serve_on(served, args, changes, terminal).await
}

/// What is served.
pub(crate) struct Served<P> {
    /// Where.
    pub(crate) platform: Arc<P>,
    /// What manifests are read against.
    pub(crate) basis: Basis,
    /// The directory of manifests.
    pub(crate) root: PathBuf,
    /// Where the state is, for people.
    pub(crate) place: String,
    /// Done whenever everything is as the manifests say.
    pub(crate) converged: Box<dyn Fn() + Send + Sync>,
}

/// Serves on any platform until asked to end; `changes` wakes the engine when there is something
/// to look at.
pub(crate) async fn serve_on<P, C>(
    served: Served<P>,
    args: &ServeArgs,
    changes: impl FnOnce(Arc<Notify>) -> C,
    terminal: Terminal,
) -> Result
where
    P: Platform,
    C: Future<Output = ()> + Send + 'static,
{
    let Served {
        platform,
        basis,
        root,
        place,
        converged,
    } = served;
    let (loaded, source) = watch::channel(None);
    let reading = tokio::spawn(read_again_and_again(root.clone(), loaded));
    let parts = Parts {
        platform,
        around: Session::surroundings("serve"),
        ids: Box::new(new_id),
        basis,
        source_name: Arc::from(root.to_string_lossy().as_ref()),
        source,
    };
    let (engine, handle) = Engine::new(parts);
    if args.change_source {
        handle.accept_other_source().await;
    }
    let waking = tokio::spawn(changes(handle.waker()));
    let (stop, stopped) = watch::channel(false);
    terminal.status(&format!(
        "Serving {} ({place}). Ctrl-C ends this; databases and applications go on running.",
        root.display(),
    ));
    let telling = tokio::spawn(tell(handle.state(), converged, terminal));
    let running = tokio::spawn(engine.run(stopped));
    asked_to_end().await?;
    terminal.status("Ending.");
    stop.send_replace(true);
    // The engine carries the steps that it has begun to their end.
    let ended = running.await;
    for task in [reading, waking, telling] {
        task.abort();
    }
    ended.map_err(|error| Problem::from_error(Class::Internal, "engine-panicked", &error))?;
    Ok(Exit::Ok)
}

async fn asked_to_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Both arms are cancel-safe: a signal that is not received is received by nobody else.
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// What the kernel told of the source since it was last read.
#[derive(Default)]
struct Told {
    paths: Mutex<Vec<PathBuf>>,
    some: Notify,
}

impl Told {
    fn add(&self, event: notify::Event) {
        // Reading a file is no change of it, and this very program reads them.
        if !event.kind.is_access() {
            self.lock().extend(event.paths);
            self.some.notify_one();
        }
    }

    fn take(&self) -> Vec<PathBuf> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the source, now and whenever it changes.
async fn read_again_and_again(root: PathBuf, loaded: watch::Sender<Option<Arc<Snapshot>>>) {
    let told = Arc::new(Told::default());
    let _watcher = watcher(&root, &told);
    let mut source = DirectorySource::new(&root);
    loop {
        let paths = told.take();
        let reading = tokio::task::spawn_blocking(move || {
            // Without a path, time has come to look whether something was not told of.
            let snapshot = if paths.is_empty() {
                source.read()
            } else {
                source.read_changed(&paths)
            };
            (source, snapshot)
        });
        let Ok((again, snapshot)) = reading.await else {
            return;
        };
        source = again;
        let first = loaded.borrow().is_none();
        if first || snapshot.changes > 0 || !snapshot.problems.is_empty() {
            loaded.send_replace(Some(Arc::new(snapshot)));
        }
        // Cancel-safe: a permit that is not taken stays.
        drop(tokio::time::timeout(READ_AGAIN, told.some.notified()).await);
        tokio::time::sleep(SETTLE).await;
    }
}

/// Lets the kernel tell of changes; where it does not, the clock does.
fn watcher(root: &Path, told: &Arc<Told>) -> Option<notify::RecommendedWatcher> {
    let told = told.clone();
    let tell = move |event: notify::Result<notify::Event>| {
        if let Ok(event) = event {
            told.add(event);
        }
    };
    let watched = notify::recommended_watcher(tell).and_then(|mut watcher| {
        watcher.watch(root, RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    watched
        .inspect_err(|error| tracing::warn!(%error, "changes of the manifests are seen late"))
        .ok()
}

/// Says on standard error what changed in what is wrong or done.
async fn tell(
    mut state: watch::Receiver<Arc<EngineState>>,
    when_converged: Box<dyn Fn() + Send + Sync>,
    terminal: Terminal,
) {
    let mut said: Vec<Problem> = Vec::new();
    let mut converged = false;
    loop {
        let now = state.borrow_and_update().clone();
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
