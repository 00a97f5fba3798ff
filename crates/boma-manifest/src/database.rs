//! Databases, as users describe them.

mod resolve;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::metadata::{DatabaseId, Metadata, ProjectIdentity};
use crate::names::{
    EnvironmentName, ExtensionName, OrganizationName, OrganizationalUnitName, ParameterName,
    PlanName, ProjectName, RepositoryName, StorageClassName,
};
use crate::origin::Origin;
use crate::quantity::{CpuCount, Quantity};
use crate::reference::DatabaseReference;
use crate::schedule::Schedule;
use crate::target::RestoreTarget;

pub use resolve::{ResolvedBackup, ResolvedDatabase};

/// A manifest of kind `Database`.
///
/// Two are equal when they say the same, wherever that is written.
#[derive(Clone, Debug)]
pub struct Database {
    /// Who it is.
    pub metadata: Metadata,
    /// What it should be.
    pub spec: DatabaseSpec,
    /// Where it is written.
    pub origin: Origin,
}

impl Database {
    /// Its identity.
    pub fn id(&self) -> DatabaseId {
        DatabaseId {
            project: self.metadata.project.clone(),
            name: self.metadata.name.clone(),
        }
    }
}

impl PartialEq for Database {
    fn eq(&self, other: &Self) -> bool {
        self.metadata == other.metadata && self.spec == other.spec
    }
}

impl Eq for Database {}

/// A PostgreSQL major version that a manifest may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Version {
    /// PostgreSQL 15.
    #[serde(rename = "15")]
    V15,
    /// PostgreSQL 16.
    #[serde(rename = "16")]
    V16,
    /// PostgreSQL 17.
    #[serde(rename = "17")]
    V17,
    /// PostgreSQL 18.
    #[serde(rename = "18")]
    V18,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V15, Self::V16, Self::V17, Self::V18];

    /// As it is written in a manifest: `15` to `18`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V15 => "15",
            Self::V16 => "16",
            Self::V17 => "17",
            Self::V18 => "18",
        }
    }
}

impl JsonSchema for Version {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["15", "16", "17", "18", 15, 16, 17, 18] })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// What a manifest leaves out is `None` here; `Database::resolve` fills it in. The comments of these
// types are the descriptions of the schema: they are for people who write manifests.

/// What a database should be. What is left out follows from the plan, then from the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct DatabaseSpec {
    /// PostgreSQL major version. Left out: the platform's. It is fixed when the database is made
    /// and never changed by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Name of a plan that fills every field which is left out here, such as `free`, `starter`,
    /// `pro` or `enterprise`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// Number of CPUs, fractions allowed; sizes worker settings too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 1))]
    pub cpu_count: Option<CpuCount>,
    /// Memory, such as `4Gi`; sizes PostgreSQL's buffers. Left out: 2Gi for each CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// The disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageSpec>,
    /// Number of instances: one primary, the rest streaming replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9), extend("default" = 1))]
    pub cluster_size: Option<u8>,
    /// Backups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_config: Option<BackupConfig>,
    /// PostgreSQL settings, such as `work_mem: 32MB`. Those that the platform owns are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::parameters")]
    pub parameters: BTreeMap<ParameterName, String>,
    /// Extensions to be created in the database, such as `pg_trgm`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub extensions: BTreeSet<ExtensionName>,
    /// Stops the servers and keeps the data; `false` again resumes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub suspended: Option<bool>,
    /// Whether taking the manifest away is an error. With `false` the database is retired then:
    /// a last backup, stopped, kept for `retentionDays`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub deletion_protection: Option<bool>,
    /// What the database is made from; only read when it is first made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// Who else may ask for access.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessSpec>,
    /// What becomes of changes that somebody makes by hand in what this manifest says: with `correct`
    /// they are put right and told, with `report` only told. Who may connect is always put right.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "correct"))]
    pub drift: Option<Drift>,
}

/// What becomes of changes by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Drift {
    /// They are put right, and told.
    #[default]
    Correct,
    /// They are told.
    Report,
}

/// The disk of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
pub struct StorageSpec {
    /// Its size, 1Gi to 500Gi. It may grow and never shrinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "10Gi"))]
    pub size: Option<Quantity>,
    /// Kubernetes StorageClass. Left out: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<StorageClassName>,
}

/// Backups of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields, inline)]
pub struct BackupConfig {
    /// Whether base backups are taken and WAL is archived.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub enabled: Option<bool>,
    /// When base backups are taken: cron, five fields, UTC. Left out: daily, at a minute between
    /// 02:00 and 04:00 that follows from the database's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// For how many days to keep what a restore needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 365), extend("default" = 7))]
    pub retention_days: Option<u16>,
    /// Whether WAL is kept for the whole window, so that any moment in it can be restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub point_in_time_recovery: Option<bool>,
    /// How many seconds at most pass between two archived WAL segments while there is writing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600), extend("default" = 300))]
    pub archive_interval_seconds: Option<u16>,
    /// Which of the platform's repositories backups go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "default"))]
    pub repository: Option<RepositoryName>,
}

/// What a database is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
pub struct Bootstrap {
    /// Backups of another database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<Restore>,
}

/// Backups of another database, at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restore {
    /// The database whose backups to restore: a name, or `project/name`.
    pub database: DatabaseReference,
    /// The id under which its backups are, where the database itself is gone. Left out: that of
    /// the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<Uuid>,
    /// The repository that they are in, with `instance` only. Left out: `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
    /// The moment to restore. Left out: the newest.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub target: Option<RestoreTarget>,
    /// The line of history that the moment is on. Left out: the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
}

/// Who else may ask for access to a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
pub struct AccessSpec {
    /// Other projects whose applications may ask for access.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<AllowedProject>,
}

/// A project whose applications may ask for access; what is left out is as in the database's own
/// project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields, inline)]
pub struct AllowedProject {
    /// The organization. Left out: the database's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<OrganizationName>,
    /// The unit of the organization. Left out: the database's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organizational_unit: Option<OrganizationalUnitName>,
    /// The environment. Left out: the database's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// The project.
    pub project: ProjectName,
}

impl AllowedProject {
    /// The identity that it stands for in a manifest of project `own`.
    pub fn identity(&self, own: &ProjectIdentity) -> ProjectIdentity {
        let or_own = own.clone();
        ProjectIdentity {
            organization: self.organization.clone().unwrap_or(or_own.organization),
            organizational_unit: self
                .organizational_unit
                .clone()
                .unwrap_or(or_own.organizational_unit),
            environment: self.environment.clone().unwrap_or(or_own.environment),
            project: self.project.clone(),
        }
    }
}
