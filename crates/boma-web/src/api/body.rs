//! What a program sends, and the answers that it is given again when it sends the same again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request, State};
use axum::http::header::{CONTENT_TYPE, IF_MATCH};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use serde::de::DeserializeOwned;

use super::ApiFailure;
use crate::access::Session;
use crate::failure::Failure;
use crate::fields::body;
use crate::site::Site;

/// Largest body, in bytes; that of a form, because both carry a manifest.
const LARGEST: usize = 4 << 20;

/// The name of the header that tells a repetition from another wish.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How long an answer is kept for those who ask again.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Answers that are kept at most; the oldest give way.
const ROOM: usize = 10_000;

/// Longest key, in bytes.
const LONGEST_KEY: usize = 255;

/// A JSON document of the kind that is described.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Site>> for Json<T> {
    type Rejection = ApiFailure;

    async fn from_request(request: Request, _site: &Arc<Site>) -> Result<Self, ApiFailure> {
        let kind = request.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        // Browsers do not send these for another site without having asked whether they may.
        if !matches!(kind, "application/json" | "application/merge-patch+json") {
            return Err(ApiFailure::not_json());
        }
        let body = body(request, LARGEST).await?;
        let read = serde_json::from_slice(&body);
        read.map(Self)
            .map_err(|error| ApiFailure::unreadable(&error))
    }
}

/// The version that a program has read of what it changes.
pub(super) fn version_read(headers: &HeaderMap) -> Result<&str, ApiFailure> {
    let sent = headers.get(IF_MATCH).and_then(|sent| sent.to_str().ok());
    let quoted = sent.ok_or_else(ApiFailure::no_version)?.trim();
    let version = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    Ok(version.unwrap_or(quoted))
}

/// What was answered, and to what.
#[derive(Clone)]
struct Kept {
    asked: [u8; 32],
    at: Timestamp,
    /// None: it is not answered yet.
    answer: Option<(StatusCode, HeaderMap, Bytes)>,
}

/// Answers that are given again.
#[derive(Default)]
pub(crate) struct Answers(Mutex<BTreeMap<(String, String), Kept>>);

/// What becomes of a request with a key.
enum Turn {
    /// It is the first one.
    First,
    /// It was answered.
    Again(Response),
    /// It cannot be answered.
    Refused(ApiFailure),
}

impl Answers {
    fn turn(&self, key: &(String, String), asked: [u8; 32], now: Timestamp) -> Turn {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, kept| now < kept.at + KEPT);
        match answers.get(key) {
            Some(kept) if kept.asked != asked => Turn::Refused(ApiFailure::key_of_another()),
            Some(Kept { answer: None, .. }) => Turn::Refused(ApiFailure::under_way()),
            Some(Kept {
                answer: Some((status, headers, body)),
                ..
            }) => Turn::Again((*status, headers.clone(), body.clone()).into_response()),
            None => {
                if answers.len() >= ROOM
                    && let Some(oldest) = answers.iter().min_by_key(|(_, kept)| kept.at)
                {
                    let oldest = oldest.0.clone();
                    answers.remove(&oldest);
                }
                let kept = Kept {
                    asked,
                    at: now,
                    answer: None,
                };
                answers.insert(key.clone(), kept);
                Turn::First
            }
        }
    }

    /// Keeps an answer; one that says that it was nobody's fault but ours is worth another try.
    fn keep(&self, key: &(String, String), answer: Option<(StatusCode, HeaderMap, Bytes)>) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match answer.filter(|(status, ..)| !status.is_server_error()) {
            Some(answer) => {
                if let Some(kept) = answers.get_mut(key) {
                    kept.answer = Some(answer);
                }
            }
            None => drop(answers.remove(key)),
        }
    }
}

/// Takes a key back of which no answer comes any more: whoever asked has gone away.
struct Pending<'a> {
    answers: &'a Answers,
    key: (String, String),
    is_answered: bool,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.answers.keep(&self.key, None);
        }
    }
}

/// Gives the same answer to the same request with the same key, for a day, while this process runs.
pub(super) async fn once(
    State(site): State<Arc<Site>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiFailure> {
    let key = request.headers().get(&IDEMPOTENCY_KEY).cloned();
    let (Some(key), Method::POST) = (key, request.method().clone()) else {
        return Ok(next.run(request).await);
    };
    let key = key
        .to_str()
        .map_err(|error| ApiFailure::unreadable(&error))?;
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err(ApiFailure::unreadable(&"Idempotency-Key: 1 to 255 letters"));
    }
    let session = request.extensions().get::<Session>();
    let session = session.ok_or(Failure::SignedOut)?;
    let key = (session.who.actor.clone(), key.to_owned());
    let (parts, sent) = request.into_parts();
    let sent = body(Request::from_parts(parts.clone(), sent), LARGEST).await?;
    let asked = [parts.uri.to_string().as_bytes(), b"\n", &sent].concat();
    let asked: [u8; 32] = digest(&SHA256, &asked)
        .as_ref()
        .try_into()
        .unwrap_or_default();
    match site.answers.turn(&key, asked, Timestamp::now()) {
        Turn::Again(response) => return Ok(response),
        Turn::Refused(failure) => return Err(failure),
        Turn::First => {}
    }
    let mut pending = Pending {
        answers: &site.answers,
        key,
        is_answered: false,
    };
    let answer = next.run(Request::from_parts(parts, Body::from(sent))).await;
    let (parts, body) = answer.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let body = body.map_err(|error| ApiFailure::unreadable(&error))?;
    let answer = (parts.status, parts.headers.clone(), body.clone());
    site.answers.keep(&pending.key, Some(answer));
    pending.is_answered = true;
    Ok(Response::from_parts(parts, Body::from(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    fn turn(answers: &Answers, key: &str, asked: u8, hours: i64) -> Result<u16, u16> {
        let key = ("ana".to_owned(), key.to_owned());
        match answers.turn(&key, [asked; 32], at(hours)) {
            Turn::First => Ok(0),
            Turn::Again(response) => Ok(response.status().as_u16()),
            Turn::Refused(failure) => Err(failure.into_response().status().as_u16()),
        }
    }

    fn keep(answers: &Answers, key: &str, status: StatusCode) {
        let key = ("ana".to_owned(), key.to_owned());
        answers.keep(&key, Some((status, HeaderMap::new(), Bytes::new())));
    }

    #[test]
    fn who_asks_again_is_answered_as_before() {
        let answers = Answers::default();
        assert_eq!(turn(&answers, "k", 1, 0), Ok(0));
        assert_eq!(turn(&answers, "k", 1, 0), Err(409), "it is under way");
        keep(&answers, "k", StatusCode::CREATED);
        assert_eq!(turn(&answers, "k", 1, 1), Ok(201));
        assert_eq!(turn(&answers, "k", 2, 1), Err(422), "another wish");
        assert_eq!(turn(&answers, "l", 2, 1), Ok(0));
        assert_eq!(turn(&answers, "k", 2, 24), Ok(0), "a day later");
    }

    #[test]
    fn what_failed_here_is_tried_again() {
        let answers = Answers::default();
        assert_eq!(turn(&answers, "k", 1, 0), Ok(0));
        keep(&answers, "k", StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(turn(&answers, "k", 1, 0), Ok(0));
        let key = ("ana".to_owned(), "k".to_owned());
        drop(Pending {
            answers: &answers,
            key,
            is_answered: false,
        });
        assert_eq!(turn(&answers, "k", 1, 0), Ok(0), "nobody waited for it");
    }

    #[test]
    fn a_version_is_read_with_its_quotes_or_without() {
        let mut headers = HeaderMap::new();
        let none = version_read(&headers).unwrap_err().into_response();
        assert_eq!(none.status(), StatusCode::PRECONDITION_REQUIRED);
        for sent in ["\"abc\"", "abc"] {
            headers.insert(IF_MATCH, sent.parse().unwrap());
            assert_eq!(version_read(&headers).unwrap(), "abc");
        }
    }
}
