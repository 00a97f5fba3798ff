//! The JSON Schema of manifests.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::application::ApplicationSpec;
use crate::database::DatabaseSpec;
use crate::manifest::{API_VERSIONS, Kind};
use crate::metadata::Metadata;
use crate::names::{ParameterName, SecretName, VariableName};

/// The schema of a manifest of either kind, for editors and other tools.
///
/// It is generated from the types that manifests are decoded into; a test holds it and the
/// decoder together.
pub fn json_schema() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Boma manifest",
        "description": "What Boma should provide: a database, or an application that uses some.",
        "oneOf": [
            document::<DatabaseSpec>(Kind::Database, "A PostgreSQL database."),
            document::<ApplicationSpec>(Kind::Application, "A program that uses databases."),
        ],
    })
}

/// The schema of one type, plain enough for Kubernetes and for completion in editors: written
/// out, without references and without choices for the sake of `null`.
pub fn plain_schema<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    Plain.transform(&mut schema);
    schema.remove("title");
    schema
}

fn document<T: JsonSchema>(kind: Kind, description: &str) -> Value {
    json!({
        "type": "object",
        "title": kind.as_str(),
        "description": description,
        "properties": {
            "apiVersion": {
                "enum": API_VERSIONS,
                "description": "Version of the language of manifests.",
            },
            "kind": { "const": kind.as_str(), "description": description },
            "metadata": plain_schema::<Metadata>(),
            "spec": plain_schema::<T>(),
            "computed": {
                "type": "object",
                "readOnly": true,
                "description": "Written by the platform; ignored in a file.",
            },
        },
        "required": ["apiVersion", "kind", "metadata"],
        "additionalProperties": false,
    })
}

/// Takes away what Rust's types add: `null` beside the type of an optional field, which is left
/// out instead, sizes of integers, and line breaks of comments.
struct Plain;

impl Transform for Plain {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(values)) = schema.get_mut("enum") {
            values.retain(|value| !value.is_null());
        }
        if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
            choices.retain(|choice| *choice != json!({ "type": "null" }));
            if let [Value::Object(only)] = choices.as_slice() {
                let only = only.clone();
                schema.remove("anyOf");
                for (key, value) in only {
                    // What the field says of itself comes before what its type says.
                    schema.ensure_object().entry(key).or_insert(value);
                }
            }
        }
        if schema
            .get("format")
            .and_then(Value::as_str)
            .is_some_and(|name| name.starts_with("uint"))
        {
            schema.remove("format");
        }
        if let Some(Value::String(description)) = schema.get_mut("description") {
            *description = description.replace('\n', " ");
        }
    }
}

/// PostgreSQL settings: numbers and booleans need no quotes.
pub(crate) fn parameters(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": { "pattern": ParameterName::RULE.pattern },
        "additionalProperties": { "type": ["string", "number", "boolean"] },
    })
}

/// A moment with its zone.
pub(crate) fn moment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// The id of an instance.
pub(crate) fn instance(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "uuid" })
}

/// An environment: texts, or secrets by name.
pub(crate) fn environment(generator: &mut SchemaGenerator) -> Schema {
    let secret = generator.subschema_for::<SecretName>();
    json_schema!({
        "type": "object",
        "propertyNames": { "pattern": VariableName::RULE.pattern },
        "additionalProperties": {
            "type": ["string", "object"],
            "properties": { "secret": secret },
            "required": ["secret"],
            "additionalProperties": false,
        },
    })
}
