//! `boma apply`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use boma_engine::converge::{Converge, Convergence};
use boma_engine::plan::{Asked, WaitingOn};
use boma_engine::platform::Platform;
use boma_problem::Problem;

use crate::cli::{ApplyArgs, Global, PlanArgs, PlanFormat};
use crate::commands::plan::{self, asked, new_id};
use crate::commands::validate::counted;
use crate::progress::Shown;
use crate::session::{Loaded, Need, Session, load};
use crate::terminal::{Exit, Result, Terminal, Tone};

/// Makes everything so as the manifests say.
pub(crate) async fn run(args: ApplyArgs, global: &Global, terminal: Terminal) -> Result {
    if args.dry_run {
        return plan::run(&as_plan(args), global, terminal).await;
    }
    let session = Session::open(global, Need::Builds).await?;
    let loaded = load(&args.source.source, |root| session.basis(root))?;
    terminal.problems(&loaded.problems);
    if loaded.has_errors() {
        terminal.status("Nothing was changed.");
        return Ok(Exit::Problem);
    }
    let patience = Duration::from_secs(args.patience);
    let asked = asked(&loaded, args.change_source);
    converge(&session, &loaded, asked, patience, "apply", terminal).await
}

/// What `plan` is asked for by `apply --dry-run`.
pub(crate) fn as_plan(args: ApplyArgs) -> PlanArgs {
    PlanArgs {
        source: args.source,
        output: PlanFormat::Text,
        base: None,
        head: None,
        path: None,
        running: false,
        with: Vec::new(),
        change_source: args.change_source,
    }
}

/// Converges once, under the lock that one process at a time holds, and says what became of it.
pub(crate) async fn converge(
    session: &Session,
    loaded: &Loaded,
    asked: Asked,
    patience: Duration,
    command: &str,
    terminal: Terminal,
) -> Result {
    let _pass = session.platform.begin_pass(patience).await?;
    let exit = converge_on(
        &session.platform,
        loaded,
        asked,
        patience,
        command,
        terminal,
    )
    .await?;
    session.platform.prepare_spares();
    Ok(exit)
}

/// Converges once on any platform, and says what became of it.
pub(crate) async fn converge_on<P: Platform>(
    platform: &Arc<P>,
    loaded: &Loaded,
    asked: Asked,
    patience: Duration,
    command: &str,
    terminal: Terminal,
) -> Result {
    let began = Instant::now();
    let shown = Shown::new(terminal);
    let mut around = Session::surroundings(command);
    around.patience = patience;
    around.report = shown.report();
    let converge = Converge {
        catalog: &loaded.catalog,
        platform,
        around: &around,
        ids: &mut new_id,
        patience,
        planned: &mut |plan| shown.planned(plan),
    };
    let result = converge.run(&asked).await?;
    shown.end();
    Ok(said(&result, loaded, began.elapsed(), terminal))
}

/// What a person has stopped, on one line: nothing is wrong with it, and there may be much of it.
fn stopped(held: &[&WaitingOn]) -> String {
    const NAMED: usize = 5;
    let subjects: Vec<String> = held
        .iter()
        .take(NAMED)
        .map(|waiting| waiting.subject().to_string())
        .map(|subject| match subject.rsplit_once('/') {
            Some((_, name)) => name.to_owned(),
            None => subject,
        })
        .collect();
    let more = match held.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("Stopped until `boma start`: {}{more}.", subjects.join(", "))
}

/// Says what became of it.
fn said(result: &Convergence, loaded: &Loaded, took: Duration, terminal: Terminal) -> Exit {
    let mut problems: Vec<Problem> = result
        .left
        .blocked
        .iter()
        .map(|blocked| blocked.problem.clone())
        .collect();
    problems.extend(result.failed.iter().map(|failure| failure.problem.clone()));
    problems.extend(result.left.warnings.iter().cloned());
    terminal.problems(&problems);
    let (held, waits): (Vec<_>, Vec<_>) = result
        .left
        .waiting
        .iter()
        .partition(|waiting| matches!(waiting, WaitingOn::Held { .. }));
    for waiting in &waits {
        let line = format!("{}  {waiting}", waiting.subject());
        terminal.status(&format!(
            "{} {line}",
            terminal.paint_err(Tone::Waiting, "waiting")
        ));
    }
    if !held.is_empty() {
        terminal.status(&stopped(&held));
    }
    let all = format!(
        "{} and {}",
        counted(loaded.catalog.databases().len(), "database"),
        counted(loaded.catalog.applications().len(), "application")
    );
    if result.is_converged() {
        let line = if result.done == 0 {
            format!("Nothing to do: {all} are as their manifests say.")
        } else {
            format!(
                "{all} are as their manifests say ({:.1} s).",
                took.as_secs_f32()
            )
        };
        terminal.status(&terminal.paint_err(Tone::Ok, &line));
        return Exit::Ok;
    }
    let only_waiting = result.left.steps.is_empty() && problems.iter().all(|one| !one.is_error());
    if only_waiting {
        let rest = if waits.is_empty() {
            "all else is as the manifests say"
        } else {
            "the rest waits, as said above"
        };
        terminal.status(&format!("{} done; {rest}.", counted(result.done, "step")));
        return Exit::NotConverged;
    }
    terminal.status(&format!(
        "Not everything is as the manifests say; {} done. `boma plan` shows what is left.",
        counted(result.done, "step")
    ));
    match problems.iter().find(|problem| problem.is_error()) {
        Some(problem) => Exit::of(problem),
        None => Exit::NotConverged,
    }
}
