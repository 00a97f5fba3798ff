//! Secrets that people store by a name of their own, sealed like all others.

use boma_instance::Secret;

use super::{Access, StoreError};

/// What the names of their rows begin with.
const PREFIX: &str = "secret/";

/// Names the row, for the database and for the seal.
fn row_of(name: &str) -> String {
    format!("{PREFIX}{name}")
}

impl Access<'_> {
    /// The secret of a name; none: there is none.
    pub(crate) fn named_secret(&self, name: &str) -> Result<Option<Secret<String>>, StoreError> {
        self.sealed(&row_of(name), "read a secret")
    }

    /// Stores a secret, in the place of one that has the name.
    pub(crate) fn set_named_secret(
        &self,
        name: &str,
        value: &Secret<String>,
    ) -> Result<(), StoreError> {
        self.set_sealed(&row_of(name), value, "store a secret")
    }

    /// Forgets a secret; tells whether there was one.
    pub(crate) fn forget_named_secret(&self, name: &str) -> Result<bool, StoreError> {
        let statement = "DELETE FROM meta WHERE name = ?1";
        self.changed("forget a secret", statement, [row_of(name)])
    }

    /// The names that there are, sorted.
    pub(crate) fn named_secrets(&self) -> Result<Vec<String>, StoreError> {
        let sql = StoreError::sql("list the secrets");
        let mut query = self
            .db
            .prepare_cached("SELECT name FROM meta WHERE name GLOB 'secret/*' ORDER BY name")
            .map_err(&sql)?;
        let rows = query
            .query_map([], |row| row.get::<_, String>(0))
            .map_err(&sql)?;
        let names = rows.map(|row| Ok(row?.trim_start_matches(PREFIX).to_owned()));
        names.collect::<Result<_, _>>().map_err(sql)
    }
}
