//! What a form has sent.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::access::Session;
use crate::failure::Failure;
use crate::site::Site;

/// Largest form, in bytes: a manifest of the largest size, each byte of it written as three.
const LARGEST: usize = 4 << 20;

/// Largest form of somebody who is not signed in, in bytes.
const SMALL: usize = 16 << 10;

/// How long a form may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fields of a form that a page of this very session has sent.
#[derive(Clone, Debug)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Those of a query.
    pub(crate) fn of_query(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// A field's value, without blanks around it; empty when it was not sent.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// A field's value as it was sent.
    pub(crate) fn raw(&self, name: &str) -> &str {
        let mut pairs = self.0.iter();
        let found = pairs.find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    /// Whether a box was ticked.
    pub(crate) fn is_ticked(&self, name: &str) -> bool {
        !self.raw(name).is_empty()
    }
}

/// What was sent, whole, not too slowly, and not too much of it.
pub(crate) async fn body(request: Request, largest: usize) -> Result<Bytes, Failure> {
    let body = Limited::new(request.into_body(), largest).collect();
    match tokio::time::timeout(PATIENCE, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Failure::Broken(StatusCode::PAYLOAD_TOO_LARGE))
        }
        Ok(Err(_)) => Err(Failure::Broken(StatusCode::BAD_REQUEST)),
        Err(_) => Err(Failure::Broken(StatusCode::REQUEST_TIMEOUT)),
    }
}

/// Fields of a form that somebody has sent who is not signed in yet.
#[derive(Clone, Debug)]
pub(crate) struct Sent(pub(crate) Fields);

impl FromRequest<Arc<Site>> for Sent {
    type Rejection = Failure;

    async fn from_request(request: Request, _site: &Arc<Site>) -> Result<Self, Failure> {
        let body = body(request, SMALL).await?;
        let fields = form_urlencoded::parse(&body).into_owned().collect();
        Ok(Self(Fields(fields)))
    }
}

impl FromRequest<Arc<Site>> for Fields {
    type Rejection = Failure;

    async fn from_request(request: Request, _site: &Arc<Site>) -> Result<Self, Failure> {
        let session = request.extensions().get::<Session>().cloned();
        let session = session.ok_or(Failure::SignedOut)?;
        let body = body(request, LARGEST).await?;
        let fields = Self(form_urlencoded::parse(&body).into_owned().collect());
        if fields.raw("form") != session.form {
            return Err(Failure::Forged);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_sent_is_empty() {
        let fields = Fields::of_query("name=+orders+&text=a%0Ab&box=on");
        assert_eq!(fields.get("name"), "orders");
        assert_eq!(fields.raw("text"), "a\nb");
        assert_eq!(fields.get("other"), "");
        assert!(fields.is_ticked("box") && !fields.is_ticked("other"));
    }
}
