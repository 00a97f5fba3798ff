//! Looking at the running server and its settings.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::control::{Control, Controls};
use super::error::SqlError;
use super::quote::identifier;
use super::seen::{Override, SeenServer, UndoneBy};

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

const PENDING: &str = "SELECT name FROM pg_settings WHERE pending_restart ORDER BY 1";

/// What `ALTER SYSTEM` has written, whether or not it is in force; whether that statement is refused
/// by now; whether it is in force and only a restart changes it.
const OVERRIDES: &str = "
    SELECT DISTINCT f.name,
           coalesce(current_setting('allow_alter_system', true), 'on') = 'off',
           coalesce(s.context = 'postmaster'
                    AND split_part(s.sourcefile, '/', -1) = 'postgresql.auto.conf', false)
    FROM pg_file_settings f LEFT JOIN pg_settings s ON lower(s.name) = lower(f.name)
    WHERE f.name IS NOT NULL AND split_part(f.sourcefile, '/', -1) = 'postgresql.auto.conf'
    ORDER BY 1";

impl Controls {
    /// Looks at the server and at its settings. Changes nothing.
    ///
    /// What waits for a restart and what is refused is judged by the files as they are on disk now,
    /// whether or not they were reloaded since they were written.
    pub async fn observe_server(&mut self) -> Result<SeenServer, SqlError> {
        see(self.any().await?).await
    }

    /// Takes back what `ALTER SYSTEM` has set, and lets the server read its configuration again.
    /// Safe to repeat because resetting what is not set does nothing.
    pub async fn reset_settings(&mut self, names: &[String]) -> Result<(), SqlError> {
        let control = self.any().await?;
        for name in names {
            let statement = format!("ALTER SYSTEM RESET {}", identifier(name));
            let doing = "take back a setting by hand";
            control.statement(doing, &statement).await?;
        }
        let doing = "let the server read its configuration";
        control.rows(doing, "SELECT pg_reload_conf()", &[]).await?;
        Ok(())
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
    let pending = control.rows("look at settings", PENDING, &[]).await?;
    let pending_restart: Vec<String> = pending.iter().map(|row| row.get(0)).collect();
    let doing = "look at what `ALTER SYSTEM` has set";
    let overrides = control.rows(doing, OVERRIDES, &[]).await?;
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
        overridden: overrides.iter().map(over).collect(),
        pending_restart,
    })
}

fn over(row: &Row) -> Override {
    Override {
        name: row.get(0),
        undone_by: match (row.get(1), row.get(2)) {
            (true, _) => UndoneBy::Hand,
            (false, true) => UndoneBy::Restart,
            (false, false) => UndoneBy::Reset,
        },
    }
}
