//! What is recorded in Secrets, besides what can be seen of other objects.

use std::collections::BTreeMap;
use std::net::IpAddr;

use boma_engine::authority::{Authority, CertificateError};
use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey};
use boma_engine::observed::{
    DatabaseRecord, DeliveredEnvironment, Life, ObservedGrant, ObservedLogin, PreDeployRun,
};
use boma_engine::platform::{Credential, Workload};
use boma_instance::names::Turn;
use boma_instance::{InstanceId, Secret};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The installation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Installation {
    pub(crate) id: Uuid,
    /// Where the manifests of the last applied catalog came from.
    #[serde(default)]
    pub(crate) source: Option<String>,
    /// Certificate of the installation's authority, PEM.
    pub(crate) authority: String,
    /// Its key, PEM.
    pub(crate) authority_key: Secret<String>,
}

impl Installation {
    /// One with an authority of its own.
    pub(crate) fn new(id: Uuid, now: Timestamp) -> Result<Self, CertificateError> {
        let made = Authority::create(id, now)?;
        Ok(Self {
            id,
            source: None,
            authority: made.certificate,
            authority_key: made.key,
        })
    }

    /// What signs the certificates of its servers.
    pub(crate) fn authority(&self) -> Authority {
        Authority {
            installation: self.id,
            certificate: self.authority.clone(),
            key: self.authority_key.clone(),
        }
    }
}

/// A database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DatabaseRow {
    pub(crate) key: DatabaseKey,
    pub(crate) id: InstanceId,
    pub(crate) record: DatabaseRecord,
    pub(crate) life: Life,
    #[serde(default)]
    pub(crate) held: bool,
    #[serde(default)]
    pub(crate) purging: bool,
}

/// A grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GrantRow {
    pub(crate) application: ApplicationKey,
    pub(crate) database: DatabaseKey,
    pub(crate) active: Login,
    pub(crate) logins: BTreeMap<Login, LoginRow>,
    #[serde(default)]
    pub(crate) asked: u64,
    #[serde(default)]
    pub(crate) draining: Option<Timestamp>,
}

/// Which of the two logins, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Login {
    First,
    Second,
}

impl From<Turn> for Login {
    fn from(turn: Turn) -> Self {
        match turn {
            Turn::First => Self::First,
            Turn::Second => Self::Second,
        }
    }
}

impl From<Login> for Turn {
    fn from(login: Login) -> Self {
        match login {
            Login::First => Self::First,
            Login::Second => Self::Second,
        }
    }
}

/// One login of a grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoginRow {
    pub(crate) role: String,
    pub(crate) serial: u64,
    pub(crate) password: Secret<String>,
    pub(crate) verifier: Secret<String>,
}

impl GrantRow {
    /// Which grant.
    pub(crate) fn key(&self) -> GrantKey {
        GrantKey {
            application: self.application.clone(),
            database: self.database.clone(),
        }
    }

    /// Whether somebody may be connected with the password of a login.
    pub(crate) fn is_in_use(&self, turn: Turn) -> bool {
        let login = Login::from(turn);
        self.logins.contains_key(&login) && (self.active == login || self.draining.is_some())
    }

    /// What the engine may know.
    pub(crate) fn observed(&self) -> ObservedGrant {
        let logins = self.logins.iter().map(|(turn, login)| {
            let observed = ObservedLogin {
                role: login.role.clone(),
                serial: login.serial,
                verifier: login.verifier.clone(),
            };
            (Turn::from(*turn), observed)
        });
        ObservedGrant {
            active: self.active.into(),
            logins: logins.collect(),
            asked: self.asked,
            draining: self.draining,
        }
    }
}

impl From<&Credential> for LoginRow {
    fn from(credential: &Credential) -> Self {
        Self {
            role: credential.role.clone(),
            serial: credential.serial,
            password: credential.password.clone(),
            verifier: credential.verifier.clone(),
        }
    }
}

impl From<&LoginRow> for Credential {
    fn from(login: &LoginRow) -> Self {
        Self {
            role: login.role.clone(),
            password: login.password.clone(),
            verifier: login.verifier.clone(),
            serial: login.serial,
        }
    }
}

/// An application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApplicationRow {
    pub(crate) key: ApplicationKey,
    #[serde(default)]
    pub(crate) held: bool,
    #[serde(default)]
    pub(crate) delivered: Option<DeliveredEnvironment>,
    #[serde(default)]
    pub(crate) pre_deploy: Option<PreDeployRun>,
    /// Databases whose Secrets it was given, and the digest of each of these.
    #[serde(default)]
    pub(crate) bindings: BTreeMap<DatabaseKey, String>,
    /// Secrets that people have stored and that it was given, and the revision of each of these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) secrets: BTreeMap<String, String>,
    /// Digest of the Secret with the copies of these; none: it was given none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) copies: Option<String>,
    /// The variables of what runs.
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, Variable>,
    /// Names of its databases, and where they lead.
    #[serde(default)]
    pub(crate) aliases: BTreeMap<String, IpAddr>,
    /// What it was last made to run as.
    #[serde(default)]
    pub(crate) run: Option<RunRow>,
}

/// A variable of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Variable {
    /// This text.
    Text(String),
    /// An entry of a Secret in its namespace.
    Secret {
        /// Name of the Secret.
        name: String,
        /// The entry.
        key: String,
    },
}

/// What an application was made to run as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunRow {
    /// Fingerprint of environment and commands.
    pub(crate) deployment: String,
    pub(crate) workload: Workload,
    /// The container that is given the environment; none: the one that Boma makes.
    #[serde(default)]
    pub(crate) container: Option<String>,
    /// How often a person asked for a restart of the same.
    #[serde(default)]
    pub(crate) restarts: u64,
    pub(crate) since: Timestamp,
}

impl ApplicationRow {
    /// One that nothing is known of yet.
    pub(crate) fn new(key: ApplicationKey) -> Self {
        Self {
            key,
            held: false,
            delivered: None,
            pre_deploy: None,
            bindings: BTreeMap::new(),
            secrets: BTreeMap::new(),
            copies: None,
            variables: BTreeMap::new(),
            aliases: BTreeMap::new(),
            run: None,
        }
    }
}
