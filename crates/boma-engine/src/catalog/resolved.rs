//! Databases and applications as they should be: every field resolved, nothing left to look up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use boma_instance::backup::{BackupSpec, RecoveryTarget};
use boma_instance::wal::Timeline;
use boma_instance::{Access, Drift, InstanceId, MajorVersion, Resources};
use boma_problem::Place;

use crate::fingerprint::Digests;
use crate::keys::{ApplicationKey, DatabaseKey, GrantKey, SecretKey};
use crate::plan::RestartedBy;
use crate::platform::{Program, Workload};
use boma_manifest::Origin;

/// A database as it should be.
#[derive(Clone, Debug)]
pub struct Database {
    /// Which one.
    pub key: DatabaseKey,
    /// The key in words.
    pub identity: String,
    /// Its name inside PostgreSQL.
    pub name: String,
    /// Major version; none: the one it has, or the newest of the platform for a new one.
    pub version: Option<MajorVersion>,
    /// CPU, memory and storage.
    pub resources: Resources,
    /// Kubernetes StorageClass.
    pub storage_class: Option<String>,
    /// Instances: one primary, the rest replicas.
    pub cluster_size: u32,
    /// How it is backed up, and how long it is kept.
    pub backup: BackupPolicy,
    /// Settings that the user asked for.
    pub parameters: BTreeMap<String, String>,
    /// Extensions to be created.
    pub extensions: BTreeSet<String>,
    /// Stopped, with its data kept.
    pub suspended: bool,
    /// Whether taking the manifest away is refused.
    pub deletion_protection: bool,
    /// The backups that it is first made from.
    pub restore: Option<RestoreFrom>,
    /// Other projects whose applications may ask for access, by identity.
    pub admitted_projects: Vec<Arc<str>>,
    /// What becomes of changes by hand.
    pub drift: Drift,
    /// Where its manifest is.
    pub origin: Origin,
}

/// `backupConfig`, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupPolicy {
    /// How it is backed up; none: not at all.
    pub spec: Option<BackupSpec>,
    /// Whether the manifest itself says so; where it does not, a platform may have no backups.
    pub is_explicit: bool,
    /// Days to keep backups and a retired database.
    pub retention_days: u16,
}

/// `bootstrap.restore`, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreFrom {
    /// Whose backups.
    pub database: DatabaseKey,
    /// Where they are, when the manifest says so and the database itself may be gone.
    pub put_away: Option<PutAway>,
    /// The moment.
    pub target: RecoveryTarget,
    /// The line of history that the moment is on; none: the newest.
    pub timeline: Option<Timeline>,
}

/// Backups that stayed when their database went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutAway {
    /// Whose they are.
    pub instance: InstanceId,
    /// The repository that they are in.
    pub repository: String,
}

/// An application as it should be.
#[derive(Clone, Debug)]
pub struct Application {
    /// Which one.
    pub key: ApplicationKey,
    /// Where it runs.
    pub source: RunsAs,
    /// How many processes.
    pub replicas: u32,
    /// An existing workload to attach to.
    pub workload: Option<String>,
    /// Its own variables.
    pub variables: Arc<Variables>,
    /// Whether there is a `preDeploy`, even if there is nothing for it to go before.
    pub has_pre_deploy: bool,
    /// What runs.
    pub commands: Arc<Commands>,
    /// The part of its fingerprints that follows from variables and commands.
    pub digests: Digests,
    /// What it may reach, in the order of the manifest.
    pub grants: Vec<Grant>,
    /// Where its manifest is.
    pub origin: Origin,
}

/// Variables of an application, apart from its grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// Plain ones.
    pub plain: BTreeMap<String, String>,
    /// Those that take the value of a secret of the platform, by the secret's name.
    pub secrets: BTreeMap<String, String>,
}

/// What an application runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// What it runs as; none: it is run elsewhere, by others.
    pub run: Option<Workload>,
    /// What runs to its end before that starts.
    pub pre_deploy: Option<Program>,
}

/// Where an application runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunsAs {
    /// Elsewhere; only its credentials are managed.
    Elsewhere,
    /// As a process on this machine.
    Command(Program),
    /// As a container.
    Image(String),
}

/// One grant of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// On which database.
    pub database: DatabaseKey,
    /// To do what.
    pub access: Access,
    /// The variable that receives the connection string.
    pub env_var: String,
    /// After how many days its password is exchanged; none: when a person asks for it.
    pub rotation_days: Option<u16>,
}

impl Database {
    /// Where in the manifests a field stands; the nearest field around it where it is left out.
    pub fn place(&self, field: &str) -> Place {
        self.origin.place(field)
    }
}

impl Application {
    /// Where in the manifests a field stands; the nearest field around it where it is left out.
    pub fn place(&self, field: &str) -> Place {
        self.origin.place(field)
    }

    /// Who restarts it when its environment changes.
    pub(crate) fn restarted_by(&self) -> RestartedBy {
        if self.commands.run.is_some() {
            RestartedBy::Boma
        } else {
            RestartedBy::Owner
        }
    }

    /// Names a secret that its manifest names: one of its own project.
    pub fn secret(&self, name: &str) -> SecretKey {
        SecretKey::new(self.key.project.clone(), name)
    }

    /// Names one of its grants.
    pub fn grant_key(&self, grant: &Grant) -> GrantKey {
        GrantKey {
            application: self.key.clone(),
            database: grant.database.clone(),
        }
    }
}

/// An application that may reach a database, as seen from the database.
#[derive(Clone, Copy, Debug)]
pub struct Grantee<'c> {
    /// Who.
    pub application: &'c Arc<Application>,
    /// By which grant.
    pub grant: &'c Grant,
    /// The grant's number in the catalog.
    pub(crate) link: usize,
}

/// What a person calls a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The installation as a whole.
    Installation,
    /// A database.
    Database(DatabaseKey),
    /// An application.
    Application(ApplicationKey),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installation => f.write_str("Installation"),
            Self::Database(key) => write!(f, "Database {key}"),
            Self::Application(key) => write!(f, "Application {key}"),
        }
    }
}

impl From<&DatabaseKey> for Subject {
    fn from(key: &DatabaseKey) -> Self {
        Self::Database(key.clone())
    }
}

impl From<&ApplicationKey> for Subject {
    fn from(key: &ApplicationKey) -> Self {
        Self::Application(key.clone())
    }
}
