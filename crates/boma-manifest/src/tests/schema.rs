//! Schema and decoder know the same fields.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::decode::{Context, Decode, Input};
use crate::{ApplicationSpec, DatabaseSpec, Metadata, SourceFile, json_schema, syntax};

/// One of everything, so that the decoder asks for every field.
const DATABASE: &str = "\
spec:
  storage: {size: 1Gi}
  backupConfig: {enabled: true}
  bootstrap: {restore: {database: a}}
  access: {projects: [{project: a}]}
";

const APPLICATION: &str = "\
spec:
  source: {image: a}
  target: {port: 1}
  env: {A: {secret: a}}
  accessControl: {databases: [{name: a, secretSource: {envVar: A}}]}
";

const METADATA: &str = "\
metadata: {name: db, organization: o, organizational-unit: u, environment: e, project: p}
";

type Shape = BTreeMap<String, BTreeSet<String>>;

/// The fields that the decoder of a type asks for, by the path of their mapping.
fn asked<T: Decode>(text: &str, name: &str) -> Shape {
    let file = SourceFile::new("a.yaml", text.as_bytes());
    let root = syntax::documents(text).next().unwrap().unwrap();
    let context = Context::new(&file, text);
    let input = Input::root(&context, &root);
    let (key, node) = &root.entries()[0];
    assert_eq!(key.text(), Some(name));
    assert!(T::decode(input.at_key(key, node)).is_some());
    let asked = context.asked.borrow();
    let plain = |path: &str| path.replace("[0]", "[]").replace(".env.A", ".env.*");
    let names = |names: &Vec<&str>| names.iter().map(|name| (*name).to_owned()).collect();
    asked
        .iter()
        .map(|(path, fields)| (plain(path), names(fields)))
        .collect()
}

/// The fields of a schema, by the path of their object.
fn described(schema: &Value, path: &str, shape: &mut Shape) {
    if let Some(Value::Object(properties)) = schema.get("properties") {
        shape.insert(path.to_owned(), properties.keys().cloned().collect());
        assert_eq!(schema["additionalProperties"], Value::Bool(false), "{path}");
        for (name, property) in properties {
            described(property, &format!("{path}.{name}"), shape);
        }
    }
    if let Some(items) = schema.get("items") {
        described(items, &format!("{path}[]"), shape);
    }
    if let Some(values @ Value::Object(_)) = schema.get("additionalProperties") {
        described(values, &format!("{path}.*"), shape);
    }
}

fn of_schema(kind: usize, name: &str) -> Shape {
    let schema = json_schema();
    let mut shape = Shape::new();
    described(&schema["oneOf"][kind]["properties"][name], name, &mut shape);
    shape
}

#[test]
fn schema_and_decoder_know_the_same_fields() {
    assert_eq!(
        asked::<DatabaseSpec>(DATABASE, "spec"),
        of_schema(0, "spec")
    );
    assert_eq!(
        asked::<ApplicationSpec>(APPLICATION, "spec"),
        of_schema(1, "spec")
    );
    assert_eq!(
        asked::<Metadata>(METADATA, "metadata"),
        of_schema(0, "metadata")
    );
}

/// The fields that a schema requires, by the path of their object.
fn required(schema: &Value, path: &str, found: &mut Vec<String>) {
    for name in schema["required"].as_array().into_iter().flatten() {
        found.push(format!("{path}.{}", name.as_str().unwrap()));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        required(property, &format!("{path}.{name}"), found);
    }
    for (key, below) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let Some(schema) = schema.get(key) {
            required(schema, &format!("{path}{below}"), found);
        }
    }
}

#[test]
fn the_schema_requires_what_the_decoder_does_not_do_without() {
    let found = |kind: usize, name: &str| {
        let mut found = Vec::new();
        required(
            &json_schema()["oneOf"][kind]["properties"][name],
            name,
            &mut found,
        );
        found
    };
    // The texts above have these and are decoded, so that nothing else is needed.
    assert_eq!(
        found(0, "spec"),
        [
            "spec.access.projects[].project",
            "spec.bootstrap.restore.database",
        ]
    );
    assert_eq!(
        found(1, "spec"),
        ["spec.accessControl.databases[].name", "spec.env.*.secret",]
    );
}

#[test]
fn every_field_is_described() {
    fn check(schema: &Value, path: &str) {
        if let Some(Value::Object(properties)) = schema.get("properties") {
            for (name, property) in properties {
                let path = format!("{path}.{name}");
                let description = property["description"].as_str().unwrap_or_default();
                // What a secret of `env` is, its name says.
                assert!(
                    !description.is_empty() || path.ends_with("*.secret"),
                    "{path}"
                );
                assert!(
                    !description.contains('\n') && !description.contains("[`"),
                    "{path}"
                );
                check(property, &path);
            }
        }
        for (key, below) in [("items", "[]"), ("additionalProperties", ".*")] {
            if let Some(schema) = schema.get(key) {
                check(schema, &format!("{path}{below}"));
            }
        }
    }
    for kind in 0..2 {
        check(&json_schema()["oneOf"][kind], "");
    }
}

#[test]
fn nothing_in_the_schema_is_there_for_the_sake_of_null() {
    let text = json_schema().to_string();
    assert!(
        !text.contains("null") && !text.contains("$ref") && !text.contains("uint"),
        "{text}"
    );
}
