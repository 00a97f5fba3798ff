//! What all pages have around them.

use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use crate::access::Session;
use crate::api::ApiFailure;
use crate::assets;
use crate::failure::Failure;
use crate::people::Role;
use crate::site::Site;

/// Where a page is in the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Overview,
    New,
    Plan,
    Events,
    Audit,
    People,
    Api,
}

/// htmx runs nothing that stands in a page, adds no style of its own, and asks nobody but this server.
const SETTINGS: &str = r#"{"allowEval":false,"includeIndicatorStyles":false,"selfRequestsOnly":true,"historyCacheSize":0}"#;

/// A page of the dashboard.
pub(crate) fn page(
    site: &Site,
    session: &Session,
    (title, place): (&str, Place),
    content: &Markup,
) -> Markup {
    let rights = &session.who.rights;
    let entry = |name: &str, path: &str, this: Place| {
        let current = (this == place).then_some("page");
        html! { a href=(path) aria-current=[current] { (name) } }
    };
    html! {
        (head(title))
        body {
            a class="skip" href="#main" { "To the content" }
            header class="top" {
                a class="brand" href="/" { img src=(assets::icon()) alt="" width="24" height="24"; "Boma" }
                nav aria-label="Main" {
                    (entry("Overview", "/", Place::Overview))
                    (entry("Plan", "/plan", Place::Plan))
                    (entry("Events", "/events", Place::Events))
                    @if rights.has_somewhere(Role::Admin) { (entry("Audit", "/audit", Place::Audit)) }
                    (entry("People", "/people", Place::People))
                }
                @if rights.has_somewhere(Role::Developer) { a class="button primary" href="/new" { "New service" } }
                form method="post" action="/sign-out" {
                    (secret(session))
                    button class="quiet" { "Sign out" }
                }
            }
            main id="main" tabindex="-1" { (content) }
            footer {
                @if rights.has_everywhere(Role::Viewer) { "Manifests: " code { (site.source_name) } " · " }
                @if let Some(person) = &session.who.person { "Signed in as " (person) " · " }
                (entry("API", "/api", Place::Api))
            }
        }
    }
}

/// A page for who is not signed in, or asked for what is not there.
pub(crate) fn alone(title: &str, content: &Markup) -> Markup {
    html! {
        (head(title))
        body class="alone" {
            main id="main" {
                p class="brand" { img src=(assets::icon()) alt="" width="24" height="24"; "Boma" }
                h1 { (title) }
                (content)
            }
        }
    }
}

/// What is answered where nothing is.
pub(crate) async fn nothing(uri: Uri) -> Response {
    let failure = Failure::NotThere("page of that name".to_owned());
    if uri.path().starts_with("/api/") {
        return ApiFailure::from(failure).into_response();
    }
    failure.into_response()
}

fn head(title: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en";
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="htmx-config" content=(SETTINGS);
            title { (title) " · Boma" }
            link rel="icon" href=(assets::icon()) type="image/svg+xml";
            link rel="stylesheet" href=(assets::style());
            script src=(assets::htmx()) defer {}
            script src=(assets::live()) defer {}
        }
    }
}

/// What every form carries.
pub(crate) fn secret(session: &Session) -> Markup {
    html! { input type="hidden" name="form" value=(session.form); }
}

/// A part of a page that is fetched again whenever something changed. It has nothing in it that a person
/// fills in, which would be lost.
pub(crate) fn live(content: &Markup) -> Markup {
    live_at("", content)
}

/// The same, where it is not the page's own address that has it. It gives way to what a person asks for
/// at the same time: the answer to that is as new.
pub(crate) fn live_at(path: &str, content: &Markup) -> Markup {
    html! {
        div id="live" hx-get=(path) hx-trigger="changed" hx-select="#live" hx-swap="outerHTML" hx-sync="#main:drop" {
            (content)
        }
    }
}

/// A page that is fetched again as a whole: what there will be is not known yet.
pub(crate) fn soon(content: &Markup) -> Markup {
    html! {
        div id="live" hx-get="" hx-trigger="changed" hx-select="#main" hx-target="#main" hx-swap="outerHTML" {
            (content)
        }
    }
}
