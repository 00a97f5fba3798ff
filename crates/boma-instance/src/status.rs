//! What was measured of one PostgreSQL server.
//!
//! Nothing here is assumed: a field is `None` or [`Truth::Unknown`] until it was measured.

use boma_problem::Problem;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backup::BackupStatus;
use crate::{Access, InstanceId, Listen};

/// Where a server is in its life, in one word for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub enum Phase {
    /// Nothing was measured yet, or the agent does not answer.
    Unknown,
    /// The data directory is being made.
    Creating,
    /// The server is starting, or is replaying WAL.
    Starting,
    /// It answers, and is being brought to its spec.
    Converging,
    /// It answers and is as its spec says.
    Ready,
    /// It answers, but cannot be brought to its spec without a person; see the problems.
    Degraded,
    /// It is being shut down.
    Stopping,
    /// It is shut down, as its spec says.
    Suspended,
    /// It does not run, and a person should look at it; see the problems.
    Failed,
}

/// A measured truth value; unknown is never healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub enum Truth {
    /// Measured, and so.
    True,
    /// Measured, and not so.
    False,
    /// Not measured.
    Unknown,
}

/// One named statement about the server, by the conventions of Kubernetes conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its name, `PascalCase`: `Ready`, `StorageHealthy`, `ResourcesEnforced`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: Truth,
    /// Stable reason, `PascalCase`.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// The reason of a condition about what its manifest has switched off: nothing is wrong.
pub const OFF: &str = "Off";

/// The condition that says whether the write-ahead log is archived.
pub const ARCHIVED: &str = "WalArchived";

/// Its reason when a server was stopped and its repository did not take the last of its log.
pub const LEFT_BEHIND: &str = "LeftBehind";

/// The condition that says that objects in a cluster were changed by hand.
pub const OBJECTS_AS_MANIFEST: &str = "ObjectsAsManifest";

/// The conditions that say that something was changed by hand; there only while it is so.
pub const AS_MANIFEST: [&str; 5] = [
    OBJECTS_AS_MANIFEST,
    "AccessAsManifest",
    "SettingsAsManifest",
    "LoginsAsManifest",
    "ExtensionsAsManifest",
];

/// What was changed by hand and put right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Correction {
    /// When.
    pub at: Timestamp,
    /// What was done, in words.
    pub what: String,
}

/// The running server process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Full version as the server reports it: `15.18`.
    pub version: String,
    /// Process id of the postmaster.
    pub pid: u32,
    /// When it was started.
    pub started_at: Timestamp,
    /// `system_identifier` of the cluster.
    pub system_identifier: u64,
    /// Settings that wait for a restart (`pg_settings.pending_restart`).
    pub pending_restart: Vec<String>,
}

/// Storage, measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// Bytes that the data directory takes on disk.
    pub used_bytes: u64,
    /// Bytes that it may take.
    pub size_bytes: u64,
    /// Bytes free on the file system below it.
    pub free_bytes: u64,
}

/// A login role as it stands in the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginStatus {
    /// Role name.
    pub role: String,
    /// What it may do.
    pub access: Access,
    /// Open connections when last measured.
    pub connections: u32,
    /// When it was last measured to have one, if it has none now; none: not since the agent began. A
    /// connection that comes and goes between two looks, at most a minute apart, is not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
}

/// What was measured of one server, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// Whose status.
    pub id: InstanceId,
    /// Generation of the spec that the agent has accepted and stored.
    pub accepted_generation: u64,
    /// Newest generation that the server was seen to be converged to; 0: none yet.
    pub converged_generation: u64,
    /// One word for people.
    pub phase: Phase,
    /// When it was measured.
    pub observed_at: Timestamp,
    /// Where the server listens, as it was last told.
    pub listen: Option<Listen>,
    /// The running server; none: it does not run, or nothing is known of it.
    pub server: Option<ServerStatus>,
    /// Storage; none: not measured yet.
    pub storage: Option<StorageStatus>,
    /// Login roles of grants.
    pub logins: Vec<LoginStatus>,
    /// Backups; none: not measured yet.
    #[serde(default)]
    pub backup: Option<BackupStatus>,
    /// What was found changed by hand and put right, oldest first; the newest few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrections: Vec<Correction>,
    /// Statements about it.
    pub conditions: Vec<Condition>,
    /// What hinders it, most important first; each with what to do.
    pub problems: Vec<Problem>,
}

impl InstanceStatus {
    /// Whether the server was seen to be as generation `generation` of its spec says, or newer.
    pub fn is_converged(&self, generation: u64) -> bool {
        self.converged_generation >= generation
    }
}
