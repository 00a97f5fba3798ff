//! What people read when something is wrong, where no scenario shows it.

use boma_instance::MajorVersion;
use boma_problem::{IntoProblem, Place, Problem};

use crate::act::CredentialError;
use crate::catalog::{CatalogError, SubjectKind};
use crate::plan::{ApplicationRefusal, DatabaseRefusal, RemovalRefusal};
use crate::testing::{application_key, database_key};

fn place() -> Place {
    Place {
        file: "accounts-db.yaml".to_owned(),
        line: 4,
        column: 9,
        length: 11,
        text: "  name: accounts-db".to_owned(),
    }
}

/// A problem as a person reads it.
fn read(error: &impl IntoProblem) -> String {
    let Problem { code, hints, .. } = error.problem();
    let text = error.problem().to_string();
    format!("{text}\n{code}\n{}", hints.join("\n"))
}

#[test]
fn two_applications_of_one_role() {
    let error = CatalogError::SameRole {
        database: database_key("accounts-db"),
        role: "auth_api_1".to_owned(),
        one: application_key("auth-api"),
        other: application_key("other-api"),
        at: Box::new(place()),
    };
    insta::assert_snapshot!(read(&error), @r#"
    fincorp/retail-banking/development/login-svc/auth-api and fincorp/retail-banking/development/login-svc/other-api would both get login role "auth_api_1" in Database fincorp/retail-banking/development/login-svc/accounts-db
    same-role
    Give one of the applications another name.
    "#);
}

#[test]
fn a_resource_that_is_described_twice() {
    let error = CatalogError::Duplicate {
        kind: SubjectKind::Application,
        name: "fincorp/retail-banking/development/login-svc/auth-api".to_owned(),
        first: Box::new(place()),
        again: Box::new(place()),
    };
    insta::assert_snapshot!(read(&error), @r"
    Application fincorp/retail-banking/development/login-svc/auth-api is described twice
    duplicate-resource
    Take one of the two away, or give it another name.
    ");
}

#[test]
fn no_postgresql_at_all() {
    let error = DatabaseRefusal::NoPostgres {
        platform: "on this machine".to_owned(),
        searched: vec!["/usr/lib/postgresql".to_owned(), "`pg_config`".to_owned()],
    };
    insta::assert_snapshot!(read(&error), @r"
    there is no PostgreSQL on this machine
    postgres-missing
    Install PostgreSQL 15, 16, 17 or 18.
    Looked for it in /usr/lib/postgresql, `pg_config`.
    ");
}

#[test]
fn a_version_that_an_existing_database_needs() {
    let error = DatabaseRefusal::VersionMissing {
        version: MajorVersion::V16,
        is_fixed: true,
        platform: "on this machine".to_owned(),
        installed: vec![MajorVersion::V15],
        searched: Vec::new(),
    };
    insta::assert_snapshot!(read(&error), @r"
    PostgreSQL 16 is not installed on this machine
    postgres-version-missing
    Install PostgreSQL 16.
    ");
}

#[test]
fn a_class_that_a_volume_is_not_of() {
    let error = DatabaseRefusal::StorageClassChanged {
        from: "slow".to_owned(),
        to: "fast".to_owned(),
    };
    insta::assert_snapshot!(read(&error), @r#"
    the volume is of storage class "slow", and a volume's class cannot be changed to "fast"
    storage-class-changed
    Write `class: slow`, or leave it out.
    To move to another class, make another database of that class out of this one's backups: `boma restore DATABASE --as NEW`.
    Where no volume was ever made, and `kubectl get persistentvolumeclaim` says `Pending`: delete the claim with kubectl. Boma makes it anew, of the class that the manifest says.
    "#);
}

#[test]
fn an_extension_that_nothing_is_near_to() {
    let error = DatabaseRefusal::UnknownExtension {
        name: "postgis".to_owned(),
        version: MajorVersion::V16,
        platform: "on this machine".to_owned(),
        nearest: None,
    };
    insta::assert_snapshot!(read(&error), @r#"
    PostgreSQL 16 on this machine has no extension "postgis"
    unknown-extension
    Install the extension for PostgreSQL 16.
    "#);
}

#[test]
fn a_pre_deploy_that_failed_where_nothing_runs() {
    let failure = Problem::from_error(
        boma_problem::Class::User,
        "command-failed",
        &std::io::Error::other("npm: not found"),
    );
    let error = ApplicationRefusal::PreDeployFailed {
        application: "auth-api".to_owned(),
        is_running: false,
        failure: Box::new(failure),
    };
    insta::assert_snapshot!(read(&error), @r"
    preDeploy failed: npm: not found
    pre-deploy-failed
    `boma logs auth-api` shows what it wrote.
    Mend it, then run `boma deploy auth-api`.
    ");
}

#[test]
fn many_resources_that_would_be_removed() {
    let removed = (0..8)
        .map(|number| (&database_key(&format!("db-{number}"))).into())
        .collect();
    let place = Some("/srv/manifests".into());
    let error = RemovalRefusal::NoManifests { place, removed };
    insta::assert_snapshot!(read(&error), @r"
    there is no manifest at all; Database fincorp/retail-banking/development/login-svc/db-0, Database fincorp/retail-banking/development/login-svc/db-1, Database fincorp/retail-banking/development/login-svc/db-2, Database fincorp/retail-banking/development/login-svc/db-3, Database fincorp/retail-banking/development/login-svc/db-4 and 3 more would be removed
    no-manifests
    Look whether this is the right directory.
    If everything is to go, say so: `boma apply --change-source`.
    ");
}

#[test]
fn no_custom_resource_is_left() {
    let error = RemovalRefusal::NoManifests {
        place: Some("custom-resources".into()),
        removed: vec![(&database_key("accounts-db")).into()],
    };
    insta::assert_snapshot!(read(&error), @r"
    there is no manifest at all; Database fincorp/retail-banking/development/login-svc/accounts-db would be removed
    no-manifests
    Look whether somebody has deleted the definitions, and with them every Database and Application: make those again, and all is as it was.
    If everything is to go, say so: `boma --platform kubernetes apply --change-source custom-resources`.
    ");
}

#[test]
fn no_random_numbers() {
    let error = CredentialError::NoRandomness {
        role: "auth_api_1".to_owned(),
    };
    insta::assert_snapshot!(read(&error), @r#"
    the operating system gives no random numbers for the password of role "auth_api_1"
    no-randomness
    Look whether /dev/urandom is there and can be read.
    "#);
}
