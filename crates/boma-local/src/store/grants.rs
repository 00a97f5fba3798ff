//! Grants and the credentials of their logins.

use std::collections::BTreeMap;

use boma_engine::keys::GrantKey;
use boma_engine::observed::{ObservedGrant, ObservedLogin};
use boma_engine::platform::Credential;
use boma_instance::Secret;
use boma_instance::names::Turn;
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::{Access, StoreError};

/// What is sealed of a login.
#[derive(Serialize, Deserialize)]
struct Sealed {
    password: String,
    verifier: String,
}

/// The row that a secret belongs to. The serial is part of it, so that an older password of the
/// same login cannot be put back by somebody who can write the file.
fn row_of(grant: &GrantKey, turn: Turn, serial: u64) -> String {
    format!(
        "login/{}/{}/{}/{serial}",
        grant.application,
        grant.database,
        word(turn)
    )
}

fn word(turn: Turn) -> &'static str {
    match turn {
        Turn::First => "first",
        Turn::Second => "second",
    }
}

fn turn_of(word: &str) -> Turn {
    if word == "second" {
        Turn::Second
    } else {
        Turn::First
    }
}

impl Access<'_> {
    /// All grants with what may be told of their logins.
    pub(crate) fn grants(&self) -> Result<BTreeMap<GrantKey, ObservedGrant>, StoreError> {
        let doing = "read the grants";
        let sql = StoreError::sql(doing);
        let mut query = self
            .db
            .prepare_cached(
                "SELECT g.application, g.database, g.active, l.turn, l.role, l.serial, l.secret \
                 FROM grants g JOIN logins l USING (application, database)",
            )
            .map_err(&sql)?;
        let mut rows = query.query([]).map_err(&sql)?;
        let mut grants = BTreeMap::new();
        while let Some(row) = rows.next().map_err(&sql)? {
            let text = |at: usize| row.get::<_, String>(at).map_err(&sql);
            let grant = GrantKey {
                application: text(0)?.parse().map_err(StoreError::form(doing))?,
                database: text(1)?.parse().map_err(StoreError::form(doing))?,
            };
            let (turn, serial) = (turn_of(&text(3)?), serial(row.get(5).map_err(&sql)?));
            let sealed: Vec<u8> = row.get(6).map_err(&sql)?;
            let secret = self.open_login(&grant, turn, serial, &sealed)?;
            let login = ObservedLogin {
                role: text(4)?,
                serial,
                verifier: Secret::new(secret.verifier),
            };
            grants
                .entry(grant)
                .or_insert_with(|| ObservedGrant {
                    active: turn,
                    logins: BTreeMap::new(),
                })
                .logins
                .insert(turn, login);
            let active = turn_of(&text(2)?);
            if let Some(mut last) = grants.last_entry() {
                last.get_mut().active = active;
            }
        }
        Ok(grants)
    }

    /// Stores a credential; the first one of a grant becomes the active one.
    pub(crate) fn store_credential(
        &self,
        grant: &GrantKey,
        turn: Turn,
        credential: &Credential,
    ) -> Result<(), StoreError> {
        let doing = "store a credential";
        let secret = Sealed {
            password: credential.password.expose().clone(),
            verifier: credential.verifier.expose().clone(),
        };
        let plain = serde_json::to_vec(&secret).map_err(StoreError::form(doing))?;
        let sealed = self
            .sealer
            .seal(&row_of(grant, turn, credential.serial), &plain)?;
        let (application, database) = (grant.application.to_string(), grant.database.to_string());
        self.run(
            doing,
            "INSERT INTO grants (application, database, active) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![application, database, word(turn)],
        )?;
        self.run(
            doing,
            "INSERT INTO logins (application, database, turn, role, serial, secret) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (application, database, turn) \
             DO UPDATE SET role = ?4, serial = ?5, secret = ?6",
            params![
                application,
                database,
                word(turn),
                credential.role,
                credential.serial.cast_signed(),
                sealed
            ],
        )
    }

    /// Reads a credential.
    pub(crate) fn credential(
        &self,
        grant: &GrantKey,
        turn: Turn,
    ) -> Result<Option<Credential>, StoreError> {
        let row = self
            .db
            .prepare_cached(
                "SELECT role, serial, secret FROM logins WHERE application = ?1 AND database = ?2 AND turn = ?3",
            )
            .and_then(|mut query| {
                query
                    .query_row(
                        params![grant.application.to_string(), grant.database.to_string(), word(turn)],
                        |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?)),
                    )
                    .optional()
            })
            .map_err(StoreError::sql("read a credential"))?;
        let Some((role, stored, sealed)) = row else {
            return Ok(None);
        };
        let serial = serial(stored);
        let secret = self.open_login(grant, turn, serial, &sealed)?;
        Ok(Some(Credential {
            role,
            password: Secret::new(secret.password),
            verifier: Secret::new(secret.verifier),
            serial,
        }))
    }

    /// Forgets a grant and its credentials.
    pub(crate) fn forget_grant(&self, grant: &GrantKey) -> Result<(), StoreError> {
        self.run(
            "forget a grant",
            "DELETE FROM grants WHERE application = ?1 AND database = ?2",
            params![grant.application.to_string(), grant.database.to_string()],
        )
    }

    fn open_login(
        &self,
        grant: &GrantKey,
        turn: Turn,
        serial: u64,
        sealed: &[u8],
    ) -> Result<Sealed, StoreError> {
        let plain = self.sealer.open(&row_of(grant, turn, serial), sealed)?;
        serde_json::from_slice(&plain).map_err(StoreError::form("read a credential"))
    }
}

/// SQLite integers are signed; serials keep their bits.
fn serial(stored: i64) -> u64 {
    stored.cast_unsigned()
}
