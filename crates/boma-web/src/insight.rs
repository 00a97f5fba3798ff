//! What pages ask for that the engine does not know, because nothing is decided by it.

use async_trait::async_trait;
use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_instance::statements::Statements;
use boma_instance::{History, InstanceId};
use boma_problem::Problem;

/// Whose log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOf {
    /// A PostgreSQL server.
    Server(InstanceId),
    /// The program of an application.
    Application(ApplicationKey),
    /// The last run of an application's `preDeploy`.
    PreDeploy(ApplicationKey),
}

/// What pages ask of whatever is beside the servers and applications, when somebody looks. Changes
/// nothing; no answer has a secret in it.
#[async_trait]
pub trait Insight: Send + Sync {
    /// What was measured of a database lately. Answers soon, or not at all: a page waits for it.
    async fn history(&self, database: &DatabaseKey) -> Result<History, Box<Problem>>;

    /// What a database spends its time with. Asks its server.
    async fn statements(&self, database: &DatabaseKey) -> Result<Statements, Box<Problem>>;

    /// The end of a log, whole lines, oldest first, without passwords; none: there is none yet.
    async fn log(&self, of: &LogOf) -> Result<Option<String>, Box<Problem>>;
}
