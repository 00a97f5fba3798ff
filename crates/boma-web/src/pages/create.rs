//! *New service*: a database as a manifest.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use boma_engine::source::NewManifest;
use boma_manifest::Kind;
use boma_manifest::edit::{Change, Step, Written};
use maud::{Markup, html};

use super::change::{Question, ask};
use super::layout::{Place, page, secret};
use crate::access::Session;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::people::Role;
use crate::plans;
use crate::site::{Site, Target};
use crate::world::projects;

/// Versions that can be chosen, the newest first.
const VERSIONS: [&str; 4] = ["18", "17", "16", "15"];

/// Shows what can be made.
pub(crate) async fn new(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
) -> Markup {
    let content = html! {
        h1 { "New service" }
        h2 { "Database" }
        ul class="choices" {
            li {
                a class="card" href="/new/database" {
                    strong { "PostgreSQL" }
                    span { "A server of its own, with daily backups and a user for each application." }
                }
            }
        }
        h2 { "Application" }
        p {
            "An application is described by a manifest of its own: what runs, and what it may use. "
            code { "boma init" } " writes a first one."
        }
    };
    page(&site, &session, ("New service", Place::New), &content)
}

/// Shows the form for a database.
pub(crate) async fn new_database(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Markup {
    let query = Fields::of_query(query.as_deref().unwrap_or_default());
    let snapshot = site.snapshot();
    let known: Vec<String> = projects(snapshot.manifests())
        .into_iter()
        .map(ToString::to_string)
        .filter(|project| session.who.rights.has(Role::Developer, project))
        .collect();
    let chosen = match query.get("project") {
        "" => known.first().map_or("", String::as_str),
        project => project,
    };
    let content = html! {
        h1 { "New PostgreSQL database" }
        form method="post" action="/new/database" class="form" {
            (secret(&session))
            div {
                label for="project" { "Project" }
                input id="project" name="project" list="projects" required value=(chosen)
                    pattern="[a-z0-9\\-]+(/[a-z0-9\\-]+){3}" aria-describedby="project-help";
                datalist id="projects" { @for one in &known { option value=(one) {} } }
                p id="project-help" class="help" { "organization/organizational-unit/environment/project" }
            }
            (sources(&site))
            div {
                label for="name" { "Name" }
                input id="name" name="name" required maxlength="40" autocomplete="off"
                    pattern="[a-z]([a-z0-9\\-]*[a-z0-9])?" aria-describedby="name-help";
                p id="name-help" class="help" { "Small letters, digits and dashes. Applications reach it as NAME.internal." }
            }
            fieldset {
                legend { "Version" }
                div class="row" {
                    label { input type="radio" name="version" value="" checked; "the platform's" }
                    @for version in VERSIONS {
                        label { input type="radio" name="version" value=(version); (version) }
                    }
                }
            }
            fieldset {
                legend { "Plan" }
                div class="plans" {
                    @for (name, plan) in plans::sorted(&site.basis.plans) {
                        label class="plan" {
                            input type="radio" name="plan" value=(name) checked[name == "starter"];
                            strong { (name) }
                            ul { @for line in plans::words(plan) { li { (line) } } }
                        }
                    }
                }
            }
            div {
                label for="storage" { "Storage in GiB" }
                input id="storage" name="storage" type="number" min="1" max="500" aria-describedby="storage-help";
                p id="storage-help" class="help" { "1 to 500. Left empty, it is the plan's. It can grow later, never shrink." }
            }
            p class="actions" { button class="primary" { "See what that would do" } }
        }
    };
    page(&site, &session, ("New database", Place::New), &content)
}

/// Which source the first manifest of a project goes to, where there are several.
fn sources(site: &Site) -> Markup {
    html! {
        @if site.targets.len() > 1 {
            div {
                label for="source" { "Source" }
                select id="source" name="source" aria-describedby="source-help" {
                    @for target in &site.targets { option { (target.label) } }
                }
                p id="source-help" class="help" {
                    "For a project that has no manifest yet. Others are written beside what their project has."
                }
            }
        }
    }
}

/// Shows what the new database would be.
pub(crate) async fn propose_database(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Markup, Failure> {
    let (project, name) = (fields.get("project"), fields.get("name"));
    let chosen = |one: &&Target| one.label == fields.get("source");
    let source = site.targets.iter().find(chosen).or(site.targets.first());
    let new = NewManifest {
        kind: Kind::Database,
        project,
        name,
        spec: spec(&fields),
        label: source.map_or("", |source| &source.label),
    };
    let proposal = new.propose(&site.snapshot());
    let proposal = proposal.map_err(|error| Failure::of(&error))?;
    let question = Question {
        title: "New database",
        yes: "Create it",
        back: &format!("/databases/{project}/{name}"),
        about: &format!("{name}: new database"),
    };
    ask(&site, &session, &proposal, &question)
}

/// What a form chooses; what it leaves out has its usual value.
fn spec(fields: &Fields) -> Vec<Change> {
    let set = |path: Vec<Step>, value: String| Change::Set(path, Written::Text(value));
    let chosen = ["version", "plan"].into_iter().filter_map(|field| {
        let value = fields.get(field);
        (!value.is_empty()).then(|| set(Step::fields(["spec", field]), value.to_owned()))
    });
    let size = Some(fields.get("storage")).filter(|size| !size.is_empty());
    let size = size.map(|size| {
        set(
            Step::fields(["spec", "storage", "size"]),
            format!("{size}Gi"),
        )
    });
    chosen.chain(size).collect()
}

#[cfg(test)]
mod tests {
    use boma_engine::source::Snapshot;

    use super::*;

    #[test]
    fn a_form_becomes_a_manifest_that_can_be_read() {
        let fields = Fields::of_query("version=17&plan=starter&storage=20");
        let new = NewManifest {
            kind: Kind::Database,
            project: "o/u/e/shop",
            name: "orders",
            spec: spec(&fields),
            label: "",
        };
        let proposal = new.propose(&Snapshot::default()).unwrap();
        let read = boma_manifest::parse("orders.yaml", proposal.text().as_bytes());
        assert!(read.problems.is_empty(), "{:?}", read.problems);
        let spec = "spec:\n  version: \"17\"\n  plan: starter\n  storage:\n    size: 20Gi\n";
        assert!(proposal.text().ends_with(spec), "{}", proposal.text());
        assert!(super::spec(&Fields::of_query("")).is_empty());
    }
}
