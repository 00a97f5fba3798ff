//! A JSON merge patch (RFC 7396) as changes of a manifest's text, so that comments, order and style stay.

use boma_manifest::edit::{Change, Step, Written};
use serde_json::{Map, Value};

/// The value as it is written. A number that is not whole is written as a person would type it.
pub(super) fn written(value: &Value) -> Written {
    match value {
        // A list has no item that says nothing; whoever reads the manifest refuses the word.
        Value::Null => Written::Text("null".to_owned()),
        Value::Bool(flag) => Written::Flag(*flag),
        Value::Number(number) => number
            .as_i64()
            .map_or_else(|| Written::Text(number.to_string()), Written::Number),
        Value::String(text) => Written::Text(text.clone()),
        Value::Array(items) => Written::List(items.iter().map(written).collect()),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            Written::Fields(
                fields
                    .map(|(name, value)| (name.clone(), written(value)))
                    .collect(),
            )
        }
    }
}

/// What a patch of a part changes, where `now` is what that part has.
pub(super) fn changes(at: &[Step], patch: &Map<String, Value>, now: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, value) in patch {
        let mut place = at.to_vec();
        place.push(Step::Field(name.clone()));
        let there = now.get(name);
        match (value, there) {
            (Value::Null, None) => {}
            (Value::Null, Some(_)) => changes.push(Change::Remove(place)),
            (value, Some(now)) if value == now => {}
            (Value::Object(fields), Some(now @ Value::Object(_))) => {
                changes.extend(self::changes(&place, fields, now));
            }
            (Value::Array(new), Some(Value::Array(now))) => {
                changes.extend(of_list(&place, new, now));
            }
            (value, _) => changes.push(Change::Set(place, written(value))),
        }
    }
    changes
}

/// What makes a list of another one: others come behind its items, and items go.
fn of_list(place: &[Step], new: &[Value], now: &[Value]) -> Vec<Change> {
    let mut kept = 0;
    let mut gone = Vec::new();
    for (index, item) in now.iter().enumerate() {
        if new.get(kept) == Some(item) {
            kept += 1;
        } else {
            gone.push(index);
        }
    }
    // From the end, so that those before keep their places; and after the new ones have come, because a
    // list without items is written otherwise.
    let remove = |index: &usize| {
        let mut item = place.to_vec();
        item.push(Step::Item(*index));
        Change::Remove(item)
    };
    let removed = gone.iter().rev().map(remove);
    let added = new.iter().skip(kept);
    let added = added.map(|item| Change::Append(place.to_vec(), written(item)));
    added.chain(removed).collect()
}

#[cfg(test)]
mod tests {
    use boma_manifest::edit::edit;
    use serde_json::json;

    use super::*;

    fn patched(text: &str, patch: &Value, now: &Value) -> String {
        let patch = patch.as_object().unwrap();
        let changes = changes(&Step::fields(["spec"]), patch, now);
        let mut text = text.to_owned();
        for change in &changes {
            text = edit(&text, 0, change).unwrap();
        }
        text
    }

    #[test]
    fn items_of_a_list_come_and_go_and_the_others_stay_as_they_are_written() {
        let text =
            "spec:\n  databases:\n    # all of them\n    - name: a\n    - {name: b} # second\n";
        let now = json!({"databases": [{"name": "a"}, {"name": "b"}]});
        for (new, after) in [
            (
                json!([{"name": "a"}, {"name": "b"}, {"name": "c"}]),
                format!("{text}    - name: c\n"),
            ),
            (json!([{"name": "b"}]), text.replace("    - name: a\n", "")),
            (
                json!([{"name": "a"}, {"name": "c"}]),
                text.replace("    - {name: b} # second\n", "    - name: c\n"),
            ),
            (
                json!([{"name": "b"}, {"name": "a"}]),
                "spec:\n  databases:\n    # all of them\n    - {name: b} # second\n    - name: a\n"
                    .to_owned(),
            ),
            (
                json!([{"name": "c"}]),
                "spec:\n  databases:\n    # all of them\n    - name: c\n".to_owned(),
            ),
            (json!([]), "spec:\n  databases: []\n".to_owned()),
        ] {
            assert_eq!(patched(text, &json!({ "databases": new }), &now), after);
        }
    }

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        let text =
            "# ours\nspec:\n  cpuCount: 1 # enough\n  memory: 256Mi\n  storage: {size: 1Gi}\n";
        let now = json!({"cpuCount": 1, "memory": "256Mi", "storage": {"size": "1Gi"}});
        for (patch, after) in [
            (json!({}), text.to_owned()),
            (json!({"cpuCount": 1, "absent": null}), text.to_owned()),
            (json!({"cpuCount": 2}), text.replace(": 1 #", ": 2 #")),
            (
                json!({"cpuCount": 0.5}),
                text.replace(": 1 #", ": \"0.5\" #"),
            ),
            (
                json!({"memory": null}),
                text.replace("  memory: 256Mi\n", ""),
            ),
            (
                json!({"storage": {"size": "2Gi"}}),
                text.replace("1Gi", "2Gi"),
            ),
            (
                json!({"suspended": true}),
                format!("{text}  suspended: true\n"),
            ),
            (
                json!({"plan": {"a": null}}),
                format!("{text}  plan: {{}}\n"),
            ),
            (
                json!({"parameters": {"work_mem": "8MB", "x": [1, "b"]}}),
                format!("{text}  parameters:\n    work_mem: 8MB\n    x:\n      - 1\n      - b\n"),
            ),
        ] {
            assert_eq!(patched(text, &patch, &now), after, "{patch}");
        }
    }
}
