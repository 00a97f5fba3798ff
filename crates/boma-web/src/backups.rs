//! What is asked about base backups and the repositories that they are in, and what is answered: the
//! same by the command line, here or with `--server`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use boma_engine::keys::DatabaseKey;
use boma_instance::InstanceId;
use boma_instance::backup::{BackupSummary, Drill};
use boma_instance::wal::Timeline;
use boma_problem::Problem;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::Permit;

/// A base backup, as its repository has it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Backup")]
pub struct OneBackup {
    /// What it says of itself.
    #[serde(flatten)]
    pub summary: BackupSummary,
    /// Whether it can be restored, as far as a listing shows.
    pub whole: bool,
    /// Objects that it needs and that are not there.
    pub missing: Vec<String>,
    /// Other base backups that it needs.
    pub needs: Vec<String>,
    /// Other base backups that need it.
    pub needed_by: Vec<String>,
}

/// What one instance has in a repository.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Holding {
    /// Which instance.
    pub instance: InstanceId,
    /// Organization, unit, environment, project and name, as the newest backup says it.
    pub identity: Option<String>,
    /// The database of this installation that it belongs to; none: it is gone, or another's.
    pub database: Option<String>,
    /// Whole base backups.
    pub backups: usize,
    /// Oldest moment that can be restored.
    pub recoverable_from: Option<Timestamp>,
    /// Newest moment that can be restored.
    pub recoverable_until: Option<Timestamp>,
    /// Bytes of all that it has there.
    pub stored_bytes: u64,
    /// When something was stored last, by the store's clock.
    pub written_at: Option<Timestamp>,
}

impl Holding {
    /// What it was called: its database's name, or its id where no backup can be read.
    pub fn name(&self) -> String {
        let identity = self.identity.as_deref();
        let name = identity.and_then(|identity| identity.rsplit('/').next());
        name.map_or_else(|| self.instance.to_string(), str::to_owned)
    }

    /// The project that it was in; none: no backup can be read.
    pub(crate) fn project(&self) -> Option<&str> {
        let identity = self.identity.as_deref()?;
        identity.rsplit_once('/').map(|(project, _)| project)
    }
}

/// What was found by reading all that a database has in its repository.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    /// One for each cluster that the database was.
    pub clusters: Vec<VerifiedCluster>,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        let is_clean = |one: &VerifiedCluster| {
            one.findings.is_empty() && one.unusable.is_empty() && one.gaps.is_empty()
        };
        self.clusters.iter().all(is_clean)
    }
}

/// What was found of one cluster.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VerifiedCluster {
    /// Objects that were read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Base backups that are whole, oldest first.
    pub whole: Vec<String>,
    /// Base backups that cannot be restored, and why.
    pub unusable: BTreeMap<String, Vec<String>>,
    /// What is wrong, with the object that it is wrong with.
    pub findings: Vec<Finding>,
    /// Segments of the write-ahead log that are missing between two that are there.
    pub gaps: Vec<Gap>,
}

/// Something that is wrong in a repository.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Whole name of the object.
    pub object: String,
    /// What.
    pub problem: Problem,
}

/// Segments of the write-ahead log that are missing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// On which line of history.
    pub timeline: Timeline,
    /// How many.
    pub segments: u64,
}

/// What people ask about backups. What changes something is recorded in the audit trail by whoever
/// implements this.
#[async_trait]
pub trait BackupOperations: Send + Sync {
    /// A base backup of a database.
    async fn backup(&self, database: &DatabaseKey, label: &str) -> Result<OneBackup, Box<Problem>>;

    /// Deletes a base backup, unless others need it or it is the last whole one.
    async fn delete_backup(
        &self,
        permit: &Permit,
        database: &DatabaseKey,
        label: &str,
    ) -> Result<(), Box<Problem>>;

    /// Reads all that a database has in its repository.
    async fn verify(&self, database: &DatabaseKey) -> Result<Verification, Box<Problem>>;

    /// Restores the newest backup of a database beside it, to prove it.
    async fn drill(&self, permit: &Permit, database: &DatabaseKey) -> Result<Drill, Box<Problem>>;

    /// Whose backups lie in a repository.
    async fn holdings(&self, repository: &str) -> Result<Vec<Holding>, Box<Problem>>;

    /// What an instance has in a repository, whose database is gone.
    async fn forgettable(
        &self,
        repository: &str,
        instance: InstanceId,
    ) -> Result<Holding, Box<Problem>>;

    /// Deletes all that it has there, if `confirm` is its name; answers with how many objects that were.
    async fn forget(
        &self,
        permit: &Permit,
        (repository, instance): (&str, InstanceId),
        confirm: &str,
    ) -> Result<u64, Box<Problem>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_repository_has_the_name_of_its_database_or_its_id() {
        let mut holding = Holding {
            instance: InstanceId(uuid::Uuid::nil()),
            identity: Some("acme/shop/live/books/orders".to_owned()),
            database: None,
            backups: 1,
            recoverable_from: None,
            recoverable_until: None,
            stored_bytes: 0,
            written_at: None,
        };
        assert_eq!(holding.name(), "orders");
        assert_eq!(holding.project(), Some("acme/shop/live/books"));
        holding.identity = None;
        assert_eq!(holding.name(), holding.instance.to_string());
        assert_eq!(holding.project(), None);
    }

    #[test]
    fn a_gap_is_something_wrong() {
        let mut found = Verification::default();
        assert!(found.is_clean());
        found.clusters.push(VerifiedCluster {
            objects: 1,
            bytes: 1,
            whole: Vec::new(),
            unusable: BTreeMap::new(),
            findings: Vec::new(),
            gaps: Vec::new(),
        });
        assert!(found.is_clean());
        found.clusters[0].gaps.push(Gap {
            timeline: Timeline(1),
            segments: 2,
        });
        assert!(!found.is_clean());
    }
}
