//! A span for each request, in the trace of whoever asks.

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use boma_engine::spans;
use opentelemetry::global;
use opentelemetry_http::HeaderExtractor;
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// What machines ask for every few seconds, and nobody looks for in traces.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Answers within a span, if anybody collects them.
pub(crate) async fn traced(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map(MatchedPath::as_str);
    if route.is_some_and(|route| PROBES.contains(&route)) {
        return next.run(request).await;
    }
    // What encrypts is a proxy in front: what arrives here is not.
    let span = spans::request(method_of(&request), route, "http");
    if span.is_disabled() {
        return next.run(request).await;
    }
    let headers = HeaderExtractor(request.headers());
    let parent = global::get_text_map_propagator(|propagator| propagator.extract(&headers));
    // It fails once the span was entered, which it was not.
    let _not_entered = span.set_parent(parent);
    let response = next.run(request).instrument(span.clone()).await;
    spans::answered(&span, response.status().as_u16());
    response
}

/// A method that is one; a browser may send any word.
fn method_of(request: &Request) -> &'static str {
    match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}
