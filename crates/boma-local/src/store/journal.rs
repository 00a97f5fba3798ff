//! Events and the audit trail.

use boma_engine::platform::{AuditEntry, Event};
use jiff::{SignedDuration, Timestamp};
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::{Access, StoreError};

/// Within this time the same event is counted, not repeated.
const SAME_EVENT: SignedDuration = SignedDuration::from_hours(1);

/// Events kept; older ones are forgotten. At some 300 bytes each this bounds the table to 3 MB.
const EVENTS_KEPT: i64 = 10_000;

/// An event as it was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedEvent {
    /// What happened, and when for the first time.
    #[serde(flatten)]
    pub event: Event,
    /// When for the last time.
    pub last: Timestamp,
    /// How often.
    pub count: u32,
}

impl Access<'_> {
    /// A number that changes when another connection has written anything (`PRAGMA data_version`).
    pub(crate) fn changes(&self) -> Result<i64, StoreError> {
        let version = self
            .db
            .pragma_query_value(None, "data_version", |row| row.get(0));
        version.map_err(StoreError::sql("ask for changes"))
    }

    /// Adds an event, or counts it.
    pub(crate) fn add_event(&self, event: &Event) -> Result<(), StoreError> {
        let doing = "add an event";
        let since = event.at.checked_sub(SAME_EVENT).unwrap_or(Timestamp::MIN);
        let counted = self.changed(
            doing,
            "UPDATE events SET count = count + 1, last = ?4 WHERE id = (SELECT max(id) FROM events \
             WHERE subject = ?1 AND reason = ?2 AND message = ?3 AND last >= ?5)",
            params![
                event.subject,
                event.reason,
                event.message,
                sortable(event.at),
                sortable(since)
            ],
        )?;
        if counted {
            return Ok(());
        }
        self.run(
            doing,
            "INSERT INTO events (at, last, subject, reason, message, warning) VALUES (?1, ?1, ?2, ?3, ?4, ?5)",
            params![sortable(event.at), event.subject, event.reason, event.message, event.warning],
        )?;
        let newest = self.db.last_insert_rowid();
        self.run(
            doing,
            "DELETE FROM events WHERE id <= ?1",
            params![newest - EVENTS_KEPT],
        )
    }

    /// The newest events, oldest first; of one subject, or of all.
    pub(crate) fn events(
        &self,
        subject: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let doing = "read the events";
        let sql = StoreError::sql(doing);
        let mut query = self
            .db
            .prepare_cached(
                "SELECT at, subject, reason, message, warning, last, count FROM events \
                 WHERE ?1 IS NULL OR subject = ?1 ORDER BY last DESC, id DESC LIMIT ?2",
            )
            .map_err(&sql)?;
        let mut rows = query.query(params![subject, limit]).map_err(&sql)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(&sql)? {
            let time = |at: usize| {
                let text: String = row.get(at).map_err(&sql)?;
                text.parse::<Timestamp>().map_err(StoreError::form(doing))
            };
            found.push(RecordedEvent {
                event: Event {
                    at: time(0)?,
                    subject: row.get(1).map_err(&sql)?,
                    reason: row.get(2).map_err(&sql)?,
                    message: row.get(3).map_err(&sql)?,
                    warning: row.get(4).map_err(&sql)?,
                },
                last: time(5)?,
                count: row.get(6).map_err(&sql)?,
            });
        }
        found.reverse();
        Ok(found)
    }

    /// When something of one reason last happened to a subject; none: never, or it is forgotten.
    pub(crate) fn last_of(
        &self,
        subject: &str,
        reason: &str,
    ) -> Result<Option<Timestamp>, StoreError> {
        let doing = "read the events";
        let last: Option<String> = self
            .db
            .prepare_cached("SELECT max(last) FROM events WHERE subject = ?1 AND reason = ?2")
            .and_then(|mut query| query.query_row(params![subject, reason], |row| row.get(0)))
            .map_err(StoreError::sql(doing))?;
        last.map(|text| text.parse().map_err(StoreError::form(doing)))
            .transpose()
    }

    /// Adds to the audit trail; nothing is ever removed from it.
    pub(crate) fn add_audit(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.run(
            "add to the audit trail",
            "INSERT INTO audit (at, actor, action, subject, outcome) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                sortable(entry.at),
                entry.actor,
                entry.action,
                entry.subject,
                entry.outcome
            ],
        )
    }

    /// The newest entries of the audit trail, oldest first.
    pub(crate) fn audit(&self, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let doing = "read the audit trail";
        let sql = StoreError::sql(doing);
        let mut query = self
            .db
            .prepare_cached(
                "SELECT at, actor, action, subject, outcome FROM audit ORDER BY id DESC LIMIT ?1",
            )
            .map_err(&sql)?;
        let mut rows = query.query([limit]).map_err(&sql)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(&sql)? {
            let at: String = row.get(0).map_err(&sql)?;
            found.push(AuditEntry {
                at: at.parse().map_err(StoreError::form(doing))?,
                actor: row.get(1).map_err(&sql)?,
                action: row.get(2).map_err(&sql)?,
                subject: row.get(3).map_err(&sql)?,
                outcome: row.get(4).map_err(&sql)?,
            });
        }
        found.reverse();
        Ok(found)
    }
}

/// With all digits of the fraction, so that text sorts like time.
fn sortable(at: Timestamp) -> String {
    format!("{at:.9}")
}
