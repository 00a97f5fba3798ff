//! PostgreSQL's low-level backup interface: one session that stays open while files are copied.
//!
//! When the session ends early, however that happens, the server forgets the backup by itself: it
//! keeps no state of it outside of the session (non-exclusive backups, the only kind since 15).

use std::time::Duration;

use boma_instance::wal::{Lsn, Timeline};
use tokio_postgres::types::Type;

use super::control::{Control, Socket};
use super::error::SqlError;

/// How long a backup may take to begin: it writes a checkpoint of whatever is in memory.
const BEGIN_LIMIT: Duration = Duration::from_mins(30);

/// How long it may take to end; it waits for no archive.
const END_LIMIT: Duration = Duration::from_mins(2);

/// A backup that began.
#[derive(Debug)]
pub struct BackupSession {
    control: Control,
    began: Began,
}

/// What the server said when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Began {
    /// Where replay starts.
    pub start: Lsn,
    /// On which line of history.
    pub timeline: Timeline,
    /// Full version: `15.18`.
    pub version: String,
    /// Bytes of a segment of the write-ahead log.
    pub segment_size: u32,
    /// Whether pages have check sums.
    pub checksums: bool,
}

/// What the server said when it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// From where on the data is consistent.
    pub stop: Lsn,
    /// What `backup_label` in the restored data directory must say.
    pub backup_label: String,
    /// What `tablespace_map` must say; none: there are no tablespaces.
    pub tablespace_map: Option<String>,
}

impl BackupSession {
    /// Begins a backup: writes a checkpoint at once and switches to a new segment of the
    /// write-ahead log, so that the segment before is complete and waits to be archived. From here
    /// on until [`end`](Self::end), every byte of the data directory may be copied at any time.
    pub async fn begin(socket: &Socket, label: &str) -> Result<Self, SqlError> {
        let control = Control::connect(socket, "postgres").await?;
        // A large checkpoint takes minutes.
        control
            .statement("allow the backup its time", "SET statement_timeout = 0")
            .await?;
        let doing = "begin a base backup";
        // Where a segment has just begun there would be nothing to switch from.
        control
            .rows(
                doing,
                "SELECT pg_logical_emit_message(false, 'boma', $1)::text",
                &[(&label, Type::TEXT)],
            )
            .await?;
        let began = control
            .rows_within(
                (doing, BEGIN_LIMIT),
                "SELECT pg_backup_start($1, true)::text",
                &[(&label, Type::TEXT)],
            )
            .await?;
        let start: String = one(doing, &began)?;
        let doing = "ask for what a backup needs to know";
        let facts = control
            .rows(
                doing,
                "SELECT timeline_id, \
                        split_part(current_setting('server_version'), ' ', 1), \
                        (SELECT setting::int4 FROM pg_settings WHERE name = 'wal_segment_size'), \
                        current_setting('data_checksums') = 'on' \
                 FROM pg_control_checkpoint()",
                &[],
            )
            .await?;
        let [facts] = facts.as_slice() else {
            return Err(empty(doing));
        };
        let number = |column: usize| -> Result<u32, SqlError> {
            u32::try_from(facts.get::<_, i32>(column)).map_err(|_negative| empty(doing))
        };
        let began = Began {
            start: start.parse().map_err(|_not_an_lsn| empty(doing))?,
            timeline: Timeline(number(0)?),
            version: facts.get(1),
            segment_size: number(2)?,
            checksums: facts.get(3),
        };
        Ok(Self { control, began })
    }

    /// What the server said when it began.
    pub fn began(&self) -> &Began {
        &self.began
    }

    /// Ends the backup. The copy is whole once the write-ahead log up to
    /// [`stop`](Ended::stop) is safe as well; the server does not wait for that here.
    pub async fn end(self) -> Result<Ended, SqlError> {
        let doing = "end a base backup";
        let rows = self
            .control
            .rows_within(
                (doing, END_LIMIT),
                "SELECT lsn::text, labelfile, spcmapfile FROM pg_backup_stop(false)",
                &[],
            )
            .await?;
        let stop: String = one(doing, &rows)?;
        let row = rows.first().ok_or_else(|| empty(doing))?;
        let map: Option<String> = row.get(2);
        Ok(Ended {
            stop: stop.parse().map_err(|_not_an_lsn| empty(doing))?,
            backup_label: row.get(1),
            tablespace_map: map.filter(|map| !map.is_empty()),
        })
    }
}

/// Switches to a new segment of the write-ahead log, so that the present one can be archived.
/// Returns the position that everything committed until now is before.
pub async fn switch_wal(socket: &Socket) -> Result<Lsn, SqlError> {
    let control = Control::connect(socket, "postgres").await?;
    let doing = "switch to a new segment of the write-ahead log";
    let rows = control
        .rows(doing, "SELECT pg_switch_wal()::text", &[])
        .await?;
    let position: String = one(doing, &rows)?;
    position.parse().map_err(|_not_an_lsn| empty(doing))
}

/// The position that nothing is written behind yet.
pub async fn position(socket: &Socket) -> Result<Lsn, SqlError> {
    let control = Control::connect(socket, "postgres").await?;
    let doing = "ask for the position in the write-ahead log";
    let rows = control
        .rows(doing, "SELECT pg_current_wal_insert_lsn()::text", &[])
        .await?;
    let position: String = one(doing, &rows)?;
    position.parse().map_err(|_not_an_lsn| empty(doing))
}

fn one(doing: &str, rows: &[tokio_postgres::Row]) -> Result<String, SqlError> {
    rows.first()
        .map(|row| row.get(0))
        .ok_or_else(|| empty(doing))
}

fn empty(doing: &str) -> SqlError {
    SqlError::Empty {
        doing: doing.to_owned(),
    }
}
