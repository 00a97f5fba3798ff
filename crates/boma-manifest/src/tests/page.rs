//! The reference for users is true.

use serde_json::Value;

use crate::{PlanTable, json_schema, parse};

const PAGE: &str = include_str!("../../../../docs/manifests.md");

#[test]
fn the_examples_of_the_page_are_read_without_problems() {
    let examples: Vec<&str> = PAGE
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .filter(|example| example.contains("apiVersion"))
        .collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let parsed = parse("page.yaml", example.as_bytes());
        assert_eq!(
            (parsed.problems, parsed.documents.len()),
            (vec![], 1),
            "{example}"
        );
    }
}

/// The fields below a schema, as the page names them.
fn fields(schema: &Value, path: &str, found: &mut Vec<String>) {
    let Some(Value::Object(properties)) = schema.get("properties") else {
        let items = schema
            .get("items")
            .filter(|items| items.get("properties").is_some());
        return match items {
            Some(items) => fields(items, &format!("{path}[]"), found),
            None => found.push(path.to_owned()),
        };
    };
    for (name, property) in properties {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        fields(property, &path, found);
    }
}

#[test]
fn the_page_has_every_field() {
    let schema = json_schema();
    let mut found = Vec::new();
    for kind in 0..2 {
        fields(&schema["oneOf"][kind]["properties"]["spec"], "", &mut found);
        fields(
            &schema["oneOf"][kind]["properties"]["metadata"],
            "metadata",
            &mut found,
        );
    }
    assert!(
        found.contains(&"backupConfig.enabled".to_owned()),
        "{found:?}"
    );
    for field in found {
        // What an entry of `access.projects` has is said in its row.
        let field = field
            .rsplit_once("projects[].")
            .map_or(&*field, |(_, name)| name);
        assert!(PAGE.contains(&format!("`{field}`")), "{field}");
    }
}

#[test]
fn the_page_has_the_plans_as_they_are() {
    for (name, plan) in PlanTable::default().0 {
        let days = plan.retention_days.unwrap();
        let row = format!(
            "| `{name}` | {} | {} | {} | {} | {days} day{} | {} |",
            plan.cpu_count.unwrap(),
            plan.memory.unwrap(),
            plan.storage.unwrap(),
            plan.cluster_size.unwrap(),
            if days == 1 { "" } else { "s" },
            if plan.point_in_time_recovery.unwrap() {
                "yes"
            } else {
                "no"
            },
        );
        assert!(PAGE.contains(&row), "{row}");
    }
}
