//! What a platform carries out. It decides nothing: every choice is in the arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use boma_instance::names::Turn;
use boma_instance::{InstanceId, InstanceSpec, InstanceStatus, Listen, Secret, Verifier};
use boma_problem::Problem;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::keys::{ApplicationKey, DatabaseKey, GrantKey};
use crate::observed::{DatabaseRecord, Life, Observed, ProcessState, SettingValue};

/// Why a platform could not carry something out; its class says whether to try again.
pub type PlatformError = Box<Problem>;

/// A password and its verifier, made by the engine.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Role name.
    pub role: String,
    /// The password: 256 bits from the operating system, URL-safe.
    pub password: Secret<String>,
    /// What PostgreSQL checks it against.
    pub verifier: Verifier,
    /// Grows with each password of this login.
    pub serial: u64,
}

/// A login whose turn begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveLogin {
    /// Which of the two.
    pub turn: Turn,
    /// The number of its password.
    pub serial: u64,
    /// When its turn begins.
    pub since: Timestamp,
}

/// One database as an application reaches it.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The variable that receives the connection string.
    pub env_var: String,
    /// Which grant.
    pub grant: GrantKey,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database name inside PostgreSQL.
    pub database: String,
    /// Role and password.
    pub credential: Credential,
    /// The connection string: `postgresql://role:password@host:port/database`.
    pub uri: Secret<String>,
}

/// The whole environment of an application.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Says the same for the same environment, without saying any secret.
    pub fingerprint: String,
    /// Plain variables of the manifest.
    pub plain: BTreeMap<String, String>,
    /// Variables that take the value of a secret of the project, by the secret's name.
    pub secrets: BTreeMap<String, String>,
    /// Connection strings.
    pub bindings: Vec<Binding>,
}

/// A program of an application: what to run, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// Program and arguments; at least one.
    pub command: Vec<String>,
    /// Directory to run in, absolute; none: the platform's choice.
    pub working_directory: Option<String>,
}

/// What an application runs as.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "as", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Workload {
    /// A process on this machine.
    Process(Program),
    /// Containers of an image, which the platform makes and keeps.
    Containers {
        /// The image.
        image: String,
        /// TCP port that they listen on.
        port: Option<u16>,
        /// How many.
        replicas: u32,
    },
    /// Something that others made and keep. It is given its environment and restarted with it.
    Attached {
        /// What it is.
        kind: AttachedKind,
        /// Its name, beside the application.
        name: String,
    },
}

/// What can be attached to: whatever restarts its pods one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachedKind {
    /// A Deployment.
    Deployment,
    /// A StatefulSet.
    StatefulSet,
    /// A DaemonSet.
    DaemonSet,
}

impl std::fmt::Display for AttachedKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What became of the wish for another password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedRotation {
    /// It is remembered.
    Begins,
    /// An exchange is going on already; the two are one.
    GoesOn,
}

/// Something that happened, for people and for metrics; never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What it is about: `Database fincorp/…/accounts-db`; empty: the installation.
    pub subject: String,
    /// Stable reason, `PascalCase`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Whether a person should look.
    pub warning: bool,
}

/// Within this time the same event is counted, not repeated.
pub const SAME_EVENT: SignedDuration = SignedDuration::from_hours(1);

/// An event as it was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedEvent {
    /// What happened, and when for the first time.
    #[serde(flatten)]
    pub event: Event,
    /// When for the last time.
    pub last: Timestamp,
    /// How often.
    pub count: u32,
}

/// An entry of the audit trail: who changed what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who: system user and command.
    pub actor: String,
    /// What was done, as the plan words it.
    pub action: String,
    /// To what.
    pub subject: String,
    /// `done` or the problem.
    pub outcome: String,
}

/// Carries out what the engine decided, and tells what is there.
///
/// Every method may be repeated with the same arguments: a crash in the middle is repaired by
/// calling it again. When a method has returned `Ok`, what it did survives `kill -9` of everything.
pub trait Platform: Send + Sync + 'static {
    /// Tells what exists. Reads only.
    fn observe(&self) -> impl Future<Output = Result<Observed, PlatformError>> + Send;

    /// Asks servers of these versions whether they take these values, so that what is observed
    /// from now on tells what they said. Changes nothing. Only ever called where
    /// [`Capabilities::judged`](crate::observed::Capabilities::judged) is there.
    fn judge_settings(
        &self,
        settings: &BTreeSet<SettingValue>,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Remembers where manifests come from.
    fn record_source(&self, source: &str)
    -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Registers a database, or updates what is recorded of it. An id, once given, stays.
    fn record_database(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
        record: &DatabaseRecord,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Hands a spec over: stores it, places the instance, makes sure that its agent runs and has
    /// accepted the spec. Returns where the server listens or will listen.
    fn put_instance(
        &self,
        key: &DatabaseKey,
        spec: &InstanceSpec,
    ) -> impl Future<Output = Result<Listen, PlatformError>> + Send;

    /// Waits until the instance is converged to `generation`, fails in a way that only a person
    /// can mend, or `patience` is over. The last status is returned in each case.
    fn await_instance(
        &self,
        id: InstanceId,
        generation: u64,
        patience: Duration,
    ) -> impl Future<Output = Result<InstanceStatus, PlatformError>> + Send;

    /// Sets in use or retired. A retired instance's agent ends after the server has stopped.
    fn set_life(
        &self,
        key: &DatabaseKey,
        life: Life,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Makes instance `id`, which is registered as `beside`, the one of database `key`, with its
    /// address and names; the one that `key` has had is kept under `beside`, retired from `since`
    /// on and until a person purges it. Forgets the wish for it in the same moment. Refuses while
    /// one of the two runs; changes nothing when `key` has the instance already.
    fn exchange(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
        beside: &DatabaseKey,
        since: Timestamp,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Destroys an instance and all of its data. Only ever called on a person's word, for an
    /// instance that is retired; refuses any other.
    fn purge(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Looks at an instance anew, and tells what was seen.
    fn look(
        &self,
        id: InstanceId,
    ) -> impl Future<Output = Result<InstanceStatus, PlatformError>> + Send;

    /// Stores a credential, replacing the login's former one. The first one of a grant becomes
    /// the active one. Refuses to replace a password that is in use: the active login's, and both
    /// while the former login is still kept.
    fn store_credential(
        &self,
        grant: &GrantKey,
        turn: Turn,
        credential: &Credential,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Reads a stored credential.
    fn credential(
        &self,
        grant: &GrantKey,
        turn: Turn,
    ) -> impl Future<Output = Result<Credential, PlatformError>> + Send;

    /// Makes the login with this password the active one, and notes that the former one is kept
    /// from this moment on. Refuses when another password than this one is stored.
    fn activate_login(
        &self,
        grant: &GrantKey,
        login: ActiveLogin,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Notes that nobody needs the former login of a grant any more.
    fn release_login(
        &self,
        grant: &GrantKey,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Forgets the credentials of a grant whose logins are gone from the server.
    fn forget_grant(
        &self,
        grant: &GrantKey,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Stores the environment of an application; registers the application when it is new.
    fn deliver_environment(
        &self,
        application: &ApplicationKey,
        environment: &Environment,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Runs a program of the application to its end with its delivered environment, and records
    /// the outcome for `deployment`. It runs where `workload` does. `Err` only when there is no
    /// outcome, or it could not be recorded.
    fn run_pre_deploy(
        &self,
        application: &ApplicationKey,
        deployment: &str,
        program: &Program,
        workload: &Workload,
    ) -> impl Future<Output = Result<Option<Problem>, PlatformError>> + Send;

    /// Makes the application run as this, with its delivered environment and nothing else: what
    /// runs is restarted, and what it ran as before is ended.
    fn restart_application(
        &self,
        application: &ApplicationKey,
        deployment: &str,
        workload: &Workload,
    ) -> impl Future<Output = Result<ProcessState, PlatformError>> + Send;

    /// Ends the application's process: asks, waits, then insists.
    fn stop_application(
        &self,
        application: &ApplicationKey,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Forgets an application that is stopped and has no grants left.
    fn forget_application(
        &self,
        application: &ApplicationKey,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Adds an event. The same subject, reason and message again within an hour is counted,
    /// not repeated.
    fn event(&self, event: &Event) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Adds to the audit trail.
    fn audit(&self, entry: &AuditEntry) -> impl Future<Output = Result<(), PlatformError>> + Send;
}
