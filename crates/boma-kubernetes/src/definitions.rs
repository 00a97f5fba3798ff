//! The definitions of the custom resources: the same kinds as in files, made of the same types.
//!
//! ```text
//!   types of manifests ─► JSON Schema ─► structural (pure) ─┬─► spec
//!   types of `computed` ─► JSON Schema ─► structural ───────┴─► status     + rules, columns
//! ```

mod structural;

use boma_engine::computed::{ApplicationComputed, DatabaseComputed};
use boma_manifest::Kind;
use serde_json::{Map, Value, json};

use structural::structural;

/// Group of the custom resources.
pub(crate) const GROUP: &str = "lowops.manifests";
/// Its only version.
pub(crate) const VERSION: &str = "v1";
/// Key under which rules stand that the API server evaluates. Before 1.25 it knows none.
const RULES: &str = "x-kubernetes-validations";
/// The first minor version of Kubernetes that evaluates them.
const FIRST_WITH_RULES: u32 = 25;

/// A condition that the API server checks, with the sentence that it answers with.
struct Rule {
    holds: &'static str,
    message: &'static str,
}

impl Rule {
    fn value(&self) -> Value {
        json!({"rule": self.holds, "message": self.message})
    }
}

/// Names of databases and applications are shorter and plainer than those of other objects.
const NAME: Rule = Rule {
    holds: "self.metadata.name.size() <= 40 && !self.metadata.name.contains('.')",
    message: "a name has at most 40 lower-case letters, digits and hyphens",
};

/// A database that was made keeps its major version; what was never made may be corrected.
const MAJOR: Rule = Rule {
    holds: "!has(oldSelf.status) || !has(oldSelf.status.id) || !has(oldSelf.spec) || \
            !has(self.spec) || !has(oldSelf.spec.version) || !has(self.spec.version) || \
            string(self.spec.version) == string(oldSelf.spec.version)",
    message: "the major version is fixed when the database is made: make another database, and \
              move the data",
};

const ONE_TARGET: Rule = Rule {
    holds: "[has(self.targetTime), has(self.targetLsn), has(self.targetName), \
            has(self.targetBackup)].filter(given, given).size() <= 1",
    message: "give at most one of targetTime, targetLsn, targetName and targetBackup",
};

const REPOSITORY: Rule = Rule {
    holds: "!has(self.repository) || has(self.instance)",
    message: "repository stands beside instance only",
};

const ONE_SOURCE: Rule = Rule {
    holds: "!has(self.image) || !has(self.command)",
    message: "give an image or a command, not both",
};

const WORKLOAD: Rule = Rule {
    holds: "!has(self.target) || !has(self.target.workload) || \
            !has(self.source) && !has(self.target.replicas)",
    message: "a workload brings its own source and replicas",
};

/// Every definition.
pub fn definitions() -> Vec<Value> {
    Kind::ALL.into_iter().map(definition).collect()
}

/// What an API server of this minor version takes of a definition.
pub(crate) fn taken_by(minor: u32, definition: &Value) -> Value {
    let mut taken = definition.clone();
    if minor < FIRST_WITH_RULES {
        without_rules(&mut taken);
    }
    taken
}

fn without_rules(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove(RULES);
            fields.values_mut().for_each(without_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(without_rules),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn definition(kind: Kind) -> Value {
    let (plural, short) = match kind {
        Kind::Database => ("databases", "bomadb"),
        Kind::Application => ("applications", "bomaapp"),
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{GROUP}"),
            "labels": {"app.kubernetes.io/name": "boma", "app.kubernetes.io/managed-by": "boma"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.as_str(),
                "listKind": format!("{}List", kind.as_str()),
                "plural": plural,
                "singular": kind.as_str().to_lowercase(),
                // `db` and `app` are other operators' in many clusters.
                "shortNames": [short],
                "categories": ["boma"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns(kind),
                "schema": {"openAPIV3Schema": schema(kind)},
            }],
        },
    })
}

fn schema(kind: Kind) -> Value {
    let described = boma_manifest::json_schema();
    let manifests = described["oneOf"].as_array().into_iter().flatten();
    let own = manifests.filter(|one| one["title"] == kind.as_str());
    let manifest = own.cloned().next_back().unwrap_or_default();
    let mut spec = structural(&manifest["properties"]["spec"]);
    let mut rules = vec![NAME.value()];
    match kind {
        Kind::Database => {
            rules.push(MAJOR.value());
            let restore = "/properties/bootstrap/properties/restore";
            add_rules(&mut spec, restore, &[ONE_TARGET, REPOSITORY]);
        }
        Kind::Application => {
            add_rules(&mut spec, "/properties/source", &[ONE_SOURCE]);
            add_rules(&mut spec, "", &[WORKLOAD]);
        }
    }
    json!({
        "type": "object",
        "description": manifest["description"],
        RULES: rules,
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status(kind),
        },
    })
}

fn add_rules(schema: &mut Value, at: &str, rules: &[Rule]) {
    if let Some(Value::Object(found)) = schema.pointer_mut(at) {
        let rules = rules.iter().map(Rule::value).collect();
        found.insert(RULES.to_owned(), rules);
    }
}

/// `computed` as a status: conditions by the conventions of Kubernetes, and what columns show.
fn status(kind: Kind) -> Value {
    let (mut status, more) = match kind {
        Kind::Database => (
            structural(boma_manifest::plain_schema::<DatabaseComputed>().as_value()),
            json!({
                "endpoint": {"type": "string", "description": "Host and port."},
                "storage": {"type": "string", "description": "How large its disk is to be."},
            }),
        ),
        Kind::Application => (
            structural(boma_manifest::plain_schema::<ApplicationComputed>().as_value()),
            json!({
                "databases": {"type": "string", "description": "What it may reach, in one line."},
            }),
        ),
    };
    let Some(fields) = status["properties"].as_object_mut() else {
        return status;
    };
    // When it was measured changes with each look: it would be a write each time.
    fields.remove("observedAt");
    fields.extend(more.as_object().cloned().unwrap_or_default());
    fields.insert(
        "observedGeneration".to_owned(),
        json!({
            "type": "integer", "format": "int64",
            "description": "The generation that was last taken over without an error.",
        }),
    );
    fields.insert("conditions".to_owned(), conditions());
    if let Value::Object(status) = &mut status {
        // What is not known is left out.
        status.remove("required");
        status.insert(
            "description".to_owned(),
            json!("What was measured, written by Boma."),
        );
    }
    status
}

fn conditions() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "type": "array",
        "description": "Statements about it.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "lastTransitionTime"],
            "properties": {
                "type": text("What it is about."),
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": text("Stable word for why."),
                "message": text("For people."),
                "lastTransitionTime": {
                    "type": "string", "format": "date-time",
                    "description": "Since when the status is so.",
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64",
                    "description": "The generation that it was said of.",
                },
            },
        },
    })
}

fn columns(kind: Kind) -> Vec<Value> {
    let column = |name: &str, form: &str, path: &str| -> Value {
        let mut column = Map::new();
        column.insert("name".to_owned(), json!(name));
        column.insert("type".to_owned(), json!(form));
        column.insert("jsonPath".to_owned(), json!(path));
        Value::Object(column)
    };
    let ready = ".status.conditions[?(@.type==\"Ready\")].status";
    let mut columns = match kind {
        Kind::Database => vec![
            column("Version", "string", ".status.version"),
            column("Phase", "string", ".status.phase"),
            column("Ready", "string", ready),
            column("Storage", "string", ".status.storage"),
            column("Endpoint", "string", ".status.endpoint"),
            column("Last backup", "date", ".status.lastBackup"),
            column("Recoverable until", "date", ".status.recoverableUntil"),
        ],
        Kind::Application => vec![
            column("Phase", "string", ".status.phase"),
            column("Ready", "string", ready),
            column("Databases", "string", ".status.databases"),
        ],
    };
    columns.push(column("Age", "date", ".metadata.creationTimestamp"));
    columns
}

#[cfg(test)]
mod tests;
