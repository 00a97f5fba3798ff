//! What a request asks for; what it should not say is a problem, as everything that goes wrong here.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use boma_engine::keys::{ApplicationKey, DatabaseKey, SecretKey};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use super::ApiFailure;

/// What comes with a request, by axum's own reader of it.
pub(super) struct Asked<T>(pub(super) T);

impl<T, S> FromRequestParts<S> for Asked<Query<T>>
where
    Query<T>: FromRequestParts<S, Rejection: std::fmt::Display>,
    S: Send + Sync,
{
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiFailure> {
        let asked = Query::from_request_parts(parts, state).await;
        asked
            .map(Self)
            .map_err(|error| ApiFailure::unreadable(&error))
    }
}

impl<T, S> FromRequestParts<S> for Asked<Path<T>>
where
    Path<T>: FromRequestParts<S, Rejection: std::fmt::Display>,
    S: Send + Sync,
{
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiFailure> {
        let asked = Path::from_request_parts(parts, state).await;
        asked
            .map(Self)
            .map_err(|error| ApiFailure::unreadable(&error))
    }
}

/// What of a list is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// Only those with this in their name or their project.
    #[serde(default)]
    pub(super) filter: String,
    /// How many at most.
    #[serde(default = "usual", deserialize_with = "up_to::<500, _>")]
    #[param(minimum = 1, maximum = 500, default = 100)]
    pub(super) limit: u32,
    /// Only those behind this one: `next` of the answer before.
    #[serde(default)]
    pub(super) after: String,
}

/// How many entries are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Newest {
    /// How many at most.
    #[serde(default = "usual", deserialize_with = "up_to::<1000, _>")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub(super) limit: u32,
}

/// How much of a log is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Tail {
    /// How many lines at most, the last ones.
    #[serde(default = "usual", deserialize_with = "up_to::<10_000, _>")]
    #[param(minimum = 1, maximum = 10_000, default = 100)]
    pub(super) lines: u32,
}

/// How a change is made.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(super) struct Trial {
    /// Only show what it would write and do.
    #[serde(default)]
    pub(super) dry_run: bool,
    /// What its commit says, where the source is a repository.
    #[serde(default)]
    pub(super) message: Option<String>,
    /// Commit it to a branch of its own, to be reviewed.
    #[serde(default)]
    pub(super) review: bool,
}

fn usual() -> u32 {
    100
}

fn up_to<'de, const MOST: u32, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let count = u32::deserialize(from)?;
    if (1..=MOST).contains(&count) {
        return Ok(count);
    }
    Err(D::Error::custom(format!("{count} is not from 1 to {MOST}")))
}

/// The identity of a resource.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Identity {
    /// The organization that the project belongs to.
    organization: String,
    /// The unit of the organization.
    unit: String,
    /// The environment.
    environment: String,
    /// The project.
    project: String,
    /// The name of the resource.
    name: String,
}

impl Identity {
    fn project(&self) -> String {
        let Self {
            organization,
            unit,
            environment,
            project,
            ..
        } = self;
        format!("{organization}/{unit}/{environment}/{project}")
    }

    /// The database of that identity, if there is one.
    pub(super) fn database(self) -> DatabaseKey {
        DatabaseKey::new(self.project(), self.name)
    }

    /// The secret of that identity, if there is one.
    pub(super) fn secret(self) -> SecretKey {
        SecretKey::new(self.project(), self.name)
    }

    /// The application of that identity, if there is one.
    pub(super) fn application(self) -> ApplicationKey {
        ApplicationKey::new(self.project(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;

    use super::*;

    fn listing(query: &str) -> Result<Listing, String> {
        let uri = Uri::try_from(format!("/?{query}")).map_err(|error| error.to_string())?;
        let read = Query::<Listing>::try_from_uri(&uri);
        read.map(|Query(asked)| asked)
            .map_err(|error| error.body_text())
    }

    #[test]
    fn a_list_is_asked_for_within_limits() {
        let usual = listing("").unwrap();
        assert_eq!((usual.limit, &*usual.filter, &*usual.after), (100, "", ""));
        assert_eq!(listing("limit=500").unwrap().limit, 500);
        for wrong in ["0", "501", "-1", "many", "", "1&limit=2"] {
            let refused = listing(&format!("limit={wrong}")).unwrap_err();
            assert!(refused.contains("limit"), "{wrong}: {refused}");
        }
    }
}
