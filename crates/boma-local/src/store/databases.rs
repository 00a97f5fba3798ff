//! Databases: what is recorded, placed and specified of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{DatabaseRecord, Life};
use boma_instance::{InstanceId, InstanceSpec, Listen};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

use super::{Access, StoreError};

/// A registered database.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseRow {
    pub(crate) key: DatabaseKey,
    pub(crate) id: InstanceId,
    pub(crate) record: DatabaseRecord,
    pub(crate) life: Life,
    pub(crate) held: bool,
    /// A person asked to destroy it; nothing but that may be done with it any more.
    pub(crate) purging: bool,
    pub(crate) spec: Option<InstanceSpec>,
    pub(crate) placement: Option<PlacementRow>,
}

/// Where an instance listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlacementRow {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// Names reserved for it, the one for connection strings first.
    pub(crate) names: Vec<String>,
    /// Whether the names could be written where programs look them up.
    pub(crate) resolves: bool,
}

impl PlacementRow {
    /// As clients and the agent are told.
    pub(crate) fn listen(&self) -> Listen {
        let names = if self.resolves {
            self.names.clone()
        } else {
            Vec::new()
        };
        Listen {
            address: self.address,
            port: self.port,
            names,
        }
    }
}

/// A server's certificate.
#[derive(Clone, Debug)]
pub(crate) struct CertificateRow {
    pub(crate) certificate: String,
    pub(crate) key: String,
    /// Names and addresses in it.
    pub(crate) subjects: Vec<String>,
    /// From when on a new one is made.
    pub(crate) renew_at: Timestamp,
}

const COLUMNS: &str = "SELECT d.key, d.id, d.record, d.life, d.held, d.purging, d.spec, \
    p.address, p.port, p.resolves FROM databases d LEFT JOIN placements p ON p.id = d.id";

impl Access<'_> {
    /// All registered databases, in order of registration.
    pub(crate) fn databases(&self) -> Result<Vec<DatabaseRow>, StoreError> {
        let doing = "read the databases";
        let sql = StoreError::sql(doing);
        let mut query = self
            .db
            .prepare_cached(&format!("{COLUMNS} ORDER BY d.sequence"))
            .map_err(&sql)?;
        let mut rows = query.query([]).map_err(&sql)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(&sql)? {
            found.push(self.database_row(row)?);
        }
        Ok(found)
    }

    /// One registered database.
    pub(crate) fn database(&self, key: &DatabaseKey) -> Result<Option<DatabaseRow>, StoreError> {
        let sql = StoreError::sql("read a database");
        let mut query = self
            .db
            .prepare_cached(&format!("{COLUMNS} WHERE d.key = ?1"))
            .map_err(&sql)?;
        let mut rows = query.query([key.to_string()]).map_err(&sql)?;
        rows.next()
            .map_err(&sql)?
            .map(|row| self.database_row(row))
            .transpose()
    }

    fn database_row(&self, row: &Row<'_>) -> Result<DatabaseRow, StoreError> {
        let doing = "read a database";
        let sql = StoreError::sql(doing);
        let text = |at: usize| row.get::<_, String>(at).map_err(&sql);
        let id = InstanceId(Uuid::parse_str(&text(1)?).map_err(StoreError::form(doing))?);
        let sealed: Option<Vec<u8>> = row.get(6).map_err(&sql)?;
        let spec = match sealed {
            Some(sealed) => {
                let plain = self.sealer.open(&format!("spec/{id}"), &sealed)?;
                Some(serde_json::from_slice(&plain).map_err(StoreError::form(doing))?)
            }
            None => None,
        };
        let address: Option<String> = row.get(7).map_err(&sql)?;
        let placement = match address {
            Some(address) => Some(PlacementRow {
                address: address.parse().map_err(StoreError::form(doing))?,
                port: row.get(8).map_err(&sql)?,
                resolves: row.get(9).map_err(&sql)?,
                names: self.names(id)?,
            }),
            None => None,
        };
        Ok(DatabaseRow {
            key: text(0)?.parse().map_err(StoreError::form(doing))?,
            id,
            record: serde_json::from_str(&text(2)?).map_err(StoreError::form(doing))?,
            life: serde_json::from_str(&text(3)?).map_err(StoreError::form(doing))?,
            held: row.get(4).map_err(&sql)?,
            purging: row.get(5).map_err(&sql)?,
            spec,
            placement,
        })
    }

    fn names(&self, id: InstanceId) -> Result<Vec<String>, StoreError> {
        let sql = StoreError::sql("read the names of a database");
        let mut query = self
            .db
            .prepare_cached("SELECT name FROM names WHERE id = ?1 ORDER BY position")
            .map_err(&sql)?;
        let names = query
            .query_map([id.to_string()], |row| row.get(0))
            .map_err(&sql)?;
        names.collect::<Result<_, _>>().map_err(&sql)
    }

    /// Where all placed instances listen, in order of registration.
    pub(crate) fn placements(&self) -> Result<Vec<(InstanceId, PlacementRow)>, StoreError> {
        let doing = "read the addresses";
        let sql = StoreError::sql(doing);
        let mut query = self
            .db
            .prepare_cached(
                "SELECT p.id, p.address, p.port, p.resolves FROM placements p \
                 JOIN databases d ON d.id = p.id ORDER BY d.sequence",
            )
            .map_err(&sql)?;
        let mut rows = query.query([]).map_err(&sql)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(&sql)? {
            let text = |at: usize| row.get::<_, String>(at).map_err(&sql);
            let id = InstanceId(Uuid::parse_str(&text(0)?).map_err(StoreError::form(doing))?);
            let placement = PlacementRow {
                address: text(1)?.parse().map_err(StoreError::form(doing))?,
                port: row.get(2).map_err(&sql)?,
                resolves: row.get(3).map_err(&sql)?,
                names: self.names(id)?,
            };
            found.push((id, placement));
        }
        Ok(found)
    }

    /// Another instance whose id begins with the same eight digits: the two would share sockets
    /// and a control group.
    pub(crate) fn like_named(&self, id: InstanceId) -> Result<Option<InstanceId>, StoreError> {
        let doing = "look for a similar id";
        let other: Option<String> = self
            .db
            .prepare_cached(
                "SELECT id FROM databases WHERE substr(id, 1, 8) = substr(?1, 1, 8) AND id <> ?1",
            )
            .and_then(|mut query| {
                query
                    .query_row([id.to_string()], |row| row.get(0))
                    .optional()
            })
            .map_err(StoreError::sql(doing))?;
        other
            .map(|id| {
                Uuid::parse_str(&id)
                    .map(InstanceId)
                    .map_err(StoreError::form(doing))
            })
            .transpose()
    }

    /// Registers a database, or updates what is recorded of it; tells the id that it has.
    pub(crate) fn record_database(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
        record: &DatabaseRecord,
    ) -> Result<InstanceId, StoreError> {
        let doing = "register a database";
        let record = serde_json::to_string(record).map_err(StoreError::form(doing))?;
        let active = serde_json::to_string(&Life::Active).map_err(StoreError::form(doing))?;
        let given: String = self
            .db
            .prepare_cached(
                "INSERT INTO databases (id, key, record, life) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (key) DO UPDATE SET record = excluded.record RETURNING id",
            )
            .and_then(|mut insert| {
                insert.query_row(
                    params![id.to_string(), key.to_string(), record, active],
                    |row| row.get(0),
                )
            })
            .map_err(StoreError::sql(doing))?;
        Uuid::parse_str(&given)
            .map(InstanceId)
            .map_err(StoreError::form(doing))
    }

    /// Stores a spec.
    pub(crate) fn set_spec(&self, spec: &InstanceSpec) -> Result<(), StoreError> {
        let doing = "store a spec";
        let plain = serde_json::to_vec(spec).map_err(StoreError::form(doing))?;
        let sealed = self.sealer.seal(&format!("spec/{}", spec.id), &plain)?;
        self.run(
            doing,
            "UPDATE databases SET spec = ?2 WHERE id = ?1",
            params![spec.id.to_string(), sealed],
        )
    }

    /// Stores a placement with its names.
    pub(crate) fn set_placement(
        &self,
        id: InstanceId,
        placement: &PlacementRow,
    ) -> Result<(), StoreError> {
        let doing = "store an address";
        let text = id.to_string();
        self.run(
            doing,
            "INSERT INTO placements (id, address, port, resolves) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (id) DO UPDATE SET address = ?2, port = ?3, resolves = ?4",
            params![
                text,
                placement.address.to_string(),
                placement.port,
                placement.resolves
            ],
        )?;
        self.run(doing, "DELETE FROM names WHERE id = ?1", params![text])?;
        for (position, name) in (0_i64..).zip(&placement.names) {
            self.run(
                doing,
                "INSERT INTO names (name, id, position) VALUES (?1, ?2, ?3)",
                params![name, text, position],
            )?;
        }
        Ok(())
    }

    /// Sets in use or retired.
    pub(crate) fn set_life(&self, id: InstanceId, life: &Life) -> Result<(), StoreError> {
        let doing = "record whether a database is in use";
        let life = serde_json::to_string(life).map_err(StoreError::form(doing))?;
        self.run(
            doing,
            "UPDATE databases SET life = ?2 WHERE id = ?1",
            params![id.to_string(), life],
        )
    }

    /// Remembers that a person stopped it, or started it again.
    pub(crate) fn set_database_held(
        &self,
        key: &DatabaseKey,
        held: bool,
    ) -> Result<bool, StoreError> {
        self.changed(
            "record that a database is stopped",
            "UPDATE databases SET held = ?2 WHERE key = ?1",
            params![key.to_string(), held],
        )
    }

    /// Remembers that a person asked to destroy it.
    pub(crate) fn set_purging(&self, id: InstanceId) -> Result<(), StoreError> {
        self.run(
            "record that a database is being purged",
            "UPDATE databases SET purging = 1 WHERE id = ?1",
            params![id.to_string()],
        )
    }

    /// Forgets a database, its address, names and certificate.
    pub(crate) fn forget_database(&self, id: InstanceId) -> Result<(), StoreError> {
        self.run(
            "forget a database",
            "DELETE FROM databases WHERE id = ?1",
            params![id.to_string()],
        )
    }

    /// A server's certificate, if it has one.
    pub(crate) fn certificate(&self, id: InstanceId) -> Result<Option<CertificateRow>, StoreError> {
        let doing = "read a certificate";
        let row = self
            .db
            .prepare_cached(
                "SELECT certificate, key, subjects, renew_at FROM certificates WHERE id = ?1",
            )
            .and_then(|mut query| {
                query
                    .query_row([id.to_string()], |row| {
                        Ok((
                            row.get(0)?,
                            row.get::<_, Vec<u8>>(1)?,
                            row.get::<_, String>(2)?,
                            row.get::<_, String>(3)?,
                        ))
                    })
                    .optional()
            })
            .map_err(StoreError::sql(doing))?;
        let Some((certificate, sealed, subjects, renew_at)) = row else {
            return Ok(None);
        };
        let key = self.sealer.open(&format!("certificate/{id}"), &sealed)?;
        Ok(Some(CertificateRow {
            certificate,
            key: String::from_utf8(key).map_err(StoreError::form(doing))?,
            subjects: serde_json::from_str(&subjects).map_err(StoreError::form(doing))?,
            renew_at: renew_at.parse().map_err(StoreError::form(doing))?,
        }))
    }

    /// Stores a server's certificate.
    pub(crate) fn set_certificate(
        &self,
        id: InstanceId,
        row: &CertificateRow,
    ) -> Result<(), StoreError> {
        let doing = "store a certificate";
        let sealed = self
            .sealer
            .seal(&format!("certificate/{id}"), row.key.as_bytes())?;
        let subjects = serde_json::to_string(&row.subjects).map_err(StoreError::form(doing))?;
        self.run(
            doing,
            "INSERT INTO certificates (id, certificate, key, subjects, renew_at) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (id) DO UPDATE SET certificate = ?2, key = ?3, subjects = ?4, renew_at = ?5",
            params![id.to_string(), row.certificate, sealed, subjects, row.renew_at.to_string()],
        )
    }

    /// From when on each server is to be given another certificate.
    pub(crate) fn renewals(&self) -> Result<BTreeMap<InstanceId, Timestamp>, StoreError> {
        let doing = "read when certificates end";
        let sql = StoreError::sql(doing);
        let mut query = self
            .db
            .prepare_cached("SELECT id, renew_at FROM certificates")
            .map_err(&sql)?;
        let rows = query
            .query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })
            .map_err(&sql)?;
        let mut found = BTreeMap::new();
        for row in rows {
            let (id, at) = row.map_err(&sql)?;
            let id: Uuid = id.parse().map_err(StoreError::form(doing))?;
            found.insert(InstanceId(id), at.parse().map_err(StoreError::form(doing))?);
        }
        Ok(found)
    }

    /// Notes that a server has the certificate that was stored as due at `due`, unless another one
    /// was asked for since.
    pub(crate) fn certificate_handed_over(
        &self,
        id: InstanceId,
        due: Timestamp,
        renew_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.run(
            "note that a certificate is in use",
            "UPDATE certificates SET renew_at = ?3 WHERE id = ?1 AND renew_at = ?2",
            params![id.to_string(), due.to_string(), renew_at.to_string()],
        )
    }

    /// Lets every server be given another certificate; answers how many have one.
    pub(crate) fn renew_certificates(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.db
            .execute("UPDATE certificates SET renew_at = ?1", [now.to_string()])
            .map_err(StoreError::sql("let certificates be renewed"))
    }

    /// Runs a statement.
    pub(super) fn run(
        &self,
        doing: &'static str,
        statement: &str,
        values: impl rusqlite::Params,
    ) -> Result<(), StoreError> {
        self.changed(doing, statement, values).map(drop)
    }

    /// Runs a statement and tells whether a row was changed.
    pub(super) fn changed(
        &self,
        doing: &'static str,
        statement: &str,
        values: impl rusqlite::Params,
    ) -> Result<bool, StoreError> {
        self.db
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute(values))
            .map(|rows| rows > 0)
            .map_err(StoreError::sql(doing))
    }
}
