//! What the dashboard keeps in Boma's namespace: who there is, and what sessions are signed with.

use boma_engine::platform::{AuditEntry, Platform as _, PlatformError};
use boma_instance::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Inner, KubernetesPlatform};
use crate::cluster::{Change, record};
use crate::desired::Desired;
use crate::error::{KubernetesError, boxed};
use crate::kinds::Kind;
use crate::names::Part;

/// Name of the Secret of people and tokens.
const PEOPLE: &str = "boma-people";
/// Name of the Secret of the key.
const KEY: &str = "boma-dashboard";

/// Who there is: one document, whose form is not this crate's business.
#[derive(Clone, Serialize, Deserialize)]
struct PeopleRow {
    document: Secret<String>,
}

/// What sessions and links are signed with.
#[derive(Clone, Serialize, Deserialize)]
struct KeyRow {
    key: Secret<[u8; 32]>,
}

impl KubernetesPlatform {
    /// The document of who there is; none: there was none yet. As the API server has it, not as it
    /// was heard of: who was removed is out.
    ///
    /// # Errors
    /// The API server does not answer, or what it has cannot be read.
    pub async fn people(&self) -> Result<Option<Secret<String>>, PlatformError> {
        let row: Option<PeopleRow> = self.inner.own_record(PEOPLE).await.map_err(boxed)?;
        Ok(row.map(|row| row.document))
    }

    /// Changes the document of who there is, and records who did. What `change` answers with is
    /// stored, unless somebody else was quicker: then it is changed anew.
    ///
    /// # Errors
    /// What `change` refuses with, and when the API server does not take it.
    pub async fn change_people(
        &self,
        change: impl Fn(Option<Secret<String>>) -> Result<Secret<String>, PlatformError> + Send + Sync,
        actor: &str,
        action: String,
    ) -> Result<Secret<String>, PlatformError> {
        self.inner.installation().await.map_err(boxed)?;
        let place = self.inner.own_place(PEOPLE, Part::People);
        // Whether somebody is there already is told by what is stored, not by what was heard of.
        self.people().await?;
        let changed = self.inner.cluster.change(&place, |found| {
            let row: Option<PeopleRow> = found;
            Ok(match change(row.map(|row| row.document)) {
                Ok(document) => {
                    let row = PeopleRow {
                        document: document.clone(),
                    };
                    Change::Write(row, Ok(document))
                }
                Err(refused) => Change::Keep(Err(refused)),
            })
        });
        let changed = changed.await.map_err(boxed)??;
        self.audit(&AuditEntry {
            at: Timestamp::now(),
            actor: actor.to_owned(),
            action,
            subject: "Installation".to_owned(),
            outcome: "done".to_owned(),
        })
        .await?;
        Ok(changed)
    }

    /// What sessions of the dashboard are signed with; none: there was no dashboard yet.
    ///
    /// # Errors
    /// The API server does not answer, or what it has cannot be read.
    pub async fn known_dashboard_key(&self) -> Result<Option<Secret<[u8; 32]>>, PlatformError> {
        let row: Option<KeyRow> = self.inner.own_record(KEY).await.map_err(boxed)?;
        Ok(row.map(|row| row.key))
    }

    /// What sessions of the dashboard are signed with, the same for all who serve it. Made of `new`
    /// where there is none yet.
    ///
    /// # Errors
    /// The API server does not answer, or what it has cannot be read.
    pub async fn dashboard_key(
        &self,
        new: Secret<[u8; 32]>,
    ) -> Result<Secret<[u8; 32]>, PlatformError> {
        self.inner.installation().await.map_err(boxed)?;
        let place = self.inner.own_place(KEY, Part::Dashboard);
        let settled = self.inner.cluster.change(&place, |found: Option<KeyRow>| {
            Ok::<_, KubernetesError>(match found {
                Some(row) => Change::Keep(row.key),
                None => Change::Write(KeyRow { key: new.clone() }, new.clone()),
            })
        });
        settled.await.map_err(boxed)
    }

    /// One entry of a Secret that somebody else has made in Boma's namespace; none: there is none.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn named_secret(
        &self,
        name: &str,
        entry: &str,
    ) -> Result<Option<Secret<String>>, PlatformError> {
        let home = &self.inner.config.namespace;
        let found = self.inner.cluster.read(Kind::Secret, home, name).await;
        let found = found.map_err(boxed)?;
        let bytes = found.and_then(|found| crate::desired::secret_entry(&found, entry));
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(text.map(|text| Secret::new(text.trim_end().to_owned())))
    }
}

impl Inner {
    fn own_place(&self, name: &str, part: Part) -> Desired {
        self.record_place(&self.config.namespace, name).part(part)
    }

    async fn own_record<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, KubernetesError> {
        let home = &self.config.namespace;
        let found = self.cluster.read(Kind::Secret, home, name).await?;
        found.as_deref().map(record).transpose()
    }
}
