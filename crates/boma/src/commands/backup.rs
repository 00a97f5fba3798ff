//! `boma backup`: base backups of a database, and the keys that they are read with.

mod key;
pub(crate) mod one;
pub(crate) mod repository;
pub(crate) mod verify;

use std::time::Duration;

use boma_engine::backups::BackupPlatform;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{AgentState, Observed};
use boma_engine::platform::PlatformError;
use boma_instance::backup::{BackupKind, BackupStatus, BackupSummary, Drill};
use boma_problem::{Class, Problem};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::{BackupCommand, BackupListArgs, Global, KeyArgs, ListFormat, PlatformName};
use crate::session::{ClusterSession, Need, Opened, Session, find_database};
use crate::table::Table;
use crate::terminal::{Exit, Result, Terminal};
use boma_engine::words::{bytes, progress, second, window};

/// How long to leave an agent alone that does not say how far it is.
const ASKED: Duration = Duration::from_secs(1);

/// Runs one of its commands.
pub(crate) async fn run(command: &BackupCommand, global: &Global, terminal: Terminal) -> Result {
    // A new key is handed over to agents, which are started where they do not run.
    let changes_key = |args: &KeyArgs| args.renew || args.import;
    let need = if matches!(command, BackupCommand::Key(args) if changes_key(args)) {
        Need::Builds
    } else {
        Need::NoBuilds
    };
    match global.platform {
        PlatformName::Local => {
            let session = Session::open(global, need).await?;
            Box::pin(on(&session, command, terminal)).await
        }
        PlatformName::Kubernetes => {
            let session = ClusterSession::open(global).await?;
            Box::pin(on(&session, command, terminal)).await
        }
    }
}

async fn on(
    session: &Opened<impl BackupPlatform>,
    command: &BackupCommand,
    terminal: Terminal,
) -> Result {
    match command {
        BackupCommand::Create(args) => create(session, &args.database, terminal).await,
        BackupCommand::List(args) => list(session, args, terminal).await,
        BackupCommand::Describe(args) => one::describe(session, args, terminal).await,
        BackupCommand::Delete(args) => one::delete(session, args, terminal).await,
        BackupCommand::Verify(args) => verify::verify(session, &args.database, terminal).await,
        BackupCommand::Drill(args) => drill(session, &args.database, terminal).await,
        BackupCommand::Repository(args) => repository::list(session, args, terminal).await,
        BackupCommand::Forget(args) => repository::forget(session, args, terminal).await,
        BackupCommand::Key(args) => key::key(session, args, terminal).await,
    }
}

async fn create(session: &Opened<impl BackupPlatform>, name: &str, terminal: Terminal) -> Result {
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, name)?;
    let summary = followed(session, &key, session.platform.back_up(&key), terminal).await?;
    let line = format!(
        "Backup {} of {}: {} of data, {} stored.",
        summary.label,
        key.name,
        bytes(summary.data_bytes),
        bytes(summary.stored_bytes)
    );
    terminal.status(&line);
    terminal.result(&format!("{}\n", summary.label))?;
    Ok(Exit::Ok)
}

async fn drill(session: &Opened<impl BackupPlatform>, name: &str, terminal: Terminal) -> Result {
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, name)?;
    let drill = followed(session, &key, session.platform.drill(&key), terminal).await?;
    show_drill(drill, &key, terminal)
}

/// Prints what came of a drill; that something was wrong is a problem.
pub(crate) fn show_drill(drill: Drill, key: &DatabaseKey, terminal: Terminal) -> Result {
    if let Some(problem) = drill.problem {
        return Err(problem.into());
    }
    let until = drill.recovered_until.map_or_else(
        || "nothing was committed after it".to_owned(),
        |until| format!("replayed up to {}", second(until)),
    );
    let line = format!(
        "Backup {} of {} is proved: restored in {:.1} s, {until}; {} rows in {} tables counted, {} indexes checked.\n",
        drill.label,
        key.name,
        Duration::from_millis(drill.took_ms).as_secs_f64(),
        drill.rows,
        drill.tables,
        drill.indexes
    );
    terminal.result(&line)?;
    Ok(Exit::Ok)
}

/// Waits for long work of an agent, and says how far it is whenever the agent says so.
async fn followed<T>(
    session: &Opened<impl BackupPlatform>,
    key: &DatabaseKey,
    asked: impl Future<Output = std::result::Result<T, PlatformError>>,
    terminal: Terminal,
) -> Result<T> {
    let mut asked = std::pin::pin!(asked);
    let mut serial = 0;
    loop {
        let next = session.platform.next_status(key, serial);
        tokio::select! {
            // First, so that what is over is not told of as if it went on.
            biased;
            done = &mut asked => return Ok(done?),
            reported = next => match reported {
                Ok(reported) => {
                    serial = reported.serial;
                    let backup = reported.status.backup;
                    if let Some(running) = backup.and_then(|backup| backup.running) {
                        terminal.status(&progress(&running, Timestamp::now()));
                    }
                }
                // Progress is not worth a failure: whoever asked hears from the work itself.
                Err(_silent) => tokio::time::sleep(ASKED).await,
            },
        }
    }
}

fn status<'a>(seen: &'a Observed, key: &DatabaseKey) -> Option<&'a BackupStatus> {
    match &seen.databases.get(key)?.agent {
        AgentState::Answering(status) => status.backup.as_ref(),
        AgentState::Silent(_) | AgentState::Absent => None,
    }
}

/// Base backups and what can be restored, for other programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListView<'s> {
    pub(crate) backups: &'s [BackupSummary],
    pub(crate) recoverable_from: Option<Timestamp>,
    pub(crate) recoverable_until: Option<Timestamp>,
}

async fn list(
    session: &Opened<impl BackupPlatform>,
    args: &BackupListArgs,
    terminal: Terminal,
) -> Result {
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, &args.database)?;
    let Some(status) = status(&seen, &key) else {
        return Err(not_measured(&key).into());
    };
    let view = ListView {
        backups: &status.backups,
        recoverable_from: status.recoverable_from,
        recoverable_until: status.recoverable_until,
    };
    print_list(&view, args.output, terminal)
}

/// Prints base backups and what can be restored.
pub(crate) fn print_list(view: &ListView<'_>, output: ListFormat, terminal: Terminal) -> Result {
    match output {
        ListFormat::Table => {}
        ListFormat::Name => {
            let labels = view.backups.iter().map(|one| format!("{}\n", one.label));
            terminal.result(&labels.collect::<String>())?;
            return Ok(Exit::Ok);
        }
        ListFormat::Json => {
            terminal.json(view)?;
            return Ok(Exit::Ok);
        }
        ListFormat::Yaml => {
            let text = serde_saphyr::to_string(view).map_err(std::io::Error::other)?;
            terminal.result(&text)?;
            return Ok(Exit::Ok);
        }
    }
    let mut table = Table::new(&["BACKUP", "KIND", "ENDED", "DATA", "STORED", "POSTGRESQL"]);
    for backup in view.backups {
        table.row(cells(backup));
    }
    terminal.result(&table.render())?;
    if let (Some(from), Some(until)) = (view.recoverable_from, view.recoverable_until) {
        let (from, until) = window(from, until);
        terminal.status(&format!("Can be restored from {from} to {until}."));
    }
    Ok(Exit::Ok)
}

fn cells(backup: &BackupSummary) -> [String; 6] {
    [
        backup.label.clone(),
        kind_word(backup.kind).to_owned(),
        second(backup.stopped_at),
        bytes(backup.data_bytes),
        bytes(backup.stored_bytes),
        backup.server_version.clone(),
    ]
}

fn kind_word(kind: BackupKind) -> &'static str {
    match kind {
        BackupKind::Full => "full",
        BackupKind::Incremental => "incremental",
    }
}

fn not_measured(key: &DatabaseKey) -> Problem {
    Problem::new(
        Class::Transient,
        "backups-not-measured",
        format!("the backups of {} were not measured", key.name),
    )
    .hint("Its agent has to run for that; `boma describe` says whether it does.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_that_nobody_measured_are_not_none() {
        let problem = not_measured(&DatabaseKey::new("o/u/e/p", "accounts-db"));
        assert_eq!(problem.code, "backups-not-measured");
        assert!(problem.message.contains("were not measured"), "{problem}");
    }
}
