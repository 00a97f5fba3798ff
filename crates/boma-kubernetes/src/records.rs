//! What is recorded in Secrets, besides what can be seen of other objects.

use std::collections::BTreeMap;
use std::net::IpAddr;

use boma_engine::authority::{Authority, CertificateError};
use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey};
use boma_engine::observed::{
    DatabaseRecord, DeliveredEnvironment, Life, ObservedGrant, ObservedLogin, PreDeployRun,
    Replacement,
};
use boma_engine::platform::{Credential, Workload};
use boma_instance::names::Turn;
use boma_instance::{InstanceId, Secret};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::names;

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
    /// Name of its instance's objects; none: those of a first instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) objects: Option<String>,
}

impl DatabaseRow {
    /// Name of its instance's objects: StatefulSet, volume claim and Secret.
    pub(crate) fn objects(&self) -> String {
        let first = || names::first_instance(&self.key);
        self.objects.clone().unwrap_or_else(first)
    }
}

/// Everything that is recorded of a database and of what stands beside it, in one Secret: so that
/// two instances change places in one write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lineage {
    /// The database itself.
    #[serde(flatten)]
    pub(crate) first: DatabaseRow,
    /// Whether it is gone: what stands beside it is kept until that is purged, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) purged: bool,
    /// What is to take its place, and what was replaced and is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) beside: Vec<DatabaseRow>,
    /// What a person wants its place to be taken by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wish: Option<Replacement>,
}

impl Lineage {
    /// A database that nothing stands beside.
    pub(crate) fn new(first: DatabaseRow) -> Self {
        Self {
            first,
            purged: false,
            beside: Vec::new(),
            wish: None,
        }
    }

    /// All that is there.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &DatabaseRow> {
        let first = (!self.purged).then_some(&self.first);
        first.into_iter().chain(&self.beside)
    }

    /// One of them.
    pub(crate) fn row(&self, key: &DatabaseKey) -> Option<&DatabaseRow> {
        self.rows().find(|row| row.key == *key)
    }

    /// One of them, to be changed.
    pub(crate) fn row_mut(&mut self, key: &DatabaseKey) -> Option<&mut DatabaseRow> {
        let first = (!self.purged).then_some(&mut self.first);
        let mut rows = first.into_iter().chain(&mut self.beside);
        rows.find(|row| row.key == *key)
    }

    /// Adds one that is not there. Names of objects are given once: an instance keeps its own,
    /// whatever database it is of.
    pub(crate) fn add(&mut self, mut row: DatabaseRow) {
        let first = names::first_instance(&row.key);
        let is_beside = names::is_beside(&row.key);
        let is_taken = is_beside || self.rows().any(|other| other.objects() == first);
        row.objects = is_taken.then(|| names::another_instance(&row.key, row.id));
        if is_beside {
            self.beside.push(row);
        } else {
            self.first = row;
            self.purged = false;
        }
    }

    /// Takes one out that is purged; none: nothing is left.
    /// Another instance that has got its name meanwhile stays.
    pub(crate) fn without(mut self, key: &DatabaseKey, id: InstanceId) -> Option<Self> {
        if self.first.key == *key && self.first.id == id {
            self.purged = true;
            self.wish = None;
        }
        self.beside.retain(|row| row.key != *key || row.id != id);
        (!self.purged || !self.beside.is_empty()).then_some(self)
    }

    /// Lets the instance that stands beside take the database's place; the former one stands there
    /// then. Names, records and what people have stopped stay with the name. The wish for it is
    /// forgotten. Answers whether there is such an instance, somebody still wishes it, and neither
    /// is being destroyed.
    pub(crate) fn exchange(&mut self, beside: &DatabaseKey, id: InstanceId, kept: Life) -> bool {
        let is_wished = self
            .wish
            .as_ref()
            .is_some_and(|wish| wish.beside == *beside);
        let is_there = is_wished && !self.purged && !self.first.purging;
        let mut rows = self.beside.iter_mut();
        let other = rows.find(|row| row.key == *beside && row.id == id && !row.purging);
        let Some(other) = other.filter(|_| is_there) else {
            return false;
        };
        std::mem::swap(&mut self.first.id, &mut other.id);
        std::mem::swap(&mut self.first.objects, &mut other.objects);
        self.first.life = Life::Active;
        other.life = kept;
        self.wish = None;
        true
    }

    /// What volume claims should say: each under its name, and the name that its instance stands
    /// beside the database with.
    pub(crate) fn marks(&self) -> Vec<(String, Option<DatabaseKey>)> {
        let beside = |row: &DatabaseRow| names::is_beside(&row.key).then(|| row.key.clone());
        // The one of the database last: never is it said of two that they are.
        let rows = self
            .beside
            .iter()
            .chain(Some(&self.first).filter(|_| !self.purged));
        rows.map(|row| (row.objects(), beside(row))).collect()
    }
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

#[cfg(test)]
mod tests {
    use boma_engine::observed::ReplacedBy;

    use super::*;

    fn key(name: &str) -> DatabaseKey {
        DatabaseKey::new("o/u/e/p", name)
    }

    fn id(number: u128) -> InstanceId {
        InstanceId(Uuid::from_u128(number))
    }

    fn row(name: &str, number: u128) -> DatabaseRow {
        DatabaseRow {
            key: key(name),
            id: id(number),
            record: DatabaseRecord {
                deletion_protection: true,
                retention_days: 7,
                beside: None,
            },
            life: Life::Active,
            held: false,
            purging: false,
            objects: None,
        }
    }

    fn kept() -> Life {
        Life::Retired {
            since: Timestamp::UNIX_EPOCH,
            until: Timestamp::MAX,
        }
    }

    const BESIDE: &str = "accounts.restore-20261121T143206Z";

    fn wish() -> Replacement {
        Replacement {
            beside: key(BESIDE),
            by: ReplacedBy::Kept,
            asked_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn two_instances_change_places_and_back_and_keep_their_objects() {
        let mut lineage = Lineage::new(row("accounts", 1));
        lineage.first.held = true;
        lineage.add(row(BESIDE, 2));
        let unwished = lineage.clone();
        assert!(!lineage.exchange(&key(BESIDE), id(2), kept()));
        assert_eq!(lineage, unwished, "it was given up");
        lineage.wish = Some(wish());
        let before = lineage.clone();
        let other = before.beside[0].objects();
        assert_ne!(other, "accounts-1");
        assert!(!lineage.exchange(&key(BESIDE), id(3), kept()));
        assert_eq!(
            lineage, before,
            "another instance than the one that is meant"
        );
        for is_the_first in [true, false] {
            let mut purged = before.clone();
            if is_the_first {
                purged.first.purging = true;
            } else {
                purged.beside[0].purging = true;
            }
            let same = purged.clone();
            assert!(!purged.exchange(&key(BESIDE), id(2), kept()));
            assert_eq!(purged, same, "one of them is being destroyed");
        }

        assert!(lineage.exchange(&key(BESIDE), id(2), kept()));
        let (first, beside) = (&lineage.first, &lineage.beside[0]);
        assert_eq!((first.id, first.objects()), (id(2), other.clone()));
        assert_eq!((beside.id, beside.objects()), (id(1), "accounts-1".into()));
        assert_eq!((first.life, beside.life), (Life::Active, kept()));
        assert!(first.held, "that is of the name");
        let marks = lineage.marks();
        assert_eq!(marks[0], ("accounts-1".into(), Some(key(BESIDE))));
        assert_eq!(marks[1], (other, None));

        lineage.wish = Some(wish());
        assert!(lineage.exchange(&key(BESIDE), id(1), kept()));
        assert_eq!(lineage.first, before.first);
    }

    #[test]
    fn what_is_left_of_a_purged_database_is_kept_and_its_objects_are_not_made_again() {
        let mut lineage = Lineage::new(row("accounts", 1));
        lineage.add(row(BESIDE, 2));
        lineage.wish = Some(wish());
        assert!(lineage.exchange(&key(BESIDE), id(2), kept()));
        let same = lineage.clone().without(&key("accounts"), id(1));
        assert_eq!(same.as_ref(), Some(&lineage), "its name has another now");
        let mut left = lineage.without(&key("accounts"), id(2)).unwrap();
        assert!(left.row(&key("accounts")).is_none());
        assert!(left.row(&key(BESIDE)).is_some());
        left.add(row("accounts", 3));
        assert_ne!(
            left.first.objects(),
            "accounts-1",
            "those are the kept one's"
        );
        let left = left.without(&key(BESIDE), id(1)).unwrap();
        let nothing = left.without(&key("accounts"), id(3));
        assert!(nothing.is_none(), "nothing is left");
    }

    #[test]
    fn a_record_of_before_is_read_and_written_as_it_was() {
        let old = r#"{"key":"o/u/e/p/accounts","id":"00000000-0000-0000-0000-000000000001",
            "record":{"deletionProtection":true,"retentionDays":7},
            "life":{"life":"active"},"held":false,"purging":false}"#;
        let lineage: Lineage = serde_json::from_str(old).unwrap();
        assert_eq!(lineage, Lineage::new(row("accounts", 1)));
        let written = serde_json::to_value(&lineage).unwrap();
        assert_eq!(
            written,
            serde_json::from_str::<serde_json::Value>(old).unwrap()
        );
        let halved = old.replace("\"life\":{\"life\":\"active\"},", "");
        assert!(serde_json::from_str::<Lineage>(&halved).is_err());
    }
}
