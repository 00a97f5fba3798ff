//! Signing in and out.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Redirect, Response};
use boma_instance::Secret;
use boma_problem::{Class, Problem};
use jiff::Timestamp;
use maud::{Markup, html};
use tokio::sync::Semaphore;

use super::layout::alone;
use crate::access::{Session, cookie};
use crate::failure::Failure;
use crate::fields::{Fields, Sent};
use crate::people::{PasswordHash, PeopleChange, PeopleError, Person, PersonName, Rights};
use crate::provider::{Provider, ProviderError, Returned};
use crate::serve::Peer;
use crate::site::{Site, SiteUrl};

/// Passwords that are hashed at a time: each takes 19 MiB and a processor.
static HASHING: Semaphore = Semaphore::const_new(2);

/// Follows a link that was printed; without one, asks for name and password.
pub(crate) async fn sign_in(
    State(site): State<Arc<Site>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let query = Fields::of_query(query.as_deref().unwrap_or_default());
    let link = query.get("link");
    if link.is_empty() {
        return Ok(form(&site, None).into_response());
    }
    let followed = site.access.follow(link, Timestamp::now());
    with_session(&site, followed)
}

/// Asks who it is.
fn form(site: &Site, wrong: Option<&str>) -> Markup {
    alone(
        "Sign in",
        &html! {
            @if let Some(wrong) = wrong { p class="problem" role="alert" { (wrong) } }
            form method="post" action="/sign-in" class="form" {
                div {
                    label for="name" { "Name" }
                    input id="name" name="name" required autocomplete="username" autofocus;
                }
                div {
                    label for="password" { "Password" }
                    input id="password" name="password" type="password" required autocomplete="current-password";
                }
                p class="actions" { button class="primary" { "Sign in" } }
            }
            @if let Some(provider) = &site.provider {
                p { a class="button" href="/sign-in/provider" { "Sign in with " (provider.name()) } }
            }
            p class="help" { "Whoever runs " code { "boma serve" } ": " code { "boma dashboard" } " prints a link." }
        },
    )
}

/// Lets somebody in who knows their password. It takes as long for a name that there is not.
pub(crate) async fn sign_in_by_password(
    State(site): State<Arc<Site>>,
    Extension(Peer(from)): Extension<Peer>,
    Sent(fields): Sent,
) -> Result<Response, Failure> {
    let (name, now) = (fields.get("name"), Timestamp::now());
    let attempt = site.access.throttle.attempt(name, from.ip(), now);
    attempt.map_err(Failure::TooOften)?;
    let people = site.access.people().await?;
    let person = name.parse().ok().and_then(|name| people.person(&name));
    let password = Secret::new(fields.raw("password").to_owned());
    let hash = person.and_then(|person| person.password.clone());
    let is_right = verified(hash, password).await?;
    let Some(person) = person.filter(|_| is_right) else {
        let page = form(&site, Some("Name or password is wrong."));
        return Ok((axum::http::StatusCode::UNAUTHORIZED, page).into_response());
    };
    site.access.throttle.forgive(name, from.ip());
    with_session(&site, site.access.open(person, now))
}

/// Whether a password is the one of a hash; compared with another hash where there is none.
async fn verified(hash: Option<PasswordHash>, password: Secret<String>) -> Result<bool, Failure> {
    let _place = HASHING.acquire().await;
    let compared = tokio::task::spawn_blocking(move || {
        let is_right = hash
            .clone()
            .unwrap_or_else(PasswordHash::decoy)
            .is_of(&password);
        is_right && hash.is_some()
    });
    compared.await.map_err(|error| not_hashed(&error))
}

fn not_hashed(error: &dyn std::error::Error) -> Failure {
    Problem::new(Class::Internal, "not-hashed", error.to_string()).into()
}

/// Sends somebody to the provider.
pub(crate) async fn with_provider(State(site): State<Arc<Site>>) -> Result<Response, Failure> {
    let provider = provider(&site)?;
    let begun = provider.begin(&site.origin_for_people()).await;
    let (to, asked) = begun.map_err(|error| Failure::of(&error))?;
    let asked = serde_json::to_vec(&asked).map_err(|error| not_hashed(&error))?;
    let kept = site.access.keep_asked(&asked, Timestamp::now());
    let kept = kept.ok_or_else(|| Failure::of(&ProviderError::NoRandom))?;
    let cookie = (asked_cookie(&site), &*format!("{kept}; Max-Age=600"));
    with_named_cookie(&site, cookie, Redirect::to(&to))
}

/// Lets somebody in whom the provider has sent back.
pub(crate) async fn back_from_provider(
    State(site): State<Arc<Site>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let now = Timestamp::now();
    let provider = provider(&site)?;
    let query = Fields::of_query(query.as_deref().unwrap_or_default());
    let kept = cookie(&headers, &asked_cookie(&site));
    let kept = kept.and_then(|kept| site.access.kept_asked(kept, now));
    let asked = kept.and_then(|kept| serde_json::from_slice(&kept).ok());
    let asked = asked.ok_or_else(|| Failure::of(&ProviderError::NotAsked))?;
    let returned = Returned {
        state: query.get("state"),
        code: query.get("code"),
        error: query.get("error"),
    };
    let origin = site.origin_for_people();
    let somebody = provider.complete(&origin, &asked, &returned).await;
    let somebody = somebody.map_err(|error| Failure::of(&error))?;
    let identity = somebody.identity.clone();
    let people = site.access.people().await?;
    let change = PeopleChange::SignIn(somebody);
    let people = if change.changes(&people) {
        let (register, nobody) = (site.access.register(), Rights::default());
        let changed = register.change_people(change, &nobody, provider.name());
        site.access.learn(changed.await?)
    } else {
        people
    };
    let mut all = people.people.iter();
    let person = all.find(|one| one.provider.as_ref() == Some(&identity));
    let opened = person.and_then(|person| site.access.open(person, now));
    with_session(&site, opened)
}

fn provider(site: &Site) -> Result<&Provider, Failure> {
    let provider = site.provider.as_ref();
    provider.ok_or_else(|| Failure::of(&ProviderError::None))
}

/// The name of the cookie that is kept while somebody is with the provider.
fn asked_cookie(site: &Site) -> String {
    format!("{}-asked", site.cookie_name())
}

/// Asks whoever was invited for a password.
pub(crate) async fn invitation(
    State(site): State<Arc<Site>>,
    RawQuery(query): RawQuery,
) -> Result<Markup, Failure> {
    let query = Fields::of_query(query.as_deref().unwrap_or_default());
    let token = query.get("token");
    let invited = site.access.invited(token, Timestamp::now()).await?;
    let bearer = invited.ok_or_else(|| Failure::of(&PeopleError::LinkSpent))?;
    Ok(alone(
        "Choose a password",
        &html! {
            p { "You sign in as " strong { (bearer.name) } "." }
            form method="post" action="/invitation" class="form" {
                input type="hidden" name="token" value=(token);
                // Lets password managers know whose it is.
                input type="text" name="name" value=(bearer.name) autocomplete="username" readonly hidden;
                div { (password_field("Password", true)) }
                p class="actions" { button class="primary" { "Sign in" } }
            }
        },
    ))
}

/// Takes the password that somebody has chosen, and lets them in.
pub(crate) async fn choose_password(
    State(site): State<Arc<Site>>,
    Sent(fields): Sent,
) -> Result<Response, Failure> {
    let now = Timestamp::now();
    let invited = site.access.invited(fields.get("token"), now).await?;
    let bearer = invited.ok_or_else(|| Failure::of(&PeopleError::LinkSpent))?;
    choose(&site, (bearer.name, bearer.serial), &fields, now).await
}

/// Takes another password of somebody who knows the one that they have; all their other sessions end.
pub(crate) async fn change_password(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Extension(Peer(from)): Extension<Peer>,
    fields: Fields,
) -> Result<Response, Failure> {
    let now = Timestamp::now();
    let people = site.access.people().await?;
    let person = session.who.person.as_ref();
    let person = person.and_then(|name| people.person(name));
    let person = person.filter(|one| one.password.is_some());
    let person = person.ok_or_else(|| Failure::NotThere("password of yours".to_owned()))?;
    // Whoever finds a browser open is not to guess here, either.
    let attempt = site
        .access
        .throttle
        .attempt(person.name.as_str(), from.ip(), now);
    attempt.map_err(Failure::TooOften)?;
    let current = Secret::new(fields.raw("current").to_owned());
    if !verified(person.password.clone(), current).await? {
        return Err(Failure::of(&PeopleError::PasswordWrong));
    }
    site.access
        .throttle
        .forgive(person.name.as_str(), from.ip());
    choose(&site, (person.name.clone(), person.serial), &fields, now).await
}

/// Keeps the password that a form has for somebody, and lets them in.
async fn choose(
    site: &Site,
    (name, serial): (PersonName, u32),
    fields: &Fields,
    now: Timestamp,
) -> Result<Response, Failure> {
    let password = Secret::new(fields.raw("password").to_owned());
    let people = {
        let _place = HASHING.acquire().await;
        let hashed = tokio::task::spawn_blocking(move || PasswordHash::of(&password)).await;
        let hashed = hashed.map_err(|error| not_hashed(&error))?;
        let change = PeopleChange::ChoosePassword {
            name: name.clone(),
            serial,
            password: hashed.map_err(|error| Failure::of(&PeopleError::from(error)))?,
        };
        let (nobody, register) = (Rights::default(), site.access.register());
        register
            .change_people(change, &nobody, name.as_str())
            .await?
    };
    let people = site.access.learn(people);
    let person: Option<&Person> = people.person(&name);
    let opened = person.and_then(|person| site.access.open(person, now));
    with_session(site, opened)
}

/// The field for a password that somebody chooses.
pub(super) fn password_field(label: &str, is_first: bool) -> Markup {
    html! {
        label for="password" { (label) }
        input id="password" name="password" type="password" required minlength="15"
            autocomplete="new-password" aria-describedby="password-help" autofocus[is_first];
        p id="password-help" class="help" { "At least 15 characters. Some words that do not belong together make a good one." }
    }
}

/// Ends the session.
pub(crate) async fn sign_out(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    _sent: Fields,
) -> Result<Response, Failure> {
    site.access.end(&session, Timestamp::now());
    let bye = alone(
        "Signed out",
        &html! { p { a href="/sign-in" { "Sign in again" } ", or with a link that " code { "boma dashboard" } " prints." } },
    );
    with_cookie(&site, "; Max-Age=0", bye)
}

fn with_session(site: &Site, opened: Option<String>) -> Result<Response, Failure> {
    let value = opened.ok_or(Failure::SignedOut)?;
    with_cookie(site, &format!("{value}; Max-Age=43200"), Redirect::to("/"))
}

/// The cookie is no business of scripts and other sites; a link to a page of the dashboard still works
/// from elsewhere, because nothing is done by following one.
fn with_cookie(site: &Site, value: &str, answer: impl IntoResponse) -> Result<Response, Failure> {
    with_named_cookie(site, (site.cookie_name(), value), answer)
}

fn with_named_cookie(
    site: &Site,
    (name, value): (String, &str),
    answer: impl IntoResponse,
) -> Result<Response, Failure> {
    let is_encrypted = site.url.as_ref().is_some_and(SiteUrl::is_encrypted);
    let secure = if is_encrypted { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}");
    let cookie = HeaderValue::from_str(&cookie).map_err(|_letters| Failure::SignedOut)?;
    let headers = [
        (SET_COOKIE, cookie),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, answer).into_response())
}
