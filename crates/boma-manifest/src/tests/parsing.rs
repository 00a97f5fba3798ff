//! What is read, and what is passed over.

use std::num::NonZero;
use std::sync::Arc;

use crate::{
    Database, Manifest, Parsed, PlanTable, ResolvedDatabase, SourceFile, parse, parse_all,
    parse_file, testing,
};

const ACCOUNTS: &str = include_str!("../../../../examples/fincorp/database/accounts-db.yaml");
const AUTH: &str = include_str!("../../../../examples/fincorp/application/auth-api.yaml");
const AUDIT: &str = include_str!("../../../../examples/fincorp/application/audit-report.yaml");

fn clean(parsed: Parsed) -> Vec<Manifest> {
    assert_eq!(parsed.problems, []);
    parsed.documents
}

fn only_database(text: &str) -> Database {
    match clean(parse("a.yaml", text.as_bytes())).remove(0) {
        Manifest::Database(database) => database,
        Manifest::Application(application) => panic!("{application:?}"),
    }
}

fn resolved(spec: &str) -> ResolvedDatabase {
    let database = only_database(&format!(
        "{}{spec}",
        ACCOUNTS.split("spec:").next().unwrap()
    ));
    database.resolve(&PlanTable::default()).unwrap()
}

#[test]
fn the_examples_are_read_without_problems() {
    for text in [ACCOUNTS, AUTH, AUDIT] {
        assert_eq!(clean(parse("example.yaml", text.as_bytes())).len(), 1);
    }
    let database = only_database(ACCOUNTS);
    assert_eq!(
        database.id().to_string(),
        "fincorp/retail-banking/development/login-svc/accounts-db"
    );
    let Manifest::Application(application) = clean(parse("a.yaml", AUTH.as_bytes())).remove(0)
    else {
        panic!("not an application")
    };
    let grant = &application.spec.access_control.databases[0];
    assert_eq!(
        grant.name.resolve(&application.metadata.project),
        database.id()
    );
    assert_eq!(grant.env_var.as_str(), "DATABASE_CONNECTION_STRING");
    assert!(!grant.read_only);
}

#[test]
fn what_is_left_out_follows_from_plan_and_defaults() {
    let defaults = resolved("");
    assert_eq!(defaults.cpu_count.millis(), 1000);
    assert_eq!(defaults.memory.to_string(), "2Gi");
    assert_eq!(defaults.storage.to_string(), "10Gi");
    assert_eq!(
        (defaults.cluster_size, defaults.backup.retention_days),
        (1, 7)
    );
    assert!(defaults.backup.enabled && defaults.backup.point_in_time_recovery);
    assert!(defaults.deletion_protection && !defaults.suspended);

    let pro = resolved("spec: {plan: pro, cpuCount: 3, backupConfig: {retentionDays: 9}}");
    assert_eq!(pro.cpu_count.millis(), 3000);
    assert_eq!(
        (pro.memory.to_string(), pro.storage.to_string()),
        ("4Gi".into(), "50Gi".into())
    );
    assert_eq!(pro.backup.retention_days, 9);
}

#[test]
fn many_files_are_answered_in_their_order_on_any_number_of_threads() {
    let files: Vec<Arc<SourceFile>> = testing::repository(200)
        .into_iter()
        .map(|(name, text)| SourceFile::new(name, text.into_bytes()))
        .collect();
    let one_by_one: Vec<Vec<Manifest>> = files.iter().map(|file| clean(parse_file(file))).collect();
    for threads in [1, 2, 7] {
        let parsed = parse_all(&files, NonZero::new(threads).unwrap());
        let documents: Vec<Vec<Manifest>> = parsed.into_iter().map(clean).collect();
        assert_eq!(documents, one_by_one);
    }
    assert!(parse_all(&[], NonZero::<usize>::MAX).is_empty());
}

#[test]
fn documents_of_other_tools_are_passed_over() {
    for text in [
        "",
        "# only a comment\n",
        "---\n---\n",
        "just text\n",
        "- a\n- list\n",
        "apiVersion: apps/v1\nkind: Deployment\nspec: {x: !Ref y, <<: *z, x: again}\n",
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a}\n",
        "apiVersion: [lowops.manifests.v1]\n",
        "kind: Database\nname: somebody else's\n",
        "apiVersion: v1\nkind: List\nitems: [{apiVersion: apps/v1}]\n",
    ] {
        let parsed = parse("a.yaml", text.as_bytes());
        assert_eq!(parsed.problems, [], "{text}");
        assert_eq!(parsed.documents, [], "{text}");
    }
}

#[test]
fn both_spellings_of_the_version_and_both_languages_are_read() {
    for version in crate::API_VERSIONS {
        let text = ACCOUNTS.replace("lowops.manifests.v1", version);
        assert_eq!(only_database(&text), only_database(ACCOUNTS));
    }
    let json = serde_json::to_string(&clean(parse("a.yaml", AUTH.as_bytes()))[0]).unwrap();
    for name in ["a.json", "b.JSON", "c.yaml"] {
        assert_eq!(
            clean(parse(name, json.as_bytes())),
            clean(parse("a.yaml", AUTH.as_bytes()))
        );
    }
    let tabs = json.replace('{', "{\n\t\t");
    assert_eq!(clean(parse("a.json", tabs.as_bytes())).len(), 1);
}

#[test]
fn a_document_that_cannot_be_read_does_not_hide_the_others() {
    let text = format!("{ACCOUNTS}---\napiVersion: lowops.manifests.v1\nspec: [\n---\n{AUDIT}");
    let parsed = parse("a.yaml", text.as_bytes());
    assert_eq!(parsed.documents.len(), 2);
    assert_eq!(parsed.problems.len(), 1);
    assert!(parsed.problems[0].is_error());
    assert_eq!(
        parsed.documents[1].origin().place("metadata.name").text,
        "  name: audit-report"
    );
}

#[test]
fn a_field_left_empty_is_left_out() {
    let text = format!(
        "{}spec:\n  memory:\n  parameters:\n  storage: ~\n",
        ACCOUNTS.split("spec:").next().unwrap()
    );
    assert_eq!(only_database(&text).spec, crate::DatabaseSpec::default());
}

#[test]
fn backups_are_spread_over_two_hours_and_stay_where_they_are() {
    let schedules: std::collections::BTreeSet<String> = testing::repository(50)
        .iter()
        .step_by(2)
        .map(|(name, text)| {
            let Manifest::Database(database) = clean(parse(name, text.as_bytes())).remove(0) else {
                panic!("{name}")
            };
            database
                .resolve(&PlanTable::default())
                .unwrap()
                .backup
                .schedule
                .to_string()
        })
        .collect();
    assert!(schedules.len() > 25, "{schedules:?}");
    for schedule in &schedules {
        assert!(
            schedule.ends_with(" 2 * * *") || schedule.ends_with(" 3 * * *"),
            "{schedule}"
        );
    }
    // A change of this value moves the backups of every database there is.
    assert_eq!(resolved("").backup.schedule.to_string(), "34 2 * * *");
}

#[test]
fn other_projects_are_named_in_part_or_whole() {
    let resolved = resolved(
        "spec: {access: {projects: [{project: billing}, {project: audit, environment: production}]}}",
    );
    let projects: Vec<String> = resolved
        .allowed_projects
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        projects,
        [
            "fincorp/retail-banking/development/billing",
            "fincorp/retail-banking/production/audit"
        ]
    );
}
