use std::collections::BTreeSet;

use super::*;

/// What the API server takes beside a type, in a structural schema.
const KNOWN: [&str; 16] = [
    "description",
    "type",
    "properties",
    "additionalProperties",
    "items",
    "required",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "format",
    "default",
];

fn check(schema: &Value, path: &str) {
    let Value::Object(keys) = schema else {
        panic!("{path} is no schema");
    };
    for key in keys.keys() {
        let is_known = KNOWN.contains(&key.as_str()) || key.starts_with("x-kubernetes-");
        assert!(is_known, "{path}: {key}");
    }
    let has_type = schema.get("type").is_some()
        || schema.get(structural::ANYTHING).is_some()
        || schema.get("x-kubernetes-int-or-string").is_some();
    assert!(has_type, "{path} has no type");
    let both = schema.get("properties").is_some() && schema.get("additionalProperties").is_some();
    assert!(!both, "{path} has fields by name and of any name");
    assert!(schema.get("default").is_none(), "{path} would be filled in");
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for (name, field) in properties {
            check(field, &format!("{path}.{name}"));
        }
    }
    for (key, below) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let Some(schema) = schema.get(key) {
            check(schema, &format!("{path}{below}"));
        }
    }
}

fn schema_of(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

#[test]
fn every_schema_is_structural() {
    for definition in definitions() {
        check(schema_of(&definition), "");
    }
}

#[test]
fn a_custom_resource_has_the_fields_of_the_manifest() {
    let described = boma_manifest::json_schema();
    for (definition, manifest) in definitions()
        .iter()
        .zip(described["oneOf"].as_array().unwrap())
    {
        let names = |schema: &Value| -> BTreeSet<String> {
            let properties = schema["properties"].as_object().unwrap();
            properties.keys().cloned().collect()
        };
        let spec = &schema_of(definition)["properties"]["spec"];
        assert_eq!(names(spec), names(&manifest["properties"]["spec"]));
    }
}

#[test]
fn a_status_has_what_columns_show_and_nothing_that_changes_with_each_look() {
    for definition in definitions() {
        let status = &schema_of(&definition)["properties"]["status"]["properties"];
        for column in definition["spec"]["versions"][0]["additionalPrinterColumns"]
            .as_array()
            .unwrap()
        {
            let path = column["jsonPath"].as_str().unwrap();
            if let Some(field) = path.strip_prefix(".status.") {
                let field = field.split(['.', '[']).next().unwrap_or_default();
                assert!(status.get(field).is_some(), "{path}");
            }
        }
        assert!(status.get("observedAt").is_none());
        assert_eq!(status["observedGeneration"]["type"], "integer");
    }
}

#[test]
fn rules_are_for_servers_that_evaluate_them() {
    for definition in definitions() {
        assert_eq!(taken_by(FIRST_WITH_RULES, &definition), definition);
        assert!(definition.to_string().contains(RULES));
        assert!(!taken_by(24, &definition).to_string().contains(RULES));
    }
}
