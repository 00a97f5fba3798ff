//! The moment that a database is restored to.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};

use crate::database::Restore;
use crate::names::RepositoryName;
use crate::reference::DatabaseReference;

/// Longest name of a restore point; PostgreSQL takes 63 bytes.
pub(crate) const LONGEST_POINT: usize = 63;

/// A moment to restore to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum RestoreTarget {
    /// What was committed at or before this time.
    #[serde(rename = "targetTime")]
    Time(Timestamp),
    /// Up to and with the record at this position of the write-ahead log.
    #[serde(rename = "targetLsn")]
    Position(LogPosition),
    /// A restore point that was named with `pg_create_restore_point`.
    #[serde(rename = "targetName")]
    Point(String),
    /// The end of this base backup.
    #[serde(rename = "targetBackup")]
    Backup(String),
}

/// A position in the write-ahead log, as PostgreSQL writes it: `0/1A2B3C4D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogPosition(pub u64);

/// Text that is not a position in the write-ahead log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a position in the write-ahead log such as 0/1A2B3C4D")]
pub struct NotAPosition(String);

impl FromStr for LogPosition {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let half = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|one| one.is_ascii_hexdigit());
            plain
                .then(|| u32::from_str_radix(digits, 16).ok())
                .flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some((half(high)?, half(low)?)))
            .map(|(high, low)| Self(u64::from(high) << 32 | u64::from(low)))
            .ok_or_else(|| NotAPosition(text.to_owned()))
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl Serialize for LogPosition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The fields of [`Restore`] as they are written; at most one target is.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, inline)]
#[expect(dead_code, reason = "only its schema is used")]
struct RestoreFields {
    /// The database whose backups to restore: a name, or `project/name`.
    database: DatabaseReference,
    /// The id under which its backups are, where the database itself is gone: `boma backup list
    /// --repository NAME` shows it.
    // Without a default, a field whose schema is given would be a required one.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::instance")]
    instance: Option<String>,
    /// The repository that they are in, with `instance` only. Left out: `default`.
    repository: Option<RepositoryName>,
    /// The moment to restore, RFC 3339 with a zone: `2026-11-21T09:30:00Z`. Without any target:
    /// the newest.
    // Without a default, a field whose schema is given would be a required one.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::moment")]
    target_time: Option<String>,
    /// The position in the write-ahead log to restore up to: `0/1A2B3C4D`.
    #[schemars(regex(pattern = r"^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$"))]
    target_lsn: Option<String>,
    /// The restore point to restore to, named with `pg_create_restore_point`.
    #[schemars(length(min = 1, max = 63))]
    target_name: Option<String>,
    /// The base backup whose end to restore: `20261121T021406Z-full`.
    #[schemars(length(min = 1))]
    target_backup: Option<String>,
    /// The line of history that the moment is on. Left out: the newest.
    #[schemars(range(min = 1))]
    timeline: Option<u32>,
}

impl JsonSchema for Restore {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Restore".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        RestoreFields::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_postgresql_writes_it() {
        let position: LogPosition = "1/a2B3".parse().unwrap();
        assert_eq!(position, LogPosition(0x1_0000_a2b3));
        assert_eq!(position.to_string(), "1/A2B3");
        for text in ["", "1", "/", "1/", "1/2/3", "1/123456789", "+1/2", "g/1"] {
            let error = text.parse::<LogPosition>().unwrap_err();
            assert!(error.to_string().contains("such as 0/1A2B3C4D"), "{error}");
        }
    }
}
