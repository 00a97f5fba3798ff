//! Keys of repositories, sealed like every secret. One is made when its repository is first used and
//! never lost: what was written under it is unreadable without it. A renewed one holds the former.

use boma_instance::Secret;

use super::schema::{meta, set_meta};
use super::{Access, StoreError};

/// Agents may have a former key of some repository still.
const HAND_OVER: &str = "repository-keys-to-hand-over";

/// Names the row, for the database and for the seal.
fn row_of(repository: &str) -> String {
    format!("repository-key/{repository}")
}

impl Access<'_> {
    /// The key of a repository, if it has one.
    pub(crate) fn repository_key(
        &self,
        repository: &str,
    ) -> Result<Option<Secret<String>>, StoreError> {
        self.sealed(&row_of(repository), "read the key of a repository")
    }

    /// Stores the key of a repository that has none, and tells which one it has then.
    pub(crate) fn settle_repository_key(
        &self,
        repository: &str,
        key: &Secret<String>,
    ) -> Result<Secret<String>, StoreError> {
        if let Some(known) = self.repository_key(repository)? {
            return Ok(known);
        }
        self.set_sealed(&row_of(repository), key, "store the key of a repository")?;
        Ok(key.clone())
    }

    /// Puts a key in the place of another that is there, and remembers in the same moment that agents
    /// are to be told; tells whether it was that one.
    pub(crate) fn renew_repository_key(
        &self,
        repository: &str,
        former: &Secret<String>,
        key: &Secret<String>,
    ) -> Result<bool, StoreError> {
        let doing = "store the key of a repository";
        if self.repository_key(repository)?.as_ref() != Some(former) {
            return Ok(false);
        }
        self.set_sealed(&row_of(repository), key, doing)?;
        set_meta(self.db, HAND_OVER, b"1").map_err(StoreError::sql(doing))?;
        Ok(true)
    }

    /// Whether agents may have a former key still.
    pub(crate) fn keys_to_hand_over(&self) -> Result<bool, StoreError> {
        let value = meta(self.db, HAND_OVER);
        let value = value.map_err(StoreError::sql("read whether keys were handed over"))?;
        Ok(value.is_some_and(|value| value == b"1"))
    }

    /// All agents have the keys that there are.
    pub(crate) fn keys_handed_over(&self) -> Result<(), StoreError> {
        set_meta(self.db, HAND_OVER, b"0")
            .map_err(StoreError::sql("note that keys were handed over"))
    }
}
