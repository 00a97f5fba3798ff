use std::sync::Arc;

use boma_engine::catalog::{Basis, Catalog};
use boma_problem::{Class, Place};

use super::*;

const NAME: &str = "n/databases/a";
const TEXT: &str = "apiVersion: lowops.manifests/v1\nkind: Database\nmetadata: {name: a, \
                    organization: o, organizational-unit: u, environment: e, project: p}\n";

fn now() -> Timestamp {
    "2026-11-22T10:00:00.5Z".parse().unwrap()
}

/// What an engine knows that has this file in force.
fn engine(file: Option<&str>) -> EngineState {
    let parsed = file.map(|file| {
        let source = SourceFile::new(file, TEXT.as_bytes());
        Arc::new(boma_manifest::parse_file(&source))
    });
    let (catalog, problems) = Catalog::build(parsed.as_ref(), &Arc::new(Basis::default()));
    assert_eq!(problems, []);
    EngineState {
        catalog: Some(Arc::new(catalog)),
        planned_at: Some(now()),
        ..EngineState::default()
    }
}

fn of(text: &str, status: &Value, state: &EngineState) -> Option<Value> {
    let home = Home {
        project: "o/u/e/p",
        own: "a",
        text,
    };
    let about = About {
        kind: Kind::Database,
        name: NAME,
        generation: 7,
        status,
        home: Ok(home),
    };
    super::status(&about, state, now())
}

fn condition<'s>(status: &'s Value, kind: &str) -> &'s Value {
    let conditions = status["conditions"].as_array().unwrap();
    conditions.iter().find(|one| one["type"] == kind).unwrap()
}

fn problem(file: &str) -> Problem {
    let place = Place {
        file: file.to_owned(),
        line: 1,
        column: 1,
        length: 1,
        text: String::new(),
    };
    Problem::new(Class::User, "no-such-database", "there is no Database b")
        .hint("Make it.")
        .at(place)
}

#[test]
fn what_is_in_force_is_accepted_and_says_what_was_measured() {
    let state = engine(Some("custom-resources/n/databases/a"));
    let status = of(TEXT, &Value::Null, &state).unwrap();
    assert_eq!(status["observedGeneration"], 7);
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["storage"], "10Gi");
    assert_eq!(condition(&status, "Ready")["status"], "Unknown");
    let accepted = condition(&status, "Accepted");
    assert_eq!(accepted["status"], "True");
    assert_eq!(accepted["lastTransitionTime"], "2026-11-22T10:00:00Z");
    assert!(!status.to_string().contains("null"), "{status}");
    // The same again is the same.
    let mut older = status.clone();
    older["conditions"][0]["lastTransitionTime"] = json!("2020-01-01T00:00:00Z");
    assert_eq!(of(TEXT, &older, &state).unwrap(), older);
}

#[test]
fn what_is_refused_says_why_and_keeps_the_generation_that_is_in_force() {
    let mut state = engine(Some("custom-resources/n/databases/a"));
    let before = of(TEXT, &Value::Null, &state).unwrap();
    // Nothing is known of a change that was not looked at.
    assert_eq!(of("changed", &before, &state), None);
    state.source_problems = vec![
        problem("git/x.yaml"),
        problem("custom-resources/n/databases/a"),
    ];
    let mut before = before;
    before["observedGeneration"] = json!(6);
    let status = of("changed", &before, &state).unwrap();
    let accepted = condition(&status, "Accepted");
    assert_eq!(accepted["status"], "False");
    assert_eq!(accepted["reason"], "NoSuchDatabase");
    assert_eq!(accepted["message"], "there is no Database b. Make it.");
    assert_eq!(status["observedGeneration"], 6);
    assert_eq!(status["phase"], "Pending");
}

#[test]
fn what_another_source_describes_shows_nothing_of_it() {
    let mut state = engine(Some("git/n/databases/a.yaml"));
    assert_eq!(of(TEXT, &Value::Null, &state), None);
    let mut twice = problem("git/n/databases/a.yaml");
    twice.related = problem("custom-resources/n/databases/a")
        .place
        .map(|place| ("here".to_owned(), place))
        .into_iter()
        .collect();
    state.source_problems = vec![twice];
    let status = of(TEXT, &Value::Null, &state).unwrap();
    assert_eq!(condition(&status, "Accepted")["status"], "False");
    assert!(status.get("observedGeneration").is_none() && status.get("phase").is_none());
}

#[test]
fn a_namespace_without_a_project_is_told_at_once() {
    let homeless = problem("x");
    let about = About {
        kind: Kind::Application,
        name: "n/applications/a",
        generation: 1,
        status: &Value::Null,
        home: Err(&homeless),
    };
    let status = super::status(&about, &EngineState::default(), now()).unwrap();
    assert_eq!(condition(&status, "Accepted")["status"], "False");
}

#[test]
fn amounts_are_told_to_a_few_per_cent() {
    for (bytes, told) in [(0, 0), (7, 7), (1000, 1024), (1_000_000, 1_015_808)] {
        assert_eq!(coarse(bytes), told);
        assert!(coarse(told) == told);
    }
    let one = json!({"phase": "Ready", "recoverableUntil": "a"});
    let other = json!({"phase": "Ready", "recoverableUntil": "b", "storageBytesUsed": 1});
    assert!(differ_by_rest_alone(&one, &other));
    assert!(!differ_by_rest_alone(&one, &json!({"phase": "Failed"})));
}
