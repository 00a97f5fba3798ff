//! What a request comes to when it does not come to what was asked.

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use boma_engine::words;
use boma_problem::{Class, IntoProblem, Problem};
use jiff::Timestamp;
use maud::{Markup, html};

use crate::pages::{alone, problem_card};
use crate::people::Role;

/// Why a request is not answered with what it asks for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is for another host.
    WrongHost,
    /// Another site has sent it, or its form is not of this session.
    Forged,
    /// Nobody is signed in.
    SignedOut,
    /// They may not do that: what they would have to be, and on what.
    NotAllowed {
        /// The least role that may.
        role: Role,
        /// A project; empty: everything.
        scope: String,
    },
    /// Somebody has tried to sign in too often; when they may again.
    TooOften(Timestamp),
    /// There is no such page or resource: its name.
    NotThere(String),
    /// What was asked for cannot be done.
    Problem(Box<Problem>),
    /// The request itself is not whole, too large, or too slow.
    Broken(StatusCode),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<Box<Problem>> for Failure {
    fn from(problem: Box<Problem>) -> Self {
        Self::Problem(problem)
    }
}

impl Failure {
    /// What an error of the engine comes to.
    pub(crate) fn of(error: &impl IntoProblem) -> Self {
        error.problem().into()
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NotThere(_) => StatusCode::NOT_FOUND,
            Self::Broken(status) => *status,
            Self::Problem(problem) => match (problem.code.as_str(), problem.class) {
                (
                    "manifest-changed"
                    | "manifest-exists"
                    | "person-exists"
                    | "token-exists"
                    | "link-spent"
                    | "not-retired"
                    | "instance-not-shown"
                    | "instance-other-id"
                    | "backups-in-use"
                    | "restore-in-place-goes-on",
                    _,
                ) => StatusCode::CONFLICT,
                (
                    "person-missing"
                    | "token-missing"
                    | "secret-missing"
                    | "restore-backup-unknown"
                    | "database-unknown"
                    | "backups-not-there"
                    | "repository-unknown",
                    _,
                ) => StatusCode::NOT_FOUND,
                // What an API server does not let Boma write, nobody who asks again would have written.
                (
                    "role-not-yours"
                    | "source-read-only"
                    | "kubernetes-forbidden"
                    | "quota-exceeded",
                    _,
                ) => StatusCode::FORBIDDEN,
                ("kubernetes-refused", _) | (_, Class::User) => StatusCode::UNPROCESSABLE_ENTITY,
                (_, Class::Transient) => StatusCode::SERVICE_UNAVAILABLE,
                (_, Class::Config | Class::Internal) => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Self::WrongHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Forged | Self::NotAllowed { .. } => StatusCode::FORBIDDEN,
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::SignedOut => StatusCode::UNAUTHORIZED,
        }
    }

    fn page(&self) -> Markup {
        match self {
            Self::WrongHost => alone(
                "Another address",
                &html! { p { "This server is not known by that name. Use the address that `boma serve` has printed." } },
            ),
            Self::Forged => alone(
                "Not sent by this dashboard",
                &html! {
                    p { "Nothing was done: the request came from another site, or from a page that was opened before somebody signed in again." }
                    p { a href="/" { "Open the dashboard" } " and do it there." }
                },
            ),
            Self::SignedOut => alone(
                "Sign in",
                &html! {
                    p { "Whoever has an account: " a href="/sign-in" { "sign in" } "." }
                    p { "Whoever runs " code { "boma serve" } ": a link that works once opens the dashboard. On that machine," }
                    pre tabindex="0" { code { "boma dashboard" } }
                    p { "prints one." }
                },
            ),
            Self::NotAllowed { role, scope } => alone(
                "Not yours to do",
                &html! {
                    p { (who_may(*role, scope)) " Nothing was done." }
                    p { a href="/" { "Back to the overview" } }
                },
            ),
            Self::TooOften(until) => alone(
                "Tried too often",
                &html! { p { "Too many attempts have failed. Try again after " (words::second(*until)) "." } },
            ),
            Self::NotThere(what) => alone(
                "Not here",
                &html! {
                    p { "There is no " (what) " here." }
                    p { a href="/" { "Back to the overview" } }
                },
            ),
            Self::Broken(status) => alone(
                "That could not be read",
                &html! { p { (status.canonical_reason().unwrap_or("the request is not whole")) "." } },
            ),
            Self::Problem(problem) => alone(
                "That could not be done",
                &html! {
                    (problem_card(problem))
                    p { a href="/" { "Back to the overview" } }
                },
            ),
        }
    }
}

/// Who could do what somebody else may not.
pub(crate) fn who_may(role: Role, scope: &str) -> String {
    let scope = if scope.is_empty() {
        "everything"
    } else {
        scope
    };
    format!("Only somebody who is {role} of {scope} may do that.")
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.page()).into_response();
        if let Self::TooOften(until) = self {
            let seconds = until.duration_since(Timestamp::now()).as_secs().max(1);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: &str, class: Class) -> u16 {
        let problem = Problem::new(class, code, "it is so");
        Failure::from(problem).status().as_u16()
    }

    #[test]
    fn what_an_api_server_does_not_take_is_refused_and_no_fault_of_this_server() {
        // The codes are given by what it answers with: `answers_of_the_api_server_are_sorted`.
        for (code, wanted) in [
            ("kubernetes-forbidden", 403),
            ("quota-exceeded", 403),
            ("kubernetes-refused", 422),
        ] {
            assert_eq!(status(code, Class::Config), wanted, "{code}");
        }
        assert_eq!(status("kubernetes-unreachable", Class::Transient), 503);
    }

    #[test]
    fn what_is_not_there_or_in_the_way_is_said_by_the_status() {
        for (code, wanted) in [
            ("secret-missing", 404),
            ("restore-backup-unknown", 404),
            ("not-retired", 409),
            ("instance-not-shown", 409),
            ("name-not-confirmed", 422),
        ] {
            assert_eq!(status(code, Class::User), wanted, "{code}");
        }
        assert_eq!(status("repository-unknown", Class::Config), 404);
        assert_eq!(status("disk-full", Class::Config), 500);
    }
}
