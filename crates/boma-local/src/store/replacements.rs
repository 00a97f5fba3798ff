//! Databases that a person wants to be replaced, and the moment in which they are.

use std::collections::BTreeMap;

use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{Life, Replacement};
use boma_instance::InstanceId;
use rusqlite::{OptionalExtension as _, params};

use super::{Access, StoreError};

/// Stands for an id while two rows exchange theirs, in one transaction.
const NOBODY: &str = "exchanged";

/// Two instances that change places.
pub(crate) struct Exchange {
    /// The database, with the instance that it gets.
    pub(crate) gets: (DatabaseKey, InstanceId),
    /// The name that its former instance is kept under, with that instance.
    pub(crate) kept: (DatabaseKey, InstanceId),
    /// What the former instance is from then on.
    pub(crate) life: Life,
}

impl Access<'_> {
    /// All wishes.
    pub(crate) fn replacements(&self) -> Result<BTreeMap<DatabaseKey, Replacement>, StoreError> {
        let doing = "read what is to be replaced";
        let sql = StoreError::sql(doing);
        let mut query = self
            .db
            .prepare_cached("SELECT database, wish FROM replacements")
            .map_err(&sql)?;
        let mut rows = query.query([]).map_err(&sql)?;
        let mut found = BTreeMap::new();
        while let Some(row) = rows.next().map_err(&sql)? {
            let (database, wish): (String, String) =
                (row.get(0).map_err(&sql)?, row.get(1).map_err(&sql)?);
            let key = database.parse().map_err(StoreError::form(doing))?;
            let wish = serde_json::from_str(&wish).map_err(StoreError::form(doing))?;
            found.insert(key, wish);
        }
        Ok(found)
    }

    /// Remembers a wish; tells whether there was none for this database yet.
    pub(crate) fn ask_replacement(
        &self,
        key: &DatabaseKey,
        wish: &Replacement,
    ) -> Result<bool, StoreError> {
        let doing = "remember that a database is to be replaced";
        let wish = serde_json::to_string(wish).map_err(StoreError::form(doing))?;
        let is_new = self.changed(
            doing,
            "INSERT INTO replacements (database, wish) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![key.to_string(), wish],
        )?;
        self.note_wish()?;
        Ok(is_new)
    }

    /// Forgets a wish; tells whether there was one.
    pub(crate) fn give_up_replacement(&self, key: &DatabaseKey) -> Result<bool, StoreError> {
        let was_there = self.changed(
            "forget that a database is to be replaced",
            "DELETE FROM replacements WHERE database = ?1",
            params![key.to_string()],
        )?;
        self.note_wish()?;
        Ok(was_there)
    }

    /// Lets two instances change places: ids and specs go to the other name, addresses and names
    /// of the network stay with the name. All of it is one transaction; killed anywhere in it,
    /// nothing has changed. Tells whether it was done, now or before: two processes may want the
    /// same, and swapping twice would seal each spec under the other's id.
    pub(crate) fn exchange(&self, exchange: &Exchange) -> Result<bool, StoreError> {
        let doing = "let two instances change places";
        let ((key, new), (beside, former)) = (&exchange.gets, &exchange.kept);
        let (Some(row), Some(other)) = (self.database(key)?, self.database(beside)?) else {
            return Ok(false);
        };
        if (row.id, other.id) != (*former, *new) {
            return Ok((row.id, other.id) == (*new, *former));
        }
        let (placed, other_placed) = (row.placement, other.placement);
        let (spec, other_spec) = (self.sealed_spec(key)?, self.sealed_spec(beside)?);
        // Addresses and certificates refer to ids, which are all there again at the end.
        self.db
            .execute_batch("PRAGMA defer_foreign_keys = ON")
            .map_err(StoreError::sql(doing))?;
        for id in [new, former] {
            for statement in [
                "DELETE FROM names WHERE id = ?1",
                "DELETE FROM placements WHERE id = ?1",
            ] {
                self.run(doing, statement, params![id.to_string()])?;
            }
        }
        let set = "UPDATE databases SET id = ?2, spec = ?3 WHERE key = ?1";
        self.run(doing, set, params![key.to_string(), NOBODY, other_spec])?;
        self.run(
            doing,
            set,
            params![beside.to_string(), former.to_string(), spec],
        )?;
        self.run(
            doing,
            set,
            params![key.to_string(), new.to_string(), other_spec],
        )?;
        for (id, placement) in [(new, placed), (former, other_placed)] {
            if let Some(placement) = placement {
                self.set_placement(*id, &placement)?;
            }
        }
        self.set_life(*new, &Life::Active)?;
        self.set_life(*former, &exchange.life)?;
        self.give_up_replacement(key)?;
        Ok(true)
    }

    fn sealed_spec(&self, key: &DatabaseKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.db
            .prepare_cached("SELECT spec FROM databases WHERE key = ?1")
            .and_then(|mut query| {
                query
                    .query_row([key.to_string()], |row| row.get(0))
                    .optional()
            })
            .map(Option::flatten)
            .map_err(StoreError::sql("read a spec"))
    }
}
