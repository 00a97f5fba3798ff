//! What an application runs, since when, and what its last deployment has printed.

use boma_engine::computed::ApplicationComputed;
use boma_engine::keys::ApplicationKey;
use boma_manifest::{Application, Command, Source};
use maud::{Markup, html};

use super::layout::secret;
use super::parts::{facts, moment, or_unknown, problem_card};
use crate::access::Session;
use crate::insight::LogOf;
use crate::people::Role;
use crate::site::Site;

/// Lines of what `preDeploy` has printed.
const LINES: usize = 40;

/// The deployments of an application; nothing for one that runs elsewhere and has no `preDeploy`.
pub(super) async fn section(
    (site, session): (&Site, &Session),
    key: &ApplicationKey,
    one: &ApplicationComputed,
    want: Option<&Application>,
) -> Markup {
    let spec = want.map(|want| &want.spec);
    let runs = spec.and_then(|spec| spec.source.as_ref());
    let before = spec.and_then(|spec| spec.pre_deploy.as_ref());
    if runs.is_none() && before.is_none() && one.pre_deploy.is_none() {
        return Markup::default();
    }
    // It may have printed anything, so it is for who may read logs.
    let may_read = session.who.permit(Role::Developer, &key.project).is_ok();
    let printed = match one.pre_deploy {
        Some(_) if may_read => site.insight.log(&LogOf::PreDeploy(key.clone())).await,
        Some(_) | None => Ok(None),
    };
    let process = one.process.as_ref();
    html! {
        section class="card" aria-labelledby="deploys" {
            h2 id="deploys" { "Deploys" }
            (facts(&[
                ("Runs", html! { @match runs { Some(source) => code { (words(source)) }, None => "elsewhere" } }),
                ("Deployed", or_unknown(process.and_then(|process| process.since).map(moment))),
                ("preDeploy", html! { @match before { Some(command) => code { (line(command)) }, None => "none" } }),
            ]))
            @if let Some(run) = &one.pre_deploy {
                p {
                    "preDeploy " @if run.failure.is_some() { strong class="bad" { "failed" } } @else { "ended well" } " at " (moment(run.at)) "."
                }
                @if let Some(failure) = &run.failure { (problem_card(failure)) }
                @if may_read {
                    @match printed {
                        Ok(text) => (output(&text.unwrap_or_default())),
                        Err(problem) => (problem_card(&problem)),
                    }
                }
            }
            @if may_read && runs.is_some() { p { a href={ "/logs/applications/" (key) } { "What it prints" } } }
        }
    }
}

/// What deploys it again.
pub(super) fn again(session: &Session, key: &ApplicationKey) -> Markup {
    html! {
        form method="post" action="/deploy" {
            (secret(session))
            input type="hidden" name="application" value=(key);
            button id="deploy" { "Deploy again" }
        }
    }
}

fn output(text: &str) -> Markup {
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    html! {
        @if last.is_empty() {
            p class="muted" { "It has printed nothing." }
        } @else {
            details id="printed" {
                summary id="printed-summary" { "What it printed" @if last.len() < lines.len() { ", the last " (LINES) " lines" } }
                pre class="log" tabindex="0" role="region" aria-label="What preDeploy printed" { (last.join("\n")) }
            }
        }
    }
}

fn words(source: &Source) -> String {
    match source {
        Source::Image { image } => image.clone(),
        Source::Command { command, .. } => line(command),
    }
}

fn line(command: &Command) -> String {
    match command {
        Command::Shell(line) => line.clone(),
        Command::Program(words) => words.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_shown_and_it_is_said_that_there_are_more() {
        let lines: Vec<String> = (0..50).map(|line| format!("<{line}>")).collect();
        let text = lines.join("\n");
        let shown = output(&text).into_string();
        assert!(shown.contains(", the last 40 lines"), "{shown}");
        assert!(
            shown.contains("&lt;10&gt;") && !shown.contains("&lt;9&gt;"),
            "{shown}"
        );
        let few = output("done\n").into_string();
        assert!(few.contains("done") && !few.contains("the last"), "{few}");
        assert!(output("").into_string().contains("printed nothing"));
    }
}
