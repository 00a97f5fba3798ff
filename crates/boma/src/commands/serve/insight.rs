//! What the dashboard's pages ask of this machine.

use std::sync::Arc;

use async_trait::async_trait;
use boma_engine::keys::DatabaseKey;
use boma_instance::History;
use boma_instance::statements::Statements;
use boma_local::{ApplicationSecrets, LocalPlatform, Printed, end_of};
use boma_problem::Problem;
use boma_web::{Insight, LogOf};

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

    async fn statements(&self, database: &DatabaseKey) -> Result<Statements, Box<Problem>> {
        self.platform.statements(database).await
    }

    async fn log(&self, of: &LogOf) -> Result<Option<String>, Box<Problem>> {
        match of {
            LogOf::Server(id) => {
                let path = self.platform.layout().instance(*id).join(boma_agent::LOG);
                // A server is given no password that it could write down.
                end_of(path, ApplicationSecrets::new()).await
            }
            LogOf::Application(key) => self.platform.printed(key, Printed::Program).await,
            LogOf::PreDeploy(key) => self.platform.printed(key, Printed::PreDeploy).await,
        }
    }
}
