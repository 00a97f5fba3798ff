//! What ends a database, or what it was: purging it, and replacing it by what it was at a moment.

use async_trait::async_trait;
use boma_engine::keys::DatabaseKey;
use boma_instance::InstanceId;
use boma_instance::backup::RecoveryTarget;
use boma_instance::wal::Timeline;
use boma_problem::Problem;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::Permit;

/// A retired database: what would be lost with it, and what would stay.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Purgeable {
    /// The instance whose data would be destroyed. Whoever has it purged names it.
    pub instance: InstanceId,
    /// Since when it is retired.
    pub retired_since: Timestamp,
    /// Until when it would be kept.
    pub kept_until: Timestamp,
    /// Files of its write-ahead log that are not in its repository: what was written last would be gone
    /// for good; none: not known.
    pub not_archived: Option<u64>,
    /// What would stay of it in its repository, in words; nothing, where it was not backed up.
    pub stays: Vec<String>,
}

/// What somebody says so that something is destroyed.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its name, once more.
    pub confirm: String,
    /// The instances that they were shown.
    pub instances: Vec<InstanceId>,
}

/// How far a restore in place is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Replacement")]
pub struct ReplacementStanding {
    /// What goes on; none: nothing.
    pub going_on: Option<GoingOn>,
    /// What the database was before earlier ones, oldest first.
    pub kept: Vec<KeptDatabase>,
}

/// A restore in place that goes on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoingOn {
    /// The name of what takes the database's place, until it does.
    pub beside: String,
    /// When it was asked for.
    pub asked_at: Timestamp,
}

/// What a database was before a restore in place.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeptDatabase {
    /// The name that it is kept under.
    pub name: String,
    /// Its instance.
    pub instance: InstanceId,
    /// Until when it was the database.
    pub until: Option<Timestamp>,
}

/// What a restore in place is taken back to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "undone", rename_all = "kebab-case")]
pub enum Undone {
    /// It had not come to its end, and is given up.
    GivenUp,
    /// What it had replaced takes the database's place again.
    BroughtBack {
        /// The name that it was kept under.
        beside: String,
    },
}

/// A moment of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Which.
    pub target: RecoveryTarget,
    /// The line of history that it is on; none: the newest.
    pub timeline: Option<Timeline>,
}

/// What people ask for that ends something. It is recorded in the audit trail by whoever implements
/// this.
#[async_trait]
pub trait EndOperations: Send + Sync {
    /// What purging a database would come to.
    async fn purgeable(&self, database: &DatabaseKey) -> Result<Purgeable, Box<Problem>>;

    /// Destroys a retired database, if it was said which.
    async fn purge(
        &self,
        permit: &Permit,
        database: &DatabaseKey,
        said: &Said,
    ) -> Result<(), Box<Problem>>;

    /// How far a restore in place is, and what earlier ones have left.
    async fn replacement(
        &self,
        database: &DatabaseKey,
    ) -> Result<ReplacementStanding, Box<Problem>>;

    /// Asks for a database to be as it was; answers with the name of what takes its place.
    async fn replace(
        &self,
        permit: &Permit,
        database: &DatabaseKey,
        moment: &Moment,
    ) -> Result<String, Box<Problem>>;

    /// Gives a restore in place up, or asks for what it has replaced.
    async fn undo_replacement(
        &self,
        permit: &Permit,
        database: &DatabaseKey,
    ) -> Result<Undone, Box<Problem>>;

    /// Destroys what restores in place have replaced, if it was said which; answers with their names.
    async fn forget_replaced(
        &self,
        permit: &Permit,
        database: &DatabaseKey,
        said: &Said,
    ) -> Result<Vec<String>, Box<Problem>>;
}
