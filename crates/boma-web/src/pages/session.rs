//! Signing in and out.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use maud::html;

use super::layout::alone;
use crate::access::Session;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::site::Site;

/// Follows a link that was printed.
pub(crate) async fn sign_in(
    State(site): State<Arc<Site>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let query = Fields::of_query(query.as_deref().unwrap_or_default());
    let followed = site.access.follow(query.get("link"), Timestamp::now());
    let (_, value) = followed.ok_or(Failure::SignedOut)?;
    with_cookie(&site, &format!("{value}; Max-Age=43200"), Redirect::to("/"))
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
        &html! { p { "`boma dashboard` prints a link to come back." } },
    );
    with_cookie(&site, "; Max-Age=0", bye)
}

/// The cookie is no business of scripts and other sites; a link to a page of the dashboard still works
/// from elsewhere, because nothing is done by following one.
fn with_cookie(site: &Site, value: &str, answer: impl IntoResponse) -> Result<Response, Failure> {
    let cookie = format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Lax",
        site.cookie_name()
    );
    let cookie = HeaderValue::from_str(&cookie).map_err(|_letters| Failure::SignedOut)?;
    let headers = [
        (SET_COOKIE, cookie),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, answer).into_response())
}
