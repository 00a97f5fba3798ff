//! What pages ask for that the engine does not know, because nothing is decided by it.

use async_trait::async_trait;
use boma_engine::keys::DatabaseKey;
use boma_instance::History;
use boma_problem::Problem;

/// What pages ask of whatever is beside the servers and applications, when somebody looks. Changes
/// nothing; no answer has a secret in it.
#[async_trait]
pub trait Insight: Send + Sync {
    /// What was measured of a database lately. Answers soon, or not at all: a page waits for it.
    async fn history(&self, database: &DatabaseKey) -> Result<History, Box<Problem>>;
}
