//! A database: how to reach it, who may, what was measured, what can be restored.

mod charts;
mod window;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::response::Redirect;
use boma_engine::catalog::Subject;
use boma_engine::computed::{DatabaseComputed, DatabasePhase};
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::AgentState;
use boma_engine::source::LastChange;
use boma_engine::words;
use boma_instance::backup::{BackupKind, BackupSummary};
use boma_instance::{Access, InstanceStatus};
use boma_manifest::Manifest;
use boma_manifest::edit::Written;
use jiff::Timestamp;
use maud::{Markup, html};

use super::change::{Question, ask, editor, sentence};
use super::layout::{self, Place, live, page, secret};
use super::parts::{
    application_path, badge, conditions, database_path, facts, happened, hold_form, moment,
    or_unknown, problems,
};
use super::removal;
pub(crate) use charts::charts;

use crate::access::Session;
use crate::change::restored;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::people::Role;
use crate::site::Site;
use crate::world::{Health, World, is_database};

/// Events of one page.
const LIMIT: u32 = 20;

/// Base backups that are listed, the newest first.
const BACKUPS: usize = 30;

/// The database that a path or a form names, if there is one.
pub(super) fn known(world: &World, text: &str) -> Result<DatabaseKey, Failure> {
    let key = text.parse().ok();
    let found = key.filter(|key| world.has_database(key));
    found.ok_or_else(|| Failure::NotThere("database of that name".to_owned()))
}

/// Shows a database.
pub(crate) async fn database(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Markup, Failure> {
    let world = World::of(site.state(), &session.who);
    let snapshot = site.snapshot();
    let is_it = |key: &DatabaseKey, manifest: &&Manifest| is_database(manifest, key);
    let key = match known(&world, &key) {
        Ok(key) => key,
        // It was written a moment ago, and the engine has not looked yet.
        Err(failure) => {
            let key = key.parse().map_err(|_none| failure)?;
            let manifest = snapshot.manifests().find(|one| is_it(&key, one));
            let sees = session.who.rights.sees(&(&key).into());
            return match manifest.filter(|_| sees) {
                Some(_) => Ok(soon(&site, &session, &key)),
                None => Err(Failure::NotThere("database of that name".to_owned())),
            };
        }
    };
    let events = site.operations.events(Some(&(&key).into()), LIMIT).await?;
    let one = world.database(&key);
    let known = world.state.observed.databases.get(&key);
    let is_held = known.is_some_and(|known| known.held);
    let may_change = session.who.permit(Role::Developer, &key.project).is_ok();
    let status = status(&world, &key);
    let manifest = snapshot.manifests().find(|one| is_it(&key, one));
    let path = database_path(&key);
    let is_retired = one.phase == DatabasePhase::Retired;
    let measured = if is_retired {
        Markup::default()
    } else {
        charts::section(&site, &world, &key).await
    };
    let content = html! {
        (live(&html! {
            (heading(&key, &one))
            @if one.id.is_some() { (more(&key, may_change)) }
            (problems(&one.problems))
            @if is_retired {
                (removal::retired(&key, &one))
            } @else {
                section class="card" aria-labelledby="facts" { h2 id="facts" { "At a glance" } (glance(&one, status)) }
                (measured)
                (connection(&key, &one))
                (access(&one, status))
                section class="card" aria-labelledby="backups" { h2 id="backups" { "Backups" } (backups(&one, status, may_change)) }
                @if may_change { (actions(&session, &key, is_held)) }
            }
        }))
        @if may_change && !is_retired { (restore_form(&session, &key, &one, window::picked(query.as_deref()))) }
        @if let Some(manifest) = manifest {
            section class="card" aria-labelledby="manifest" {
                h2 id="manifest" { "Manifest" }
                (written_at(&site, manifest).await)
                @if may_change { (editor(&session, manifest.origin().file(), &path)) }
            }
        }
        @if may_change && manifest.is_some() { (removal::of_database(&session, &world, &key)) }
        section class="card" aria-labelledby="events" { h2 id="events" { "Events" } (happened(&events)) }
    };
    Ok(page(
        &site,
        &session,
        (&key.name, Place::Overview),
        &content,
    ))
}

/// A database whose manifest the engine has not read yet.
fn soon(site: &Site, session: &Session, key: &DatabaseKey) -> Markup {
    let content = layout::soon(&html! {
        h1 { (key.name) " " (badge(Health::Busy, "Pending")) }
        p { "Its manifest is written; the server is being made." }
    });
    page(site, session, (&key.name, Place::Overview), &content)
}

fn heading(key: &DatabaseKey, one: &DatabaseComputed) -> Markup {
    html! {
        p class="crumbs" { a href="/" { "Overview" } " › " (key.project) }
        h1 { (key.name) " " (badge(Health::of_database(one), &one.phase.to_string())) }
    }
}

/// Pages that are about it as well.
fn more(key: &DatabaseKey, may_read_logs: bool) -> Markup {
    html! {
        nav class="more" aria-label={ "More of " (key.name) } {
            a href={ "/queries/" (key) } { "Slow queries" }
            @if may_read_logs { a href={ "/logs/databases/" (key) } { "Log" } }
        }
    }
}

fn status<'w>(world: &'w World, key: &DatabaseKey) -> Option<&'w InstanceStatus> {
    match &world.state.observed.databases.get(key)?.agent {
        AgentState::Answering(status) => Some(status),
        AgentState::Silent(_) | AgentState::Absent => None,
    }
}

fn glance(one: &DatabaseComputed, status: Option<&InstanceStatus>) -> Markup {
    let storage = status.and_then(|status| status.storage);
    let used = storage.map(|storage| {
        let (used, size) = (storage.used_bytes, storage.size_bytes);
        html! {
            meter min="0" max=(size) high=(size / 5 * 4) value=(used) { } " "
            (words::bytes(used)) " of " (words::bytes(size))
        }
    });
    html! {
        (facts(&[
            ("PostgreSQL", or_unknown(one.version.as_deref())),
            ("Storage", or_unknown(used)),
            ("Measured", or_unknown(one.observed_at.map(moment))),
        ]))
        (conditions(&one.conditions))
    }
}

/// How to connect, without ever showing a password.
fn connection(key: &DatabaseKey, one: &DatabaseComputed) -> Markup {
    let first = one.access.first();
    html! {
        section class="card" aria-labelledby="connection" {
            h2 id="connection" { "Connection" }
            (facts(&[
                ("Host", or_unknown(one.host.as_deref())),
                ("Port", or_unknown(one.port)),
                ("Database", html! { (one.database_name) }),
            ]))
            @match first {
                Some(grantee) => {
                    p { "An application that is attached finds the whole connection string in its environment. To try it:" }
                    pre tabindex="0" { code {
                        "boma psql " (key.name) " --as " (grantee.application.name) "\n"
                        "boma run " (grantee.application.name) " -- npx prisma migrate deploy\n"
                        "boma run " (grantee.application.name) " -- python manage.py migrate"
                    } }
                }
                None => p { "Nobody can connect yet: attach an application, on that application's page." },
            }
        }
    }
}

fn access(one: &DatabaseComputed, status: Option<&InstanceStatus>) -> Markup {
    let connections = |roles: &[String]| -> Option<u32> {
        let logins = status?.logins.iter();
        Some(
            logins
                .filter(|one| roles.contains(&one.role))
                .map(|one| one.connections)
                .sum(),
        )
    };
    // While it is connected it is used; when it was before is of no interest.
    let last_used = |roles: &[String]| -> Option<Timestamp> {
        let logins = status?.logins.iter();
        let own = logins.filter(|one| roles.contains(&one.role));
        own.filter_map(|one| one.last_used).max()
    };
    html! {
        section class="card" aria-labelledby="access" {
            h2 id="access" { "Access" }
            @if one.access.is_empty() {
                p class="muted" { "No application may use it." }
            } @else {
                table {
                    thead { tr { th scope="col" { "Application" } th scope="col" { "May" } th scope="col" { "As" } th scope="col" { "Connections" } th scope="col" { "Last used" } } }
                    tbody {
                        @for grantee in &one.access {
                            tr {
                                th scope="row" {
                                    a href=(application_path(&grantee.application)) { (grantee.application.name) }
                                    @if grantee.other_project { span class="muted" { " of " (grantee.application.project) } }
                                }
                                td { (may(grantee.access)) }
                                td { (grantee.roles.join(", ")) }
                                td { (or_unknown(connections(&grantee.roles))) }
                                td {
                                    @match (connections(&grantee.roles), last_used(&grantee.roles)) {
                                        (Some(1..), _) => "now",
                                        (Some(0), Some(at)) => (moment(at)),
                                        (Some(0), None) => span class="muted" { "not since its agent began" },
                                        (None, _) => span class="muted" { "unknown" },
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What an access allows.
pub(super) fn may(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "read",
        Access::ReadWrite => "read and write",
    }
}

fn backups(one: &DatabaseComputed, status: Option<&InstanceStatus>, may_restore: bool) -> Markup {
    let list = status.and_then(|status| status.backup.as_ref());
    let list = list.map_or(&[][..], |backup| &backup.backups);
    let window = one.recoverable_from.zip(one.recoverable_until);
    let running = one.backup_running.as_ref().zip(one.observed_at);
    html! {
        @match (one.recoverable_from, one.recoverable_until) {
            (Some(from), Some(until)) => {
                p {
                    @let (begin, end) = words::window(from, until);
                    "Any moment from " time datetime=(begin) { (begin) } " until " time datetime=(end) { (end) } " can be restored."
                }
                (window::strip((from, until), list, may_restore))
            }
            _ => p class="muted" { "It is not known that anything can be restored." },
        }
        @if let Some((running, now)) = running { p role="status" { (words::progress(running, now)) } }
        (facts(&[
            ("Last backup", or_unknown(one.last_backup.map(moment))),
            ("Proved by a restore", or_unknown(one.last_verified_restore.map(moment))),
            ("Waiting to be archived", or_unknown(one.archive_waiting_bytes.map(words::bytes))),
        ]))
        @if !list.is_empty() { (backup_table(list, window.filter(|_| may_restore))) }
    }
}

fn backup_table(list: &[BackupSummary], window: Option<(Timestamp, Timestamp)>) -> Markup {
    html! {
        details id="base-backups" {
            summary id="base-backups-summary" { @if list.len() == 1 { "1 base backup" } @else { (list.len()) " base backups" } }
            table {
                thead { tr { th scope="col" { "Backup" } th scope="col" { "Kind" } th scope="col" { "Ended" } th scope="col" { "Data" } th scope="col" { "Stored" } } }
                tbody {
                    @for backup in list.iter().rev().take(BACKUPS) {
                        tr {
                            th scope="row" { code { (backup.label) } }
                            td { @match backup.kind { BackupKind::Full => "full", BackupKind::Incremental => "incremental" } }
                            td {
                                @match window.and_then(|window| window::moment_of(backup, window)) {
                                    Some(picked) => a href=(window::link(&picked)) { (moment(backup.stopped_at)) },
                                    None => (moment(backup.stopped_at)),
                                }
                            }
                            td { (words::bytes(backup.data_bytes)) }
                            td { (words::bytes(backup.stored_bytes)) }
                        }
                    }
                }
            }
        }
    }
}

fn actions(session: &Session, key: &DatabaseKey, is_held: bool) -> Markup {
    html! {
        div class="actions" {
            form method="post" action="/back-up" {
                (secret(session))
                input type="hidden" name="database" value=(key);
                button id="back-up" { "Back up now" }
            }
            (hold_form(session, ("database", &key.to_string()), is_held))
        }
    }
}

fn restore_form(
    session: &Session,
    key: &DatabaseKey,
    one: &DatabaseComputed,
    picked: Option<String>,
) -> Markup {
    let window = one.recoverable_from.zip(one.recoverable_until);
    let until = window.map(|(from, until)| words::window(from, until).1);
    let moment = picked.or(until).unwrap_or_default();
    html! {
        section class="card" aria-labelledby="restore" {
            h2 id="restore" { "Restore or fork" }
            p { "A new database, as this one was at a moment. This one is not touched." }
            form method="post" action="/restore" class="form" {
                (secret(session))
                input type="hidden" name="database" value=(key);
                div {
                    label for="moment" { "Moment" }
                    input id="moment" name="moment" required value=(moment) aria-describedby="moment-help";
                    p id="moment-help" class="help" { "With its zone: Z is UTC, +01:00 an hour ahead of it." }
                }
                div {
                    label for="new-name" { "Name of the new database" }
                    input id="new-name" name="name" required maxlength="40" value={ (key.name) "-restored" };
                }
                p class="actions" { button { "See what a restore would do" } }
            }
        }
    }
}

/// Where a manifest is written, and who changed it last.
pub(super) async fn written_at(site: &Site, manifest: &Manifest) -> Markup {
    let place = manifest.origin().place("metadata.name");
    let change = LastChange::of(&site.basis.roots, &place.file).await;
    html! {
        p { "It is written in " code { (place.file) ":" (place.line) } "." }
        @if let Some(read_only) = site.read_only(&place.file) {
            p id="read-only" { (sentence(&read_only)) " Change that line where the source is kept." }
        }
        @if let Some(change) = change { p { "Last changed by " (words::last_change(&change)) "." } }
    }
}

/// Shows what a new database as of a moment would be.
pub(crate) async fn restore(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Markup, Failure> {
    let world = World::of(site.state(), &session.who);
    let key = known(&world, fields.get("database"))?;
    let snapshot = site.snapshot();
    let mut manifests = snapshot.manifests();
    let manifest = manifests.find(|one| is_database(one, &key));
    let Some(Manifest::Database(database)) = manifest else {
        return Err(Failure::NotThere("manifest of that database".to_owned()));
    };
    let moment = Written::Text(fields.get("moment").to_owned());
    let moment = vec![("targetTime".to_owned(), moment)];
    let proposal = restored(database, fields.get("name"), moment)?;
    let back = format!("/databases/{}/{}", key.project, fields.get("name"));
    let question = Question {
        title: "Restore to a new database",
        yes: "Restore it",
        back: &back,
        about: &format!(
            "{}: restore {} as of {}",
            fields.get("name"),
            key.name,
            fields.get("moment")
        ),
    };
    ask(&site, &session, &proposal, &question)
}

/// Begins a base backup.
pub(crate) async fn back_up(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Redirect, Failure> {
    let key = known(
        &World::of(site.state(), &session.who),
        fields.get("database"),
    )?;
    let permit = session.who.permit(Role::Developer, &key.project)?;
    site.operations.back_up(&permit, &key).await?;
    Ok(Redirect::to(&database_path(&key)))
}

/// Stops a database or an application, or lets it run again.
pub(crate) async fn hold(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Redirect, Failure> {
    let world = World::of(site.state(), &session.who);
    let (subject, project, path) = if fields.get("application").is_empty() {
        let key = known(&world, fields.get("database"))?;
        (
            Subject::from(&key),
            key.project.clone(),
            database_path(&key),
        )
    } else {
        let key = super::application::known(&world, fields.get("application"))?;
        (
            Subject::from(&key),
            key.project.clone(),
            application_path(&key),
        )
    };
    let permit = session.who.permit(Role::Developer, &project)?;
    site.operations
        .hold(&permit, &subject, fields.is_ticked("held"))
        .await?;
    Ok(Redirect::to(&path))
}
