//! Each change leaves everything else as it was.

use boma_problem::IntoProblem;

use super::{Change, EditError, Step, Written, edit};

const TEXT: &str = "\
apiVersion: lowops.manifests.v1
# who owns it
metadata:
  name: auth-api   # the API
  organization: fincorp
kind: Application
spec:
  # grants
  accessControl:
    databases:
      # main one
      - name: accounts-db
        readOnly: false
        secretSource:
          envVar: DATABASE_CONNECTION_STRING   # guide

      # for reports
      - name: reports-db
        readOnly: true
        secretSource: { envVar: REPORTS_URL }

  # the end
  env:
  - { name: A, value: 'b' } # flow
  storage: { size: 10Gi }
# trailing
";

fn path(text: &str) -> Vec<Step> {
    let step = |part: &str| {
        part.parse()
            .map_or_else(|_name| Step::Field(part.to_owned()), Step::Item)
    };
    text.split('.').map(step).collect()
}

fn set(at: &str, value: &str) -> Change {
    Change::Set(path(at), Written::typed(value))
}

fn grant() -> Written {
    Written::fields([
        ("name", Written::Text("new-db".to_owned())),
        ("readOnly", Written::Flag(true)),
        (
            "secretSource",
            Written::fields([("envVar", Written::Text("NEW_URL".to_owned()))]),
        ),
    ])
}

/// The lines that are gone and those that are new, as a comparison of texts shows them.
fn difference(old: &str, new: &str) -> String {
    let (mut old, mut new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    while !old.is_empty() && old.first() == new.first() {
        old.remove(0);
        new.remove(0);
    }
    while !old.is_empty() && old.last() == new.last() {
        old.pop();
        new.pop();
    }
    let gone = old.iter().map(|line| format!("-{line}\n"));
    gone.chain(new.iter().map(|line| format!("+{line}\n")))
        .collect()
}

fn changed(text: &str, change: &Change) -> String {
    let after = edit(text, 0, change).unwrap_or_else(|error| panic!("{change:?}: {error}"));
    difference(text, &after)
}

#[test]
fn a_value_changes_where_it_stands() {
    for (at, value, lines) in [
        (
            "metadata.name",
            "auth2",
            "-  name: auth-api   # the API\n+  name: auth2   # the API\n",
        ),
        (
            "spec.accessControl.databases.0.readOnly",
            "true",
            "-        readOnly: false\n+        readOnly: true\n",
        ),
        (
            "spec.storage.size",
            "20Gi",
            "-  storage: { size: 10Gi }\n+  storage: { size: 20Gi }\n",
        ),
        (
            "spec.env.0.value",
            "it's on: #1",
            "-  - { name: A, value: 'b' } # flow\n+  - { name: A, value: 'it''s on: #1' } # flow\n",
        ),
        (
            "metadata.organization",
            "no",
            "-  organization: fincorp\n+  organization: \"no\"\n",
        ),
    ] {
        assert_eq!(changed(TEXT, &set(at, value)), lines, "{at}");
    }
}

#[test]
fn what_is_missing_is_made_where_it_belongs() {
    for (at, value, lines) in [
        ("spec.cpuCount", "4", "+  cpuCount: 4\n"),
        (
            "spec.storage.class",
            "fast",
            "-  storage: { size: 10Gi }\n+  storage: { size: 10Gi, class: fast }\n",
        ),
        (
            "metadata.labels.team",
            "core",
            "+  labels:\n+    team: core\n",
        ),
        (
            "spec.accessControl.databases.1.rotationDays",
            "30",
            "+        rotationDays: 30\n",
        ),
    ] {
        assert_eq!(changed(TEXT, &set(at, value)), lines, "{at}");
    }
    let text = "spec:\nkind: Database # it is\n";
    assert_eq!(
        changed(text, &set("spec.storage.size", "20Gi")),
        "+  storage:\n+    size: 20Gi\n"
    );
    assert_eq!(changed("a: 1", &set("b", "2")), "+b: 2\n");
}

#[test]
fn a_list_gets_one_more_item() {
    let append = |at: &str, value| Change::Append(path(at), value);
    assert_eq!(
        changed(TEXT, &append("spec.accessControl.databases", grant())),
        "+      - name: new-db\n+        readOnly: true\n+        secretSource:\n+          envVar: NEW_URL\n"
    );
    for (text, lines) in [
        ("a: [x, y]\n", "-a: [x, y]\n+a: [x, y, z]\n"),
        ("a: []\n", "-a: []\n+a:\n+  - z\n"),
        ("a: [] # why\nb: 1\n", "-a: [] # why\n+a: # why\n+  - z\n"),
        ("{\"a\": []}\n", "-{\"a\": []}\n+{\"a\": [\"z\"]}\n"),
        ("{\n  \"a\": []\n}\n", "-  \"a\": []\n+  \"a\": [\"z\"]\n"),
        ("a:\n- x\nb: 1\n", "+- z\n"),
        ("b: 1\n", "+a:\n+  - z\n"),
        ("{\"b\": 1}\n", "-{\"b\": 1}\n+{\"b\": 1, \"a\": [\"z\"]}\n"),
        (
            "{\n  \"b\": 1\n}\n",
            "-  \"b\": 1\n+  \"b\": 1,\n+  \"a\": [\"z\"]\n",
        ),
    ] {
        let change = append("a", Written::Text("z".to_owned()));
        assert_eq!(changed(text, &change), lines, "{text}");
    }
}

#[test]
fn what_is_removed_takes_its_own_comment_along_and_no_other() {
    let remove = |at: &str| Change::Remove(path(at));
    let after = edit(TEXT, 0, &remove("spec.accessControl.databases.1")).unwrap();
    for stays in [
        "# main one",
        "# the end",
        "# grants",
        "# guide",
        "# trailing",
    ] {
        assert!(after.contains(stays), "{stays}: {after}");
    }
    assert!(!after.contains("reports"), "{after}");
    let after = edit(TEXT, 0, &remove("spec.accessControl.databases.0")).unwrap();
    for stays in ["# main one", "# for reports", "# the end"] {
        assert!(after.contains(stays), "{stays}: {after}");
    }
    assert_eq!(
        changed(TEXT, &remove("metadata.organization")),
        "-  organization: fincorp\n"
    );
    for (text, at, lines) in [
        ("a: [x, y]\n", "a.0", "-a: [x, y]\n+a: [y]\n"),
        ("a: [x, y]\n", "a.1", "-a: [x, y]\n+a: [x]\n"),
        ("a:\n  - x\nb: 1\n", "a.0", "-a:\n-  - x\n+a: []\n"),
        ("a: { x: 1 }\n", "a.x", "-a: { x: 1 }\n+a: {}\n"),
    ] {
        assert_eq!(changed(text, &remove(at)), lines, "{text}");
    }
}

#[test]
fn other_documents_and_line_ends_stay() {
    let text = "a: 1\r\n---\r\n# second\r\nb:\r\n  c: 2\r\n---\r\nd: 3\r\n";
    let after = edit(text, 1, &set("b.e", "4")).unwrap();
    assert_eq!(
        after,
        "a: 1\r\n---\r\n# second\r\nb:\r\n  c: 2\r\n  e: 4\r\n---\r\nd: 3\r\n"
    );
}

#[test]
fn what_only_a_person_can_change_is_refused_with_its_place() {
    let refused = |text: &str, change: &Change| edit(text, 0, change).unwrap_err();
    let shared = "a: &x\n  b: 1\nc: *x\n";
    assert_eq!(
        refused(shared, &set("c.b", "2")),
        EditError::Shared("c".to_owned())
    );
    assert_eq!(
        refused(TEXT, &Change::Remove(path("spec.nothing"))),
        EditError::Missing("spec.nothing".to_owned())
    );
    let problem = refused(TEXT, &set("spec", "3")).problem();
    assert_eq!(
        (problem.code.as_str(), problem.message.as_str()),
        ("not-editable", "`spec` is a mapping")
    );
    assert!(matches!(
        edit("a: 1\n", 3, &set("a", "2")),
        Err(EditError::NoDocument(3))
    ));
}
