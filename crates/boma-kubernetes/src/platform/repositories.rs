//! Keys of repositories: what is in them is unreadable without.

use boma_engine::platform::PlatformError;
use boma_instance::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Inner;
use crate::cluster::Change;
use crate::desired::Desired;
use crate::error::{KubernetesError, boxed};
use crate::kinds::Kind;
use crate::names::Part;

/// The key of one repository.
#[derive(Clone, Serialize, Deserialize)]
struct KeyRow {
    key: Secret<String>,
}

impl Inner {
    /// The key of a repository, made where there is none; once made, it stays.
    pub(super) async fn repository_key(&self, name: &str) -> Result<Secret<String>, PlatformError> {
        self.installation().await.map_err(boxed)?;
        let home = self.config.namespace.as_str();
        let place = Desired::new(
            home,
            Kind::Secret,
            home,
            format!("boma-repository.{name}"),
            json!({}),
        );
        let place = place.part(Part::Repository);
        let new = match self.config.new_key {
            Some(make) => make()?,
            None => Secret::new(Self::random_token().map_err(boxed)?),
        };
        let settled = self.cluster.change(&place, |found: Option<KeyRow>| {
            Ok::<_, KubernetesError>(match found {
                Some(row) => Change::Keep(row.key),
                None => Change::Write(KeyRow { key: new.clone() }, new.clone()),
            })
        });
        settled.await.map_err(boxed)
    }
}
