//! What exists, as a platform sees it. Nothing in here is secret but verifiers, which are redacted.

use std::collections::{BTreeMap, BTreeSet};

use boma_instance::backup::RecoveryTarget;
use boma_instance::names::Turn;
use boma_instance::settings::ServerParameters;
use boma_instance::wal::Timeline;
use boma_instance::{
    Condition, InstanceId, InstanceSpec, InstanceStatus, Listen, MajorVersion, Verifier,
};
use boma_problem::Problem;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::keys::{ApplicationKey, DatabaseKey, GrantKey, SecretKey};

/// Everything that a plan needs to know of the world.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Where the manifests of the last applied catalog came from; none: nothing was applied yet.
    pub source: Option<String>,
    /// What this platform can do.
    pub capabilities: Capabilities,
    /// Databases that were ever registered and not purged.
    pub databases: BTreeMap<DatabaseKey, ObservedDatabase>,
    /// Credentials of grants.
    pub grants: BTreeMap<GrantKey, ObservedGrant>,
    /// Applications that were registered.
    pub applications: BTreeMap<ApplicationKey, ObservedApplication>,
    /// Databases that a person wants to be replaced by what they were.
    pub replacements: BTreeMap<DatabaseKey, Replacement>,
    /// Secrets that people have stored for applications, and the revision of each: another text
    /// whenever the secret is another one, which says nothing of it.
    pub secrets: BTreeMap<SecretKey, String>,
    /// Secrets that are there and from which no value can be taken, with the names of their entries.
    pub secrets_without_value: BTreeMap<SecretKey, Vec<String>>,
}

/// A person's wish to have a database replaced. It is forgotten in the moment in which the two
/// servers change places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replacement {
    /// The name of the other server, until it takes the database's place; then that of the
    /// replaced one.
    pub beside: DatabaseKey,
    /// What takes its place.
    pub by: ReplacedBy,
    /// When it was asked for.
    pub asked_at: Timestamp,
}

/// What takes the place of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum ReplacedBy {
    /// A new server, made from the database's own backups.
    Backups {
        /// The moment.
        target: RecoveryTarget,
        /// The line of history that it is on; none: the newest.
        timeline: Option<Timeline>,
    },
    /// The server that was replaced before, and was kept.
    Kept,
}

/// What a platform can do; what it cannot is said at plan time.
#[derive(Clone, Debug, Default)]
pub struct Capabilities {
    /// Name for messages: "on this machine", "on Kubernetes".
    pub platform: String,
    /// PostgreSQL builds at hand, oldest major first; at most one per major.
    pub servers: Vec<ServerBuild>,
    /// Where servers were looked for, for the hint when a version is missing.
    pub searched: Vec<String>,
    /// Parts of manifests that this platform acts on.
    pub features: BTreeSet<Feature>,
    /// Repositories of backups, by name.
    pub repositories: BTreeSet<String>,
    /// CPUs of the machine in thousandths; none: not known or elastic.
    pub cpu_millis: Option<u32>,
    /// Memory of the machine in bytes; none: not known or elastic.
    pub memory_bytes: Option<u64>,
    /// Whether CPU and memory limits are enforced; if not, why (for people).
    pub limits: Option<Result<(), String>>,
    /// What servers said about values of settings, as far as they were asked
    /// ([`Platform::judge_settings`](crate::platform::Platform::judge_settings)); none: this
    /// platform cannot ask them.
    pub judged: Option<Judgements>,
}

/// A value of a setting, for servers of one major version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingValue {
    /// Of which version.
    pub major: MajorVersion,
    /// The setting.
    pub name: String,
    /// The value.
    pub value: String,
}

/// What a server says about a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It takes it.
    Taken,
    /// It refuses it, in these words.
    Refused(String),
}

/// What servers said about values of settings.
pub type Judgements = BTreeMap<SettingValue, Judgement>;

/// Something that a manifest may ask for and that not every platform does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// `source.image`.
    Images,
    /// `source.command`.
    Commands,
    /// `target.workload`.
    Workloads,
    /// `target.replicas` above 1.
    Replicas,
    /// `clusterSize` above 1.
    Standbys,
    /// `storage.class`.
    StorageClasses,
    /// Base backups and the WAL archive.
    Backups,
    /// `bootstrap.restore`.
    Restore,
    /// Another server taking the place of a database's.
    Replace,
    /// Agents that start by themselves with the spec that is stored for them: handing it over once
    /// more brings none back that does not answer.
    OwnAgents,
}

/// One PostgreSQL that servers can be made with.
#[derive(Clone, Debug)]
pub struct ServerBuild {
    /// Its major version.
    pub major: MajorVersion,
    /// Full version: `15.18`.
    pub version: String,
    /// Settings that it knows.
    pub parameters: ServerParameters,
    /// Extensions that can be created.
    pub extensions: BTreeSet<String>,
}

/// What must be known of a database even when its manifest is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseRecord {
    /// `deletionProtection` as last applied.
    pub deletion_protection: bool,
    /// `backupConfig.retentionDays` as last applied: how long a retired database is kept.
    pub retention_days: u16,
    /// The database that this one stands beside: made to replace it, or replaced and kept; none:
    /// it is one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<DatabaseKey>,
}

/// Whether a database is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "life", rename_all = "kebab-case")]
pub enum Life {
    /// It has a manifest.
    Active,
    /// Its manifest is gone: stopped, its data kept.
    Retired {
        /// Since when.
        since: Timestamp,
        /// From when on it may be purged.
        until: Timestamp,
    },
}

/// A registered database.
#[derive(Clone, Debug)]
pub struct ObservedDatabase {
    /// Its instance.
    pub id: InstanceId,
    /// What was recorded of its manifest.
    pub record: DatabaseRecord,
    /// In use or retired.
    pub life: Life,
    /// A person stopped it by `boma stop`; it stays down until `boma start`.
    pub held: bool,
    /// The spec last handed to the platform; none: registered only.
    pub spec: Option<InstanceSpec>,
    /// Where it listens; none until the platform has placed it.
    pub listen: Option<Listen>,
    /// From when on it is to be given another certificate; none: it has none, or nothing is known.
    pub renew_at: Option<Timestamp>,
    /// The StorageClass that its volume is of; none: there is no volume yet, or none of a class.
    pub storage_class: Option<String>,
    /// What its agent says.
    pub agent: AgentState,
}

/// What is known of an instance through its agent.
#[derive(Clone, Debug)]
pub enum AgentState {
    /// The agent answered with this.
    Answering(Box<InstanceStatus>),
    /// There should be an agent, and it does not answer; nothing is known of the server.
    Silent(Problem),
    /// No agent runs.
    Absent,
}

/// One login of a grant, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedLogin {
    /// Role name.
    pub role: String,
    /// Grows with each password; goes into environment fingerprints in place of the password.
    pub serial: u64,
    /// What PostgreSQL checks the password against.
    pub verifier: Verifier,
}

impl ObservedLogin {
    /// When its password was made.
    pub fn since(&self) -> Option<Timestamp> {
        let made = i64::try_from(self.serial).ok()?;
        Timestamp::from_millisecond(made).ok()
    }
}

/// The stored credentials of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedGrant {
    /// The login whose turn it is; the application connects with this one.
    pub active: Turn,
    /// Logins that have a password; a grant starts with one, the other comes with rotation.
    pub logins: BTreeMap<Turn, ObservedLogin>,
    /// The least number that the password should have: a person asked for another one. 0: nobody.
    pub asked: u64,
    /// Since when it is the active login's turn while the other one is still open; none: the other
    /// one is to be locked.
    pub draining: Option<Timestamp>,
}

/// A registered application.
#[derive(Clone, Debug)]
pub struct ObservedApplication {
    /// The environment last delivered to it.
    pub delivered: Option<DeliveredEnvironment>,
    /// The last `preDeploy` run.
    pub pre_deploy: Option<PreDeployRun>,
    /// Its process.
    pub process: ProcessState,
    /// A person stopped it by `boma stop`.
    pub held: bool,
    /// What the platform measured besides. One of the kind [`AVAILABLE`] says whether what was
    /// started serves.
    pub conditions: Vec<Condition>,
}

/// The kind of a condition that says whether what was started of an application serves.
pub const AVAILABLE: &str = "Available";

/// An environment that was stored for an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveredEnvironment {
    /// Says the same for the same environment, without saying any secret.
    pub fingerprint: String,
    /// Grows with each delivery.
    pub serial: u64,
}

/// The last run of `preDeploy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreDeployRun {
    /// Fingerprint of environment and commands that it ran for.
    pub deployment: String,
    /// None: it ended well.
    pub failure: Option<Problem>,
    /// When it ended.
    pub at: Timestamp,
}

/// What an application runs as, if Boma runs or restarts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// It never ran, was stopped, or is not run by Boma.
    NotRunning,
    /// It runs.
    Running {
        /// Fingerprint of environment and commands that it was started with.
        deployment: String,
        /// Process id; none: it is not one process of this machine.
        pid: Option<u32>,
        /// Since when.
        since: Timestamp,
    },
    /// It ended by itself.
    Exited {
        /// Fingerprint of environment and commands that it was started with.
        deployment: String,
        /// When it was seen to have ended.
        at: Timestamp,
        /// How often in a row it ended within a minute of its start.
        failures: u32,
    },
}
