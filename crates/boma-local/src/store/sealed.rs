//! Secrets in a row of their own, whose name is that of the row and of the seal.

use boma_instance::Secret;

use super::schema::{meta, set_meta};
use super::{Access, StoreError};

impl Access<'_> {
    /// The secret of a row; none: there is none.
    pub(super) fn sealed(
        &self,
        row: &str,
        doing: &'static str,
    ) -> Result<Option<Secret<String>>, StoreError> {
        let Some(sealed) = meta(self.db, row).map_err(StoreError::sql(doing))? else {
            return Ok(None);
        };
        let plain = self.sealer.open(row, &sealed)?;
        String::from_utf8(plain)
            .map(|text| Some(Secret::new(text)))
            .map_err(StoreError::form(doing))
    }

    /// Stores a secret in a row, in the place of what it had.
    pub(super) fn set_sealed(
        &self,
        row: &str,
        value: &Secret<String>,
        doing: &'static str,
    ) -> Result<(), StoreError> {
        let sealed = self.sealer.seal(row, value.expose().as_bytes())?;
        set_meta(self.db, row, &sealed).map_err(StoreError::sql(doing))
    }
}
