//! Whether an object is as it should be. Pure.
//!
//! The API server fills in defaults, controllers add fields, people and meshes add sidecars and
//! labels. None of that is a difference. What is wanted must be there, with the value that is
//! wanted; what is not spoken of may be anything.

use serde_json::{Map, Value};

/// Fields that tell entries of a list apart, in the order in which they are tried.
const KEYS: [&str; 6] = ["name", "mountPath", "containerPort", "port", "key", "ip"];

/// Fields whose maps are one value: with one label more, a Service leads to nobody.
const SELECTORS: [&str; 2] = ["selector", "matchLabels"];

/// What others may do to lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lists {
    /// Add entries beside ours, where entries are told apart by a key.
    Shared,
    /// Nothing: one entry more in a network policy admits somebody.
    Whole,
}

/// Where something else is there than what is wanted, as paths; none: everything is there.
pub(crate) fn differing(wanted: &Value, found: &Value, lists: Lists) -> Vec<String> {
    let here = || vec![String::new()];
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            let fields = wanted.iter().flat_map(|(name, wanted)| {
                let differing = match found.get(name) {
                    Some(found) if !surplus_of(name, wanted, found).is_empty() => here(),
                    Some(found) => differing(wanted, found, lists),
                    // What is empty is left out by the API server.
                    None if is_empty(wanted) => Vec::new(),
                    None => here(),
                };
                below(format!(".{name}"), differing)
            });
            fields.collect()
        }
        (Value::Array(wanted), Value::Array(found)) => differing_entries(wanted, found, lists),
        (wanted, found) if wanted == found => Vec::new(),
        (_, _) => here(),
    }
}

/// What takes away what others have added to selectors, as a merge patch; none: there is nothing. An
/// apply takes away only what the same manager had applied.
pub(crate) fn without_surplus(wanted: &Value, found: &Value) -> Option<Value> {
    let (wanted, found) = (wanted.as_object()?, found.as_object()?);
    let fields = wanted.iter().filter_map(|(name, wanted)| {
        let found = found.get(name)?;
        let surplus = surplus_of(name, wanted, found);
        let patch = if surplus.is_empty() {
            without_surplus(wanted, found)?
        } else {
            let gone = surplus.into_iter().map(|key| (key.clone(), Value::Null));
            Value::Object(gone.collect())
        };
        Some((name.clone(), patch))
    });
    let fields: Map<String, Value> = fields.collect();
    (!fields.is_empty()).then_some(Value::Object(fields))
}

/// Keys of a selector that are not wanted.
fn surplus_of<'f>(name: &str, wanted: &Value, found: &'f Value) -> Vec<&'f String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) if SELECTORS.contains(&name) => {
            let keys = found.keys();
            keys.filter(|key| !wanted.contains_key(*key)).collect()
        }
        (_, _) => Vec::new(),
    }
}

fn differing_entries(wanted: &[Value], found: &[Value], lists: Lists) -> Vec<String> {
    let key = KEYS.into_iter().find(|key| {
        lists == Lists::Shared
            && !wanted.is_empty()
            && wanted.iter().all(|entry| entry.get(key).is_some())
    });
    let Some(key) = key else {
        // A list without keys is one value.
        let same = wanted.len() == found.len()
            && wanted
                .iter()
                .zip(found)
                .all(|(wanted, found)| differing(wanted, found, lists).is_empty());
        return if same {
            Vec::new()
        } else {
            vec![String::new()]
        };
    };
    // Others may have added entries; ours must be there.
    let entries = wanted.iter().flat_map(|wanted| {
        let same = found
            .iter()
            .filter(|found| found.get(key) == wanted.get(key));
        let each = same.map(|found| differing(wanted, found, lists));
        let nearest = each.min_by_key(Vec::len);
        let name = wanted[key]
            .as_str()
            .map_or_else(|| wanted[key].to_string(), str::to_owned);
        below(
            format!("[{name}]"),
            nearest.unwrap_or_else(|| vec![String::new()]),
        )
    });
    entries.collect()
}

fn below(field: String, paths: Vec<String>) -> impl Iterator<Item = String> {
    paths.into_iter().map(move |path| format!("{field}{path}"))
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

    fn holds(wanted: &Value, found: &Value, lists: Lists) -> bool {
        differing(wanted, found, lists).is_empty()
    }

    #[test]
    fn a_difference_is_named_by_its_path() {
        let wanted = json!({"spec": {
            "replicas": 1,
            "containers": [{"name": "postgres", "image": "x", "ports": [{"containerPort": 5432}]}],
        }});
        let found = json!({"spec": {
            "replicas": 0,
            "containers": [{"name": "postgres", "image": "y", "ports": []}],
        }});
        let mut paths = differing(&wanted, &found, Lists::Shared);
        paths.sort();
        let expected = [
            ".spec.containers[postgres].image",
            ".spec.containers[postgres].ports[5432]",
            ".spec.replicas",
        ];
        assert_eq!(paths, expected);
    }

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
    fn a_selector_is_one_value() {
        let wanted = json!({"spec": {"selector": {"database": "a"}, "type": "ClusterIP"}});
        let found = json!({"spec": {
            "selector": {"database": "a", "nobody": "x"},
            "type": "ClusterIP",
            "ports": [],
        }});
        assert_eq!(
            differing(&wanted, &found, Lists::Shared),
            [".spec.selector"]
        );
        let patch = without_surplus(&wanted, &found);
        assert_eq!(patch, Some(json!({"spec": {"selector": {"nobody": null}}})));
        assert_eq!(without_surplus(&wanted, &wanted), None);
        let other = json!({"spec": {"selector": {"database": "b"}, "type": "ClusterIP"}});
        assert_eq!(without_surplus(&wanted, &other), None);
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
