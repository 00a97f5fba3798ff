//! Secrets that people store by a name of their own, sealed like all others.

use std::collections::BTreeMap;

use boma_engine::keys::SecretKey;
use boma_instance::Secret;
use uuid::Uuid;

use super::schema::set_meta;
use super::{Access, StoreError};

/// What the names of their rows begin with.
const PREFIX: &str = "secret/";
/// What the names of the rows with their revisions begin with.
const REVISION: &str = "secret-revision/";

/// Names the row, for the database and for the seal.
fn row_of(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// Names the row with the revision.
fn revision_of(name: &str) -> String {
    format!("{REVISION}{name}")
}

impl Access<'_> {
    /// The secret of a name; none: there is none.
    pub(crate) fn named_secret(&self, name: &str) -> Result<Option<Secret<String>>, StoreError> {
        self.sealed(&row_of(name), "read a secret")
    }

    /// Stores a secret, in the place of one that has the name. The same secret again has the same
    /// revision: nobody is given it anew.
    pub(crate) fn set_named_secret(
        &self,
        name: &str,
        value: &Secret<String>,
    ) -> Result<(), StoreError> {
        let doing = "store a secret";
        if self.named_secret(name)?.as_ref() == Some(value) {
            return Ok(());
        }
        self.set_sealed(&row_of(name), value, doing)?;
        let revision = Uuid::new_v4().simple().to_string();
        set_meta(self.db, &revision_of(name), revision.as_bytes())
            .map_err(StoreError::sql(doing))?;
        self.note_wish()
    }

    /// Forgets a secret; tells whether there was one.
    pub(crate) fn forget_named_secret(&self, name: &str) -> Result<bool, StoreError> {
        let statement = "DELETE FROM meta WHERE name IN (?1, ?2)";
        let rows = [row_of(name), revision_of(name)];
        let was_there = self.changed("forget a secret", statement, rows)?;
        self.note_wish()?;
        Ok(was_there)
    }

    /// The secrets of projects, and the revision of each.
    pub(crate) fn secret_revisions(&self) -> Result<BTreeMap<SecretKey, String>, StoreError> {
        let doing = "list the secrets of projects";
        let sql = StoreError::sql(doing);
        let mut query = self
            .db
            .prepare_cached(
                "SELECT name, CAST(value AS TEXT) FROM meta WHERE name GLOB 'secret-revision/*/*'",
            )
            .map_err(&sql)?;
        let mut rows = query.query([]).map_err(&sql)?;
        let mut found = BTreeMap::new();
        while let Some(row) = rows.next().map_err(&sql)? {
            let name: String = row.get(0).map_err(&sql)?;
            let key = name.strip_prefix(REVISION).unwrap_or(&name).parse();
            found.insert(
                key.map_err(StoreError::form(doing))?,
                row.get(1).map_err(&sql)?,
            );
        }
        Ok(found)
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
        let names = rows.map(|row| {
            let row = row?;
            Ok(row.strip_prefix(PREFIX).unwrap_or(&row).to_owned())
        });
        names.collect::<Result<_, _>>().map_err(sql)
    }
}
