//! The JSON Schema of manifests.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::application::ApplicationSpec;
use crate::database::DatabaseSpec;
use crate::manifest::{API_VERSIONS, Kind};
use crate::metadata::Metadata;
use crate::names::{ParameterName, SecretName, VariableName};

/// The schema of a manifest of either kind, for editors and other tools.
pub fn json_schema() -> Value {
    let mut generator = SchemaSettings::draft07()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Boma manifest",
        "description": "What Boma should provide: a PostgreSQL database, or an application that uses databases.",
        "oneOf": [
            document::<DatabaseSpec>(&mut generator, Kind::Database, "A PostgreSQL database."),
            document::<ApplicationSpec>(&mut generator, Kind::Application, "A program that uses databases."),
        ],
    })
}

fn document<T: JsonSchema>(
    generator: &mut SchemaGenerator,
    kind: Kind,
    description: &str,
) -> Value {
    let mut metadata = Metadata::json_schema(generator);
    metadata.remove("$schema");
    let mut spec = T::json_schema(generator);
    spec.remove("$schema");
    json!({
        "type": "object",
        "title": kind.as_str(),
        "description": description,
        "properties": {
            "apiVersion": { "enum": API_VERSIONS, "description": "Version of the manifests' language." },
            "kind": { "const": kind.as_str(), "description": description },
            "metadata": metadata,
            "spec": spec,
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
