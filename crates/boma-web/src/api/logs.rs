//! The ends of logs, for developers: a server's messages may quote rows, and a program prints what it likes.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use boma_engine::keys::ApplicationKey;

use super::ApiFailure;
use super::asked::{Asked, Identity, Tail};
use super::failure::Problems;
use crate::access::Session;
use crate::failure::Failure;
use crate::insight::LogOf;
use crate::people::Role;
use crate::site::Site;
use crate::world::World;

/// Shows the end of the log of a database's server, without passwords.
#[utoipa::path(
    get,
    path = "/api/v1/databases/{organization}/{unit}/{environment}/{project}/{name}/log",
    operation_id = "getDatabaseLog",
    params(Identity, Tail),
    responses(
        (status = 200, description = "Lines, oldest first.", body = String, content_type = "text/plain"),
        Problems,
    ),
)]
pub(super) async fn database_log(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Asked(Query(tail)): Asked<Query<Tail>>,
) -> Result<String, ApiFailure> {
    let key = identity.database();
    let world = World::of(site.state(), &session.who);
    let seen = world.state.observed.databases.get(&key);
    let seen = seen.filter(|_| world.has_database(&key));
    let seen = seen.ok_or_else(|| Failure::NotThere("server of that name".to_owned()))?;
    session.who.permit(Role::Developer, &key.project)?;
    end_of(&site, &LogOf::Server(seen.id), &tail).await
}

/// Shows the end of what an application has printed, without passwords.
#[utoipa::path(
    get,
    path = "/api/v1/applications/{organization}/{unit}/{environment}/{project}/{name}/log",
    operation_id = "getApplicationLog",
    params(Identity, Tail),
    responses(
        (status = 200, description = "Lines, oldest first.", body = String, content_type = "text/plain"),
        Problems,
    ),
)]
pub(super) async fn application_log(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Asked(Query(tail)): Asked<Query<Tail>>,
) -> Result<String, ApiFailure> {
    let key = readable(&site, &session, identity)?;
    end_of(&site, &LogOf::Application(key), &tail).await
}

/// Shows the end of what the last run of an application's `preDeploy` has printed, without passwords.
#[utoipa::path(
    get,
    path = "/api/v1/applications/{organization}/{unit}/{environment}/{project}/{name}/pre-deploy-log",
    operation_id = "getPreDeployLog",
    params(Identity, Tail),
    responses(
        (status = 200, description = "Lines, oldest first.", body = String, content_type = "text/plain"),
        Problems,
    ),
)]
pub(super) async fn pre_deploy_log(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(identity)): Asked<Path<Identity>>,
    Asked(Query(tail)): Asked<Query<Tail>>,
) -> Result<String, ApiFailure> {
    let key = readable(&site, &session, identity)?;
    end_of(&site, &LogOf::PreDeploy(key), &tail).await
}

fn readable(
    site: &Site,
    session: &Session,
    identity: Identity,
) -> Result<ApplicationKey, ApiFailure> {
    let key = identity.application();
    if !World::of(site.state(), &session.who).has_application(&key) {
        return Err(Failure::NotThere("application of that name".to_owned()).into());
    }
    session.who.permit(Role::Developer, &key.project)?;
    Ok(key)
}

async fn end_of(site: &Site, of: &LogOf, tail: &Tail) -> Result<String, ApiFailure> {
    let text = site.insight.log(of).await?.unwrap_or_default();
    Ok(last_lines(&text, tail.lines as usize).to_owned())
}

/// The last lines of a text.
fn last_lines(text: &str, count: usize) -> &str {
    let ends = text.trim_end_matches('\n').rmatch_indices('\n');
    let before = ends.map(|(at, _)| at + 1).nth(count.saturating_sub(1));
    &text[before.unwrap_or(0)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last_lines("a\nb\nc", 1), "c");
        assert_eq!(last_lines("a\nb\n", 2), "a\nb\n");
        assert_eq!(last_lines("a\nb\n", 7), "a\nb\n");
        assert_eq!(last_lines("", 7), "");
    }
}
