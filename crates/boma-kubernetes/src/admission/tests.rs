use super::*;

fn request(operation: &str, object: Value, old: Value) -> Request {
    Request {
        uid: "u".to_owned(),
        operation: operation.to_owned(),
        kind: AskedKind {
            kind: "Database".to_owned(),
        },
        namespace: "n".to_owned(),
        object,
        old_object: old,
    }
}

fn database(spec: &Value) -> Value {
    json!({"metadata": {"name": "a"}, "spec": spec})
}

fn project() -> Namespace {
    Namespace {
        project: Some(Ok("o/u/e/p".parse().unwrap())),
        is_ending: false,
    }
}

fn codes(request: &Request, namespace: &Namespace) -> Vec<String> {
    let problems = request.problems(namespace, &Arc::default());
    problems.into_iter().map(|problem| problem.code).collect()
}

#[test]
fn a_manifest_is_judged_as_in_a_file() {
    let wrong = request("CREATE", database(&json!({"cpuCont": 1})), Value::Null);
    let problems = wrong.problems(&project(), &Arc::default());
    let answer = wrong.answer(&problems);
    assert_eq!(answer["response"]["allowed"], false);
    let said = answer["response"]["status"]["message"].as_str().unwrap();
    insta::assert_snapshot!(said, @r"
    error[unknown-field]: `spec` has no field `cpuCont`
      --> custom-resources/n/databases/a:10:3
       |
    10 |   cpuCont: 1
       |   ^^^^^^^
       |
       = help: Did you mean `cpuCount`?
    ");
    let plan = request("CREATE", database(&json!({"plan": "huge"})), Value::Null);
    assert_eq!(codes(&plan, &project()).len(), 1);
    let fine = request("CREATE", database(&json!({"cpuCount": 1})), Value::Null);
    assert_eq!(codes(&fine, &project()), [""; 0]);
    assert_eq!(fine.answer(&[])["response"]["allowed"], true);
}

#[test]
fn what_depends_on_others_is_not_asked() {
    let mut early = request(
        "CREATE",
        database(&json!({"accessControl": {"databases": [{"name": "later"}]}})),
        Value::Null,
    );
    early.kind.kind = "Application".to_owned();
    assert_eq!(codes(&early, &project()), [""; 0]);
}

#[test]
fn a_namespace_has_a_say() {
    let fine = request("CREATE", database(&json!({})), Value::Null);
    let homeless = Namespace {
        project: Some(Err(Box::new(Problem::new(
            Class::Config,
            "namespace-without-project",
            "x",
        )))),
        is_ending: false,
    };
    assert_eq!(codes(&fine, &homeless), ["namespace-without-project"]);
    let wrong = request("CREATE", database(&json!({"cpuCont": 1})), Value::Null);
    let foreign = Namespace {
        project: None,
        is_ending: false,
    };
    assert_eq!(codes(&wrong, &foreign), [""; 0]);
}

#[test]
fn what_is_stored_and_wrong_may_lose_its_finalizers() {
    let wrong = || database(&json!({"cpuCont": 1}));
    let mut changed = wrong();
    changed["metadata"]["finalizers"] = json!([]);
    assert_eq!(
        codes(&request("UPDATE", changed, wrong()), &project()),
        [""; 0]
    );
    let more = request("UPDATE", database(&json!({"cpuCont": 2})), wrong());
    assert_eq!(codes(&more, &project()), ["unknown-field"]);
}

#[test]
fn a_protected_database_that_was_made_is_not_deleted() {
    let made = |spec: Value| {
        let mut made = database(&spec);
        made["status"] = json!({"id": "x"});
        made
    };
    let delete = |old: Value| request("DELETE", Value::Null, old);
    let protected = delete(made(json!({})));
    assert_eq!(codes(&protected, &project()), ["deletion-protected"]);
    let said = protected.problems(&project(), &Arc::default());
    assert!(
        said[0].to_string().contains("Database a is protected"),
        "{said:?}"
    );
    let open = delete(made(json!({"deletionProtection": false})));
    assert_eq!(codes(&open, &project()), [""; 0]);
    assert_eq!(codes(&delete(database(&json!({}))), &project()), [""; 0]);
    let ending = Namespace {
        is_ending: true,
        ..project()
    };
    assert_eq!(
        codes(&protected, &ending),
        [""; 0],
        "it would keep the namespace"
    );
}
