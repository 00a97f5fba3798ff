//! Tables and their migrations.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use super::{Access, StoreError};

/// One script per format, in order; `user_version` says how many were applied. A script that was
/// ever released is never changed: the next format is a further script.
const MIGRATIONS: &[&str] = &[FORMAT_1, FORMAT_2, FORMAT_3];

/// The newest format. (There is no `try_from` in constants; the list is short.)
#[expect(
    clippy::cast_possible_truncation,
    reason = "the number of formats is small"
)]
const KNOWN_FORMAT: u32 = MIGRATIONS.len() as u32;

const FORMAT_1: &str = "
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

-- rowid order is the order of registration
CREATE TABLE databases (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    key TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL,
    life TEXT NOT NULL,
    held INTEGER NOT NULL DEFAULT 0,
    purging INTEGER NOT NULL DEFAULT 0,
    spec BLOB
) STRICT;

CREATE TABLE placements (
    id TEXT PRIMARY KEY REFERENCES databases (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    port INTEGER NOT NULL,
    resolves INTEGER NOT NULL,
    UNIQUE (address, port)
) STRICT;

-- position 0 is the name for connection strings
CREATE TABLE names (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL REFERENCES databases (id) ON DELETE CASCADE,
    position INTEGER NOT NULL
) STRICT;

CREATE TABLE certificates (
    id TEXT PRIMARY KEY REFERENCES databases (id) ON DELETE CASCADE,
    certificate TEXT NOT NULL,
    key BLOB NOT NULL,
    subjects TEXT NOT NULL,
    renew_at TEXT NOT NULL
) STRICT;

CREATE TABLE grants (
    application TEXT NOT NULL,
    database TEXT NOT NULL,
    active TEXT NOT NULL,
    PRIMARY KEY (application, database)
) STRICT;

CREATE TABLE logins (
    application TEXT NOT NULL,
    database TEXT NOT NULL,
    turn TEXT NOT NULL,
    role TEXT NOT NULL,
    serial INTEGER NOT NULL,
    secret BLOB NOT NULL,
    PRIMARY KEY (application, database, turn),
    FOREIGN KEY (application, database) REFERENCES grants (application, database) ON DELETE CASCADE
) STRICT;

CREATE TABLE applications (
    key TEXT PRIMARY KEY,
    held INTEGER NOT NULL DEFAULT 0,
    fingerprint TEXT,
    serial INTEGER NOT NULL DEFAULT 0,
    environment BLOB,
    pre_deploy TEXT
) STRICT;

CREATE TABLE processes (
    application TEXT NOT NULL REFERENCES applications (key) ON DELETE CASCADE,
    role TEXT NOT NULL,
    deployment TEXT NOT NULL,
    pid INTEGER NOT NULL,
    birth TEXT NOT NULL,
    since TEXT NOT NULL,
    exited_at TEXT,
    failures INTEGER NOT NULL,
    PRIMARY KEY (application, role)
) STRICT;

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    last TEXT NOT NULL,
    count INTEGER NOT NULL DEFAULT 1,
    subject TEXT NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    warning INTEGER NOT NULL
) STRICT;
CREATE INDEX events_again ON events (subject, reason, message, last);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    outcome TEXT NOT NULL
) STRICT;
";

/// Rotation: what a person asked for, and since when the former login is kept.
const FORMAT_2: &str = "
ALTER TABLE grants ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE grants ADD COLUMN draining TEXT;
";

/// Restores in place: what a person asked for, until it is done.
const FORMAT_3: &str = "
CREATE TABLE replacements (
    database TEXT PRIMARY KEY,
    wish TEXT NOT NULL
) STRICT;
";

/// Brings the tables to the newest format, in one transaction.
pub(super) fn migrate(db: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Open {
        path: path.to_owned(),
        source,
    };
    let known = KNOWN_FORMAT;
    let version =
        |db: &Connection| db.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
    if version(db).map_err(failed)? == known {
        return Ok(());
    }
    let transaction = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let found = version(&transaction).map_err(failed)?;
    if found > known {
        return Err(StoreError::TooNew {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for script in MIGRATIONS.iter().skip(found as usize) {
        transaction.execute_batch(script).map_err(failed)?;
    }
    transaction
        .pragma_update(None, "user_version", known)
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Reads a value of the installation as a whole.
pub(super) fn meta(db: &Connection, name: &str) -> Result<Option<Vec<u8>>, rusqlite::Error> {
    db.prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Writes a value of the installation as a whole.
pub(super) fn set_meta(db: &Connection, name: &str, value: &[u8]) -> Result<(), rusqlite::Error> {
    db.prepare_cached(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2",
    )?
    .execute(params![name, value])
    .map(drop)
}

impl Access<'_> {
    /// Where the manifests of the last applied catalog came from.
    pub(crate) fn source(&self) -> Result<Option<String>, StoreError> {
        let doing = "read the recorded source";
        let value = meta(self.db, "source").map_err(StoreError::sql(doing))?;
        value
            .map(|bytes| String::from_utf8(bytes).map_err(StoreError::form(doing)))
            .transpose()
    }

    /// Remembers where manifests come from.
    pub(crate) fn set_source(&self, source: &str) -> Result<(), StoreError> {
        set_meta(self.db, "source", source.as_bytes()).map_err(StoreError::sql("record the source"))
    }

    /// Notes that a person wants something, so that a `boma serve` in another process looks.
    pub(crate) fn note_wish(&self) -> Result<(), StoreError> {
        let wishes = self.wishes()?.wrapping_add(1);
        set_meta(self.db, "wishes", &wishes.to_le_bytes())
            .map_err(StoreError::sql("note that something is wanted"))
    }

    /// How often a person wanted something.
    pub(crate) fn wishes(&self) -> Result<u64, StoreError> {
        let value =
            meta(self.db, "wishes").map_err(StoreError::sql("look whether something is wanted"))?;
        let bytes = value.and_then(|value| value.try_into().ok());
        Ok(bytes.map_or(0, u64::from_le_bytes))
    }

    /// The authorities of the installation; none: there is none yet.
    pub(crate) fn authorities(&self) -> Result<Option<StoredAuthorities>, StoreError> {
        let doing = "read the certificate authority";
        let Some(sealed) = meta(self.db, "authority").map_err(StoreError::sql(doing))? else {
            return Ok(None);
        };
        let plain = self.sealer.open("authority", &sealed)?;
        serde_json::from_slice(&plain)
            .map(Some)
            .map_err(StoreError::form(doing))
    }

    /// Stores the installation's authorities.
    pub(crate) fn set_authorities(&self, stored: &StoredAuthorities) -> Result<(), StoreError> {
        let doing = "store the certificate authority";
        let plain = serde_json::to_vec(stored).map_err(StoreError::form(doing))?;
        let sealed = self.sealer.seal("authority", &plain)?;
        set_meta(self.db, "authority", &sealed).map_err(StoreError::sql(doing))
    }
}

/// Authorities as they are stored, PEM. A state of an earlier version holds the first two only.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredAuthorities(
    /// Certificate of the one that issues.
    pub(crate) String,
    /// Its key.
    pub(crate) String,
    /// Certificate and key of the one that will issue.
    #[serde(default)]
    pub(crate) Option<(String, String)>,
    /// Certificate of the one that issued before.
    #[serde(default)]
    pub(crate) Option<String>,
);
