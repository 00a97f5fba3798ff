//! What can be asked for.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, ETAG};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use boma_engine::plan::PlanView;
use boma_manifest::Manifest;

use super::ApiFailure;
use super::asked::{Asked, Identity, Listing, Newest};
use super::failure::Problems;
use super::resources::{
    self, ApplicationPage, ApplicationResource, AuditList, BackupList, DatabasePage,
    DatabaseResource, EventList,
};
use super::writes::etag;
use crate::access::Session;
use crate::failure::Failure;
use crate::sight::Sight;
use crate::site::Site;
use crate::world::{World, is_application, is_database};

/// Lists databases, in the order of their identities.
#[utoipa::path(
    get,
    path = "/api/v1/databases",
    operation_id = "listDatabases",
    params(Listing),
    responses(
        (status = 200, description = "A part of the list.", body = ref("#/components/schemas/DatabasePage")),
        Problems,
    ),
)]
pub(super) async fn databases(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Query(listing)): Asked<Query<Listing>>,
) -> Json<DatabasePage> {
    let world = World::of(site.state(), &session.who);
    let show = |key: &_| resources::database(&site, &world, key);
    Json(resources::page(world.databases(), &listing, show))
}

/// Lists applications, in the order of their identities.
#[utoipa::path(
    get,
    path = "/api/v1/applications",
    operation_id = "listApplications",
    params(Listing),
    responses(
        (status = 200, description = "A part of the list.", body = ref("#/components/schemas/ApplicationPage")),
        Problems,
    ),
)]
pub(super) async fn applications(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Query(listing)): Asked<Query<Listing>>,
) -> Json<ApplicationPage> {
    let world = World::of(site.state(), &session.who);
    let show = |key: &_| resources::application(&site, &world, key);
    Json(resources::page(world.applications(), &listing, show))
}

/// What a change has to name, if there is a manifest that could be changed.
fn versioned(manifest: Option<&Manifest>) -> HeaderMap {
    let tag = manifest.map(|one| (ETAG, etag(&one.origin().file().bytes)));
    tag.into_iter().collect()
}

/// Shows a database. Its `ETag` names the text of its manifest's file.
#[utoipa::path(
    get,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}",
    operation_id = "getDatabase",
    params(Identity),
    responses(
        (status = 200, description = "The database.", body = ref("#/components/schemas/Database")),
        Problems,
    ),
)]
pub(super) async fn database(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
) -> Result<(HeaderMap, Json<DatabaseResource>), ApiFailure> {
    let world = World::of(site.state(), &session.who);
    let key = identity.database();
    if !world.has_database(&key) {
        return Err(Failure::NotThere("database of that name".to_owned()).into());
    }
    let snapshot = site.snapshot();
    let manifest = snapshot.manifests().find(|one| is_database(one, &key));
    let version = versioned(manifest);
    Ok((version, Json(resources::database(&site, &world, &key))))
}

/// Lists the base backups of a database, oldest first, as its agent knows them.
#[utoipa::path(
    get,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/backups",
    operation_id = "listBackups",
    params(Identity),
    responses(
        (status = 200, description = "The base backups.", body = ref("#/components/schemas/BackupList")),
        Problems,
    ),
)]
pub(super) async fn backups(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
) -> Result<Json<BackupList>, ApiFailure> {
    let world = World::of(site.state(), &session.who);
    let key = identity.database();
    if !world.has_database(&key) {
        return Err(Failure::NotThere("database of that name".to_owned()).into());
    }
    Ok(Json(resources::backups(&world, &key)))
}

/// Shows an application. Its `ETag` names the text of its manifest's file.
#[utoipa::path(
    get,
    path = "/api/v1/applications/{organization}/{unit}/{environment}/{project}/{name}",
    operation_id = "getApplication",
    params(Identity),
    responses(
        (status = 200, description = "The application.", body = ref("#/components/schemas/Application")),
        Problems,
    ),
)]
pub(super) async fn application(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
) -> Result<(HeaderMap, Json<ApplicationResource>), ApiFailure> {
    let world = World::of(site.state(), &session.who);
    let key = identity.application();
    if !world.has_application(&key) {
        return Err(Failure::NotThere("application of that name".to_owned()).into());
    }
    let snapshot = site.snapshot();
    let manifest = snapshot.manifests().find(|one| is_application(one, &key));
    let version = versioned(manifest);
    Ok((version, Json(resources::application(&site, &world, &key))))
}

/// Shows what is left to do; as text for people, where that is what is accepted.
#[utoipa::path(
    get,
    path = "/api/v1/plan",
    operation_id = "getPlan",
    responses(
        (status = 200, description = "The plan.", content(
            (ref("#/components/schemas/PlanView") = "application/json"),
            (String = "text/plain"),
        )),
        Problems,
    ),
)]
pub(super) async fn plan(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    headers: HeaderMap,
) -> Response {
    let (state, snapshot) = (site.state(), site.snapshot());
    let sight = Sight::of(&session.who, &snapshot);
    let plan = sight.plan(&state.plan);
    if headers.get(ACCEPT).is_some_and(|kind| kind == "text/plain") {
        return plan.to_string().into_response();
    }
    Json(PlanView::from(&*plan)).into_response()
}

/// Lists what happened, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    operation_id = "listEvents",
    params(Newest),
    responses(
        (status = 200, description = "The newest events.", body = ref("#/components/schemas/EventList")),
        Problems,
    ),
)]
pub(super) async fn events(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Query(newest)): Asked<Query<Newest>>,
) -> Result<Json<EventList>, ApiFailure> {
    let events = site.events(&session.who, newest.limit).await?;
    let items = events.into_iter().map(Into::into).collect();
    Ok(Json(EventList { items }))
}

/// Lists who changed what, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    operation_id = "listAudit",
    params(Newest),
    responses(
        (status = 200, description = "The newest entries.", body = ref("#/components/schemas/AuditList")),
        Problems,
    ),
)]
pub(super) async fn audit(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Query(newest)): Asked<Query<Newest>>,
) -> Result<Json<AuditList>, ApiFailure> {
    let items = site.audit_trail(&session.who, newest.limit).await?;
    Ok(Json(AuditList { items }))
}
