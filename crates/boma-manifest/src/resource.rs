//! Manifests that an API server holds, as files.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::manifest::{API_VERSIONS, Kind};
use crate::metadata::ProjectIdentity;

/// Keys of labels and annotations that tools write beside a person's own.
const OF_TOOLS: [&str; 2] = ["kubectl.kubernetes.io/", "lowops.manifests/"];

/// A manifest of which the API server holds the name and the specification, and its namespace says
/// which project it is of.
#[derive(Clone, Copy, Debug)]
pub struct CustomResource<'r> {
    /// Its kind.
    pub kind: Kind,
    /// Its name, whatever that is.
    pub name: &'r str,
    /// Its project.
    pub project: &'r ProjectIdentity,
    /// Its labels.
    pub labels: &'r BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: &'r BTreeMap<String, String>,
    /// Its specification, whatever that is; `null`: there is none.
    pub spec: &'r Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'r> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'r>,
    #[serde(skip_serializing_if = "Value::is_null")]
    spec: &'r Value,
}

#[derive(Serialize)]
struct Metadata<'r> {
    name: &'r str,
    #[serde(flatten)]
    project: &'r ProjectIdentity,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'r str, &'r str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'r str, &'r str>,
}

impl CustomResource<'_> {
    /// Whether a label or an annotation is a person's own, and part of the manifest.
    pub fn is_own_mark(key: &str) -> bool {
        !OF_TOOLS.iter().any(|tool| key.starts_with(tool))
    }

    /// The manifest as a file would have it. Nothing is checked: whoever reads the file finds out,
    /// with the same words as for any other.
    pub fn to_yaml(&self) -> String {
        let document = Document {
            api_version: API_VERSIONS[1],
            kind: self.kind.as_str(),
            metadata: Metadata {
                name: self.name,
                project: self.project,
                labels: own(self.labels),
                annotations: own(self.annotations),
            },
            spec: self.spec,
        };
        let options =
            serde_saphyr::ser_options! { compact_list_indent: true, prefer_block_scalars: true };
        serde_saphyr::to_string_with_options(&document, options)
            .expect("texts and JSON should be serialisable")
    }
}

fn own(marks: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let marks = marks
        .iter()
        .filter(|(key, _)| CustomResource::is_own_mark(key));
    marks.map(|(key, value)| (&**key, &**value)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Manifest, parse};

    fn written(spec: &Value) -> String {
        let project = "fincorp/retail-banking/development/login-svc".parse();
        let marks = |keys: [&str; 2]| keys.map(|key| (key.to_owned(), "1".to_owned())).into();
        CustomResource {
            kind: Kind::Database,
            name: "accounts-db",
            project: &project.unwrap(),
            labels: &marks(["team", "lowops.manifests/x"]),
            annotations: &marks(["kubectl.kubernetes.io/last-applied-configuration", "why"]),
            spec,
        }
        .to_yaml()
    }

    #[test]
    fn a_custom_resource_reads_like_a_file() {
        let text = written(&json!({
            "version": "17", "cpuCount": 0.5, "storage": {"size": "10Gi"},
            "parameters": {"work_mem": "64MB", "jit": "off", "random_page_cost": 1.1},
            "backupConfig": {"schedule": "30 1 * * *"}, "extensions": ["pg_trgm"],
        }));
        insta::assert_snapshot!(text);
        let parsed = parse("a.yaml", text.as_bytes());
        assert_eq!(parsed.problems, []);
        let Manifest::Database(database) = &parsed.documents[0] else {
            panic!("it is a database");
        };
        assert_eq!(database.spec.cpu_count.unwrap().to_string(), "0.5");
    }

    #[test]
    fn what_is_wrong_in_it_is_said_as_in_a_file() {
        for (spec, code) in [
            (json!({"deletionProtecton": false}), "unknown-field"),
            (json!({"version": 12}), "unknown-value"),
            (json!(["a"]), "wrong-type"),
        ] {
            let problems = parse("a.yaml", written(&spec).as_bytes()).problems;
            let codes: Vec<&str> = problems.iter().map(|one| one.code.as_str()).collect();
            assert_eq!(codes, [code], "{spec}");
        }
        assert_eq!(
            parse("a.yaml", written(&Value::Null).as_bytes()).problems,
            []
        );
    }
}
