//! What every request passes first.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use crate::api::ApiFailure;
use crate::failure::Failure;
use crate::site::Site;

/// Scripts, styles and requests of this server only; nothing within a page runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCES: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Lets nobody in without a session, and nothing be sent by another site.
pub(crate) async fn guard(
    State(site): State<Arc<Site>>,
    mut request: Request,
    next: Next,
) -> Response {
    let is_program = request.uri().path().starts_with("/api/");
    let mut response = match admit(&site, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(failure) if is_program => ApiFailure::from(failure).into_response(),
        Err(failure) => failure.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // With `no-referrer` a browser would not say of a form that it comes from here.
        (REFERRER_POLICY, "same-origin"),
        (OPENER, "same-origin"),
        (RESOURCES, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn admit(site: &Site, request: &mut Request) -> Result<(), Failure> {
    // A page elsewhere can have its own name lead to this address; its requests carry that name.
    let origin = site.origin(request.headers()).ok_or(Failure::WrongHost)?;
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && !is_own(request.headers(), &origin) {
        return Err(Failure::Forged);
    }
    let path = request.uri().path();
    let is_open = path.starts_with("/assets/")
        || path.starts_with("/sign-in")
        || matches!(path, "/invitation" | "/healthz" | "/readyz" | "/metrics");
    if is_open {
        return Ok(());
    }
    let session = match site.sent(request.headers()) {
        Some(token) => site.access.session(&token, Timestamp::now()).await?,
        None => None,
    };
    let session = session.ok_or(Failure::SignedOut)?;
    request.extensions_mut().insert(session);
    Ok(())
}

impl Site {
    /// What lets somebody in, as they have sent it.
    pub(crate) fn sent(&self, headers: &HeaderMap) -> Option<String> {
        let sent = bearer(headers).or_else(|| cookie(headers, &self.cookie_name()));
        sent.map(str::to_owned)
    }

    /// Where pages of a request come from: this machine, by a name that nobody else can give it, or what
    /// this dashboard is known as. None: it is for another host. The port of this machine is whatever
    /// leads here: another machine's, through a tunnel.
    fn origin(&self, headers: &HeaderMap) -> Option<String> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok())?;
        if is_loopback(host) {
            return Some(format!("http://{host}"));
        }
        let own = self.url.as_ref()?;
        (own.host() == host).then(|| own.origin().to_owned())
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|one| one.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Whether what changes something was sent by a page of this server. Browsers say so; other programs
/// say nothing, and they have no cookie that somebody else could make them send.
fn is_own(headers: &HeaderMap, origin: &str) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let is_same_site = text(&SITE).is_none_or(|site| matches!(site, "same-origin" | "none"));
    is_same_site && text(&ORIGIN).is_none_or(|said| said == origin)
}

/// What a program sends.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    text.strip_prefix("Bearer ")
}

pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(COOKIE).iter();
    let mut pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_this_machine() {
        for host in [
            "127.0.0.1:9480",
            "localhost:9481",
            "localhost",
            "[::1]:9480",
            "127.1.2.3",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            ":9480",
            "elsewhere.example",
            "localhost.elsewhere.example:9480",
            "10.0.0.1:9480",
            "127.0.0.1.elsewhere.example",
            "localhost:x",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
