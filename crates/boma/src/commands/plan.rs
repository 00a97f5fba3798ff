//! `boma plan`.

mod review;

use std::sync::Arc;

use boma_engine::look::look;
use boma_engine::plan::{self, Asked, OtherSource, Plan, PlanView};
use boma_engine::platform::Platform;
use boma_engine::review::{Review, markdown};
use boma_instance::InstanceId;
use jiff::Timestamp;
use uuid::Uuid;

use crate::cli::{Global, PlanArgs, PlanFormat};
use crate::session::{Loaded, Need, Session, load};
use crate::terminal::{Exit, Result, Terminal, Tone};
pub(crate) use review::run as merge;

/// Shows what `apply` would do.
pub(crate) async fn run(args: &PlanArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::Builds).await?;
    let loaded = load(&args.source.source, |root| session.basis(root))?;
    terminal.problems(&loaded.problems);
    if loaded.has_errors() {
        return Ok(Exit::Problem);
    }
    print(args, &loaded, &*session.platform, terminal).await
}

/// Plans on any platform, and prints the plan.
pub(crate) async fn print(
    args: &PlanArgs,
    loaded: &Loaded,
    platform: &impl Platform,
    terminal: Terminal,
) -> Result {
    let asked = asked(loaded, args.change_source);
    let looked = look(platform, Timestamp::now, |seen, now| {
        plan::plan(&loaded.catalog, seen, &asked, now, &mut new_id)
    });
    let plan = looked.await?.plan;
    let exit = exit_of(&plan);
    match args.output {
        PlanFormat::Text => terminal.result(&painted(&plan.to_string(), terminal))?,
        PlanFormat::Json => terminal.json(&PlanView::from(&plan))?,
        PlanFormat::Markdown => {
            let review = Review {
                base: None,
                head: None,
                standing: None,
                problems: loaded.problems.clone(),
                verdict: plan.into(),
            };
            terminal.result(&markdown(&review))?;
        }
    }
    Ok(exit)
}

/// What a plan ends the program with: something in the way, something to do, or nothing.
pub(crate) fn exit_of(plan: &Plan) -> Exit {
    if !plan.blocked.is_empty() {
        Exit::Problem
    } else if plan.is_empty() {
        Exit::Ok
    } else {
        Exit::NotConverged
    }
}

/// What a person asks for besides the manifests.
pub(crate) fn asked(loaded: &Loaded, change_source: bool) -> Asked {
    Asked {
        source: Some(Arc::from(&*loaded.source())),
        other_source: if change_source {
            OtherSource::Meant
        } else {
            OtherSource::Mistaken
        },
        ..Asked::default()
    }
}

/// An identity for a new instance.
pub(crate) fn new_id() -> InstanceId {
    InstanceId(Uuid::new_v4())
}

/// The plan with its marks in colour.
pub(crate) fn painted(plan: &str, terminal: Terminal) -> String {
    let tone_of = |line: &str| match line.trim_start().chars().next() {
        Some('+') => Some(Tone::Ok),
        Some('~' | '…') => Some(Tone::Waiting),
        Some('-' | '!') => Some(Tone::Failed),
        _ if line.starts_with("Database ") || line.starts_with("Application ") => {
            Some(Tone::Heading)
        }
        _ => None,
    };
    let mut text = String::new();
    for line in plan.lines() {
        match tone_of(line) {
            Some(tone) => text.push_str(&terminal.paint(tone, line)),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}
