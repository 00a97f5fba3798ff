//! What can be changed and asked for. A change is one of a manifest, as in the pages: it is judged,
//! written into the source, and the engine brings it about.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answer};
use boma_engine::catalog::Subject;
use boma_engine::keys::GrantKey;
use boma_engine::plan::PlanView;
use boma_engine::source::{Committed, NewManifest, Proposal};
use boma_manifest::edit::{Change, Step, Written};
use boma_manifest::{Kind, Manifest};
use boma_problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ApiFailure;
use super::asked::{Asked, Identity, Trial};
use super::body::{Json, version_read};
use super::failure::Problems;
use super::merge;
use crate::access::Session;
use crate::change::{self, Judged, Told, mark, permit, restored};
use crate::failure::Failure;
use crate::people::Role;
use crate::site::Site;
use crate::world::{World, is_application, is_database};

/// Something new.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewResource {
    /// Its project: `organization/organizational-unit/environment/project`.
    project: String,
    /// Its name.
    name: String,
    /// What its manifest is to say, as manifests say it.
    #[serde(default)]
    spec: Map<String, Value>,
    /// The label of the source that it goes to, where there are several and none has its project; left out:
    /// the first that may be written.
    #[serde(default)]
    source: String,
}

/// What changes of a manifest, as a JSON merge patch (RFC 7396).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Patch {
    /// What it is to say otherwise; `null` takes a field away.
    spec: Map<String, Value>,
}

/// A new database as another one was.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Restoring {
    /// Its name.
    name: String,
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

impl Restoring {
    /// The moment as a manifest has it; whoever reads that says what is wrong with it.
    fn moment(&self) -> Vec<(String, Written)> {
        let targets = [
            ("targetTime", &self.target_time),
            ("targetLsn", &self.target_lsn),
            ("targetName", &self.target_name),
            ("targetBackup", &self.target_backup),
        ];
        let text = |(name, target): (&str, &Option<String>)| {
            let target = target.clone()?;
            Some((name.to_owned(), Written::Text(target)))
        };
        let timeline = self.timeline.map(|number| Written::Number(number.into()));
        let timeline = timeline.map(|number| ("timeline".to_owned(), number));
        targets
            .into_iter()
            .filter_map(text)
            .chain(timeline)
            .collect()
    }
}

/// Whether something is stopped until somebody starts it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Hold {
    /// Whether it is.
    held: bool,
}

/// Whose password is to be another one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// The database: project and name.
    database: String,
}

/// Which secret is to be shown.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reveal {
    /// The variable.
    variable: String,
}

/// A secret.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Revealed {
    /// What the variable has.
    value: String,
}

/// A change of a manifest: what it writes, and what comes of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Change")]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeResource {
    /// The file, within the sources.
    file: String,
    /// What changes in it, as `diff -u` shows it.
    difference: String,
    /// What is done then; none: there are errors, and nothing is.
    plan: Option<PlanView>,
    /// What is wrong, or should be known.
    problems: Vec<Problem>,
    /// Whether it was written.
    written: bool,
    /// The commit, where the source is a repository.
    commit: Option<String>,
    /// The branch of that commit.
    branch: Option<String>,
}

/// What a change comes to, and where what it is about can be read.
async fn done(
    site: &Site,
    session: &Session,
    (proposal, about, at): (&Proposal, &str, String),
    trial: &Trial,
) -> Result<Response, ApiFailure> {
    let proposal = &site.placed(proposal)?;
    permit(session, proposal)?;
    let judged = Judged::of(site, session, proposal);
    let is_new = proposal.former().is_none();
    let is_wanted = !trial.dry_run && !proposal.is_empty();
    let told = Told {
        about: trial.message.as_deref().unwrap_or(about),
        for_review: trial.review,
    };
    let committed: Option<Committed> = if is_wanted {
        change::write(site, session, proposal, &told).await?
    } else {
        None
    };
    let lines = proposal.difference();
    let lines = lines
        .iter()
        .map(|line| format!("{}{}\n", line.mark.letter(), line.text));
    let (commit, branch) = committed.map(|one| (one.commit, one.branch)).unzip();
    let shown = ChangeResource {
        file: proposal.name().to_string(),
        difference: lines.collect(),
        plan: judged.plan.as_ref().map(Into::into),
        problems: judged.problems,
        written: is_wanted,
        commit,
        branch,
    };
    let status = if is_new && is_wanted {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut response = (status, Answer(shown)).into_response();
    let headers = response.headers_mut();
    if is_wanted {
        headers.insert(ETAG, etag(proposal.text().as_bytes()));
    }
    if let Ok(at) = HeaderValue::from_str(&at) {
        headers.insert(LOCATION, at);
    }
    Ok(response)
}

/// What tells a version of a manifest's file from others.
pub(super) fn etag(bytes: &[u8]) -> HeaderValue {
    let mark = format!("\"{}\"", mark(Some(bytes)));
    HeaderValue::from_str(&mark).unwrap_or(HeaderValue::from_static("\"\""))
}

async fn create(
    site: &Site,
    session: &Session,
    (kind, new): (Kind, NewResource),
    trial: &Trial,
) -> Result<Response, ApiFailure> {
    let spec = merge::changes(&Step::fields(["spec"]), &new.spec, &Value::Null);
    let label = |one: &&crate::writing::Target| one.label == new.source;
    let named = site.targets.iter().find(label);
    // Where none may be written, the first one says why.
    let writable = || site.writable_targets().next();
    let target = named.or_else(writable).or(site.targets.first());
    let manifest = NewManifest {
        kind,
        project: &new.project,
        name: &new.name,
        spec,
        label: target.map_or("", |target| &target.label),
    };
    let proposal = manifest.propose(&site.snapshot());
    let proposal = proposal.map_err(|error| Failure::of(&error))?;
    let about = format!("{}: new {}", new.name, kind.as_str().to_lowercase());
    let at = format!(
        "/api/v1/{}s/{}/{}",
        kind.as_str().to_lowercase(),
        new.project,
        new.name
    );
    done(site, session, (&proposal, &about, at), trial).await
}

/// A manifest that is changed, if the program has read it as it is.
fn version_of<'m>(
    headers: &HeaderMap,
    manifest: Option<&'m Manifest>,
) -> Result<&'m Manifest, ApiFailure> {
    let manifest = manifest.ok_or_else(|| Failure::NotThere("manifest of that name".to_owned()))?;
    let read = version_read(headers)?;
    if read == "*" || mark(Some(&manifest.origin().file().bytes)) == read {
        return Ok(manifest);
    }
    Err(ApiFailure::changed_since(&manifest.origin().file().name))
}

async fn patch(
    site: &Site,
    session: &Session,
    (manifest, patch): (&Manifest, Patch),
    trial: &Trial,
) -> Result<Response, ApiFailure> {
    let now = match manifest {
        Manifest::Database(one) => serde_json::to_value(&one.spec),
        Manifest::Application(one) => serde_json::to_value(&one.spec),
    };
    let now = now.map_err(|error| ApiFailure::unreadable(&error))?;
    let changes: Vec<Change> = merge::changes(&Step::fields(["spec"]), &patch.spec, &now);
    let proposal = Proposal::of(manifest, &changes)?;
    let metadata = manifest.metadata();
    let kind = manifest.kind().as_str().to_lowercase();
    let at = format!("/api/v1/{kind}s/{}/{}", metadata.project, metadata.name);
    let about = format!("{}: change the {kind}", metadata.name);
    done(site, session, (&proposal, &about, at), trial).await
}

/// The end of a resource: its manifest goes.
async fn remove(
    site: &Site,
    session: &Session,
    manifest: &Manifest,
    trial: &Trial,
) -> Result<Response, ApiFailure> {
    let proposal = Proposal::removal(manifest)?;
    let kind = manifest.kind().as_str().to_lowercase();
    let about = format!("{}: remove the {kind}", manifest.metadata().name);
    let at = format!("/api/v1/{kind}s");
    let mut ended = done(site, session, (&proposal, &about, at), trial).await?;
    // There is no version of what is gone, whatever else its file may hold.
    ended.headers_mut().remove(ETAG);
    Ok(ended)
}

/// Creates a database: writes its manifest.
#[utoipa::path(
    post,
    path = "/api/v1/databases",
    operation_id = "createDatabase",
    params(Trial, ("Idempotency-Key" = Option<String>, Header, description = "Whoever sends the same again with the same key is answered as before, for a day.")),
    request_body(content = ref("#/components/schemas/NewResource"), content_type = "application/json"),
    responses(
        (status = 200, description = "What it would be.", body = ref("#/components/schemas/Change")),
        (status = 201, description = "It is written.", body = ref("#/components/schemas/Change")),
        Problems,
    ),
)]
pub(super) async fn create_database(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Query(trial)): Asked<Query<Trial>>,
    Json(new): Json<NewResource>,
) -> Result<Response, ApiFailure> {
    create(&site, &session, (Kind::Database, new), &trial).await
}

/// Creates an application: writes its manifest.
#[utoipa::path(
    post,
    path = "/api/v1/applications",
    operation_id = "createApplication",
    params(Trial, ("Idempotency-Key" = Option<String>, Header, description = "Whoever sends the same again with the same key is answered as before, for a day.")),
    request_body(content = ref("#/components/schemas/NewResource"), content_type = "application/json"),
    responses(
        (status = 200, description = "What it would be.", body = ref("#/components/schemas/Change")),
        (status = 201, description = "It is written.", body = ref("#/components/schemas/Change")),
        Problems,
    ),
)]
pub(super) async fn create_application(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Query(trial)): Asked<Query<Trial>>,
    Json(new): Json<NewResource>,
) -> Result<Response, ApiFailure> {
    create(&site, &session, (Kind::Application, new), &trial).await
}

/// Changes the manifest of a database.
#[utoipa::path(
    patch,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}",
    operation_id = "changeDatabase",
    params(Identity, Trial, ("If-Match" = String, Header, description = "The `ETag` of what was read; `*`: whatever it is.")),
    request_body(content = ref("#/components/schemas/Patch"), content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "The change.", body = ref("#/components/schemas/Change")),
        Problems,
    ),
)]
pub(super) async fn change_database(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Asked(Query(trial)): Asked<Query<Trial>>,
    headers: HeaderMap,
    Json(wanted): Json<Patch>,
) -> Result<Response, ApiFailure> {
    let key = identity.database();
    session.who.sees_or_not_there(&(&key).into(), "database")?;
    let snapshot = site.snapshot();
    let manifest = snapshot.manifests().find(|one| is_database(one, &key));
    let manifest = version_of(&headers, manifest)?;
    patch(&site, &session, (manifest, wanted), &trial).await
}

/// Retires a database: its manifest goes, its server stops, its data stays.
#[utoipa::path(
    delete,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}",
    operation_id = "removeDatabase",
    params(Identity, Trial, ("If-Match" = String, Header, description = "The `ETag` of what was read; `*`: whatever it is.")),
    responses(
        (status = 200, description = "The change.", body = ref("#/components/schemas/Change")),
        Problems,
    ),
)]
pub(super) async fn remove_database(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Asked(Query(trial)): Asked<Query<Trial>>,
    headers: HeaderMap,
) -> Result<Response, ApiFailure> {
    let key = identity.database();
    session.who.sees_or_not_there(&(&key).into(), "database")?;
    let snapshot = site.snapshot();
    let manifest = snapshot.manifests().find(|one| is_database(one, &key));
    let manifest = version_of(&headers, manifest)?;
    remove(&site, &session, manifest, &trial).await
}

/// Changes the manifest of an application.
#[utoipa::path(
    patch,
    path = "/api/v1/applications/{organization}/{unit}/{environment}/{project}/{name}",
    operation_id = "changeApplication",
    params(Identity, Trial, ("If-Match" = String, Header, description = "The `ETag` of what was read; `*`: whatever it is.")),
    request_body(content = ref("#/components/schemas/Patch"), content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "The change.", body = ref("#/components/schemas/Change")),
        Problems,
    ),
)]
pub(super) async fn change_application(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Asked(Query(trial)): Asked<Query<Trial>>,
    headers: HeaderMap,
    Json(wanted): Json<Patch>,
) -> Result<Response, ApiFailure> {
    let key = identity.application();
    session
        .who
        .sees_or_not_there(&(&key).into(), "application")?;
    let snapshot = site.snapshot();
    let manifest = snapshot.manifests().find(|one| is_application(one, &key));
    let manifest = version_of(&headers, manifest)?;
    patch(&site, &session, (manifest, wanted), &trial).await
}

/// Removes an application: its manifest goes, it is stopped, and its users are taken out of its databases.
#[utoipa::path(
    delete,
    path = "/api/v1/applications/{organization}/{unit}/{environment}/{project}/{name}",
    operation_id = "removeApplication",
    params(Identity, Trial, ("If-Match" = String, Header, description = "The `ETag` of what was read; `*`: whatever it is.")),
    responses(
        (status = 200, description = "The change.", body = ref("#/components/schemas/Change")),
        Problems,
    ),
)]
pub(super) async fn remove_application(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Asked(Query(trial)): Asked<Query<Trial>>,
    headers: HeaderMap,
) -> Result<Response, ApiFailure> {
    let key = identity.application();
    session
        .who
        .sees_or_not_there(&(&key).into(), "application")?;
    let snapshot = site.snapshot();
    let manifest = snapshot.manifests().find(|one| is_application(one, &key));
    let manifest = version_of(&headers, manifest)?;
    remove(&site, &session, manifest, &trial).await
}

/// Restores a database as it was at a moment, into a new one beside it.
#[utoipa::path(
    post,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/restores",
    operation_id = "restoreDatabase",
    params(Identity, Trial, ("Idempotency-Key" = Option<String>, Header, description = "Whoever sends the same again with the same key is answered as before, for a day.")),
    request_body(content = ref("#/components/schemas/Restoring"), content_type = "application/json"),
    responses(
        (status = 200, description = "What it would be.", body = ref("#/components/schemas/Change")),
        (status = 201, description = "It is written.", body = ref("#/components/schemas/Change")),
        Problems,
    ),
)]
pub(super) async fn restore(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Asked(Query(trial)): Asked<Query<Trial>>,
    Json(wanted): Json<Restoring>,
) -> Result<Response, ApiFailure> {
    let key = identity.database();
    session.who.sees_or_not_there(&(&key).into(), "database")?;
    let snapshot = site.snapshot();
    let manifest = snapshot.manifests().find(|one| is_database(one, &key));
    let Some(Manifest::Database(database)) = manifest else {
        return Err(Failure::NotThere("manifest of that database".to_owned()).into());
    };
    let proposal = restored(database, &wanted.name, wanted.moment())?;
    let about = format!("{}: restored from {}", wanted.name, key.name);
    let at = format!("/api/v1/databases/{}/{}", key.project, wanted.name);
    done(&site, &session, (&proposal, &about, at), &trial).await
}

/// Begins a base backup; what becomes of it is an event.
#[utoipa::path(
    post,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/backups",
    operation_id = "backUpDatabase",
    params(Identity, ("Idempotency-Key" = Option<String>, Header, description = "Whoever sends the same again with the same key is answered as before, for a day.")),
    responses((status = 202, description = "It begins."), Problems),
)]
pub(super) async fn back_up(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
) -> Result<StatusCode, ApiFailure> {
    let key = identity.database();
    if !World::of(site.state(), &session.who).has_database(&key) {
        return Err(Failure::NotThere("database of that name".to_owned()).into());
    }
    let permit = session.who.permit(Role::Developer, &key.project)?;
    site.operations.back_up(&permit, &key).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Stops a database until somebody starts it, or starts it.
#[utoipa::path(
    put,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/held",
    operation_id = "holdDatabase",
    params(Identity),
    request_body(content = ref("#/components/schemas/Hold"), content_type = "application/json"),
    responses((status = 204, description = "It is asked for."), Problems),
)]
pub(super) async fn hold_database(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Json(wanted): Json<Hold>,
) -> Result<StatusCode, ApiFailure> {
    let key = identity.database();
    if !World::of(site.state(), &session.who).has_database(&key) {
        return Err(Failure::NotThere("database of that name".to_owned()).into());
    }
    hold(&site, &session, (&(&key).into(), &key.project), &wanted).await
}

/// Stops an application until somebody starts it, or starts it.
#[utoipa::path(
    put,
    path = "/api/v1/applications/{organization}/{unit}/{environment}/{project}/{name}/held",
    operation_id = "holdApplication",
    params(Identity),
    request_body(content = ref("#/components/schemas/Hold"), content_type = "application/json"),
    responses((status = 204, description = "It is asked for."), Problems),
)]
pub(super) async fn hold_application(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Json(wanted): Json<Hold>,
) -> Result<StatusCode, ApiFailure> {
    let key = identity.application();
    if !World::of(site.state(), &session.who).has_application(&key) {
        return Err(Failure::NotThere("application of that name".to_owned()).into());
    }
    hold(&site, &session, (&(&key).into(), &key.project), &wanted).await
}

async fn hold(
    site: &Site,
    session: &Session,
    (subject, project): (&Subject, &str),
    wanted: &Hold,
) -> Result<StatusCode, ApiFailure> {
    let permit = session.who.permit(Role::Developer, project)?;
    site.operations.hold(&permit, subject, wanted.held).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Exchanges an application's password of a database.
#[utoipa::path(
    post,
    path = "/api/v1/applications/{organization}/{unit}/{environment}/{project}/{name}/rotations",
    operation_id = "rotatePassword",
    params(Identity, ("Idempotency-Key" = Option<String>, Header, description = "Whoever sends the same again with the same key is answered as before, for a day.")),
    request_body(content = ref("#/components/schemas/Rotation"), content_type = "application/json"),
    responses((status = 202, description = "It is asked for."), Problems),
)]
pub(super) async fn rotate(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Json(wanted): Json<Rotation>,
) -> Result<StatusCode, ApiFailure> {
    let world = World::of(site.state(), &session.who);
    let application = identity.application();
    let database = wanted.database.parse().ok();
    let grant = database.map(|database| GrantKey {
        application: application.clone(),
        database,
    });
    let is_there = |grant: &GrantKey| {
        world.has_application(&application) && world.state.observed.grants.contains_key(grant)
    };
    let grant = grant.filter(is_there);
    let grant =
        grant.ok_or_else(|| Failure::NotThere("such access of that application".to_owned()))?;
    let permit = session.who.permit(Role::Developer, &application.project)?;
    site.operations.rotate(&permit, &grant).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Runs an application's `preDeploy` and restarts what it runs, though nothing has changed.
#[utoipa::path(
    post,
    path = "/api/v1/applications/{organization}/{unit}/{environment}/{project}/{name}/deployments",
    operation_id = "deployApplication",
    params(Identity, ("Idempotency-Key" = Option<String>, Header, description = "Whoever sends the same again with the same key is answered as before, for a day.")),
    responses((status = 202, description = "It is asked for."), Problems),
)]
pub(super) async fn deploy(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
) -> Result<StatusCode, ApiFailure> {
    let key = identity.application();
    if !World::of(site.state(), &session.who).has_application(&key) {
        return Err(Failure::NotThere("application of that name".to_owned()).into());
    }
    site.deploy(&session, &key).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Shows one secret of an application; that is recorded.
#[utoipa::path(
    post,
    path = "/api/v1/applications/{organization}/{unit}/{environment}/{project}/{name}/reveal",
    operation_id = "revealVariable",
    params(Identity),
    request_body(content = ref("#/components/schemas/Reveal"), content_type = "application/json"),
    responses(
        (status = 200, description = "The secret.", body = ref("#/components/schemas/Revealed")),
        Problems,
    ),
)]
pub(super) async fn reveal(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Json(wanted): Json<Reveal>,
) -> Result<Response, ApiFailure> {
    let key = identity.application();
    if !World::of(site.state(), &session.who).has_application(&key) {
        return Err(Failure::NotThere("application of that name".to_owned()).into());
    }
    let permit = session.who.permit(Role::Developer, &key.project)?;
    let value = site
        .operations
        .reveal(&permit, &key, &wanted.variable)
        .await?;
    let answer = Answer(Revealed {
        value: value.expose().clone(),
    });
    Ok(([(CACHE_CONTROL, "no-store")], answer).into_response())
}
