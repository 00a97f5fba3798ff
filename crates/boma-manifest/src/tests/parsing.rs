//! What is read, and what is passed over.

use crate::{Database, Manifest, Parsed, PlanTable, ResolvedDatabase, parse};

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
