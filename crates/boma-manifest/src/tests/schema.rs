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
