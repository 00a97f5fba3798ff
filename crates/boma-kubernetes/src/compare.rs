//! Whether an object is as it should be. Pure.
//!
//! The API server fills in defaults, controllers add fields, people and meshes add sidecars and
//! labels. None of that is a difference. What is wanted must be there, with the value that is
//! wanted; what is not spoken of may be anything.

use serde_json::Value;

/// Fields that tell entries of a list apart, in the order in which they are tried.
const KEYS: [&str; 6] = ["name", "mountPath", "containerPort", "port", "key", "ip"];

/// What others may do to lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lists {
    /// Add entries beside ours, where entries are told apart by a key.
    Shared,
    /// Nothing: one entry more in a network policy admits somebody.
    Whole,
}

/// Whether everything that is wanted is there.
pub(crate) fn holds(wanted: &Value, found: &Value, lists: Lists) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().all(|(name, wanted)| {
            match found.get(name) {
                Some(found) => holds(wanted, found, lists),
                // What is empty is left out by the API server.
                None => is_empty(wanted),
            }
        }),
        (Value::Array(wanted), Value::Array(found)) => holds_all(wanted, found, lists),
        (wanted, found) => wanted == found,
    }
}

fn holds_all(wanted: &[Value], found: &[Value], lists: Lists) -> bool {
    let key = KEYS.into_iter().find(|key| {
        lists == Lists::Shared
            && !wanted.is_empty()
            && wanted.iter().all(|entry| entry.get(key).is_some())
    });
    match key {
        // Others may have added entries; ours must be there.
        Some(key) => wanted.iter().all(|wanted| {
            let mut same = found
                .iter()
                .filter(|found| found.get(key) == wanted.get(key));
            same.any(|found| holds(wanted, found, lists))
        }),
        // A list without keys is one value.
        None => {
            wanted.len() == found.len()
                && wanted
                    .iter()
                    .zip(found)
                    .all(|(wanted, found)| holds(wanted, found, lists))
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_add_is_no_difference() {
        let wanted = json!({
            "labels": {"a": "1"},
            "containers": [{"name": "postgres", "image": "x", "env": []}],
        });
        let mut found = json!({
            "labels": {"a": "1", "team": "z"},
            "containers": [
                {"name": "mesh", "image": "m"},
                {"name": "postgres", "image": "x", "imagePullPolicy": "IfNotPresent"},
            ],
        });
        assert!(holds(&wanted, &found, Lists::Shared));
        found["containers"][1]["image"] = json!("y");
        assert!(!holds(&wanted, &found, Lists::Shared));
        found["containers"] = json!([]);
        assert!(!holds(&wanted, &found, Lists::Shared));
    }

    #[test]
    fn a_list_without_keys_is_one_value() {
        let wanted = json!({"ingress": [{"from": [{"podSelector": {}}]}]});
        assert!(holds(&wanted, &wanted.clone(), Lists::Whole));
        let ports = |ports: &[u16]| {
            let ports: Vec<_> = ports.iter().map(|port| json!({ "port": port })).collect();
            json!({ "ports": ports })
        };
        assert!(holds(&ports(&[1]), &ports(&[2, 1]), Lists::Shared));
        assert!(!holds(&ports(&[1]), &ports(&[2, 1]), Lists::Whole));
        let more = json!({"ingress": [{"from": [{"podSelector": {}}]}, {}]});
        assert!(
            !holds(&wanted, &more, Lists::Shared),
            "a rule more would admit somebody"
        );
        assert!(!holds(
            &json!({"a": ["x"]}),
            &json!({"a": ["x", "y"]}),
            Lists::Shared
        ));
        assert!(!holds(&json!({"a": 1}), &json!({}), Lists::Shared));
    }
}
