//! Commands with `--platform kubernetes`: the same as on one machine, on another platform.

use std::sync::Arc;
use std::time::Duration;

use boma_engine::platform::Platform;
use tokio::sync::Notify;

use crate::cli::{ApplyArgs, GetArgs, Global, PlanArgs, PurgeArgs, ServeArgs};
use crate::commands;
use crate::commands::plan::asked;
use crate::commands::serve::{Served, Source, serve_on};
use crate::session::{ClusterSession, load, state_dir};
use crate::terminal::{Exit, Result, Terminal};

/// Shows what `apply` would do.
pub(super) async fn plan(args: &PlanArgs, global: &Global, terminal: Terminal) -> Result {
    let session = ClusterSession::open(global).await?;
    let loaded = load(&args.source.source, |root| session.basis(root))?;
    terminal.problems(&loaded.problems);
    if loaded.has_errors() {
        return Ok(Exit::Problem);
    }
    commands::plan::print(args, &loaded, &*session.platform, terminal).await
}

/// Makes everything so as the manifests say.
pub(super) async fn apply(args: ApplyArgs, global: &Global, terminal: Terminal) -> Result {
    if args.dry_run {
        let args = commands::apply::as_plan(args);
        return plan(&args, global, terminal).await;
    }
    let session = ClusterSession::open(global).await?;
    let loaded = load(&args.source.source, |root| session.basis(root))?;
    terminal.problems(&loaded.problems);
    if loaded.has_errors() {
        terminal.status("Nothing was changed.");
        return Ok(Exit::Problem);
    }
    let patience = Duration::from_secs(args.patience);
    let asked = asked(&loaded, args.change_source);
    let platform = &session.platform;
    let exit =
        commands::apply::converge_on(platform, &loaded, asked, patience, "apply", terminal).await?;
    tracing::info!(writes = platform.writes(), "asked the API server for");
    Ok(exit)
}

/// Keeps everything so as the manifests say, until stopped.
pub(super) async fn serve(args: &ServeArgs, global: &Global, terminal: Terminal) -> Result {
    let session = ClusterSession::open(global).await?;
    let source = Source::of(args, &state_dir(global)?)?;
    let (mut cluster, mut agents) = session.platform.news();
    let served = Served {
        platform: session.platform.clone(),
        basis: session.basis(source.root()),
        source,
        place: "state in the cluster".to_owned(),
        converged: Box::new(|| {}),
    };
    let changes = move |wake: Arc<Notify>| async move {
        loop {
            // Both are cancel-safe: a change that is not taken is there the next time.
            let changed = tokio::select! {
                changed = cluster.changed() => changed,
                changed = agents.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            wake.notify_one();
        }
    };
    serve_on(served, args, changes, terminal).await
}

/// Lists databases and applications.
pub(super) async fn get(args: &GetArgs, global: &Global, terminal: Terminal) -> Result {
    let session = ClusterSession::open(global).await?;
    let seen = session.platform.observe().await?;
    let inventory =
        commands::get::Inventory::of(seen, &state_dir(global)?, |root| session.basis(root));
    commands::get::print(args, &inventory, terminal)
}

/// Destroys a retired database, once its name was typed back.
pub(super) async fn purge(args: &PurgeArgs, global: &Global, terminal: Terminal) -> Result {
    let session = ClusterSession::open(global).await?;
    let seen = session.platform.observe().await?;
    let (key, id) = commands::purge::chosen(args, &seen, terminal)?;
    commands::purge::purge_on(&*session.platform, &key, id, terminal).await
}
