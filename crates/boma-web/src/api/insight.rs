//! What is asked of servers themselves.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use boma_engine::keys::DatabaseKey;
use boma_instance::History;
use boma_instance::statements::Statements;

use super::ApiFailure;
use super::asked::{Asked, Identity};
use super::failure::Problems;
use crate::access::Session;
use crate::failure::Failure;
use crate::site::Site;
use crate::world::World;

/// Shows what was measured of a database in the last hour.
#[utoipa::path(
    get,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/history",
    operation_id = "getDatabaseHistory",
    params(Identity),
    responses(
        (status = 200, description = "Samples, oldest first.", body = ref("#/components/schemas/History")),
        Problems,
    ),
)]
pub(super) async fn history(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
) -> Result<Json<History>, ApiFailure> {
    let key = known(&site, &session, identity)?;
    Ok(Json(site.insight.history(&key).await?))
}

/// Shows what a database spends its time with, by `pg_stat_statements`.
#[utoipa::path(
    get,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/statements",
    operation_id = "getDatabaseStatements",
    params(Identity),
    responses(
        (status = 200, description = "The statements that took longest together.", body = ref("#/components/schemas/Statements")),
        Problems,
    ),
)]
pub(super) async fn statements(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
) -> Result<Json<Statements>, ApiFailure> {
    let key = known(&site, &session, identity)?;
    Ok(Json(site.insight.statements(&key).await?))
}

fn known(site: &Site, session: &Session, identity: Identity) -> Result<DatabaseKey, ApiFailure> {
    let key = identity.database();
    if !World::of(site.state(), &session.who).has_database(&key) {
        return Err(Failure::NotThere("database of that name".to_owned()).into());
    }
    Ok(key)
}
