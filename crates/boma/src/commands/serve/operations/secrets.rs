//! What people ask about secrets that have a name.

use async_trait::async_trait;
use boma_instance::Secret;
use boma_problem::Problem;
use boma_web::{Permit, SecretName, SecretOperations};

use super::{Desk, OperationsOn};
use crate::commands::secret::missing;

#[async_trait]
impl<P: Desk> SecretOperations for OperationsOn<P> {
    async fn named_secrets(&self) -> Result<Vec<SecretName>, Box<Problem>> {
        let names = self.platform.secret_names().await?;
        // Nothing else was ever stored.
        let names = names.iter().filter_map(|name| name.parse().ok());
        Ok(names.collect())
    }

    async fn set_named_secret(
        &self,
        permit: &Permit,
        name: &SecretName,
        value: Secret<String>,
    ) -> Result<(), Box<Problem>> {
        let actor = permit.actor();
        self.platform.store_secret(name, value, actor).await
    }

    async fn forget_named_secret(
        &self,
        permit: &Permit,
        name: &SecretName,
    ) -> Result<(), Box<Problem>> {
        let actor = permit.actor();
        if self.platform.forget_secret(name, actor).await? {
            return Ok(());
        }
        Err(missing(name).into())
    }
}
