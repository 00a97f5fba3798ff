//! Base backups, the repositories that they are in, and checks of them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json as Answer};
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::AgentState;
use boma_engine::words::progress;
use boma_instance::InstanceId;
use boma_problem::Problem;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use uuid::Uuid;

use super::ApiFailure;
use super::asked::{Asked, Identity};
use super::body::Json;
use super::failure::Problems;
use crate::access::{Permit, Session};
use crate::backups::{Holding, OneBackup};
use crate::checks::{Check, CheckKind, Found};
use crate::failure::Failure;
use crate::people::Role;
use crate::site::Site;
use crate::world::World;

/// Which base backup of which database.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct BackupOf {
    /// The name of the base backup, as the list has it.
    backup: String,
}

/// Which check of which database.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct CheckOf {
    /// The `id` that it was answered with.
    #[param(value_type = String, format = "uuid")]
    check: Uuid,
}

/// Which repository.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct RepositoryName {
    /// The name of the repository, as the configuration has it.
    repository: String,
}

/// What an instance has in a repository.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct HeldThere {
    /// The name of the repository, as the configuration has it.
    repository: String,
    /// The id of the instance.
    #[param(value_type = String, format = "uuid")]
    instance: Uuid,
}

/// Which check is wanted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCheck {
    /// Which.
    kind: CheckKind,
}

/// Repositories, in the order of their names.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RepositoryList {
    items: Vec<RepositoryResource>,
}

/// A repository of backups.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Repository")]
struct RepositoryResource {
    /// Its name.
    name: String,
}

/// What lies in a repository.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HoldingList {
    /// One for each instance that has something there.
    items: Vec<Holding>,
}

/// That backups of a database that is gone are to be deleted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Forgetting {
    /// The name of that database, once more.
    confirm: String,
}

/// What was deleted.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Forgotten {
    /// How many objects.
    deleted: u64,
}

/// The database that a request is about, if there is one and whoever asks may know of it.
pub(super) fn database_of(
    site: &Site,
    session: &Session,
    identity: Identity,
) -> Result<DatabaseKey, Failure> {
    let key = identity.database();
    if World::of(site.state(), &session.who).has_database(&key) {
        return Ok(key);
    }
    Err(Failure::NotThere("database of that name".to_owned()))
}

/// Shows a base backup as its repository has it.
#[utoipa::path(
    get,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/backups/{backup}",
    operation_id = "getBackup",
    params(Identity, BackupOf),
    responses(
        (status = 200, description = "The base backup.", body = ref("#/components/schemas/Backup")),
        Problems,
    ),
)]
pub(super) async fn backup(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Asked(Path(of)): Asked<Path<BackupOf>>,
) -> Result<Answer<OneBackup>, ApiFailure> {
    let key = database_of(&site, &session, identity)?;
    Ok(Answer(site.operations.backup(&key, &of.backup).await?))
}

/// Deletes a base backup; refused when others need it, and for the last whole one.
#[utoipa::path(
    delete,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/backups/{backup}",
    operation_id = "deleteBackup",
    params(Identity, BackupOf),
    responses((status = 204, description = "It is gone."), Problems),
)]
pub(super) async fn delete_backup(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Asked(Path(of)): Asked<Path<BackupOf>>,
) -> Result<StatusCode, ApiFailure> {
    let key = database_of(&site, &session, identity)?;
    let permit = session.who.permit(Role::Admin, &key.project)?;
    let operations = &site.operations;
    operations.delete_backup(&permit, &key, &of.backup).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begins to read all that a database has in its repository, or to restore its newest backup beside it
/// to prove it. The same check that goes on already is answered with in its place.
#[utoipa::path(
    post,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/checks",
    operation_id = "checkBackups",
    params(Identity, ("Idempotency-Key" = Option<String>, Header, description = "Whoever sends the same again with the same key is answered as before, for a day.")),
    request_body(content = ref("#/components/schemas/NewCheck"), content_type = "application/json"),
    responses(
        (status = 202, description = "It goes on; `Location` shows what comes of it, while this server runs.", body = ref("#/components/schemas/Check")),
        Problems,
    ),
)]
pub(super) async fn begin_check(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Json(wanted): Json<NewCheck>,
) -> Result<Response, ApiFailure> {
    let key = database_of(&site, &session, identity)?;
    let permit = session.who.permit(Role::Developer, &key.project)?;
    let id = (site.ids)().0;
    let (check, is_new) = site.checks.begin(&key, (wanted.kind, id), Timestamp::now());
    let at = format!("/api/v1/databases/{key}/checks/{}", check.id);
    if is_new {
        let kind = wanted.kind;
        tokio::spawn(async move {
            let _turn = site.checks.turn(id).await;
            let found = carry_out(&site, &permit, (&key, kind)).await;
            site.checks.end(id, found, Timestamp::now());
        });
    }
    let mut response = (StatusCode::ACCEPTED, Answer(check)).into_response();
    if let Ok(at) = HeaderValue::from_str(&at) {
        response.headers_mut().insert(LOCATION, at);
    }
    Ok(response)
}

async fn carry_out(
    site: &Site,
    permit: &Permit,
    (key, kind): (&DatabaseKey, CheckKind),
) -> Result<Found, Box<Problem>> {
    let operations = &site.operations;
    match kind {
        CheckKind::Verification => operations.verify(key).await.map(Found::Verification),
        CheckKind::Drill => {
            let drill = operations.drill(permit, key).await?;
            Ok(Found::Drill(Box::new(drill)))
        }
    }
}

/// Shows what came of a check, or how far it is.
#[utoipa::path(
    get,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/checks/{check}",
    operation_id = "getCheck",
    params(Identity, CheckOf),
    responses(
        (status = 200, description = "The check.", body = ref("#/components/schemas/Check")),
        Problems,
    ),
)]
pub(super) async fn check(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Asked(Path(of)): Asked<Path<CheckOf>>,
) -> Result<Answer<Check>, ApiFailure> {
    let key = database_of(&site, &session, identity)?;
    session.who.permit(Role::Developer, &key.project)?;
    let check = site.checks.get(&key, of.check);
    let mut check = check.ok_or_else(|| Failure::NotThere("check of that name".to_owned()))?;
    if check.kind == CheckKind::Drill && check.ended_at.is_none() {
        check.progress = check.progress.or_else(|| how_far(&site, &key));
    }
    Ok(Answer(check))
}

/// How far an agent is with what it does.
fn how_far(site: &Site, key: &DatabaseKey) -> Option<String> {
    let state = site.state();
    let status = match &state.observed.databases.get(key)?.agent {
        AgentState::Answering(status) => status.backup.as_ref()?,
        AgentState::Silent(_) | AgentState::Absent => return None,
    };
    let running = status.running.as_ref()?;
    Some(progress(running, Timestamp::now()))
}

/// Lists the repositories that databases are backed up into. Their keys are shown to nobody.
#[utoipa::path(
    get,
    path = "/api/v1/repositories",
    operation_id = "listRepositories",
    responses(
        (status = 200, description = "All of them.", body = ref("#/components/schemas/RepositoryList")),
        Problems,
    ),
)]
pub(super) async fn repositories(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
) -> Result<Answer<RepositoryList>, ApiFailure> {
    somewhere(&session, Role::Developer)?;
    let state = site.state();
    let names = state.observed.capabilities.repositories.iter();
    let items = names.map(|name| RepositoryResource { name: name.clone() });
    Ok(Answer(RepositoryList {
        items: items.collect(),
    }))
}

/// That somebody has a role anywhere. On what, each answer looks for itself.
fn somewhere(session: &Session, role: Role) -> Result<(), Failure> {
    if session.who.rights.has_somewhere(role) {
        return Ok(());
    }
    let scope = String::new();
    Err(Failure::NotAllowed { role, scope })
}

/// Lists whose backups lie in a repository, also of databases that are gone, as far as whoever asks is
/// developer of their projects.
#[utoipa::path(
    get,
    path = "/api/v1/repositories/{repository}",
    operation_id = "getRepository",
    params(RepositoryName),
    responses(
        (status = 200, description = "All that have something there.", body = ref("#/components/schemas/HoldingList")),
        Problems,
    ),
)]
pub(super) async fn repository(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(of)): Asked<Path<RepositoryName>>,
) -> Result<Answer<HoldingList>, ApiFailure> {
    somewhere(&session, Role::Developer)?;
    let mut items = site.operations.holdings(&of.repository).await?;
    // What nobody can read is nobody's: whoever may everything sees it.
    items.retain(|one| {
        let project = one.project().unwrap_or_default();
        session.who.rights.has(Role::Developer, project)
    });
    Ok(Answer(HoldingList { items }))
}

/// Deletes all backups of a database that is gone. It cannot be restored any more then.
#[utoipa::path(
    post,
    path = "/api/v1/repositories/{repository}/instances/{instance}/forget",
    operation_id = "forgetBackups",
    params(HeldThere, ("Idempotency-Key" = Option<String>, Header, description = "Whoever sends the same again with the same key is answered as before, for a day.")),
    request_body(content = ref("#/components/schemas/Forgetting"), content_type = "application/json"),
    responses(
        (status = 200, description = "They are gone.", body = ref("#/components/schemas/Forgotten")),
        Problems,
    ),
)]
pub(super) async fn forget(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(of)): Asked<Path<HeldThere>>,
    Json(wanted): Json<Forgetting>,
) -> Result<Answer<Forgotten>, ApiFailure> {
    somewhere(&session, Role::Admin)?;
    let (operations, instance) = (&site.operations, InstanceId(of.instance));
    let there = operations.forgettable(&of.repository, instance).await?;
    let project = there.project().unwrap_or_default();
    let permit = session.who.permit(Role::Admin, project)?;
    let from = (&*of.repository, instance);
    let deleted = operations.forget(&permit, from, &wanted.confirm).await?;
    Ok(Answer(Forgotten { deleted }))
}
