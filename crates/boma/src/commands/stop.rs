//! `boma stop`, `boma start` and `boma deploy`: what a person wants apart from the manifests.

use std::time::Duration;

use boma_engine::observed::{Life, Observed};
use boma_engine::plan::Asked;
use boma_engine::platform::Platform;
use boma_problem::{Class, Problem};
use jiff::Timestamp;

use crate::cli::{Global, NameArgs, StopArgs};
use crate::commands::apply::converge;
use crate::session::{Loaded, Named, Need, Session, canonical, find, find_application, load_all};
use crate::sources::roots_of;
use crate::terminal::{Exit, Result, Terminal};

/// How long a person's word may take to come true.
const PATIENCE: Duration = Duration::from_mins(5);

/// Stops databases and applications until `start`.
pub(crate) async fn stop(args: &StopArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::Builds).await?;
    for named in named(&session.platform.observe().await?, &args.names)? {
        match named {
            Named::Database(key) => session.platform.hold_database(&key).await?,
            Named::Application(key) => session.platform.hold_application(&key).await?,
        }
    }
    let exit = again(&session, Asked::default(), "stop", terminal).await?;
    // What is stopped is waited for by the plan, as a person wanted it.
    Ok(if exit == Exit::NotConverged {
        Exit::Ok
    } else {
        exit
    })
}

/// Starts what `stop` has stopped.
pub(crate) async fn start(args: &StopArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::Builds).await?;
    for named in named(&session.platform.observe().await?, &args.names)? {
        match named {
            Named::Database(key) => session.platform.release_database(&key).await?,
            Named::Application(key) => session.platform.release_application(&key).await?,
        }
    }
    again(&session, Asked::default(), "start", terminal).await
}

/// Runs an application's `preDeploy` and restarts it, though nothing has changed.
pub(crate) async fn deploy(args: &NameArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::Builds).await?;
    let key = find_application(&session.platform.observe().await?, &args.name)?;
    let asked = Asked {
        deploy: [(key, Timestamp::now())].into(),
        ..Asked::default()
    };
    again(&session, asked, "deploy", terminal).await
}

/// Everything, or what was named. A retired database runs no more anyway.
pub(crate) fn named(seen: &Observed, names: &[String]) -> Result<Vec<Named>> {
    if !names.is_empty() {
        return names.iter().map(|name| find(seen, name)).collect();
    }
    let databases = seen
        .databases
        .iter()
        .filter(|(_, one)| one.life == Life::Active)
        .map(|(key, _)| Named::Database(key.clone()));
    let applications = seen.applications.keys().cloned().map(Named::Application);
    Ok(databases.chain(applications).collect())
}

/// Converges to the manifests that were last applied.
async fn again(session: &Session, asked: Asked, command: &str, terminal: Terminal) -> Result {
    let loaded = last_applied(session).await?;
    if loaded.has_errors() {
        terminal.problems(&loaded.problems);
        return Ok(Exit::Problem);
    }
    converge(session, &loaded, asked, PATIENCE, command, terminal).await
}

/// The manifests that were last applied, as they are now.
pub(crate) async fn last_applied(session: &Session) -> Result<Loaded> {
    let source = session.platform.observe().await?.source;
    let source = source.ok_or_else(nothing_applied)?;
    let roots = roots_of(&source, session.platform.layout().root());
    for root in roots.all() {
        canonical(&root.directory)?;
    }
    Ok(load_all(roots, |roots| session.basis(roots)))
}

/// Nobody has said yet what there should be.
pub(crate) fn nothing_applied() -> Problem {
    Problem::new(Class::User, "nothing-applied", "nothing was applied yet")
        .hint("`boma apply DIRECTORY` makes what its manifests describe.")
}
