//! What the API server is told of a custom resource before it stores it. Pure.
//!
//! The answer is that of `boma validate` about the same manifest. What can only be known beside
//! others (whether a database is there, whether another source describes it) is not asked here:
//! whoever applies a directory applies it in any order. It shows in the status.

mod server;

use std::sync::Arc;

use boma_engine::catalog::{Basis, Catalog};
use boma_manifest::render::{Color, text};
use boma_manifest::{CustomResource, Kind, ProjectIdentity, SourceFile, parse_file};
use boma_problem::{Class, Problem};
use serde::Deserialize;
use serde_json::{Value, json};

pub use server::Admission;

use crate::resources::plural;

/// Codes of problems between manifests.
const BETWEEN: [&str; 4] = [
    "no-such-database",
    "not-admitted",
    "same-role",
    "duplicate-resource",
];

/// What the API server asks.
#[derive(Debug, Deserialize)]
struct Review {
    request: Request,
}

/// One object that is to be stored or deleted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    operation: String,
    kind: AskedKind,
    #[serde(default)]
    namespace: String,
    /// As it will be.
    #[serde(default)]
    object: Value,
    /// As it is.
    #[serde(default)]
    old_object: Value,
}

#[derive(Debug, Deserialize)]
struct AskedKind {
    kind: String,
}

/// What is known of its namespace.
#[derive(Debug)]
struct Namespace {
    /// Its project; none: it is another installation's.
    project: Option<Result<ProjectIdentity, Box<Problem>>>,
    /// Whether it is being deleted, with everything in it.
    is_ending: bool,
}

impl Request {
    /// What is wrong with it; with an error, it is refused.
    fn problems(&self, namespace: &Namespace, basis: &Arc<Basis>) -> Vec<Problem> {
        let mut kinds = Kind::ALL.into_iter();
        let Some(kind) = kinds.find(|kind| kind.as_str() == self.kind.kind) else {
            return Vec::new();
        };
        let Some(project) = &namespace.project else {
            return Vec::new();
        };
        if self.operation == "DELETE" {
            let is_kept = kind == Kind::Database && !namespace.is_ending;
            return is_kept
                .then(|| self.protected())
                .flatten()
                .into_iter()
                .collect();
        }
        // What is stored already is not asked for again when only its finalizers or status change.
        let is_same = |field: &str| self.object.pointer(field) == self.old_object.pointer(field);
        if self.operation == "UPDATE" && ["/spec", "/metadata/labels"].into_iter().all(is_same) {
            return Vec::new();
        }
        match project {
            Err(problem) => vec![Problem::clone(problem)],
            Ok(project) => self.validated(kind, project, basis),
        }
    }

    fn validated(&self, kind: Kind, project: &ProjectIdentity, basis: &Arc<Basis>) -> Vec<Problem> {
        let metadata = &self.object["metadata"];
        let marks =
            |field: &str| serde_json::from_value(metadata[field].clone()).unwrap_or_default();
        let name = metadata["name"].as_str().unwrap_or_default();
        let manifest = CustomResource {
            kind,
            name,
            project,
            labels: &marks("labels"),
            annotations: &marks("annotations"),
            spec: &self.object["spec"],
        };
        let (source, namespace) = (boma_engine::source::CUSTOM_RESOURCES, &self.namespace);
        let file = format!("{source}/{namespace}/{}/{name}", plural(kind));
        let file = SourceFile::new(file, manifest.to_yaml().as_bytes());
        let parsed = Arc::new(parse_file(&file));
        let mut problems = parsed.problems.clone();
        let (_, more) = Catalog::build([&parsed], basis);
        let alone = |problem: &Problem| !BETWEEN.contains(&problem.code.as_str());
        problems.extend(more.into_iter().filter(alone));
        problems
    }

    /// Refuses to delete a database that was made and is protected.
    fn protected(&self) -> Option<Problem> {
        let old = &self.old_object;
        let was_made = old["status"]["id"].is_string();
        let is_protected = old["spec"]["deletionProtection"] != json!(false);
        let name = old["metadata"]["name"].as_str().unwrap_or_default();
        (was_made && is_protected).then(|| {
            let message = format!("Database {name} is protected from deletion");
            Problem::new(Class::User, "deletion-protected", message).hint(format!(
                "Set `deletionProtection: false` first, then delete it: it is stopped, and its data \
                 kept until `boma purge {name}`."
            ))
        })
    }

    /// What the API server is answered.
    fn answer(&self, problems: &[Problem]) -> Value {
        let (errors, warnings): (Vec<Problem>, Vec<Problem>) =
            problems.iter().cloned().partition(Problem::is_error);
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        let mut response = json!({
            "uid": self.uid, "allowed": errors.is_empty(), "warnings": warnings,
        });
        if !errors.is_empty() {
            response["status"] = json!({
                "code": 422, "reason": "Invalid", "message": text(&errors, Color::Never).trim_end(),
            });
        }
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
        })
    }
}

#[cfg(test)]
mod tests;
