//! Everything at a glance: organization, unit, environment, project.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::{Extension, response::IntoResponse};
use boma_engine::engine::EngineState;
use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::words;
use boma_problem::Problem;
use maud::{Markup, html};

use super::layout::{Place, live_at, page};
use super::parts::{application_path, badge, database_path, problems};
use crate::access::Session;
use crate::fields::Fields;
use crate::sight::Sight;
use crate::site::Site;
use crate::world::{Health, World, parts_of};

/// Rows of one page; a filter finds the others.
const ROWS: usize = 200;

/// What one project has.
#[derive(Default)]
struct Project<'w> {
    databases: Vec<&'w DatabaseKey>,
    applications: Vec<&'w ApplicationKey>,
}

/// Shows everything that there is.
pub(crate) async fn overview(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> impl IntoResponse {
    let query = Fields::of_query(query.as_deref().unwrap_or_default());
    let filter = query.get("filter").to_lowercase();
    let world = World::of(site.state(), &session.who);
    let snapshot = site.snapshot();
    let sight = Sight::of(&session.who, &snapshot);
    let mut address = form_urlencoded::Serializer::for_suffix("/?".to_owned(), 2);
    let address = address.append_pair("filter", &filter).finish();
    let content = html! {
        h1 { "Overview" }
        form method="get" action="/" role="search" class="filter" {
            label for="filter" { "Filter" }
            input id="filter" type="search" name="filter" value=(filter) placeholder="name, project, …"
                hx-get="/" hx-trigger="input changed delay:150ms" hx-target="#live" hx-select="#live"
                hx-swap="outerHTML" hx-push-url="true" hx-sync="#main:replace";
            button { "Show" }
        }
        (live_at(&address, &list(&world, &sight, &filter)))
    };
    page(&site, &session, ("Overview", Place::Overview), &content)
}

fn list(world: &World, sight: &Sight<'_>, filter: &str) -> Markup {
    let (databases, applications) = (world.databases(), world.applications());
    let is_empty = databases.is_empty() && applications.is_empty();
    let (projects, hidden) = projects(&databases, &applications, filter);
    html! {
        (state(&world.state, sight))
        @if is_empty {
            section class="card empty" {
                h2 { "There is nothing yet" }
                p { "A database is a small file. Make one here, or write it and put it among the manifests." }
                p { a class="button primary" href="/new" { "New service" } }
            }
        } @else if projects.is_empty() {
            p class="muted" { "Nothing has that in its name or its project." }
        }
        @for (identity, project) in &projects {
            (section(world, identity, project))
        }
        @if hidden > 0 {
            p class="muted" { (hidden) " more are not shown: the filter finds them." }
        }
    }
}

/// What is shown, by project, and how much is not.
fn projects<'w>(
    databases: &'w BTreeSet<DatabaseKey>,
    applications: &'w BTreeSet<ApplicationKey>,
    filter: &str,
) -> (BTreeMap<&'w str, Project<'w>>, usize) {
    let mut projects: BTreeMap<&str, Project<'_>> = BTreeMap::new();
    let mut shown = 0;
    let mut hidden = 0;
    let mut is_shown = |name: &str, project: &str| {
        if !name.contains(filter) && !project.contains(filter) {
            return false;
        }
        let has_room = shown < ROWS;
        *(if has_room { &mut shown } else { &mut hidden }) += 1;
        has_room
    };
    for key in databases {
        if is_shown(&key.name, &key.project) {
            let project = projects.entry(&key.project).or_default();
            project.databases.push(key);
        }
    }
    for key in applications {
        if is_shown(&key.name, &key.project) {
            let project = projects.entry(&key.project).or_default();
            project.applications.push(key);
        }
    }
    (projects, hidden)
}

/// Whether everything is as the manifests say, and what is wrong where it is not.
fn state(state: &EngineState, sight: &Sight<'_>) -> Markup {
    let plan = sight.plan(&state.plan);
    let blocked = plan.blocked.iter().map(|one| one.problem.clone());
    let failed = state.failures.iter();
    let failed = failed.filter(|(subject, _)| sight.sees(subject));
    let failed = failed.map(|(_, one)| one.problem.clone());
    let wrong: Vec<Problem> = sight
        .problems(state.source_problems.iter().cloned())
        .into_iter()
        .chain(state.platform_problem.clone())
        .chain(blocked)
        .chain(failed)
        .collect();
    let (health, line) = if state.is_converged() && wrong.is_empty() {
        (Health::Well, "Everything is as the manifests say.")
    } else if wrong.iter().any(Problem::is_error) {
        (Health::Bad, "Something needs a person.")
    } else if state.is_converged() {
        (
            Health::Well,
            "Everything is as the manifests say; there are warnings.",
        )
    } else {
        (Health::Busy, "Something is being done.")
    };
    html! {
        p class="state" role="status" {
            (badge(health, line))
            @for (label, commit) in state.revisions.iter().filter(|_| sight.is_everything()) {
                " Commit " code { (commit.short()) } @if !label.is_empty() { " of " (label) }
                " “" (commit.subject) "” by " (commit.author) "."
            }
        }
        (problems(&wrong))
    }
}

fn section(world: &World, identity: &str, project: &Project<'_>) -> Markup {
    let [organization, unit, environment, name] = parts_of(identity);
    html! {
        section class="card" aria-label={ "Project " (identity) } {
            h2 {
                span class="muted" { (organization) " › " (unit) " › " (environment) " › " }
                (name)
            }
            @if !project.databases.is_empty() { (databases(world, &project.databases)) }
            @if !project.applications.is_empty() { (applications(world, &project.applications)) }
        }
    }
}

fn databases(world: &World, keys: &[&DatabaseKey]) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "Database" } th scope="col" { "State" } th scope="col" { "PostgreSQL" } th scope="col" { "Storage" } th scope="col" { "Used by" } } }
            tbody {
                @for key in keys {
                    @let one = world.database(key);
                    tr {
                        th scope="row" { a href=(database_path(key)) { (key.name) } }
                        td { (badge(Health::of_database(&one), &one.phase.to_string())) }
                        td { (one.version.as_deref().unwrap_or("–")) }
                        td { (one.storage_bytes_used.map_or_else(|| "–".to_owned(), words::bytes)) }
                        td {
                            @for (index, grantee) in one.access.iter().enumerate() {
                                @if index > 0 { ", " }
                                a href=(application_path(&grantee.application)) { (grantee.application.name) }
                            }
                            @if one.access.is_empty() { span class="muted" { "nobody" } }
                        }
                    }
                }
            }
        }
    }
}

fn applications(world: &World, keys: &[&ApplicationKey]) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "Application" } th scope="col" { "State" } th scope="col" { "Databases" } } }
            tbody {
                @for key in keys {
                    @let one = world.application(key);
                    tr {
                        th scope="row" { a href=(application_path(key)) { (key.name) } }
                        td { (badge(Health::of_application(&one), &one.phase.to_string())) }
                        td {
                            @for (index, grant) in one.grants.iter().enumerate() {
                                @if index > 0 { ", " }
                                a href=(database_path(&grant.database)) { (grant.database.name) }
                            }
                            @if one.grants.is_empty() { span class="muted" { "none" } }
                        }
                    }
                }
            }
        }
    }
}
