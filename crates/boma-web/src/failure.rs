//! What a request comes to when it does not come to what was asked.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use boma_problem::{Class, IntoProblem, Problem};
use maud::{Markup, html};

use crate::pages::{alone, problem_card};

/// Why a request is not answered with what it asks for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is for another host.
    WrongHost,
    /// Another site has sent it, or its form is not of this session.
    Forged,
    /// Nobody is signed in.
    SignedOut,
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
                ("manifest-changed" | "manifest-exists", _) => StatusCode::CONFLICT,
                (_, Class::User) => StatusCode::UNPROCESSABLE_ENTITY,
                (_, Class::Transient) => StatusCode::SERVICE_UNAVAILABLE,
                (_, Class::Config | Class::Internal) => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Self::WrongHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Forged => StatusCode::FORBIDDEN,
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
                    p { "The dashboard opens by a link that works once. On the machine that runs " code { "boma serve" } ":" }
                    pre tabindex="0" { code { "boma dashboard" } }
                    p { "prints a new one." }
                },
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

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status(), self.page()).into_response()
    }
}
