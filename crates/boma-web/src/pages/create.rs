//! *New service*: a database or an application as a manifest.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use boma_engine::source::NewManifest;
use boma_manifest::Kind;
use boma_manifest::edit::{Attachment, Change, Step, Written};
use maud::{Markup, html};

use super::change::{Question, ask};
use super::layout::{Place, page, secret};
use crate::access::Session;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::people::Role;
use crate::plans;
use crate::site::Site;
use crate::world::projects;
use crate::writing::Target;

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
        ul class="choices" {
            li {
                a class="card" href="/new/application" {
                    strong { "Application" }
                    span { "Something that uses databases: a command, an image, or a program that runs elsewhere." }
                }
            }
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
    let content = html! {
        h1 { "New PostgreSQL database" }
        form method="post" action="/new/database" class="form" {
            (secret(&session))
            (identity(&site, &session, query.get("project")))
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

/// Project and name, and the source where there are several.
fn identity(site: &Site, session: &Session, project: &str) -> Markup {
    let snapshot = site.snapshot();
    let known: Vec<String> = projects(snapshot.manifests())
        .into_iter()
        .map(ToString::to_string)
        .filter(|project| session.who.rights.has(Role::Developer, project))
        .collect();
    let chosen = match project {
        "" => known.first().map_or("", String::as_str),
        project => project,
    };
    html! {
        div {
            label for="project" { "Project" }
            input id="project" name="project" list="projects" required value=(chosen)
                pattern="[a-z0-9\\-]+(/[a-z0-9\\-]+){3}" aria-describedby="project-help";
            datalist id="projects" { @for one in &known { option value=(one) {} } }
            p id="project-help" class="help" { "organization/organizational-unit/environment/project" }
        }
        (sources(site))
        div {
            label for="name" { "Name" }
            input id="name" name="name" required maxlength="40" autocomplete="off"
                pattern="[a-z]([a-z0-9\\-]*[a-z0-9])?" aria-describedby="name-help";
            p id="name-help" class="help" { "Small letters, digits and dashes. Applications reach it as NAME.internal." }
        }
    }
}

/// Which source the first manifest of a project goes to, where there are several.
fn sources(site: &Site) -> Markup {
    let written: Vec<&Target> = site.writable_targets().collect();
    html! {
        @if written.is_empty() {
            p class="help" { "No source may be written from here. You will be shown the manifest to write yourself." }
        }
        @if site.targets.len() > 1 && !written.is_empty() {
            div {
                label for="source" { "Source" }
                select id="source" name="source" aria-describedby="source-help" {
                    @for target in written { option { (target.label) } }
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
    propose(&site, &session, &fields, (Kind::Database, spec(&fields)))
}

/// Shows what something new would be.
fn propose(
    site: &Site,
    session: &Session,
    fields: &Fields,
    (kind, spec): (Kind, Vec<Change>),
) -> Result<Markup, Failure> {
    let (project, name) = (fields.get("project"), fields.get("name"));
    let chosen = |one: &&Target| one.label == fields.get("source");
    let source = site.targets.iter().find(chosen).or(site.targets.first());
    let new = NewManifest {
        kind,
        project,
        name,
        spec,
        label: source.map_or("", |source| &source.label),
    };
    let proposal = new.propose(&site.snapshot());
    let proposal = proposal.map_err(|error| Failure::of(&error))?;
    let word = kind.as_str().to_lowercase();
    let question = Question {
        title: &format!("New {word}"),
        yes: "Create it",
        back: &format!("/{word}s/{project}/{name}"),
        about: &format!("{name}: new {word}"),
    };
    ask(site, session, &proposal, &question)
}

/// Shows the form for an application.
pub(crate) async fn new_application(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    RawQuery(query): RawQuery,
) -> Markup {
    let query = Fields::of_query(query.as_deref().unwrap_or_default());
    let content = html! {
        h1 { "New application" }
        form method="post" action="/new/application" class="form" {
            (secret(&session))
            (identity(&site, &session, query.get("project")))
            fieldset {
                legend { "What runs" }
                label { input type="radio" name="runs" value="" checked; "It runs elsewhere: only its environment is kept, for " code { "boma run" } }
                label { input type="radio" name="runs" value="command"; "A command on this machine" }
                label { input type="radio" name="runs" value="image"; "A container image, on Kubernetes" }
                label for="what" { "Command or image" }
                input id="what" name="what" spellcheck="false" autocomplete="off";
            }
            div {
                label for="pre-deploy" { "Before each deployment" }
                input id="pre-deploy" name="pre-deploy" spellcheck="false" autocomplete="off" aria-describedby="pre-deploy-help";
                p id="pre-deploy-help" class="help" { "A command such as " code { "npx prisma migrate deploy" } ". If it fails, what ran before goes on." }
            }
            div {
                label for="database" { "Database that it uses" }
                input id="database" name="database" spellcheck="false" autocomplete="off" aria-describedby="database-help";
                p id="database-help" class="help" { "The name of one in its project. Its connection string is in DATABASE_URL. More can be attached later." }
            }
            p class="actions" { button class="primary" { "See what that would do" } }
        }
    };
    page(&site, &session, ("New application", Place::New), &content)
}

/// Shows what the new application would be.
pub(crate) async fn propose_application(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Markup, Failure> {
    let spec = application_spec(&fields);
    propose(&site, &session, &fields, (Kind::Application, spec))
}

/// What a form says of an application.
fn application_spec(fields: &Fields) -> Vec<Change> {
    let text = |path: Vec<Step>, value: &str| Change::Set(path, Written::Text(value.to_owned()));
    let runs = match fields.get("runs") {
        "" => None,
        kind => {
            let field = if kind == "image" { "image" } else { "command" };
            Some(text(
                Step::fields(["spec", "source", field]),
                fields.get("what"),
            ))
        }
    };
    let before = Some(fields.get("pre-deploy")).filter(|command| !command.is_empty());
    let before = before.map(|command| text(Step::fields(["spec", "preDeploy"]), command));
    let uses = Some(fields.get("database")).filter(|name| !name.is_empty());
    let uses = uses.map(|name| {
        Change::from(Attachment {
            database: name.to_owned(),
            variable: "DATABASE_URL".to_owned(),
            read_only: false,
        })
    });
    runs.into_iter().chain(before).chain(uses).collect()
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

    #[test]
    fn a_form_becomes_an_application_that_can_be_read() {
        for (sent, ends) in [
            ("runs=&what=&database=", "spec: {}\n"),
            (
                "runs=command&what=bin%2Fserver+--port+80&database=orders",
                "spec:\n  source:\n    command: \"bin/server --port 80\"\n  accessControl:\n    databases:\n      - name: orders\n        readOnly: false\n        secretSource:\n          envVar: DATABASE_URL\n",
            ),
            (
                "runs=image&what=shop:1&pre-deploy=migrate",
                "spec:\n  source:\n    image: \"shop:1\"\n  preDeploy: migrate\n",
            ),
        ] {
            let new = NewManifest {
                kind: Kind::Application,
                project: "o/u/e/shop",
                name: "web",
                spec: application_spec(&Fields::of_query(sent)),
                label: "",
            };
            let proposal = new.propose(&Snapshot::default()).unwrap();
            let read = boma_manifest::parse("web.yaml", proposal.text().as_bytes());
            assert!(read.problems.is_empty(), "{:?}", read.problems);
            assert!(proposal.text().ends_with(ends), "{}", proposal.text());
        }
    }
}
