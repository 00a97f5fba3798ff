//! Errors of the API: problems after RFC 9457.

use std::collections::BTreeMap;
use std::fmt::Display;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use boma_engine::words;
use boma_problem::{Class, Place, Problem};
use schemars::JsonSchema;
use serde::Serialize;
use utoipa::IntoResponses;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, response};

use crate::failure::{Failure, who_may};

/// What kind of text a problem is.
const KIND: &str = "application/problem+json";

/// A problem after RFC 9457, with what the command line shows.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProblemDetails {
    /// A name of the kind of problem: `urn:boma:problem:` and its code, which docs/errors.md explains.
    #[serde(rename = "type")]
    kind: String,
    /// What happened.
    title: String,
    /// The status of the answer.
    status: u16,
    /// Stable code.
    code: String,
    /// Where in the manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    /// What to do now.
    hints: Vec<String>,
}

/// How the description says that everything that goes wrong is a problem.
pub(super) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<response::Response>> {
        let schema = RefOr::Ref(Ref::from_schema_name("ProblemDetails"));
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let problem = ResponseBuilder::new()
            .description("What went wrong, where, and what to do now.")
            .content(KIND, content)
            .build();
        BTreeMap::from([("default".to_owned(), RefOr::T(problem))])
    }
}

/// Why a request is not answered with what it asks for.
#[derive(Debug)]
pub(crate) struct ApiFailure {
    status: StatusCode,
    problem: Box<Problem>,
}

impl ApiFailure {
    /// A part of the request says what it should not.
    pub(super) fn unreadable(error: &dyn Display) -> Self {
        Self::user(
            StatusCode::BAD_REQUEST,
            Problem::new(Class::User, "request-broken", error.to_string()).hint(
                "`GET /api/openapi.json` says what can be asked for; `/api` is the same to read.",
            ),
        )
    }

    /// The path is there, and cannot be asked in that way.
    pub(super) fn wrong_method() -> Self {
        Self::user(
            StatusCode::METHOD_NOT_ALLOWED,
            Problem::new(
                Class::User,
                "method-not-allowed",
                "that cannot be done here",
            )
            .hint("The header `Allow` says what can be."),
        )
    }

    /// What was sent is no JSON.
    pub(super) fn not_json() -> Self {
        Self::user(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            user("not-json", "what is sent here is JSON").hint(
                "Send it with `Content-Type: application/json`; a patch may be `application/merge-patch+json`.",
            ),
        )
    }

    /// A change does not say what it is a change of.
    pub(super) fn no_version() -> Self {
        Self::user(
            StatusCode::PRECONDITION_REQUIRED,
            user("version-missing", "it is not said which version is changed").hint(
                "Read it first, and send its `ETag` as `If-Match`; `*` changes whatever there is.",
            ),
        )
    }

    /// What is to be changed is another one by now.
    pub(super) fn changed_since(file: &str) -> Self {
        let message = format!("`{file}` was changed since it was read");
        Self::user(
            StatusCode::PRECONDITION_FAILED,
            user("version-outdated", &message)
                .hint("Nothing was written. Read what it says now, and make the change again."),
        )
    }

    /// The same key came with another request.
    pub(super) fn key_of_another() -> Self {
        let message = "that idempotency key was sent with another request";
        Self::user(
            StatusCode::UNPROCESSABLE_ENTITY,
            user("key-of-another", message).hint(
                "Nothing was done. Take a new key for each wish, and keep it for its repetitions.",
            ),
        )
    }

    /// The first request with a key is not answered yet.
    pub(super) fn under_way() -> Self {
        let message = "a request with that idempotency key is under way";
        Self::user(
            StatusCode::CONFLICT,
            Problem::new(Class::Transient, "request-under-way", message)
                .hint("Ask again with the same key a little later: the answer will be that one's."),
        )
    }

    fn user(status: StatusCode, problem: Problem) -> Self {
        Self {
            status,
            problem: Box::new(problem),
        }
    }
}

impl<F: Into<Failure>> From<F> for ApiFailure {
    fn from(failure: F) -> Self {
        let failure = failure.into();
        Self {
            status: failure.status(),
            problem: Box::new(problem_of(&failure)),
        }
    }
}

fn user(code: &str, message: &str) -> Problem {
    Problem::new(Class::User, code, message)
}

fn problem_of(failure: &Failure) -> Problem {
    match failure {
        Failure::Problem(problem) => (**problem).clone(),
        Failure::NotThere(what) => user("not-there", &format!("there is no {what} here")),
        Failure::SignedOut => user("signed-out", "nobody is signed in").hint(
            "`boma dashboard --token` prints a token; send it as `Authorization: Bearer TOKEN`.",
        ),
        Failure::NotAllowed { role, scope } => user("not-allowed", &who_may(*role, scope))
            .hint("`/people` says what you may do, and who can let you do more."),
        Failure::TooOften(until) => {
            let message = format!("tried too often; wait until {}", words::second(*until));
            Problem::new(Class::Transient, "too-often", message)
        }
        Failure::Forged => user("request-forged", "another site has sent this"),
        Failure::WrongHost => user("wrong-host", "this server is not known by that name"),
        Failure::Broken(status) => {
            let reason = status.canonical_reason();
            user(
                "request-broken",
                reason.unwrap_or("the request is not whole"),
            )
        }
    }
}

impl IntoResponse for ApiFailure {
    fn into_response(self) -> Response {
        let Self { status, problem } = self;
        let details = ProblemDetails {
            kind: format!("urn:boma:problem:{}", problem.code),
            title: problem.to_string(),
            status: status.as_u16(),
            code: problem.code,
            place: problem.place,
            hints: problem.hints,
        };
        let mut response = (status, Json(details)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(KIND));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::people::Role;

    fn said(failure: &ApiFailure) -> (u16, String) {
        (failure.status.as_u16(), failure.problem.to_string())
    }

    #[test]
    fn what_is_wrong_with_a_request_is_said() {
        let (status, text) = said(&ApiFailure::unreadable(&"limit: 0 is not from 1 to 500"));
        assert_eq!((status, &*text), (400, "limit: 0 is not from 1 to 500"));
        for (failure, status, text) in [
            (ApiFailure::not_json(), 415, "what is sent here is JSON"),
            (
                ApiFailure::no_version(),
                428,
                "it is not said which version is changed",
            ),
            (
                ApiFailure::changed_since("a.yaml"),
                412,
                "`a.yaml` was changed since it was read",
            ),
            (
                ApiFailure::key_of_another(),
                422,
                "that idempotency key was sent with another request",
            ),
            (
                ApiFailure::under_way(),
                409,
                "a request with that idempotency key is under way",
            ),
        ] {
            assert_eq!(said(&failure), (status, text.to_owned()));
        }
        let (status, text) = said(&ApiFailure::wrong_method());
        assert_eq!((status, &*text), (405, "that cannot be done here"));
        for (failure, status, text) in [
            (Failure::SignedOut, 401, "nobody is signed in"),
            (Failure::Forged, 403, "another site has sent this"),
            (
                Failure::WrongHost,
                421,
                "this server is not known by that name",
            ),
            (
                Failure::NotAllowed {
                    role: Role::Developer,
                    scope: "a/b/c/d".to_owned(),
                },
                403,
                "Only somebody who is developer of a/b/c/d may do that.",
            ),
            (
                Failure::TooOften(Timestamp::UNIX_EPOCH),
                429,
                "tried too often; wait until 1970-01-01T00:00:00Z",
            ),
            (
                Failure::NotThere("page of that name".to_owned()),
                404,
                "there is no page of that name here",
            ),
            (
                Failure::Broken(StatusCode::REQUEST_TIMEOUT),
                408,
                "Request Timeout",
            ),
        ] {
            assert_eq!(said(&failure.into()), (status, text.to_owned()));
        }
    }
}
