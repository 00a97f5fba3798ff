//! Keys of repositories, sealed like every secret. One is made when its repository is first used
//! and never replaced: what was written under it is unreadable without it.

use boma_instance::Secret;

use super::schema::{meta, set_meta};
use super::{Access, StoreError};

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
        let doing = "read the key of a repository";
        let row = row_of(repository);
        let Some(sealed) = meta(self.db, &row).map_err(StoreError::sql(doing))? else {
            return Ok(None);
        };
        let plain = self.sealer.open(&row, &sealed)?;
        String::from_utf8(plain)
            .map(|text| Some(Secret::new(text)))
            .map_err(StoreError::form(doing))
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
        let row = row_of(repository);
        let sealed = self.sealer.seal(&row, key.expose().as_bytes())?;
        set_meta(self.db, &row, &sealed)
            .map_err(StoreError::sql("store the key of a repository"))?;
        Ok(key.clone())
    }
}
