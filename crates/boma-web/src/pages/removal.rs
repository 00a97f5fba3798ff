//! The end of a database or an application: its manifest goes. Data stays until `boma purge`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use boma_engine::computed::DatabaseComputed;
use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::source::Proposal;
use boma_manifest::Manifest;
use boma_manifest::edit::{Change, Step, Written};
use maud::{Markup, html};

use super::change::{Question, ask};
use super::layout::secret;
use super::parts::{application_path, database_path, facts, moment, or_unknown};
use super::{application, database};
use crate::access::Session;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::site::Site;
use crate::world::{World, is_application, is_database};

/// How a database is ended.
pub(super) fn of_database(session: &Session, world: &World, key: &DatabaseKey) -> Markup {
    let catalog = world.state.catalog.as_deref();
    let want = catalog.and_then(|catalog| catalog.database(key));
    let is_protected = want.is_some_and(|want| want.deletion_protection);
    let form = |action: &str, words: &str| {
        html! {
            form method="post" action=(action) {
                (secret(session))
                input type="hidden" name="database" value=(key);
                button { (words) }
            }
        }
    };
    html! {
        section class="card" aria-labelledby="retire" {
            h2 id="retire" { "Retire" }
            @if is_protected {
                p { "It is protected: before it can be retired, its manifest has to say " code { "deletionProtection: false" } "." }
                (form("/unprotect", "See what ending its protection would do"))
            } @else {
                p { "Its manifest goes, and its server stops. Its data stays until somebody who runs Boma destroys it with " code { "boma purge" } ", and its backups for as long as they are kept." }
                (form("/remove", "See what retiring it would do"))
            }
        }
    }
}

/// What a database without a manifest is, and how it ends or comes back.
pub(super) fn retired(key: &DatabaseKey, one: &DatabaseComputed) -> Markup {
    html! {
        section class="card" aria-labelledby="retired" {
            h2 id="retired" { "Retired" }
            p { "Its manifest is gone and its server is stopped; nobody can connect. Its data is as it was." }
            (facts(&[
                ("Kept until at least", or_unknown(one.kept_until.map(moment))),
                ("To have it back", html! { "put its manifest back" }),
                ("To have another like it", html! { code { "boma restore " (key.name) " --as NEW" } }),
                ("To destroy its data", html! { code { "boma purge " (key.name) } }),
            ]))
        }
    }
}

/// How an application is ended.
pub(super) fn of_application(session: &Session, key: &ApplicationKey) -> Markup {
    html! {
        section class="card" aria-labelledby="remove" {
            h2 id="remove" { "Remove" }
            p { "Its manifest goes: it is stopped, and its users are taken out of its databases. Their data stays." }
            form method="post" action="/remove" {
                (secret(session))
                input type="hidden" name="application" value=(key);
                button { "See what removing it would do" }
            }
        }
    }
}

/// Shows what the end of a database or an application would do.
pub(crate) async fn remove(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Markup, Failure> {
    let world = World::of(site.state(), &session.who);
    let snapshot = site.snapshot();
    let mut manifests = snapshot.manifests();
    let (manifest, title, yes, name, back) = if fields.get("application").is_empty() {
        let key = database::known(&world, fields.get("database"))?;
        let manifest = manifests.find(|one| is_database(one, &key));
        let back = database_path(&key);
        (manifest, "Retire the database", "Retire it", key.name, back)
    } else {
        let key = application::known(&world, fields.get("application"))?;
        let manifest = manifests.find(|one| is_application(one, &key));
        let back = application_path(&key);
        (
            manifest,
            "Remove the application",
            "Remove it",
            key.name,
            back,
        )
    };
    let manifest = manifest.ok_or_else(|| without_manifest(&name))?;
    let question = Question {
        title,
        yes,
        back: &back,
        about: &format!("{name}: {}", title.to_lowercase()),
    };
    ask(&site, &session, &Proposal::removal(manifest)?, &question)
}

/// Shows what a database without protection would be.
pub(crate) async fn unprotect(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Markup, Failure> {
    let world = World::of(site.state(), &session.who);
    let key = database::known(&world, fields.get("database"))?;
    let snapshot = site.snapshot();
    let manifest = snapshot.manifests().find(|one| is_database(one, &key));
    let manifest: &Manifest = manifest.ok_or_else(|| without_manifest(&key.name))?;
    let path = Step::fields(["spec", "deletionProtection"]);
    let change = Change::Set(path, Written::Flag(false));
    let question = Question {
        title: "End the protection",
        yes: "Write it",
        back: &database_path(&key),
        about: &format!("{}: no protection any more", key.name),
    };
    ask(
        &site,
        &session,
        &Proposal::of(manifest, &[change])?,
        &question,
    )
}

fn without_manifest(name: &str) -> Failure {
    Failure::NotThere(format!("manifest of {name}"))
}
