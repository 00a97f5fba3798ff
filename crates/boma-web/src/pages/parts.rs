//! What several pages show.

use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::plan::Plan;
use boma_engine::platform::RecordedEvent;
use boma_engine::source::{Mark, Proposal};
use boma_engine::words;
use boma_instance::{Condition, OFF, Truth};
use boma_problem::{Place, Problem};
use jiff::Timestamp;
use maud::{Markup, html};

use super::graph;
use super::layout::secret;
use crate::access::Session;
use crate::world::Health;

/// A word with its colour. The colour alone says nothing.
pub(crate) fn badge(health: Health, word: &str) -> Markup {
    html! { span class={ "badge " (health.style()) } { (word) } }
}

/// Where a database's page is.
pub(crate) fn database_path(key: &DatabaseKey) -> String {
    format!("/databases/{key}")
}

/// Where an application's page is.
pub(crate) fn application_path(key: &ApplicationKey) -> String {
    format!("/applications/{key}")
}

/// A moment, to the second.
pub(crate) fn moment(at: Timestamp) -> Markup {
    let text = words::second(at);
    html! { time datetime=(text) { (text) } }
}

/// What is not known is said to be unknown.
pub(crate) fn or_unknown(value: Option<impl maud::Render>) -> Markup {
    html! {
        @if let Some(value) = value { (value) } @else { span class="muted" { "unknown" } }
    }
}

/// Terms and what they are.
pub(crate) fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! {
        dl class="facts" {
            @for (term, value) in facts {
                div { dt { (term) } dd { (value) } }
            }
        }
    }
}

/// A problem as the command line shows it: what, where, what to do.
pub(crate) fn problem_card(problem: &Problem) -> Markup {
    let (style, word) = if problem.is_error() {
        ("problem", "Error")
    } else {
        ("problem warning", "Warning")
    };
    html! {
        div class=(style) role="group" aria-label=(word) {
            p { strong { (word) ": " } (problem) " " code class="muted" { (problem.code) } }
            @if let Some(place) = &problem.place { (lines(place)) }
            @for (what, place) in &problem.related { p { (what) } (lines(place)) }
            @for hint in &problem.hints { p class="hint" { (hint) } }
        }
    }
}

fn lines(place: &Place) -> Markup {
    html! {
        p class="muted" { code { (place.file) ":" (place.line) ":" (place.column) } }
        @if !place.text.is_empty() { pre tabindex="0" { code { (place.text) } } }
    }
}

/// Problems, if there are any.
pub(crate) fn problems(problems: &[Problem]) -> Markup {
    html! { @for problem in problems { (problem_card(problem)) } }
}

/// What a change does to a file, a line each.
pub(crate) fn difference(proposal: &Proposal) -> Markup {
    html! {
        pre class="difference" tabindex="0" role="region" aria-label={ "What changes in " (proposal.name()) } {
            @for line in proposal.difference() {
                @let style = match line.mark {
                    Mark::Place => "at",
                    Mark::Kept => "kept",
                    Mark::Removed => "removed",
                    Mark::Added => "added",
                };
                span class=(style) { (line.mark.letter()) (line.text) "\n" }
            }
        }
    }
}

/// A plan as `boma plan` prints it, and what of it is to be looked at.
pub(crate) fn plan_text(plan: &Plan) -> Markup {
    html! {
        @let dangers = plan.dangers();
        @if !dangers.is_empty() {
            ul class="dangers" {
                @for danger in &dangers {
                    li { strong { (danger.kind.name()) } " " (danger.subject) ": " (danger.text) }
                }
            }
        }
        pre class="plan" tabindex="0" { (plan) }
        (graph::figure(plan))
    }
}

/// Statements about a resource.
pub(crate) fn conditions(conditions: &[Condition]) -> Markup {
    html! {
        ul class="conditions" {
            @for one in conditions {
                @let (health, word) = match one.status {
                    Truth::True => (Health::Well, "yes"),
                    Truth::False if one.reason == OFF => (Health::Off, "off"),
                    Truth::False => (Health::Bad, "no"),
                    Truth::Unknown => (Health::Unknown, "unknown"),
                };
                li { (badge(health, word)) " " strong { (one.kind) } " " (one.message) }
            }
        }
    }
}

/// A button that stops a resource, or lets it run again: whatever a person has not asked for before.
pub(crate) fn hold_form(session: &Session, (kind, key): (&str, &str), is_held: bool) -> Markup {
    let (word, held) = if is_held {
        ("Start", "")
    } else {
        ("Stop", "yes")
    };
    html! {
        form method="post" action="/hold" {
            (secret(session))
            input type="hidden" name=(kind) value=(key);
            input type="hidden" name="held" value=(held);
            button id="hold" { (word) }
        }
    }
}

/// Events, newest first.
pub(crate) fn happened(events: &[RecordedEvent]) -> Markup {
    if events.is_empty() {
        return html! { p class="muted" { "Nothing has happened yet." } };
    }
    html! {
        ol class="events" {
            @for one in events {
                li class=[one.event.warning.then_some("warning")] {
                    (moment(one.last)) " "
                    @if one.event.warning { strong { "Warning: " } }
                    (one.event.message)
                    @if one.count > 1 { span class="muted" { " (" (one.count) " times)" } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_manifest_has_switched_off_is_not_failing() {
        let condition = |reason: &str| Condition {
            kind: "Backups".to_owned(),
            status: Truth::False,
            reason: reason.to_owned(),
            message: String::new(),
        };
        let off = conditions(&[condition(OFF)]).into_string();
        assert!(off.contains("badge off\">off<"), "{off}");
        let failing = conditions(&[condition("Failing")]).into_string();
        assert!(failing.contains("badge bad\">no<"), "{failing}");
    }
}
