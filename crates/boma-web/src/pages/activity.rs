//! What is to be done, what happened, who did what.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use maud::{Markup, html};

use super::layout::{Place, live, page};
use super::parts::{badge, happened, moment, plan_text};
use crate::access::Session;
use crate::failure::Failure;
use crate::sight::Sight;
use crate::site::Site;
use crate::world::Health;

/// Events and entries of one page.
const LIMIT: u32 = 200;

/// Shows what the engine has left to do.
pub(crate) async fn plan(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
) -> Markup {
    let (state, snapshot) = (site.state(), site.snapshot());
    let sight = Sight::of(&session.who, &snapshot);
    let content = html! {
        h1 { "Plan" }
        (live(&html! {
            @match state.planned_at {
                Some(at) => p class="muted" { "Planned at " (moment(at)) "." },
                None => p { (badge(Health::Unknown, "Nothing was planned yet.")) },
            }
            (plan_text(&sight.plan(&state.plan)))
        }))
    };
    page(&site, &session, ("Plan", Place::Plan), &content)
}

/// Shows what happened.
pub(crate) async fn events(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
) -> Result<Markup, Failure> {
    let all = site.events(&session.who, LIMIT).await?;
    let content = html! {
        h1 { "Events" }
        (live(&html! {
            ol class="events" {
                @for one in &all {
                    li class=[one.event.warning.then_some("warning")] {
                        (moment(one.last)) " "
                        @if one.event.warning { strong { "Warning: " } }
                        @if !one.event.subject.is_empty() { strong { (one.event.subject) } " " }
                        (one.event.message)
                        @if one.count > 1 { span class="muted" { " (" (one.count) " times)" } }
                    }
                }
            }
            @if all.is_empty() { (happened(&all)) }
        }))
    };
    Ok(page(&site, &session, ("Events", Place::Events), &content))
}

/// Shows who changed what.
pub(crate) async fn audit(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
) -> Result<Markup, Failure> {
    let entries = site.audit_trail(&session.who, LIMIT).await?;
    let content = html! {
        h1 { "Audit" }
        (live(&html! {
            div class="wide" tabindex="0" role="region" aria-label="Audit trail" {
                table {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "To what" } th scope="col" { "Outcome" } } }
                    tbody {
                        @for entry in &entries {
                            tr {
                                td { (moment(entry.at)) }
                                td { (entry.actor) }
                                td { (entry.action) }
                                td { (entry.subject) }
                                td { (entry.outcome) }
                            }
                        }
                    }
                }
            }
        }))
    };
    Ok(page(&site, &session, ("Audit", Place::Audit), &content))
}
