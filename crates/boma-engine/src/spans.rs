//! The spans of a trace: every one that there is, with every attribute that it may have.
//!
//! ```text
//!   round ─┬─ observe ──── GET /v1/status (to an agent) …
//!          ├─ plan
//!          └─ step put-instance ──── PUT /v1/assignment …
//!   GET /databases/{*key}      git fetch
//! ```
//!
//! They cost nothing until somebody collects them (docs/decisions/0153). Attributes are numbers, codes and
//! names of resources; never a text that something else has written, because that may hold a secret. Where
//! OpenTelemetry has a name for something, it has that name.

use boma_problem::Problem;
use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::plan::{Action, Plan};

/// Target of all spans that are exported, and of nothing else.
pub const TARGET: &str = "boma::spans";

/// One look at everything, and what is done about it. It ends with the last of the steps that it began.
pub fn round() -> Span {
    info_span!(target: TARGET, "round")
}

/// Asking the platform what exists.
pub(crate) fn observe() -> Span {
    info_span!(target: TARGET, "observe", otel.status_code = Empty, error.type = Empty)
}

/// Making a plan.
pub(crate) fn plan() -> Span {
    info_span!(
        target: TARGET,
        "plan",
        boma.plan.steps = Empty,
        boma.plan.waiting = Empty,
        boma.plan.blocked = Empty,
    )
}

/// Says what was planned.
pub(crate) fn planned(span: &Span, plan: &Plan) {
    span.record("boma.plan.steps", plan.steps.len());
    span.record("boma.plan.waiting", plan.waiting.len());
    span.record("boma.plan.blocked", plan.blocked.len());
}

/// One step of a plan.
pub(crate) fn step(action: &Action) -> Span {
    let span = info_span!(
        target: TARGET,
        "step",
        otel.name = Empty,
        boma.step.action = action.kind(),
        boma.resource = Empty,
        otel.status_code = Empty,
        error.type = Empty,
    );
    if !span.is_disabled() {
        span.record("otel.name", format!("step {}", action.kind()));
        span.record("boma.resource", action.subject().to_string());
    }
    span
}

/// Fetching a branch of a repository. Its address stays out: it names hosts, and users.
pub(crate) fn git_fetch(branch: &str) -> Span {
    info_span!(
        target: TARGET,
        "git fetch",
        otel.kind = "client",
        vcs.ref.head.name = branch,
        otel.status_code = Empty,
        error.type = Empty,
    )
}

/// A request to an agent, on behalf of what goes on now; `agent` is its socket, or its pod's name. Where
/// nothing goes on, somebody only listens to what an agent has to say, for as long as Boma runs: that is
/// no span.
pub fn agent_request(method: &str, path: &str, agent: impl std::fmt::Display) -> Span {
    if Span::current().is_none() {
        return Span::none();
    }
    let span = info_span!(
        target: TARGET,
        "agent",
        otel.kind = "client",
        otel.name = Empty,
        http.request.method = method,
        url.template = Empty,
        server.address = Empty,
        http.response.status_code = Empty,
        otel.status_code = Empty,
        error.type = Empty,
    );
    if !span.is_disabled() {
        let template = template(path);
        span.record("otel.name", format!("{method} {template}"));
        span.record("url.template", template);
        span.record("server.address", agent.to_string());
    }
    span
}

/// A path of an agent without what differs from request to request.
fn template(path: &str) -> &str {
    const BACKUP: &str = "/v1/backups/{label}";
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    if path.starts_with("/v1/backups/") {
        return BACKUP;
    }
    path
}

/// A request that was received. It goes on with the trace of whoever asks, which is said to it before it is
/// entered.
pub fn request(method: &str, route: Option<&str>, scheme: &str) -> Span {
    let span = info_span!(
        target: TARGET,
        "request",
        otel.kind = "server",
        otel.name = Empty,
        http.request.method = method,
        http.route = route,
        url.scheme = scheme,
        http.response.status_code = Empty,
        otel.status_code = Empty,
        error.type = Empty,
    );
    if !span.is_disabled() {
        let method = if method == "_OTHER" { "HTTP" } else { method };
        let name = match route {
            Some(route) => format!("{method} {route}"),
            None => method.to_owned(),
        };
        span.record("otel.name", name);
    }
    span
}

/// Says what was answered. An error of the server is one; that somebody asked for what is not there is
/// none.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", tracing::field::display(status));
    }
}

/// Says why something failed, in one word: its text may hold what is nobody's business.
pub fn failed(span: &Span, problem: &Problem) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", &*problem.code);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_agents_are_few() {
        assert_eq!(template("/v1/status?after=7&wait=30"), "/v1/status");
        assert_eq!(template("/v1/backups"), "/v1/backups");
        let label = template("/v1/backups/20260101T000000Z");
        assert_eq!(label, "/v1/backups/{label}");
    }

    #[test]
    fn nobody_collects_and_nothing_is_made() {
        for span in [
            round(),
            observe(),
            plan(),
            git_fetch("main"),
            agent_request("GET", "/v1/status", "agent.sock"),
            request("GET", Some("/"), "http"),
        ] {
            assert!(span.is_disabled(), "{span:?}");
        }
    }
}
