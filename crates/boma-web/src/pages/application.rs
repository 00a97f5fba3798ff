//! An application: its environment, what it may use, its last deployment.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Redirect;
use boma_engine::computed::{ApplicationComputed, GrantComputed, RotationComputed};
use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey};
use boma_engine::source::{Proposal, Snapshot};
use boma_manifest::edit::{Attachment, Change};
use boma_manifest::{Application, EnvValue, Manifest};
use maud::{Markup, html};

use super::change::{Question, ask, editor};
use super::database::{may, written_at};
use super::layout::{self, Place, live, page, secret};
use super::parts::{
    application_path, badge, conditions, database_path, facts, happened, hold_form, moment,
    or_unknown,
};
use super::{deploys, removal};
use crate::access::Session;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::people::Role;
use crate::site::Site;
use crate::world::{Health, World, is_application};

/// Events of one page.
const LIMIT: u32 = 20;

/// The application that a path or a form names, if there is one.
pub(super) fn known(world: &World, text: &str) -> Result<ApplicationKey, Failure> {
    let key = text.parse().ok();
    let found = key.filter(|key| world.has_application(key));
    found.ok_or_else(|| Failure::NotThere("application of that name".to_owned()))
}

fn manifest_of<'s>(
    snapshot: &'s Snapshot,
    key: &ApplicationKey,
) -> Option<(&'s Manifest, &'s Application)> {
    snapshot.manifests().find_map(|one| match one {
        Manifest::Application(application) if is_application(one, key) => Some((one, application)),
        Manifest::Application(_) | Manifest::Database(_) => None,
    })
}

/// Shows an application.
pub(crate) async fn application(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Path(key): Path<String>,
) -> Result<Markup, Failure> {
    let world = World::of(site.state(), &session.who);
    let key = match known(&world, &key) {
        Ok(key) => key,
        // It was written a moment ago, and the engine has not looked yet.
        Err(failure) => return soon(&site, &session, &key).ok_or(failure),
    };
    let events = site.operations.events(Some(&(&key).into()), LIMIT).await?;
    let one = world.application(&key);
    let snapshot = site.snapshot();
    let manifest = manifest_of(&snapshot, &key);
    let known = world.state.observed.applications.get(&key);
    let is_held = known.is_some_and(|known| known.held);
    let may_change = session.who.permit(Role::Developer, &key.project).is_ok();
    let want = manifest.map(|(_, application)| application);
    let deploys = deploys::section((&site, &session), &key, &one, want).await;
    let content = html! {
        (live(&html! {
            p class="crumbs" { a href="/" { "Overview" } " › " (key.project) }
            h1 { (key.name) " " (badge(Health::of_application(&one), &one.phase.to_string())) }
            section class="card" aria-labelledby="facts" { h2 id="facts" { "At a glance" } (glance(&one)) }
            (deploys)
            @if may_change && one.process.is_some() {
                div class="actions" {
                    (hold_form(&session, ("application", &key.to_string()), is_held))
                    @if !is_held { (deploys::again(&session, &key)) }
                }
            }
            @if let Some((_, application)) = manifest {
                section class="card" aria-labelledby="databases" {
                    h2 id="databases" { "Databases" }
                    (grants(&session, &key, &one, may_change))
                }
                section class="card" aria-labelledby="environment" {
                    h2 id="environment" { "Environment" }
                    (environment(&world, &key, application))
                }
            }
        }))
        @if may_change && manifest.is_some() {
            section class="card" aria-label="Attach database" { (attach_form(&session, &world, &key, &one)) }
        }
        @if let Some((manifest, _)) = manifest {
            section class="card" aria-labelledby="manifest" {
                h2 id="manifest" { "Manifest" }
                (written_at(&site, manifest).await)
                @if may_change { (editor(&session, manifest.origin().file(), &application_path(&key))) }
            }
        }
        @if may_change && manifest.is_some() { (removal::of_application(&session, &key)) }
        section class="card" aria-labelledby="events" { h2 id="events" { "Events" } (happened(&events)) }
    };
    Ok(page(
        &site,
        &session,
        (&key.name, Place::Overview),
        &content,
    ))
}

/// An application whose manifest the engine has not read yet, if somebody may see it.
fn soon(site: &Site, session: &Session, key: &str) -> Option<Markup> {
    let key: ApplicationKey = key.parse().ok()?;
    let snapshot = site.snapshot();
    manifest_of(&snapshot, &key).filter(|_| session.who.rights.sees(&(&key).into()))?;
    let content = layout::soon(&html! {
        h1 { (key.name) " " (badge(Health::Busy, "Pending")) }
        p { "Its manifest is written, and will be read in a moment." }
    });
    let title = (&*key.name, Place::Overview);
    Some(page(site, session, title, &content))
}

fn glance(one: &ApplicationComputed) -> Markup {
    let process = one.process.as_ref();
    html! {
        @if let Some(process) = process {
            (facts(&[
                ("Process", or_unknown(process.pid)),
                ("Running since", or_unknown(process.since.map(moment))),
            ]))
        }
        (conditions(&one.conditions))
    }
}

/// Every variable, and where it comes from; no value that is a secret.
fn environment(world: &World, key: &ApplicationKey, application: &Application) -> Markup {
    let delivered = world.state.observed.applications.get(key);
    let is_delivered = delivered.is_some_and(|one| one.delivered.is_some());
    html! {
        @if !is_delivered { p class="muted" { "Not delivered yet." } }
        table {
            thead { tr { th scope="col" { "Variable" } th scope="col" { "Value" } th scope="col" { "From" } } }
            tbody {
                @for (name, value) in &application.spec.env {
                    tr {
                        th scope="row" { code { (name) } }
                        @match value {
                            EnvValue::Text(text) => { td { code { (text) } } td { "the manifest" } }
                            EnvValue::Secret { secret } => { td class="muted" { "hidden" } td { "secret " code { (secret) } } }
                        }
                    }
                }
                @for grant in &application.spec.access_control.databases {
                    tr {
                        th scope="row" { code { (grant.env_var) } }
                        td class="muted" { "hidden" }
                        td { "injected: the connection string of " (grant.name) }
                    }
                }
            }
        }
        @if application.spec.env.is_empty() && application.spec.access_control.databases.is_empty() {
            p class="muted" { "No variable." }
        }
    }
}

fn grants(
    session: &Session,
    key: &ApplicationKey,
    one: &ApplicationComputed,
    may_change: bool,
) -> Markup {
    if one.grants.is_empty() {
        return html! { p class="muted" { "None: it can connect to no database." } };
    }
    html! {
        table {
            thead { tr { th scope="col" { "Database" } th scope="col" { "May" } th scope="col" { "Password" } th scope="col" { span class="hidden" { "Actions" } } } }
            tbody {
                @for grant in &one.grants {
                    tr {
                        th scope="row" { a href=(database_path(&grant.database)) { (grant.database.name) } }
                        td { (may(grant.access)) }
                        td { (rotation(grant)) }
                        td class="actions" { @if may_change { (grant_actions(session, key, grant)) } }
                    }
                }
            }
        }
    }
}

fn rotation(grant: &GrantComputed) -> Markup {
    html! {
        @match (grant.rotation, grant.password_since) {
            (Some(RotationComputed::Due | RotationComputed::Opening | RotationComputed::Draining { .. }), _) => "is being exchanged",
            (_, Some(since)) => { "since " (moment(since)) },
            (_, None) => span class="muted" { "not made yet" },
        }
    }
}

fn grant_actions(session: &Session, key: &ApplicationKey, grant: &GrantComputed) -> Markup {
    let form = |action: &str, word: &str| {
        html! {
            form method="post" action=(action) {
                (secret(session))
                input type="hidden" name="application" value=(key);
                input type="hidden" name="database" value=(grant.database);
                input type="hidden" name="variable" value=(grant.env_var);
                button id={ (word) "-" (grant.env_var) } aria-label={ (word) ": " (grant.database.name) } { (word) }
            }
        }
    };
    html! {
        (form("/rotate", "Rotate"))
        (form("/reveal", "Reveal"))
        (form("/detach", "Detach"))
    }
}

/// Databases that it could use and does not: those of its project, and those that admit it.
fn attachable(world: &World, key: &ApplicationKey, one: &ApplicationComputed) -> Vec<DatabaseKey> {
    let is_used =
        |database: &DatabaseKey| one.grants.iter().any(|grant| grant.database == *database);
    let catalog = world.state.catalog.as_deref();
    let admits = |database: &DatabaseKey| {
        database.project == key.project
            || catalog
                .and_then(|catalog| catalog.database(database))
                .is_some_and(|one| one.admitted_projects.contains(&key.project))
    };
    // Who admits this project has said so: its people may know, whatever else they see.
    let all = catalog.iter().flat_map(|catalog| catalog.databases());
    all.map(|one| &one.key)
        .filter(|database| !is_used(database) && admits(database))
        .cloned()
        .collect()
}

fn attach_form(
    session: &Session,
    world: &World,
    key: &ApplicationKey,
    one: &ApplicationComputed,
) -> Markup {
    let databases = attachable(world, key, one);
    if databases.is_empty() {
        return html! { p class="help" { "Every database that it could use is attached. " a href={ "/new/database?project=" (key.project) } { "Make another one" } "." } };
    }
    html! {
        details {
            summary class="button" { "Attach database" }
            form method="post" action="/attach" class="form" {
                (secret(session))
                input type="hidden" name="application" value=(key);
                div {
                    label for="database" { "Database" }
                    select id="database" name="database" {
                        @for database in &databases {
                            option value=(database) {
                                (database.name)
                                @if database.project != key.project { " of " (database.project) }
                            }
                        }
                    }
                }
                div {
                    label for="variable" { "Variable that gets the connection string" }
                    input id="variable" name="variable" required value="DATABASE_URL" pattern="[A-Za-z_][A-Za-z0-9_]*";
                }
                label class="check" { input type="checkbox" name="read-only" value="yes"; "May only read" }
                p class="actions" { button class="primary" { "See what that would do" } }
            }
        }
    }
}

/// Shows what attaching a database would do.
pub(crate) async fn attach(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Markup, Failure> {
    let key = known(
        &World::of(site.state(), &session.who),
        fields.get("application"),
    )?;
    let database: DatabaseKey = fields
        .get("database")
        .parse()
        .map_err(|_text| Failure::NotThere("database of that name".to_owned()))?;
    let name = if database.project == key.project {
        database.name.to_string()
    } else {
        database.to_string()
    };
    let attachment = Attachment {
        database: name,
        variable: fields.get("variable").to_owned(),
        read_only: fields.is_ticked("read-only"),
    };
    let change = Change::from(attachment);
    let about = format!("{}: attach {}", key.name, database.name);
    let question = ("Attach database", "Attach it", &*about);
    change_of(&site, &session, &key, |_| Some(change), question)
}

/// Shows what detaching a database would do.
pub(crate) async fn detach(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Markup, Failure> {
    let key = known(
        &World::of(site.state(), &session.who),
        fields.get("application"),
    )?;
    let variable = fields.get("variable");
    // A variable names one grant of an application: two cannot have one.
    let index = |application: &Application| {
        let mut grants = application.spec.access_control.databases.iter();
        grants
            .position(|grant| *grant.env_var.as_str() == *variable)
            .map(Change::detachment)
    };
    let about = format!("{}: detach {variable}", key.name);
    let question = ("Detach database", "Detach it", &*about);
    change_of(&site, &session, &key, index, question)
}

fn change_of(
    site: &Site,
    session: &Session,
    key: &ApplicationKey,
    change: impl FnOnce(&Application) -> Option<Change>,
    (title, yes, about): (&str, &str, &str),
) -> Result<Markup, Failure> {
    let snapshot = site.snapshot();
    let (manifest, application) = manifest_of(&snapshot, key)
        .ok_or_else(|| Failure::NotThere("manifest of that application".to_owned()))?;
    let change = change(application)
        .ok_or_else(|| Failure::NotThere("such access of that application".to_owned()))?;
    let proposal = Proposal::of(manifest, &[change])?;
    let question = Question {
        title,
        yes,
        back: &application_path(key),
        about,
    };
    ask(site, session, &proposal, &question)
}

/// Exchanges a password.
pub(crate) async fn rotate(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Redirect, Failure> {
    let world = World::of(site.state(), &session.who);
    let application = known(&world, fields.get("application"))?;
    let database = fields.get("database").parse().ok();
    let grant = database.map(|database| GrantKey {
        application: application.clone(),
        database,
    });
    let grant = grant.filter(|grant| world.state.observed.grants.contains_key(grant));
    let grant =
        grant.ok_or_else(|| Failure::NotThere("such access of that application".to_owned()))?;
    let permit = session.who.permit(Role::Developer, &application.project)?;
    site.operations.rotate(&permit, &grant).await?;
    Ok(Redirect::to(&application_path(&application)))
}

/// Runs `preDeploy` and restarts what the application runs, though nothing has changed.
pub(crate) async fn deploy(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Redirect, Failure> {
    let world = World::of(site.state(), &session.who);
    let key = known(&world, fields.get("application"))?;
    site.deploy(&session, &key).await?;
    Ok(Redirect::to(&application_path(&key)))
}

/// Shows one secret, once; that is recorded.
pub(crate) async fn reveal(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Markup, Failure> {
    let key = known(
        &World::of(site.state(), &session.who),
        fields.get("application"),
    )?;
    let variable = fields.get("variable");
    let permit = session.who.permit(Role::Developer, &key.project)?;
    let value = site.operations.reveal(&permit, &key, variable).await?;
    let content = html! {
        h1 { code { (variable) } " of " (key.name) }
        p { "This page is not kept by the browser. That it was shown is in the audit trail." }
        pre tabindex="0" { code { (value.expose()) } }
        p class="actions" { a class="button" href=(application_path(&key)) { "Back" } }
    };
    Ok(page(&site, &session, (variable, Place::Overview), &content))
}
