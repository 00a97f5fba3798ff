//! *New service*: a database as a manifest.

use std::path::Path;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use boma_engine::source::{Proposal, Snapshot};
use boma_manifest::edit::Written;
use boma_manifest::{Kind, Manifest};
use maud::{Markup, html};

use super::change::{Question, ask};
use super::layout::{Place, page, secret};
use crate::access::Session;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::plans;
use crate::site::Site;
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

/// Shows what the new database would be.
pub(crate) async fn propose_database(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Markup, Failure> {
    let (project, name) = (fields.get("project"), fields.get("name"));
    let proposal = Proposal::new_file(place(&site.snapshot(), project, name), manifest(&fields));
    let question = Question {
        title: "New database",
        yes: "Create it",
        back: &format!("/databases/{project}/{name}"),
    };
    Ok(ask(&site, &session, &proposal, &question))
}

/// The manifest that a form asks for. What is wrong with it, its reader says.
fn manifest(fields: &Fields) -> String {
    let text = |value: &str| Written::Text(value.to_owned());
    let mut parts = fields.get("project").splitn(4, '/');
    let mut part = || text(parts.next().unwrap_or_default());
    let metadata = Written::fields([
        ("name", text(fields.get("name"))),
        ("organization", part()),
        ("organizational-unit", part()),
        ("environment", part()),
        ("project", part()),
    ]);
    let mut spec = Vec::new();
    for field in ["version", "plan"] {
        let value = fields.get(field);
        if !value.is_empty() {
            spec.push((field.to_owned(), text(value)));
        }
    }
    let storage = fields.get("storage");
    if !storage.is_empty() {
        let size = Written::fields([("size", text(&format!("{storage}Gi")))]);
        spec.push(("storage".to_owned(), size));
    }
    Written::fields([
        ("apiVersion", text("lowops.manifests.v1")),
        ("kind", text("Database")),
        ("metadata", metadata),
        ("spec", Written::Fields(spec)),
    ])
    .document()
}

/// Where a new database's manifest goes: beside the first database of its project, or beside whatever
/// else that has, or into a directory of the project's name.
fn place(snapshot: &Snapshot, project: &str, name: &str) -> String {
    let of_project = |manifest: &&Manifest| manifest.metadata().project.to_string() == project;
    let all: Vec<&Manifest> = snapshot.manifests().filter(of_project).collect();
    let mut databases = all.iter();
    let beside = databases
        .find(|manifest| manifest.kind() == Kind::Database)
        .or(all.first());
    let directory = match beside {
        Some(manifest) => {
            let file = Path::new(&*manifest.origin().file().name);
            file.parent().unwrap_or(Path::new("")).to_owned()
        }
        None => Path::new(project.rsplit('/').next().unwrap_or_default()).to_owned(),
    };
    let path = directory.join(format!("{name}.yaml"));
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_a_manifest_that_can_be_read() {
        let fields =
            Fields::of_query("project=o/u/e/shop&name=orders&version=17&plan=starter&storage=20");
        let text = manifest(&fields);
        let read = boma_manifest::parse("orders.yaml", text.as_bytes());
        assert!(read.problems.is_empty(), "{:?}", read.problems);
        assert_eq!(
            text,
            "apiVersion: lowops.manifests.v1\nkind: Database\nmetadata:\n  name: orders\n  \
             organization: o\n  organizational-unit: u\n  environment: e\n  project: shop\nspec:\n  \
             version: \"17\"\n  plan: starter\n  storage:\n    size: 20Gi\n"
        );
    }

    #[test]
    fn what_somebody_types_stays_one_value() {
        let fields = Fields::of_query("project=o/u/e/p&name=x%0Akind:+Application%0A%23");
        let read = boma_manifest::parse("x.yaml", manifest(&fields).as_bytes());
        assert!(read.documents.is_empty(), "{:?}", read.documents);
        assert_eq!(read.problems.len(), 1, "{:?}", read.problems);
        assert!(read.problems[0].to_string().contains("kind: Application"));
    }
}
