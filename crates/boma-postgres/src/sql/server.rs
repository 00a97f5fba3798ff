//! Looking at the running server and its settings.

use jiff::Timestamp;

use super::control::{Control, Controls};
use super::error::SqlError;
use super::seen::SeenServer;

const SERVER: &str = "
    SELECT split_part(current_setting('server_version'), ' ', 1),
           (SELECT system_identifier FROM pg_control_system()),
           (extract(epoch FROM pg_postmaster_start_time()) * 1000)::int8,
           pg_is_in_recovery(),
           nullif(current_setting('boma.configuration', true), '')";

/// Reads the files anew and compares them with what is in force. As a side effect this session
/// learns which settings wait for a restart, without anybody having to reload. An error without a
/// file is a setting that is in no file any more and falls back at the next restart: it is among
/// those that wait for one (`ProcessConfigFileInternal`).
const FILES: &str = "
    SELECT coalesce(name, sourcefile || ':' || sourceline), error
    FROM pg_file_settings WHERE error IS NOT NULL AND sourcefile IS NOT NULL";

const SETTINGS: &str = "
    SELECT name, pending_restart FROM pg_settings
    WHERE pending_restart
       OR (sourcefile IS NOT NULL AND split_part(sourcefile, '/', -1) = 'postgresql.auto.conf')
    ORDER BY 1";

impl Controls {
    /// Looks at the server and at its settings. Changes nothing.
    ///
    /// What waits for a restart and what is refused is judged by the files as they are on disk now,
    /// whether or not they were reloaded since they were written.
    pub async fn observe_server(&mut self) -> Result<SeenServer, SqlError> {
        see(self.any().await?).await
    }

    /// Writes a checkpoint while queries go on, so that the one of a shutdown is short.
    pub async fn checkpoint(&mut self) -> Result<(), SqlError> {
        self.any()
            .await?
            .statement("write a checkpoint", "CHECKPOINT")
            .await
    }
}

/// See [`Controls::observe_server`].
pub(super) async fn see(control: &Control) -> Result<SeenServer, SqlError> {
    let doing = "look at the server";
    let rows = control.rows(doing, SERVER, &[]).await?;
    let row = rows.first().ok_or_else(|| SqlError::Empty {
        doing: doing.to_owned(),
    })?;
    let files = control
        .rows("look at the configuration files", FILES, &[])
        .await?;
    let settings = control.rows("look at settings", SETTINGS, &[]).await?;
    let of = |pending: bool| {
        settings
            .iter()
            .filter(|row| row.get::<_, bool>(1) == pending)
            .map(|row| row.get::<_, String>(0))
            .collect::<Vec<_>>()
    };
    let pending_restart = of(true);
    let system_identifier: i64 = row.get(1);
    let started_at: i64 = row.get(2);
    Ok(SeenServer {
        version: row.get(0),
        system_identifier: system_identifier.cast_unsigned(),
        started_at: Timestamp::from_millisecond(started_at).unwrap_or_default(),
        in_recovery: row.get(3),
        configuration: row.get(4),
        refused: files
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .filter(|(name, _): &(String, String)| !pending_restart.contains(name))
            .collect(),
        overridden: of(false),
        pending_restart,
    })
}
