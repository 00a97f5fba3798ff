//! What one PostgreSQL server should be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::backup::{BackupSpec, Origin, Repositories};

/// Identity of an instance: given once, never reused, whatever the database is called.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct InstanceId(pub Uuid);

impl InstanceId {
    /// The first eight hexadecimal digits: short enough for socket paths and log lines.
    pub fn short(self) -> String {
        self.0.simple().to_string().chars().take(8).collect()
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A PostgreSQL major version that Boma runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MajorVersion {
    /// PostgreSQL 15.
    V15,
    /// PostgreSQL 16.
    V16,
    /// PostgreSQL 17.
    V17,
    /// PostgreSQL 18.
    V18,
}

impl MajorVersion {
    /// All of them, oldest first.
    pub const ALL: [Self; 4] = [Self::V15, Self::V16, Self::V17, Self::V18];

    /// The number: 15 to 18.
    pub fn number(self) -> u32 {
        match self {
            Self::V15 => 15,
            Self::V16 => 16,
            Self::V17 => 17,
            Self::V18 => 18,
        }
    }
}

/// "PostgreSQL 14 is not one of 15, 16, 17, 18".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PostgreSQL {0:?} is not one of 15, 16, 17, 18")]
pub struct UnknownMajorVersion(pub String);

impl FromStr for MajorVersion {
    type Err = UnknownMajorVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|version| version.to_string() == text)
            .ok_or_else(|| UnknownMajorVersion(text.to_owned()))
    }
}

impl TryFrom<String> for MajorVersion {
    type Error = UnknownMajorVersion;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MajorVersion> for String {
    fn from(version: MajorVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for MajorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// A value that must not be shown: `Debug` and `Display` print `[redacted]`.
///
/// It serialises as it is, because specs travel to the agent; what holds a `Secret` must
/// therefore never be serialised for a person to read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a secret value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Each caller is a place to review.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A SCRAM-SHA-256 verifier as PostgreSQL stores it (`SCRAM-SHA-256$4096:…`).
///
/// No password can be read from it, yet it is redacted like one: it can be attacked offline.
pub type Verifier = Secret<String>;

/// Whether the server should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// It should run and answer.
    On,
    /// It should be shut down cleanly, its data kept.
    Off,
}

/// What becomes of what somebody changes by hand in what a spec says.
///
/// Who may connect is put right whatever this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drift {
    /// It is put right, and told.
    #[default]
    Correct,
    /// It is told and left, until the spec itself changes there.
    Report,
}

impl Drift {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "`skip_serializing_if` hands a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What the server may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// CPU in thousandths of one CPU; at least 1.
    pub cpu_millis: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Storage in bytes.
    pub storage_bytes: u64,
}

impl Resources {
    /// Room on top of the memory: an eighth, and at least this. The agent is held to the same
    /// limit, and has up to 86 MiB of its own during a backup or a drill (docs/decisions/0054).
    const LEAST_ROOM: u64 = 96 << 20;

    /// What server and agent may use together before something is killed.
    pub fn most_memory_bytes(&self) -> u64 {
        self.memory_bytes + (self.memory_bytes / 8).max(Self::LEAST_ROOM)
    }
}

/// What a login may do in the database.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Sees every present and future table and can write nothing.
    ReadOnly,
    /// Reads, writes and migrates; what it makes belongs to the owner group.
    ReadWrite,
}

/// One login role of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginSpec {
    /// Role name, see [`crate::names::login`].
    pub role: String,
    /// What it may do.
    pub access: Access,
    /// What PostgreSQL checks its password against; none locks the role (`NOLOGIN`).
    pub verifier: Option<Verifier>,
    /// Who it was made for, for people who read `pg_roles`: `project/application`.
    pub comment: String,
}

/// What one PostgreSQL server should be. The engine makes it; nobody else changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceSpec {
    /// Who it is.
    pub id: InstanceId,
    /// Grows with every change; the agent refuses a spec older than the one it has accepted.
    pub generation: u64,
    /// Identity of the database in words: `fincorp/retail-banking/development/login-svc/accounts-db`.
    pub identity: String,
    /// Name of the database inside PostgreSQL, see [`crate::names::database`].
    pub database: String,
    /// PostgreSQL major version; never changes after the data directory was made.
    pub version: MajorVersion,
    /// Whether it should run.
    pub power: Power,
    /// What it may use.
    pub resources: Resources,
    /// Settings the user asked for; none of those that the platform owns.
    pub parameters: BTreeMap<String, String>,
    /// Extensions to be created in the database.
    pub extensions: BTreeSet<String>,
    /// Login roles, sorted by name. A role of Boma's that is not here is removed: its connections
    /// ended, what it owns reassigned to the owner group.
    pub logins: Vec<LoginSpec>,
    /// How it is backed up; none: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupSpec>,
    /// Where its first data comes from; none: it begins empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// What becomes of changes by hand.
    #[serde(default, skip_serializing_if = "Drift::is_default")]
    pub drift: Drift,
    /// The Kubernetes StorageClass that its volume is made of; none: the cluster's default. Fixed
    /// once there is a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listen {
    /// The one address; on one machine always a loopback address.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
    /// Host names that lead to it, the one for connection strings first; may be empty.
    pub names: Vec<String>,
}

impl Listen {
    /// What a client should connect to: the first name, or the address where there is none.
    pub fn host(&self) -> String {
        self.names
            .first()
            .cloned()
            .unwrap_or_else(|| self.address.to_string())
    }
}

/// Certificate and key of a server, signed by the installation's own authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsMaterial {
    /// The server's certificate, PEM.
    pub certificate: String,
    /// Its private key, PEM.
    pub key: Secret<String>,
    /// The authority's certificate, PEM.
    pub authority: String,
}

/// What the platform adds to a spec: where on this platform the server lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Where clients reach it.
    pub listen: Listen,
    /// The address that the server itself binds to; none: the one that clients connect to. In a
    /// pod that one is the Service's, which no process can bind to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<IpAddr>,
    /// What it proves its identity with; none: TLS is off (never on one machine or in a pod).
    pub tls: Option<TlsMaterial>,
    /// The repositories that the spec names.
    #[serde(default, skip_serializing_if = "Repositories::is_empty")]
    pub repositories: Repositories,
}

impl Placement {
    /// The address and port that the server itself binds to.
    pub fn bound(&self) -> SocketAddr {
        SocketAddr::new(self.bind.unwrap_or(self.listen.address), self.listen.port)
    }
}

/// What the agent is given: the engine's spec and the platform's placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// What the server should be.
    pub spec: InstanceSpec,
    /// Where it lives.
    pub placement: Placement,
}
