//! What the dashboard's pages ask of this machine.

use std::sync::Arc;

use async_trait::async_trait;
use boma_engine::keys::DatabaseKey;
use boma_instance::History;
use boma_local::LocalPlatform;
use boma_problem::Problem;
use boma_web::Insight;

/// Asks the agents of this machine, and reads its logs.
pub(super) struct LocalInsight {
    platform: Arc<LocalPlatform>,
}

impl LocalInsight {
    pub(super) fn new(platform: Arc<LocalPlatform>) -> Self {
        Self { platform }
    }
}

#[async_trait]
impl Insight for LocalInsight {
    async fn history(&self, database: &DatabaseKey) -> Result<History, Box<Problem>> {
        self.platform.history(database).await
    }
}
