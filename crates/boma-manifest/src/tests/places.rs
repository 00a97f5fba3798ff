//! Where a field is written, found again after parsing.

use crate::{Manifest, parse};

const TEXT: &str = "\
# not ours
apiVersion: v1
---
apiVersion: lowops.manifests.v1
kind: Database
metadata:
  name: db
  organization: o
  organizational-unit: u
  environment: e
  project: p
  labels: {é: x, app.kubernetes.io/name: shop}
spec:
  parameters:
    Work_Mem: 64MB
    pg_stat_statements.max: 10
  access:
    projects:
      - project: a
      - project: b
        environment: x
";

fn found(path: &str) -> (u32, u32, u32, String) {
    let parsed = parse("a.yaml", TEXT.as_bytes());
    let Manifest::Database(database) = &parsed.documents[0] else {
        panic!("{parsed:?}")
    };
    assert_eq!(database.origin.document(), 1);
    let place = database.origin.place(path);
    assert_eq!(place.file, "a.yaml");
    (place.line, place.column, place.length, place.text)
}

#[test]
fn a_field_is_found_by_its_path() {
    for (path, line, column, length, text) in [
        ("metadata.name", 7, 9, 2, "  name: db"),
        ("spec.parameters.work_mem", 15, 15, 4, "    Work_Mem: 64MB"),
        (
            "spec.parameters.pg_stat_statements.max",
            16,
            29,
            2,
            "    pg_stat_statements.max: 10",
        ),
        (
            "metadata.labels.app.kubernetes.io/name",
            12,
            42,
            4,
            "  labels: {é: x, app.kubernetes.io/name: shop}",
        ),
        (
            "spec.access.projects[1].environment",
            21,
            22,
            1,
            "        environment: x",
        ),
        ("spec.access.projects[1]", 20, 9, 7, "      - project: b"),
        ("spec.parameters", 14, 3, 10, "  parameters:"),
    ] {
        assert_eq!(
            found(path),
            (line, column, length, text.to_owned()),
            "{path}"
        );
    }
}

#[test]
fn a_field_that_is_left_out_leads_to_what_is_around_it() {
    for (path, line) in [
        ("spec.backupConfig.retentionDays", 13),
        ("spec.parameters.shared_buffers", 14),
        ("spec.access.projects[7].project", 18),
        ("spec.access.projects[0].environment", 19),
        ("computed.host", 4),
        ("", 4),
        ("[0]", 4),
        ("..", 4),
        ("spec.parameters[", 14),
    ] {
        assert_eq!(found(path).0, line, "{path}");
    }
}

#[test]
fn lines_end_as_other_systems_end_them() {
    for end in ["\r\n", "\r"] {
        let text = TEXT.replace('\n', end);
        let parsed = parse("a.yaml", text.as_bytes());
        let place = parsed.documents[0]
            .origin()
            .place("spec.parameters.work_mem");
        assert_eq!(
            (place.line, place.text.as_str()),
            (15, "    Work_Mem: 64MB"),
            "{end:?}"
        );
    }
}
