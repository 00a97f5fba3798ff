//! Applications, as users describe them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::metadata::{ApplicationId, Metadata};
use crate::names::{SecretName, VariableName, WorkloadName};
use crate::origin::Origin;
use crate::reference::DatabaseReference;

/// A manifest of kind `Application`.
///
/// Two are equal when they say the same, wherever that is written.
#[derive(Clone, Debug)]
pub struct Application {
    /// Who it is.
    pub metadata: Metadata,
    /// What it should be.
    pub spec: ApplicationSpec,
    /// Where it is written.
    pub origin: Origin,
}

impl Application {
    /// Its identity.
    pub fn id(&self) -> ApplicationId {
        ApplicationId {
            project: self.metadata.project.clone(),
            name: self.metadata.name.clone(),
        }
    }
}

impl PartialEq for Application {
    fn eq(&self, other: &Self) -> bool {
        self.metadata == other.metadata && self.spec == other.spec
    }
}

impl Eq for Application {}

/// What an application should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ApplicationSpec {
    /// What runs: a container image, or a command on this machine. Left out: the application runs
    /// elsewhere and only its credentials are managed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Its own environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::environment")]
    pub env: BTreeMap<VariableName, EnvValue>,
    /// A command that runs to its end with the new environment before the application restarts,
    /// such as migrations. If it fails, the old version keeps running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_deploy: Option<Command>,
    /// What it may connect to.
    #[serde(skip_serializing_if = "AccessControl::is_empty")]
    #[schemars(default)]
    pub access_control: AccessControl,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Source {
    /// A container.
    Image {
        /// Its image, such as `ghcr.io/fincorp/auth-api:1.4`.
        image: String,
    },
    /// A process on this machine.
    Command {
        /// What to run.
        command: Command,
        /// The directory to run it in.
        #[serde(skip_serializing_if = "Option::is_none")]
        working_directory: Option<String>,
    },
}

/// A command: a line for `/bin/sh -c`, or a program with its arguments, run as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Command {
    /// A line (or script) for the shell.
    Shell(String),
    /// A program and its arguments; at least the program.
    Program(Vec<String>),
}

/// How an application runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
pub struct Target {
    /// TCP port that it listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// How many of it run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000), extend("default" = 1))]
    pub replicas: Option<u16>,
    /// An existing Kubernetes workload to attach to, instead of making one:
    /// `Deployment/auth-api`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadReference>,
}

/// An existing Kubernetes workload: `Deployment/auth-api`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkloadReference {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: WorkloadName,
}

impl fmt::Display for WorkloadReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

impl Serialize for WorkloadReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Kinds of Kubernetes workloads that can be restarted one pod after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// `Deployment`.
    Deployment,
    /// `StatefulSet`.
    StatefulSet,
    /// `DaemonSet`.
    DaemonSet,
}

impl WorkloadKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet];

    /// As it is written in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

/// Value of a variable in an application's own environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum EnvValue {
    /// The text itself.
    Text(String),
    /// The content of a secret of the platform.
    Secret {
        /// The secret's name.
        secret: SecretName,
    },
}

/// What an application may connect to. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
pub struct AccessControl {
    /// The databases that it may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<DatabaseGrant>,
}

impl AccessControl {
    fn is_empty(&self) -> bool {
        self.databases.is_empty()
    }
}

/// Access of an application to a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseGrant {
    /// The database: one of the same project, or `project/name` where it allows that.
    pub name: DatabaseReference,
    /// Whether the application may only read.
    pub read_only: bool,
    /// The variable that receives the connection string.
    pub env_var: VariableName,
    /// After how many days the password is exchanged; none: when a person asks for it.
    pub rotation_days: Option<u16>,
}

impl DatabaseGrant {
    /// The variable that receives the connection string where the manifest names none.
    pub const DEFAULT_VARIABLE: &str = "DATABASE_URL";
}

/// As it is written: the variable within `secretSource`.
impl Serialize for DatabaseGrant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("readOnly", &self.read_only)?;
        map.serialize_entry("secretSource", &BTreeMap::from([("envVar", &self.env_var)]))?;
        if let Some(days) = self.rotation_days {
            map.serialize_entry("rotationDays", &days)?;
        }
        map.end()
    }
}

/// Access to one database.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
#[expect(dead_code, reason = "how a grant is written; only its schema is used")]
struct GrantShape {
    /// The database: a name of the same project, or `project/name` where that database allows it.
    name: DatabaseReference,
    /// Whether the application may only read.
    #[schemars(extend("default" = false))]
    read_only: Option<bool>,
    /// Where the connection string goes.
    secret_source: Option<SecretSourceShape>,
    /// After how many days the password is exchanged for another one, without a pause; when a
    /// person asks for it (`boma rotate`) where this is left out.
    #[schemars(range(min = 1, max = 3650), skip_serializing_if = "Option::is_none")]
    rotation_days: Option<u16>,
}

/// Where the connection string goes.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
#[expect(dead_code, reason = "how a grant is written; only its schema is used")]
struct SecretSourceShape {
    /// The environment variable that receives the connection string.
    #[schemars(extend("default" = "DATABASE_URL"))]
    env_var: Option<VariableName>,
}

impl JsonSchema for DatabaseGrant {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DatabaseGrant".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        GrantShape::json_schema(generator)
    }
}

impl JsonSchema for WorkloadReference {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "WorkloadReference".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(Deployment|StatefulSet|DaemonSet)/[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
        })
    }
}

impl JsonSchema for Command {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array"],
            "minLength": 1,
            "items": { "type": "string" },
            "minItems": 1,
        })
    }
}

/// One object with all fields and a rule which of them go together: editors complete that, and
/// Kubernetes takes it, where a choice between two objects does neither.
impl JsonSchema for Source {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Source".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut command = generator.subschema_for::<Command>();
        command.insert("description".to_owned(), "What to run on this machine: a line for the shell, or a list of a program and its arguments.".into());
        json_schema!({
            "type": "object",
            "properties": {
                "image": {
                    "type": "string",
                    "minLength": 1,
                    "description": "Container image, such as `ghcr.io/fincorp/auth-api:1.4`.",
                },
                "command": command,
                "workingDirectory": {
                    "type": "string",
                    "minLength": 1,
                    "description": "Directory to run the command in.",
                },
            },
            "additionalProperties": false,
            "oneOf": [
                { "required": ["image"], "not": { "required": ["workingDirectory"] } },
                { "required": ["command"] },
            ],
        })
    }
}
