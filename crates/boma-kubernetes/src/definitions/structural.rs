//! JSON Schema as Kubernetes takes it: structural, without what it forbids. Pure.

use serde_json::{Map, Value, json};

/// Key that says that fields which are not described stay. Boma says that they are wrong and what
/// they are near to; taken away by the API server, they would silently mean nothing.
pub(super) const ANYTHING: &str = "x-kubernetes-preserve-unknown-fields";

/// Limits of single values that both know.
const LIMITS: [&str; 8] = [
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "required",
];

/// A schema as the API server takes it. What it cannot say, it leaves open: Boma checks that.
pub(super) fn structural(schema: &Value) -> Value {
    let mut made = Map::new();
    made.extend(description(schema));
    match form(schema) {
        Form::Object => {
            made.insert("type".to_owned(), json!("object"));
            made.extend(fields(schema));
        }
        Form::List => {
            made.insert("type".to_owned(), json!("array"));
            made.insert("items".to_owned(), structural(&schema["items"]));
        }
        Form::Plain(name) => {
            made.insert("type".to_owned(), json!(name));
        }
        Form::TextOrInteger => {
            made.insert("x-kubernetes-int-or-string".to_owned(), json!(true));
        }
        Form::Open => {
            made.insert(ANYTHING.to_owned(), json!(true));
            return Value::Object(made);
        }
    }
    let limits = LIMITS.iter().filter_map(|limit| {
        let value = schema.get(*limit)?;
        Some(((*limit).to_owned(), value.clone()))
    });
    made.extend(limits);
    let values = match (schema.get("enum"), schema.get("const")) {
        (Some(values), _) => Some(values.clone()),
        (None, Some(only)) => Some(json!([only])),
        (None, None) => None,
    };
    made.extend(values.map(|values| ("enum".to_owned(), values)));
    Value::Object(made)
}

/// What a value may be.
enum Form {
    Object,
    List,
    /// A type that is one word in both.
    Plain(&'static str),
    TextOrInteger,
    Open,
}

fn form(schema: &Value) -> Form {
    let named = |types: &[&str]| match types {
        ["object"] => Form::Object,
        ["array"] => Form::List,
        ["string"] => Form::Plain("string"),
        ["integer"] => Form::Plain("integer"),
        ["number"] => Form::Plain("number"),
        ["boolean"] => Form::Plain("boolean"),
        ["string", "integer"] | ["integer", "string"] => Form::TextOrInteger,
        _ => Form::Open,
    };
    match (&schema["type"], schema.get("enum"), schema.get("const")) {
        (Value::String(only), _, _) => named(&[only.as_str()]),
        (Value::Array(types), _, _) => {
            let types: Vec<&str> = types.iter().filter_map(Value::as_str).collect();
            named(&types)
        }
        (_, Some(Value::Array(values)), _) => {
            let mut types: Vec<&str> = values.iter().map(type_of).collect();
            types.dedup();
            named(&types)
        }
        (_, _, Some(only)) => named(&[type_of(only)]),
        (_, _, _) => of_choices(schema),
    }
}

/// What all choices are, where they are of one plain type.
fn of_choices(schema: &Value) -> Form {
    let choices = ["oneOf", "anyOf"].iter().find_map(|key| schema.get(*key));
    let choices = choices.and_then(Value::as_array).into_iter().flatten();
    let mut forms = choices.map(form);
    match forms.next() {
        Some(Form::Plain(name))
            if forms.all(|other| matches!(other, Form::Plain(other) if other == name)) =>
        {
            Form::Plain(name)
        }
        Some(_) | None => Form::Open,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Null => "null",
    }
}

/// The fields of an object, by name or of any name.
fn fields(schema: &Value) -> Map<String, Value> {
    let mut made = Map::new();
    if let Some(Value::Object(properties)) = schema.get("properties") {
        let properties = properties.iter();
        let properties = properties.map(|(name, field)| (name.clone(), structural(field)));
        made.insert("properties".to_owned(), Value::Object(properties.collect()));
    }
    match schema.get("additionalProperties") {
        Some(values @ Value::Object(_)) if !made.contains_key("properties") => {
            made.insert("additionalProperties".to_owned(), structural(values));
        }
        Some(_) | None => {
            made.insert(ANYTHING.to_owned(), json!(true));
        }
    }
    made
}

/// What a field means; a default is said and not filled in: what is left out follows from the plan
/// first.
fn description(schema: &Value) -> Option<(String, Value)> {
    let text = schema["description"].as_str().unwrap_or_default();
    let text = match schema.get("default") {
        Some(Value::String(default)) => format!("{text} Default: {default}."),
        Some(default) => format!("{text} Default: {default}."),
        None => text.to_owned(),
    };
    let text = text.trim();
    (!text.is_empty()).then(|| ("description".to_owned(), json!(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_cannot_say_is_left_open() {
        for (schema, wanted) in [
            (
                json!({"type": "string", "pattern": "^a$", "maxLength": 3, "format": "uuid"}),
                json!({"type": "string", "pattern": "^a$", "maxLength": 3}),
            ),
            (
                json!({"type": "integer", "minimum": 1, "default": 7, "description": "How many."}),
                json!({"type": "integer", "minimum": 1, "description": "How many. Default: 7."}),
            ),
            (
                json!({"enum": ["15", "16", 15, 16]}),
                json!({"x-kubernetes-int-or-string": true, "enum": ["15", "16", 15, 16]}),
            ),
            (
                json!({"const": "a"}),
                json!({"type": "string", "enum": ["a"]}),
            ),
            (
                json!({"type": ["string", "number"]}),
                json!({ANYTHING: true}),
            ),
            (
                json!({"anyOf": [{"type": "string"}, {"type": "object"}]}),
                json!({ANYTHING: true}),
            ),
            (
                json!({"oneOf": [{"const": "A"}, {"type": "string"}]}),
                json!({"type": "string"}),
            ),
            (
                json!({"type": "object"}),
                json!({"type": "object", ANYTHING: true}),
            ),
            (
                json!({
                    "type": "object", "properties": {"a": {"type": "boolean"}},
                    "additionalProperties": false, "required": ["a"],
                }),
                json!({
                    "type": "object", "properties": {"a": {"type": "boolean"}},
                    "required": ["a"], ANYTHING: true,
                }),
            ),
            (
                json!({
                    "type": "object", "propertyNames": {"pattern": "^a"},
                    "additionalProperties": {"type": ["string", "number", "boolean"]},
                }),
                json!({"type": "object", "additionalProperties": {ANYTHING: true}}),
            ),
            (
                json!({"type": "array", "uniqueItems": true, "items": {"type": "string"}}),
                json!({"type": "array", "items": {"type": "string"}}),
            ),
        ] {
            assert_eq!(structural(&schema), wanted, "{schema}");
        }
    }
}
