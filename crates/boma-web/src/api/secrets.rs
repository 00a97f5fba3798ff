//! Secrets under names. They are the installation's: who is admin of everything stores them, and nobody
//! is shown one.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::ApiFailure;
use super::asked::Asked;
use super::body::Json;
use super::failure::Problems;
use crate::access::Session;
use crate::failure::Failure;
use crate::people::Role;
use crate::secrets::{SecretName, secret_of};
use crate::site::Site;

/// Secrets, in the order of their names.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SecretList {
    items: Vec<SecretResource>,
}

/// A secret, without its value.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Secret")]
struct SecretResource {
    /// Its name.
    name: String,
}

/// What is to be stored.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretValue {
    /// The secret; a line end behind it is no part of it.
    value: String,
}

/// Which secret.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct SecretNamed {
    /// Its name: letters, digits, `-`, `_` and `.`.
    secret: String,
}

impl SecretNamed {
    fn read(&self) -> Result<SecretName, ApiFailure> {
        let name = self.secret.parse();
        name.map_err(|error: crate::secrets::NotASecretName| ApiFailure::unreadable(&error))
    }
}

/// Lists the names of secrets.
#[utoipa::path(
    get,
    path = "/api/v1/secrets",
    operation_id = "listSecrets",
    responses(
        (status = 200, description = "All of them.", body = ref("#/components/schemas/SecretList")),
        Problems,
    ),
)]
pub(super) async fn secrets(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
) -> Result<Answer<SecretList>, ApiFailure> {
    session.who.permit(Role::Admin, "")?;
    let names = site.operations.named_secrets().await?;
    let items = names.into_iter().map(|name| SecretResource { name });
    Ok(Answer(SecretList {
        items: items.collect(),
    }))
}

/// Stores a secret, in the place of what has the name. It is never answered with.
#[utoipa::path(
    put,
    path = "/api/v1/secrets/{secret}",
    operation_id = "setSecret",
    params(SecretNamed),
    request_body(content = ref("#/components/schemas/SecretValue"), content_type = "application/json"),
    responses((status = 204, description = "It is stored."), Problems),
)]
pub(super) async fn set_secret(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(named)): Asked<Path<SecretNamed>>,
    Json(wanted): Json<SecretValue>,
) -> Result<StatusCode, ApiFailure> {
    let permit = session.who.permit(Role::Admin, "")?;
    let name = named.read()?;
    let value = secret_of(&wanted.value).map_err(|error| Failure::of(&error))?;
    let operations = &site.operations;
    operations.set_named_secret(&permit, &name, value).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets a secret.
#[utoipa::path(
    delete,
    path = "/api/v1/secrets/{secret}",
    operation_id = "removeSecret",
    params(SecretNamed),
    responses((status = 204, description = "It is forgotten."), Problems),
)]
pub(super) async fn remove_secret(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(named)): Asked<Path<SecretNamed>>,
) -> Result<StatusCode, ApiFailure> {
    let permit = session.who.permit(Role::Admin, "")?;
    let name = named.read()?;
    site.operations.forget_named_secret(&permit, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
