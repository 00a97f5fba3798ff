//! Manifests that an API server holds, as files.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::application::ApplicationSpec;
use crate::database::DatabaseSpec;
use crate::manifest::{API_VERSIONS, Kind, Manifest};
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
struct Document<'r, M> {
    api_version: &'static str,
    kind: &'static str,
    metadata: M,
    #[serde(skip_serializing_if = "Spec::is_none")]
    spec: Spec<'r>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Spec<'r> {
    Whatever(&'r Value),
    Database(&'r DatabaseSpec),
    Application(&'r ApplicationSpec),
}

impl Spec<'_> {
    fn is_none(&self) -> bool {
        matches!(self, Self::Whatever(Value::Null))
    }
}

#[derive(Serialize)]
struct InNamespace<'r> {
    name: &'r str,
    namespace: &'r str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'r str, &'r str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'r str, &'r str>,
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
            spec: Spec::Whatever(self.spec),
        };
        yaml(&document)
    }
}

impl Manifest {
    /// The manifest as `kubectl apply` takes it: its project is what the namespace says.
    pub fn to_resource_yaml(&self, namespace: &str) -> String {
        let metadata = self.metadata();
        let document = Document {
            api_version: API_VERSIONS[1],
            kind: self.kind().as_str(),
            metadata: InNamespace {
                name: metadata.name.as_str(),
                namespace,
                labels: own(&metadata.labels),
                annotations: own(&metadata.annotations),
            },
            spec: match self {
                Self::Database(one) => Spec::Database(&one.spec),
                Self::Application(one) => Spec::Application(&one.spec),
            },
        };
        yaml(&document)
    }
}

/// As a file has it.
fn yaml(document: &impl Serialize) -> String {
    let options =
        serde_saphyr::ser_options! { compact_list_indent: true, prefer_block_scalars: true };
    serde_saphyr::to_string_with_options(document, options)
        .expect("texts and JSON should be serialisable")
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
    use crate::parse;

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
    fn a_manifest_is_a_custom_resource_of_its_projects_namespace() {
        let mut text = written(&json!({
            "version": "17", "storage": {"size": "10Gi"},
            "bootstrap": {"restore": {"database": "accounts", "targetLsn": "0/3000000"}},
        }));
        text = text.replace("name: accounts-db", "name: again");
        let parsed = parse("a.yaml", text.as_bytes());
        let manifest = parsed.documents.into_iter().next().unwrap();
        let resource = manifest.to_resource_yaml("fincorp-login-svc");
        assert!(
            resource.starts_with(
                "apiVersion: lowops.manifests/v1\nkind: Database\nmetadata:\n  name: again\n  \
                 namespace: fincorp-login-svc\n  labels:\n    team: \"1\"\n"
            ),
            "{resource}"
        );
        assert!(!resource.contains("organization"), "{resource}");
        // The specification is the same, in the same words.
        let spec = |text: &str| text[text.find("\nspec:").unwrap()..].to_owned();
        assert_eq!(spec(&resource), spec(&manifest.to_yaml()));
        assert!(spec(&resource).contains("targetLsn: "), "{resource}");
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
