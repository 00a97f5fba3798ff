//! Secrets under names. Who is admin of everything stores those of the installation, who may change a
//! project's manifests those of the project; nobody is shown one.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::ApiFailure;
use super::asked::{Asked, Identity};
use super::body::Json;
use super::failure::Problems;
use crate::access::{Permit, Session};
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
        (status = 200, description = "Those that one may store.", body = ref("#/components/schemas/SecretList")),
        Problems,
    ),
)]
pub(super) async fn secrets(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
) -> Result<Answer<SecretList>, ApiFailure> {
    let names = site.operations.named_secrets().await?;
    let permitted = names
        .into_iter()
        .filter(|name| permit(&session, name).is_ok());
    let items = permitted.map(|name| SecretResource {
        name: name.to_string(),
    });
    Ok(Answer(SecretList {
        items: items.collect(),
    }))
}

/// That somebody may store and forget a secret.
fn permit(session: &Session, name: &SecretName) -> Result<Permit, Failure> {
    let role = match name {
        SecretName::Installation(_) => Role::Admin,
        SecretName::Project(_) => Role::Developer,
    };
    session.who.permit(role, name.project())
}

async fn store(
    site: &Site,
    session: &Session,
    name: SecretName,
    wanted: SecretValue,
) -> Result<StatusCode, ApiFailure> {
    let permit = permit(session, &name)?;
    let value = secret_of(&wanted.value).map_err(|error| Failure::of(&error))?;
    let operations = &site.operations;
    operations.set_named_secret(&permit, &name, value).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn forget(
    site: &Site,
    session: &Session,
    name: SecretName,
) -> Result<StatusCode, ApiFailure> {
    let permit = permit(session, &name)?;
    site.operations.forget_named_secret(&permit, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stores a secret of the installation, in the place of what has the name. It is never answered with.
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
    store(&site, &session, named.read()?, wanted).await
}

/// Forgets a secret of the installation.
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
    forget(&site, &session, named.read()?).await
}

/// Stores a secret for the applications of a project, in the place of what has the name. Applications
/// that name it are given it, and started with it. It is never answered with.
#[utoipa::path(
    put,
    path = "/api/v1/secrets/{organization}/{unit}/{environment}/{project}/{name}",
    operation_id = "setProjectSecret",
    params(Identity),
    request_body(content = ref("#/components/schemas/SecretValue"), content_type = "application/json"),
    responses((status = 204, description = "It is stored."), Problems),
)]
pub(super) async fn set_project_secret(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(named)): Asked<Path<Identity>>,
    Json(wanted): Json<SecretValue>,
) -> Result<StatusCode, ApiFailure> {
    store(&site, &session, of_project(named)?, wanted).await
}

/// Forgets a secret of a project. What applications were given they keep.
#[utoipa::path(
    delete,
    path = "/api/v1/secrets/{organization}/{unit}/{environment}/{project}/{name}",
    operation_id = "removeProjectSecret",
    params(Identity),
    responses((status = 204, description = "It is forgotten."), Problems),
)]
pub(super) async fn remove_project_secret(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(named)): Asked<Path<Identity>>,
) -> Result<StatusCode, ApiFailure> {
    forget(&site, &session, of_project(named)?).await
}

/// The secret of a project that a path names.
fn of_project(named: Identity) -> Result<SecretName, ApiFailure> {
    let name = named.secret().to_string().parse();
    name.map_err(|error: crate::secrets::NotASecretName| ApiFailure::unreadable(&error))
}
