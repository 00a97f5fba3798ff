//! Purging, and restoring in place.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json as Answer};
use boma_instance::InstanceId;
use boma_instance::backup::RecoveryTarget;
use boma_instance::wal::{Lsn, Timeline};
use boma_manifest::LogPosition;
use boma_problem::{Class, Problem};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ApiFailure;
use super::asked::{Asked, Identity};
use super::backups::database_of;
use super::body::Json;
use super::failure::Problems;
use crate::access::Session;
use crate::endings::{Moment, Purgeable, ReplacementStanding, Said, Undone};
use crate::people::Role;
use crate::site::Site;

/// That a retired database is to be destroyed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Purging {
    /// Its name, once more.
    confirm: String,
    /// The `instance` that was shown: no other one is destroyed.
    instance: InstanceId,
}

/// That what restores in place have replaced is to be destroyed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PurgingReplaced {
    /// The name of the database, once more.
    confirm: String,
    /// All `instance`s that were shown as kept: no other ones are destroyed.
    instances: Vec<InstanceId>,
}

/// The moment that a database is to be as it was.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Replacing {
    /// As of this moment, with its zone. Without any target: the newest.
    target_time: Option<String>,
    /// Up to this position in the write-ahead log: `0/1A2B3C4D`.
    target_lsn: Option<String>,
    /// Up to this restore point, named with `pg_create_restore_point`.
    target_name: Option<String>,
    /// As this base backup ended.
    target_backup: Option<String>,
    /// The line of history that the moment is on; the newest when left out.
    timeline: Option<u32>,
}

impl Replacing {
    fn moment(&self) -> Result<Moment, ApiFailure> {
        let time = self.target_time.as_deref().map(time).transpose()?;
        let lsn = self.target_lsn.as_deref().map(lsn).transpose()?;
        let name = self.target_name.clone().map(RecoveryTarget::Name);
        let backup = self.target_backup.clone().map(RecoveryTarget::Backup);
        let mut targets = [time, lsn, name, backup].into_iter().flatten();
        let target = targets.next().unwrap_or(RecoveryTarget::Latest);
        if targets.next().is_some() {
            return Err(ApiFailure::unreadable(
                &"one moment is restored, not several",
            ));
        }
        let timeline = self.timeline.map(Timeline);
        Ok(Moment { target, timeline })
    }
}

/// A time with its zone: without one it would be another moment for each reader.
fn time(text: &str) -> Result<RecoveryTarget, ApiFailure> {
    let read: Result<Timestamp, _> = text.parse();
    let read = read.map_err(|error: jiff::Error| {
        Problem::from_error(Class::User, "time-without-zone", &error)
            .hint("Write the time with its zone: `2026-11-21T14:32:06Z`, or `…+01:00`.")
    })?;
    Ok(RecoveryTarget::Time(read))
}

fn lsn(text: &str) -> Result<RecoveryTarget, ApiFailure> {
    let read: Result<LogPosition, _> = text.parse();
    let read = read.map_err(|error| ApiFailure::unreadable(&error))?;
    Ok(RecoveryTarget::Lsn(Lsn(read.0)))
}

/// A restore in place that was asked for.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Replaced {
    /// The name of what takes the database's place, until it does; then that of what it was.
    beside: String,
}

/// What was destroyed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PurgedList {
    /// The names that it was kept under.
    items: Vec<String>,
}

/// Shows what purging a retired database would destroy, and what would stay.
#[utoipa::path(
    get,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/purge",
    operation_id = "getPurgeable",
    params(Identity),
    responses(
        (status = 200, description = "What would be lost.", body = ref("#/components/schemas/Purgeable")),
        Problems,
    ),
)]
pub(super) async fn purgeable(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
) -> Result<Answer<Purgeable>, ApiFailure> {
    let key = database_of(&site, &session, identity)?;
    session.who.permit(Role::Admin, &key.project)?;
    Ok(Answer(site.operations.purgeable(&key).await?))
}

/// Destroys a retired database and all of its data. Its backups stay.
#[utoipa::path(
    post,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/purge",
    operation_id = "purgeDatabase",
    params(Identity, ("Idempotency-Key" = Option<String>, Header, description = "Whoever sends the same again with the same key is answered as before, for a day.")),
    request_body(content = ref("#/components/schemas/Purging"), content_type = "application/json"),
    responses((status = 204, description = "It is gone."), Problems),
)]
pub(super) async fn purge(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Json(wanted): Json<Purging>,
) -> Result<StatusCode, ApiFailure> {
    let key = database_of(&site, &session, identity)?;
    let permit = session.who.permit(Role::Admin, &key.project)?;
    let said = Said {
        confirm: wanted.confirm,
        instances: vec![wanted.instance],
    };
    site.operations.purge(&permit, &key, &said).await?;
    site.engine.wake();
    Ok(StatusCode::NO_CONTENT)
}

/// Shows how far a restore in place is, and what earlier ones have replaced and is kept.
#[utoipa::path(
    get,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/replacement",
    operation_id = "getReplacement",
    params(Identity),
    responses(
        (status = 200, description = "How far it is.", body = ref("#/components/schemas/Replacement")),
        Problems,
    ),
)]
pub(super) async fn replacement(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
) -> Result<Answer<ReplacementStanding>, ApiFailure> {
    let key = database_of(&site, &session, identity)?;
    Ok(Answer(site.operations.replacement(&key).await?))
}

/// Restores a database in place: a server as it was is made beside it, seen to be well, and takes its
/// place. What it was is kept.
#[utoipa::path(
    post,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/replacement",
    operation_id = "restoreInPlace",
    params(Identity, ("Idempotency-Key" = Option<String>, Header, description = "Whoever sends the same again with the same key is answered as before, for a day.")),
    request_body(content = ref("#/components/schemas/Replacing"), content_type = "application/json"),
    responses(
        (status = 202, description = "It is asked for.", body = ref("#/components/schemas/Replaced")),
        Problems,
    ),
)]
pub(super) async fn replace(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Json(wanted): Json<Replacing>,
) -> Result<Response, ApiFailure> {
    let key = database_of(&site, &session, identity)?;
    let permit = session.who.permit(Role::Developer, &key.project)?;
    let moment = wanted.moment()?;
    let beside = site.operations.replace(&permit, &key, &moment).await?;
    site.engine.wake();
    Ok((StatusCode::ACCEPTED, Answer(Replaced { beside })).into_response())
}

/// Gives a restore in place up, or asks for what the last one has replaced.
#[utoipa::path(
    delete,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/replacement",
    operation_id = "undoRestoreInPlace",
    params(Identity),
    responses(
        (status = 202, description = "It is asked for.", body = ref("#/components/schemas/Undone")),
        Problems,
    ),
)]
pub(super) async fn undo(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
) -> Result<(StatusCode, Answer<Undone>), ApiFailure> {
    let key = database_of(&site, &session, identity)?;
    let permit = session.who.permit(Role::Developer, &key.project)?;
    let undone = site.operations.undo_replacement(&permit, &key).await?;
    site.engine.wake();
    Ok((StatusCode::ACCEPTED, Answer(undone)))
}

/// Destroys what restores in place have replaced.
#[utoipa::path(
    post,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/replacement/purge",
    operation_id = "purgeReplaced",
    params(Identity, ("Idempotency-Key" = Option<String>, Header, description = "Whoever sends the same again with the same key is answered as before, for a day.")),
    request_body(content = ref("#/components/schemas/PurgingReplaced"), content_type = "application/json"),
    responses(
        (status = 200, description = "It is gone.", body = ref("#/components/schemas/PurgedList")),
        Problems,
    ),
)]
pub(super) async fn purge_replaced(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Json(wanted): Json<PurgingReplaced>,
) -> Result<Answer<PurgedList>, ApiFailure> {
    let key = database_of(&site, &session, identity)?;
    let permit = session.who.permit(Role::Admin, &key.project)?;
    let said = Said {
        confirm: wanted.confirm,
        instances: wanted.instances,
    };
    let items = site
        .operations
        .forget_replaced(&permit, &key, &said)
        .await?;
    site.engine.wake();
    Ok(Answer(PurgedList { items }))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    fn read(text: &str) -> Result<Moment, u16> {
        let asked = serde_json::from_str::<Replacing>(text).map_err(|_unreadable| 0_u16)?;
        let moment = asked.moment();
        moment.map_err(|failure| failure.into_response().status().as_u16())
    }

    #[test]
    fn one_moment_is_restored() {
        let latest = read("{}").unwrap();
        assert_eq!(latest.target, RecoveryTarget::Latest);
        let at = read(r#"{"targetLsn": "0/10", "timeline": 2}"#).unwrap();
        assert_eq!(at.target, RecoveryTarget::Lsn(Lsn(16)));
        assert_eq!(at.timeline, Some(Timeline(2)));
        let time = read(r#"{"targetTime": "2026-11-21T14:32:06+01:00"}"#).unwrap();
        assert!(matches!(time.target, RecoveryTarget::Time(_)));
        assert_eq!(read(r#"{"targetTime": "2026-11-21T14:32:06"}"#), Err(422));
        assert_eq!(read(r#"{"targetLsn": "x"}"#), Err(400));
        let two = r#"{"targetName": "a", "targetBackup": "b"}"#;
        assert_eq!(read(two), Err(400));
    }
}
