//! Grants and the credentials of their logins.

use std::collections::BTreeMap;

use boma_engine::keys::GrantKey;
use boma_engine::observed::{ObservedGrant, ObservedLogin};
use boma_engine::platform::{ActiveLogin, AskedRotation, Credential};
use boma_instance::Secret;
use boma_instance::names::Turn;
use jiff::Timestamp;
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
                "SELECT g.application, g.database, g.active, l.turn, l.role, l.serial, l.secret, \
                 g.asked, g.draining \
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
            let asked = self::serial(row.get(7).map_err(&sql)?);
            let draining: Option<String> = row.get(8).map_err(&sql)?;
            let draining = draining.map(|at| at.parse().map_err(StoreError::form(doing)));
            let draining: Option<Timestamp> = draining.transpose()?;
            let login = ObservedLogin {
                role: text(4)?,
                serial,
                verifier: Secret::new(secret.verifier),
            };
            let active = turn_of(&text(2)?);
            grants
                .entry(grant)
                .or_insert_with(|| ObservedGrant {
                    active,
                    logins: BTreeMap::new(),
                    asked,
                    draining,
                })
                .logins
                .insert(turn, login);
        }
        Ok(grants)
    }

    /// Stores a credential; the first one of a grant becomes the active one. Answers whether it
    /// was stored: a password that is in use is not replaced.
    pub(crate) fn store_credential(
        &self,
        grant: &GrantKey,
        turn: Turn,
        credential: &Credential,
    ) -> Result<bool, StoreError> {
        let doing = "store a credential";
        if self.is_in_use(grant, turn)? {
            return Ok(false);
        }
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
        )?;
        Ok(true)
    }

    /// Whether somebody may be connected with the password of a login.
    fn is_in_use(&self, grant: &GrantKey, turn: Turn) -> Result<bool, StoreError> {
        self.db
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM grants g JOIN logins l USING (application, database) \
                 WHERE g.application = ?1 AND g.database = ?2 AND l.turn = ?3 \
                 AND (g.active = ?3 OR g.draining IS NOT NULL))",
            )
            .and_then(|mut query| {
                let (application, database) =
                    (grant.application.to_string(), grant.database.to_string());
                query.query_row(params![application, database, word(turn)], |row| row.get(0))
            })
            .map_err(StoreError::sql("look whether a password is in use"))
    }

    /// Lets a login's turn begin; answers whether this password is the one that is stored.
    pub(crate) fn activate_login(
        &self,
        grant: &GrantKey,
        login: ActiveLogin,
    ) -> Result<bool, StoreError> {
        // The one whose turn it is already is left as it is, and counts as found.
        self.changed(
            "let a login's turn begin",
            "UPDATE grants SET draining = CASE WHEN active = ?3 THEN draining ELSE ?5 END, \
             active = ?3 WHERE application = ?1 AND database = ?2 AND EXISTS \
             (SELECT 1 FROM logins l WHERE l.application = ?1 AND l.database = ?2 \
              AND l.turn = ?3 AND l.serial = ?4)",
            params![
                grant.application.to_string(),
                grant.database.to_string(),
                word(login.turn),
                login.serial.cast_signed(),
                login.since.to_string()
            ],
        )
    }

    /// Notes that the former login of a grant is kept no more.
    pub(crate) fn release_login(&self, grant: &GrantKey) -> Result<(), StoreError> {
        self.run(
            "let a former login go",
            "UPDATE grants SET draining = NULL WHERE application = ?1 AND database = ?2",
            params![grant.application.to_string(), grant.database.to_string()],
        )
    }

    /// Remembers that a person asks for a password with at least this number. One that is asked
    /// for while an exchange goes on is the one that is under way.
    pub(crate) fn ask_rotation(
        &self,
        grant: &GrantKey,
        at_least: u64,
    ) -> Result<AskedRotation, StoreError> {
        let begun = self.changed(
            "remember that a password is to be exchanged",
            "UPDATE grants SET asked = max(?3, 1 + (SELECT max(serial) FROM logins l \
              WHERE l.application = ?1 AND l.database = ?2)) \
             WHERE application = ?1 AND database = ?2 AND draining IS NULL \
             AND asked <= (SELECT serial FROM logins l WHERE l.application = ?1 \
              AND l.database = ?2 AND l.turn = grants.active)",
            params![
                grant.application.to_string(),
                grant.database.to_string(),
                at_least.cast_signed()
            ],
        )?;
        self.note_wish()?;
        Ok(if begun {
            AskedRotation::Begins
        } else {
            AskedRotation::GoesOn
        })
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
