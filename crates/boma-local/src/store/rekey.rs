//! Another key for the whole state.
//!
//! File and database cannot change in one moment, so the new key is there before, under a name of
//! its own, and takes the old one's place after:
//!
//! ```text
//!   key.next written ─► every secret sealed anew, one transaction ─► key.next becomes key
//! ```
//!
//! The state always opens with exactly one of the two files; whoever opens it next finds out which
//! and finishes or undoes. Other processes that have the state open notice at their next
//! transaction that their key does not fit any more, and read the file again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use super::{Access, StoreError, connect, schema};
use crate::key_file;
use crate::seal::Sealer;

/// The row that says whether a key fits: a sealed value that every state has.
const PROOF: &str = "installation";

/// The key that the state is sealed with, also after another process has changed it.
pub(crate) struct Keyring {
    path: PathBuf,
    known: Mutex<Vec<Known>>,
}

/// A key, and what the proof looked like when it was seen to fit.
#[derive(Clone)]
struct Known {
    sealer: Arc<Sealer>,
    proof: Vec<u8>,
}

/// Keys that are remembered: a reader may still see the state as it was before a change.
const REMEMBERED: usize = 4;

impl Keyring {
    /// Keeps a key; `path` is the file of the state.
    pub(super) fn new(path: &Path, sealer: Sealer) -> Self {
        Self {
            path: path.to_owned(),
            known: Mutex::new(vec![Known {
                sealer: Arc::new(sealer),
                proof: Vec::new(),
            }]),
        }
    }

    /// The key that fits what this transaction sees.
    pub(super) fn fitting(&self, db: &Connection) -> Result<Arc<Sealer>, StoreError> {
        let proof = schema::meta(db, PROOF)
            .map_err(StoreError::sql("look whether the key fits"))?
            .unwrap_or_default();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = known.iter().find(|one| one.proof == proof) {
            return Ok(Arc::clone(&one.sealer));
        }
        let fitting = known
            .iter()
            .find(|one| one.sealer.open(PROOF, &proof).is_ok());
        let sealer = match fitting {
            Some(one) => Arc::clone(&one.sealer),
            None => Arc::new(self.read_again(&proof)?),
        };
        let one = Known {
            sealer: Arc::clone(&sealer),
            proof,
        };
        known.insert(0, one);
        known.truncate(REMEMBERED);
        Ok(sealer)
    }

    /// Another process has changed the key: it is in one of the two files beside the state.
    fn read_again(&self, proof: &[u8]) -> Result<Sealer, StoreError> {
        let wrong = || StoreError::WrongKey {
            path: self.path.clone(),
        };
        let key = self.path.with_file_name("key");
        let candidates = [key_file::next(&key), key];
        let fitting = candidates.iter().find_map(|path| {
            let key = key_file::load_existing(path).ok().flatten()?;
            let sealer = Sealer::new(&key).ok()?;
            sealer.open(PROOF, proof).is_ok().then_some(sealer)
        });
        fitting.ok_or_else(wrong)
    }
}

/// Whether a key fits the state; a state that is not there yet fits every key.
pub(crate) fn fits(path: &Path, sealer: &Sealer) -> Result<bool, StoreError> {
    if !path.exists() {
        return Ok(true);
    }
    let doing = "look whether the key fits";
    let db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(StoreError::sql(doing))?;
    let is_made: bool = db
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'meta')",
            [],
            |row| row.get(0),
        )
        .map_err(StoreError::sql(doing))?;
    if !is_made {
        return Ok(true);
    }
    let proof = schema::meta(&db, PROOF).map_err(StoreError::sql(doing))?;
    Ok(proof.is_none_or(|proof| sealer.open(PROOF, &proof).is_ok()))
}

/// Seals everything anew, in one transaction.
pub(crate) fn rekey(path: &Path, old: &Sealer, new: &Sealer) -> Result<usize, StoreError> {
    let doing = "seal every secret anew";
    let sql = StoreError::sql(doing);
    let mut db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(&sql)?;
    // What was sealed with the old key is overwritten, not only let go.
    db.pragma_update(None, "secure_delete", "ON")
        .map_err(&sql)?;
    let transaction = db
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(&sql)?;
    let access = Access {
        db: &transaction,
        sealer: old,
    };
    let count = access.reseal(new)?;
    transaction.commit().map_err(&sql)?;
    // The log still holds what was sealed with the old key; readers may keep it for a while.
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(&sql)?;
    Ok(count)
}

/// Where one kind of secret is: statements that list row and secret, and that write it back.
struct Place {
    list: &'static str,
    write: &'static str,
    /// Names the row that a secret is sealed for.
    row: fn(&[String]) -> String,
}

/// Every column that holds sealed values; a test compares this list with the tables.
const PLACES: &[Place] = &[
    Place {
        list: "SELECT secret, rowid, application, database, turn, serial FROM logins",
        write: "UPDATE logins SET secret = ?2 WHERE rowid = ?1",
        row: |words| match words {
            [application, database, turn, serial] => {
                format!("login/{application}/{database}/{turn}/{serial}")
            }
            _ => String::new(),
        },
    },
    Place {
        list: "SELECT environment, rowid, key, fingerprint FROM applications \
               WHERE environment IS NOT NULL",
        write: "UPDATE applications SET environment = ?2 WHERE rowid = ?1",
        row: |words| format!("environment/{}", words.join("/")),
    },
    Place {
        list: "SELECT spec, rowid, id FROM databases WHERE spec IS NOT NULL",
        write: "UPDATE databases SET spec = ?2 WHERE rowid = ?1",
        row: |words| format!("spec/{}", words.join("/")),
    },
    Place {
        list: "SELECT key, rowid, id FROM certificates",
        write: "UPDATE certificates SET key = ?2 WHERE rowid = ?1",
        row: |words| format!("certificate/{}", words.join("/")),
    },
    Place {
        // The plain ones are named: a row that nobody thought of fails the change of the key, which
        // then changes nothing; left out, nobody could ever open it again.
        list: "SELECT value, rowid, name FROM meta WHERE name NOT IN ('source', 'wishes') \
               AND name NOT GLOB 'secret-revision/*'",
        write: "UPDATE meta SET value = ?2 WHERE rowid = ?1",
        row: |words| words.concat(),
    },
];

impl Access<'_> {
    /// Seals every secret with another key; answers how many there are.
    fn reseal(&self, new: &Sealer) -> Result<usize, StoreError> {
        let mut count = 0;
        for place in PLACES {
            count += self.reseal_place(place, new)?;
        }
        Ok(count)
    }

    fn reseal_place(&self, place: &Place, new: &Sealer) -> Result<usize, StoreError> {
        let sql = StoreError::sql("seal every secret anew");
        let mut list = self.db.prepare(place.list).map_err(&sql)?;
        let words = list.column_count() - 2;
        let rows = list
            .query_map([], |row| {
                let secret: Vec<u8> = row.get(0)?;
                let rowid: i64 = row.get(1)?;
                let words = (0..words).map(|word| {
                    let value = row.get_ref(word + 2)?;
                    match value.as_i64() {
                        Ok(number) => Ok(number.cast_unsigned().to_string()),
                        Err(_a_text) => Ok(value.as_str()?.to_owned()),
                    }
                });
                let words: Vec<String> = words.collect::<Result<_, rusqlite::Error>>()?;
                Ok((secret, rowid, words))
            })
            .map_err(&sql)?;
        // All are read before one is written: a list must not see what it has changed.
        let rows: Vec<_> = rows.collect::<Result<_, _>>().map_err(&sql)?;
        let count = rows.len();
        for (sealed, rowid, words) in rows {
            let name = (place.row)(&words);
            let plain = self.sealer.open(&name, &sealed)?;
            let sealed = new.seal(&name, &plain)?;
            self.run(
                "seal every secret anew",
                place.write,
                params![rowid, sealed],
            )?;
        }
        Ok(count)
    }
}
