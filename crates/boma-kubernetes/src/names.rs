//! Names of objects, labels and annotations. Pure.
//!
//! Everything about one database is found by its labels; names are for people, and so that two
//! writers meet at one object.

use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey};
use boma_instance::InstanceId;
use boma_instance::names::fnv1a;
use ring::digest;

/// Field manager of server-side apply, and value of [`MANAGED_BY`].
pub(crate) const MANAGER: &str = "boma";

/// Label: what manages an object.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: namespace of the installation that an object belongs to. Several may share a cluster.
pub(crate) const INSTALLATION: &str = "lowops.manifests/installation";
/// Label: what a pod runs.
pub(crate) const APP_NAME: &str = "app.kubernetes.io/name";
/// Label: what an object is to Boma; see [`Part`].
pub(crate) const PART: &str = "lowops.manifests/part";
/// Label: name of the database.
pub(crate) const DATABASE: &str = "lowops.manifests/database";
/// Label: name of the application. What carries it in a project's namespace may reach the
/// databases that the application is granted.
pub(crate) const APPLICATION: &str = "lowops.manifests/application";
/// Label: identity of the instance.
pub(crate) const INSTANCE_ID: &str = "lowops.manifests/instance-id";
/// Label of a namespace: digest of the project's identity.
pub(crate) const PROJECT: &str = "lowops.manifests/project";
/// Annotation of a volume claim: the name under which its instance stands beside the database, made
/// to take its place or replaced and kept; none: it is the one of the database.
pub(crate) const BESIDE: &str = "lowops.manifests/beside";
/// Annotation: whole identity, for people.
pub(crate) const IDENTITY: &str = "lowops.manifests/identity";
/// Annotation of a pod's template: digest of the Secrets that the pod takes variables from. When
/// it changes, pods are replaced one after the other.
pub(crate) const SECRETS: &str = "lowops.manifests/secrets";
/// Annotation of a pod's template: how often a person asked for a restart of the same.
pub(crate) const RESTARTS: &str = "lowops.manifests/restarts";
/// Annotation: digest of what was last applied. What is no longer wanted is only seen by it.
pub(crate) const APPLIED: &str = "lowops.manifests/applied";

/// What an object is to Boma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What is recorded of the installation.
    Installation,
    /// What is recorded of a database.
    Database,
    /// What an instance's pod mounts.
    Instance,
    /// Credentials of a grant.
    Grant,
    /// What is recorded of an application.
    Application,
    /// What an application is given of one grant.
    Binding,
    /// What people have stored for applications.
    Secret,
    /// An application that Boma runs, and its pods.
    Workload,
    /// A command that runs before an application is rolled out.
    PreDeploy,
    /// The key of a repository of backups.
    Repository,
    /// What happened, and who did what.
    Journal,
    /// Who may use the dashboard.
    People,
    /// What sessions of the dashboard are signed with.
    Dashboard,
}

impl Part {
    /// Value of the label.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Installation => "installation",
            Self::Database => "database",
            Self::Instance => "instance",
            Self::Grant => "grant",
            Self::Application => "application",
            Self::Binding => "binding",
            Self::Secret => "secret",
            Self::Workload => "workload",
            Self::PreDeploy => "pre-deploy",
            Self::Repository => "repository",
            Self::Journal => "journal",
            Self::People => "people",
            Self::Dashboard => "dashboard",
        }
    }
}

/// Digest of a project's identity: 128 bits, so that nobody makes up a project whose namespace
/// would pass for another's.
pub(crate) fn project_digest(project: &str) -> String {
    digest_of(project.as_bytes())
}

/// 32 hexadecimal digits of SHA-256.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = digest::digest(&digest::SHA256, bytes);
    let mut text = String::with_capacity(32);
    for byte in digest.as_ref().iter().take(16) {
        // Writing to a string does not fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

/// Names that a project's namespace may have, the nicer one first: `login-svc-development`, and
/// one that no other project can want.
pub(crate) fn namespaces(project: &str) -> [String; 2] {
    let mut parts = project.rsplit('/');
    let name = parts.next().unwrap_or_default();
    let environment = parts.next().unwrap_or_default();
    let nice = format!("{name}-{environment}");
    let hash = fnv1a(project.as_bytes());
    let cut = |length: usize| {
        let cut: String = nice.chars().take(length).collect();
        cut.trim_end_matches('-').to_owned()
    };
    [cut(63), format!("{}-{hash:08x}", cut(54))]
}

/// The name in a manifest of a database or of what it stands beside: `accounts` of
/// `accounts.restore-20261121T143206Z`. Names in manifests have no dots.
pub(crate) fn base_name(database: &DatabaseKey) -> &str {
    let name = database.name.split('.').next();
    name.unwrap_or(&database.name)
}

/// The database that one stands beside, or itself.
pub(crate) fn base(database: &DatabaseKey) -> DatabaseKey {
    DatabaseKey::new(database.project.clone(), base_name(database))
}

/// Whether it is one that stands beside a database.
pub(crate) fn is_beside(database: &DatabaseKey) -> bool {
    base_name(database) != &*database.name
}

/// The Service that leads to a database's primary. Names of Services begin with a letter.
pub(crate) fn service(database: &DatabaseKey) -> String {
    let name = base_name(database);
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        format!("db-{name}")
    } else {
        name.to_owned()
    }
}

/// Its first instance: StatefulSet, volume claim and Secret.
pub(crate) fn first_instance(database: &DatabaseKey) -> String {
    format!("{}-1", base_name(database))
}

/// Another instance: objects are not renamed, and this one may take the first one's place. Never
/// longer than 49 characters: Kubernetes appends to names of StatefulSets, and labels have 63.
pub(crate) fn another_instance(database: &DatabaseKey, id: InstanceId) -> String {
    let hash = fnv1a(id.to_string().as_bytes());
    format!("{}-{hash:08x}", base_name(database))
}

/// The pod of an instance's StatefulSet.
pub(crate) fn pod(instance: &str) -> String {
    format!("{instance}-0")
}

/// Who may reach an instance: the first one's bears the name of the database.
pub(crate) fn network_policy(instance: &str) -> String {
    match instance.strip_suffix("-1") {
        Some(database) => database.to_owned(),
        // No name in a manifest has a dot, so no other database has this one.
        None => format!("{instance}.access"),
    }
}

/// The Secret with what is recorded of a database, and of all that stands beside it.
pub(crate) fn database_record(database: &DatabaseKey) -> String {
    format!("{}.database", base_name(database))
}

/// The Secret with what is recorded of an application.
pub(crate) fn application_record(application: &ApplicationKey) -> String {
    format!("{}.application", application.name)
}

/// The Secret with the credentials of a grant, beside the database.
pub(crate) fn grant(grant: &GrantKey) -> String {
    let (database, application) = (&grant.database.name, &grant.application.name);
    format!(
        "{database}.{application}{}.logins",
        foreign(grant, &grant.application.project)
    )
}

/// The Secret that an application is given for a grant, beside the application.
pub(crate) fn binding(grant: &GrantKey) -> String {
    let (database, application) = (&grant.database.name, &grant.application.name);
    format!(
        "{application}.{database}{}",
        foreign(grant, &grant.database.project)
    )
}

/// The Secret with copies of what an application is given of secrets of its project.
pub(crate) fn environment(application: &ApplicationKey) -> String {
    format!("{}.application.environment", application.name)
}

/// The Job of an application that runs before a deployment is rolled out.
pub(crate) fn pre_deploy(application: &ApplicationKey, deployment: &str) -> String {
    let cut: String = deployment.chars().take(8).collect();
    format!("{}-pre-deploy-{cut}", application.name)
}

/// The name of a database in applications that Boma runs.
pub(crate) fn internal(database: &DatabaseKey) -> String {
    format!("{}.internal", database.name)
}

/// Tells projects apart where a grant leads from one to another.
fn foreign(grant: &GrantKey, other: &str) -> String {
    if grant.application.project == grant.database.project {
        String::new()
    } else {
        format!(".{:08x}", fnv1a(other.as_bytes()))
    }
}

/// Names that lead to a database, the one for connection strings first.
pub(crate) fn hosts(database: &DatabaseKey, namespace: &str) -> Vec<String> {
    let service = service(database);
    vec![
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
        format!("{service}.{namespace}"),
        service,
        internal(database),
    ]
}

/// The one name by which the platform knows an instance's agent, wherever its pod is.
pub(crate) fn agent(id: InstanceId) -> String {
    format!("{id}.agent.boma.internal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_labels_and_the_second_is_one_projects_alone() {
        let [nice, own] = namespaces("fincorp/retail/development/login-svc");
        assert_eq!(nice, "login-svc-development");
        assert_ne!(
            own,
            namespaces("fincorp/wholesale/development/login-svc")[1]
        );
        let long = format!("o/u/{}/{}", "e".repeat(40), "p".repeat(40));
        for name in namespaces(&long) {
            assert!(name.len() <= 63, "{name}");
            assert!(!name.ends_with('-'));
        }
        assert_ne!(project_digest("a/b/c/d"), project_digest("a/b/c/e"),);
    }

    #[test]
    fn grants_of_two_projects_do_not_meet() {
        let own = GrantKey {
            application: ApplicationKey::new("a/b/c/d", "api"),
            database: DatabaseKey::new("a/b/c/d", "1st"),
        };
        let other = GrantKey {
            application: ApplicationKey::new("a/b/c/e", "api"),
            ..own.clone()
        };
        assert_eq!(grant(&own), "1st.api.logins");
        assert_eq!(binding(&own), "api.1st");
        assert_ne!(grant(&own), grant(&other));
        assert_eq!(service(&own.database), "db-1st");
    }

    #[test]
    fn what_stands_beside_a_database_has_objects_of_its_own_and_leads_to_its_names() {
        let database = DatabaseKey::new("a/b/c/d", "x".repeat(40));
        let name = format!("{}.restore-20261121T143206Z", database.name);
        let beside = DatabaseKey::new("a/b/c/d", name);
        assert!(is_beside(&beside) && !is_beside(&database));
        assert_eq!(base(&beside), database);
        assert_eq!(service(&beside), service(&database));
        assert_eq!(database_record(&beside), database_record(&database));
        let first = first_instance(&database);
        let other = another_instance(&beside, InstanceId(uuid::Uuid::from_u128(7)));
        assert_ne!(first, other);
        assert!(other.len() <= 49, "{other}");
        assert_eq!(network_policy(&first), *database.name);
        assert_ne!(
            network_policy(&other),
            other,
            "a database may have that name"
        );
        assert_eq!(pod(&other), format!("{other}-0"));
    }
}
