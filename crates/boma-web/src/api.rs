//! The HTTP API: what the pages show, for other programs, described by OpenAPI 3.1.
//!
//! Resources are as manifests have them, with `computed` and the place where they are written. Errors are
//! problems after RFC 9457 with the code, place and hints that the command line shows. Who has a session is
//! let in, by its cookie or by `Authorization: Bearer`.
//!
//! Paths are described where they are handled; schemas are those of the types, the same that `boma schema`
//! prints of manifests.

mod asked;
mod backups;
mod body;
mod endings;
mod failure;
mod insight;
mod logs;
mod merge;
mod people;
mod reader;
mod reads;
mod resources;
mod secrets;
mod stream;
mod writes;

use std::sync::{Arc, LazyLock};

use axum::middleware::from_fn_with_state;
use axum::routing::get;
use axum::{Json, Router};
use boma_engine::plan::PlanView;
use boma_instance::History;
use boma_instance::statements::Statements;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::backups::OneBackup;
use crate::checks::Check;
use crate::endings::{Purgeable, ReplacementStanding, Undone};
use crate::site::Site;
pub(crate) use body::Answers;
pub(crate) use failure::ApiFailure;

/// Where schemas are in the description.
const SCHEMAS: &str = "/components/schemas";

/// The name of how programs are let in.
const BEARER: &str = "bearer";

/// Paths below `/api`, and the page that describes them.
pub(crate) fn routes(site: &Arc<Site>) -> Router<Arc<Site>> {
    let (router, _) = described().split_for_parts();
    router
        .route_layer(from_fn_with_state(site.clone(), body::once))
        .route("/api/openapi.json", get(description))
        .method_not_allowed_fallback(async || ApiFailure::wrong_method())
        .route("/api", get(reader::page))
}

fn described() -> OpenApiRouter<Arc<Site>> {
    let info = InfoBuilder::new()
        .title("Boma")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Databases and applications, as their manifests say and as they were measured.",
        ));
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let base = OpenApiBuilder::new()
        .info(info.build())
        .components(Some(
            ComponentsBuilder::new()
                .security_scheme(BEARER, bearer)
                .build(),
        ))
        .security(Some([SecurityRequirement::new(BEARER, [""; 0])]));
    OpenApiRouter::with_openapi(base.build())
        .routes(routes!(reads::databases, writes::create_database))
        .routes(routes!(
            reads::database,
            writes::change_database,
            writes::remove_database
        ))
        .routes(routes!(insight::history))
        .routes(routes!(logs::database_log))
        .routes(routes!(insight::statements))
        .routes(routes!(writes::restore))
        .routes(routes!(reads::backups, writes::back_up))
        .routes(routes!(backups::backup, backups::delete_backup))
        .routes(routes!(backups::begin_check))
        .routes(routes!(backups::check))
        .routes(routes!(endings::purgeable, endings::purge))
        .routes(routes!(
            endings::replacement,
            endings::replace,
            endings::undo
        ))
        .routes(routes!(endings::purge_replaced))
        .routes(routes!(writes::hold_database))
        .routes(routes!(reads::applications, writes::create_application))
        .routes(routes!(
            reads::application,
            writes::change_application,
            writes::remove_application
        ))
        .routes(routes!(writes::deploy))
        .routes(routes!(logs::application_log))
        .routes(routes!(logs::pre_deploy_log))
        .routes(routes!(writes::rotate))
        .routes(routes!(writes::reveal))
        .routes(routes!(writes::hold_application))
        .routes(routes!(reads::plan))
        .routes(routes!(reads::events))
        .routes(routes!(reads::audit))
        .routes(routes!(stream::stream))
        .routes(routes!(people::people, people::invite))
        .routes(routes!(people::remove))
        .routes(routes!(people::assign))
        .routes(routes!(people::invite_again))
        .routes(routes!(people::tokens, people::create_token))
        .routes(routes!(people::remove_token))
        .routes(routes!(backups::repositories))
        .routes(routes!(backups::repository))
        .routes(routes!(backups::forget))
        .routes(routes!(secrets::secrets))
        .routes(routes!(secrets::set_secret, secrets::remove_secret))
        .routes(routes!(
            secrets::set_project_secret,
            secrets::remove_project_secret
        ))
}

/// The description as it is served.
static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let (_, paths) = described().split_for_parts();
    let mut described = serde_json::to_value(paths).unwrap_or_default();
    described["components"]["schemas"] = Value::Object(schemas());
    described
});

async fn description() -> Json<&'static Value> {
    Json(&DESCRIPTION)
}

/// The schemas of all answers.
fn schemas() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    let mut generator = settings.for_serialize().into_generator();
    generator.subschema_for::<resources::DatabasePage>();
    generator.subschema_for::<resources::ApplicationPage>();
    generator.subschema_for::<History>();
    generator.subschema_for::<Statements>();
    generator.subschema_for::<PlanView>();
    generator.subschema_for::<resources::BackupList>();
    generator.subschema_for::<resources::EventList>();
    generator.subschema_for::<resources::AuditList>();
    generator.subschema_for::<failure::ProblemDetails>();
    generator.subschema_for::<writes::NewResource>();
    generator.subschema_for::<writes::Patch>();
    generator.subschema_for::<writes::Restoring>();
    generator.subschema_for::<writes::Hold>();
    generator.subschema_for::<writes::Rotation>();
    generator.subschema_for::<writes::Reveal>();
    generator.subschema_for::<writes::Revealed>();
    generator.subschema_for::<writes::ChangeResource>();
    generator.subschema_for::<stream::Standing>();
    generator.subschema_for::<people::PersonList>();
    generator.subschema_for::<people::TokenList>();
    generator.subschema_for::<people::NewPerson>();
    generator.subschema_for::<people::NewToken>();
    generator.subschema_for::<people::Roles>();
    generator.subschema_for::<people::Invitation>();
    generator.subschema_for::<people::MadeToken>();
    generator.subschema_for::<OneBackup>();
    generator.subschema_for::<backups::NewCheck>();
    generator.subschema_for::<Check>();
    generator.subschema_for::<Purgeable>();
    generator.subschema_for::<endings::Purging>();
    generator.subschema_for::<ReplacementStanding>();
    generator.subschema_for::<endings::Replacing>();
    generator.subschema_for::<endings::Replaced>();
    generator.subschema_for::<Undone>();
    generator.subschema_for::<endings::PurgingReplaced>();
    generator.subschema_for::<endings::PurgedList>();
    generator.subschema_for::<backups::RepositoryList>();
    generator.subschema_for::<backups::HoldingList>();
    generator.subschema_for::<backups::Forgetting>();
    generator.subschema_for::<backups::Forgotten>();
    generator.subschema_for::<secrets::SecretList>();
    generator.subschema_for::<secrets::SecretValue>();
    generator.take_definitions(true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every reference within a description.
    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|one| references(one, found));
            }
            Value::Array(items) => items.iter().for_each(|one| references(one, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn everything_that_the_description_refers_to_is_in_it() {
        let description = &*DESCRIPTION;
        assert_eq!(description["openapi"], "3.1.0");
        let mut found = Vec::new();
        references(description, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let path = reference.strip_prefix('#').unwrap_or(reference);
            assert!(description.pointer(path).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_path_says_what_it_takes_and_what_goes_wrong() {
        assert_eq!(DESCRIPTION["security"][0][BEARER], serde_json::json!([]));
        let paths = DESCRIPTION["paths"].as_object().unwrap();
        let all = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.map(move |(method, operation)| (path, method, operation))
        });
        let mut names = BTreeSet::new();
        for (path, method, operation) in all {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name), "{name} twice");
            let answers = &operation["responses"];
            assert!(answers["default"].is_object(), "{path}: {operation}");
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            for parameter in parameters {
                let said = parameter["description"].as_str().unwrap_or_default();
                assert!(said.ends_with('.'), "{path}: {parameter}");
            }
            for part in path
                .split('{')
                .skip(1)
                .filter_map(|one| one.split('}').next())
            {
                let text = operation["parameters"].to_string();
                assert!(text.contains(&format!("\"{part}\"")), "{path}: {part}");
            }
            let is_change = matches!(method.as_str(), "patch" | "put");
            assert!(!is_change || operation["requestBody"].is_object(), "{path}");
        }
        assert_eq!(names.len(), 53);
        let limit = &DESCRIPTION["paths"]["/api/v1/databases"]["get"]["parameters"][1];
        assert_eq!(limit["schema"]["maximum"], 500, "{limit}");
        assert_eq!(limit["required"], false, "{limit}");
    }
}
