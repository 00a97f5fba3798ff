//! `boma backup describe` and `boma backup delete`: one base backup.

use std::fmt::Write as _;

use boma_backup::catalog::{Cache, Catalog};
use boma_backup::find::prefixes;
use boma_backup::retention::choose::Refusal;
use boma_engine::backups::BackupPlatform;
use boma_engine::platform::AuditEntry;
use boma_instance::backup::BackupSummary;
use boma_problem::{IntoProblem as _, Problem};
use jiff::Timestamp;
use serde::Serialize;

use super::kind_word;
use crate::cli::{DeleteBackupArgs, OneBackupArgs, OneFormat};
use crate::commands::purge::confirm;
use crate::commands::repository::Backups;
use crate::session::{Opened, actor, find_database};
use crate::terminal::{Exit, Result, Terminal, Tone};
use boma_engine::words::{bytes, second};

/// A base backup, for other programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    #[serde(flatten)]
    summary: BackupSummary,
    whole: bool,
    missing: Vec<String>,
    needs: Vec<String>,
    needed_by: Vec<String>,
}

impl View {
    fn of(catalog: &Catalog, label: &str) -> Option<Self> {
        let mut all = catalog.backups.iter();
        let backup = all.find(|one| one.label.as_str() == label)?;
        let needing = catalog.backups.iter();
        let needing = needing.filter(|one| one.needs.contains(&backup.label));
        Some(Self {
            summary: backup.summary.clone(),
            whole: catalog.is_whole(backup),
            missing: backup.missing.clone(),
            needs: backup.needs.iter().map(ToString::to_string).collect(),
            needed_by: needing.map(|one| one.label.to_string()).collect(),
        })
    }

    fn text(&self) -> String {
        let one = &self.summary;
        let list = |labels: &[String]| match labels {
            [] => "none".to_owned(),
            labels => labels.join(", "),
        };
        let state = match (self.whole, self.missing.as_slice()) {
            (true, _) => "whole, as far as a listing shows".to_owned(),
            (false, []) => "not whole: its write-ahead log has a gap".to_owned(),
            (false, missing) => format!("not whole: {} missing", missing.join(", ")),
        };
        let fields = [
            ("Kind", kind_word(one.kind).to_owned()),
            ("State", state),
            ("Began", second(one.started_at)),
            ("Ended", second(one.stopped_at)),
            (
                "Log",
                format!(
                    "{} to {} on timeline {}",
                    one.start_lsn, one.stop_lsn, one.timeline
                ),
            ),
            ("Data", bytes(one.data_bytes)),
            ("Stored", bytes(one.stored_bytes)),
            ("PostgreSQL", one.server_version.clone()),
            ("Damaged pages", one.damaged_pages.to_string()),
            ("Needs", list(&self.needs)),
            ("Needed by", list(&self.needed_by)),
        ];
        let mut text = format!("{}\n", one.label);
        for (name, value) in fields {
            // Writing to a string does not fail.
            let _infallible = writeln!(text, "  {name:<15}{value}");
        }
        text
    }
}

/// Shows everything about one, as the repository has it.
pub(super) async fn describe(
    session: &Opened<impl BackupPlatform>,
    args: &OneBackupArgs,
    terminal: Terminal,
) -> Result {
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, &args.database)?;
    let view = look(&Backups::of(session, &seen, &key).await?, &args.backup).await?;
    match args.output {
        OneFormat::Text => terminal.result(&view.text())?,
        OneFormat::Json => terminal.json(&view)?,
        OneFormat::Yaml => {
            let text = serde_saphyr::to_string(&view).map_err(std::io::Error::other)?;
            terminal.result(&text)?;
        }
    }
    Ok(Exit::Ok)
}

/// Deletes one, once its name was typed back. The agent does it, between two jobs of its own.
pub(super) async fn delete(
    session: &Opened<impl BackupPlatform>,
    args: &DeleteBackupArgs,
    terminal: Terminal,
) -> Result {
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, &args.database)?;
    let view = look(&Backups::of(session, &seen, &key).await?, &args.backup).await?;
    if !args.yes {
        terminal.status(&format!(
            "{} base backup {} of {key}, {} in the repository, ended {}.",
            terminal.paint_err(Tone::Failed, "Delete"),
            args.backup,
            bytes(view.summary.stored_bytes),
            second(view.summary.stopped_at),
        ));
        confirm(&args.backup, "Say so with `--yes`.", terminal)?;
    }
    session.platform.delete_backup(&key, &args.backup).await?;
    let entry = AuditEntry {
        at: Timestamp::now(),
        actor: actor("backup delete"),
        action: format!("delete base backup {}", args.backup),
        subject: format!("Database {key}"),
        outcome: "done".to_owned(),
    };
    session.platform.audit(&entry).await?;
    terminal.status(&format!("Deleted {}.", args.backup));
    Ok(Exit::Ok)
}

async fn look(backups: &Backups, label: &str) -> Result<View> {
    let (repository, instance) = (&backups.repository, backups.instance);
    let prefixes = prefixes(repository, instance).await;
    for prefix in prefixes.map_err(|error| error.problem())? {
        let catalog = Catalog::read(repository, &prefix, &mut Cache::default()).await;
        let catalog = catalog.map_err(|error| error.problem())?;
        if let Some(view) = View::of(&catalog, label) {
            return Ok(view);
        }
    }
    Err(unknown(label).into())
}

fn unknown(label: &str) -> Problem {
    let label = label.to_owned();
    Refusal::UnknownBackup { label }.problem()
}
