//! What only somebody who looks asks for.

use boma_engine::keys::DatabaseKey;
use boma_engine::platform::PlatformError;
use boma_instance::History;
use boma_instance::statements::Statements;

use super::LocalPlatform;
use super::error::boxed;
use crate::agent;

impl LocalPlatform {
    /// What the agent of a database has measured lately.
    ///
    /// # Errors
    /// The agent does not answer at once.
    pub async fn history(&self, key: &DatabaseKey) -> Result<History, PlatformError> {
        let id = self.row_of(key).await?.id;
        let socket = self.inner.layout.agent_socket(id);
        agent::history(&socket).await.map_err(boxed)
    }

    /// What a database spends its time with, asked of its server.
    ///
    /// # Errors
    /// The agent does not answer, or the server does not.
    pub async fn statements(&self, key: &DatabaseKey) -> Result<Statements, PlatformError> {
        let id = self.row_of(key).await?.id;
        let socket = self.inner.layout.agent_socket(id);
        agent::statements(&socket).await.map_err(boxed)
    }
}
