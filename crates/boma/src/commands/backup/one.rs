//! `boma backup describe` and `boma backup delete`: one base backup.

use std::fmt::Write as _;

use boma_backup::catalog::{Cache, Catalog};
use boma_backup::find::prefixes;
use boma_backup::retention::choose::Refusal;
use boma_engine::backups::BackupPlatform;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::Observed;
use boma_engine::platform::AuditEntry;
use boma_problem::{IntoProblem as _, Problem};
use boma_web::OneBackup;
use jiff::Timestamp;

use super::kind_word;
use crate::cli::{DeleteBackupArgs, OneBackupArgs, OneFormat};
use crate::commands::purge::confirm;
use crate::commands::repository::Backups;
use crate::session::{Opened, actor, find_database};
use crate::terminal::{Exit, Result, Terminal, Tone};
use boma_engine::words::{bytes, second};

fn view(catalog: &Catalog, label: &str) -> Option<OneBackup> {
    let mut all = catalog.backups.iter();
    let backup = all.find(|one| one.label.as_str() == label)?;
    let needing = catalog.backups.iter();
    let needing = needing.filter(|one| one.needs.contains(&backup.label));
    Some(OneBackup {
        summary: backup.summary.clone(),
        whole: catalog.is_whole(backup),
        missing: backup.missing.clone(),
        needs: backup.needs.iter().map(ToString::to_string).collect(),
        needed_by: needing.map(|one| one.label.to_string()).collect(),
    })
}

fn text(backup: &OneBackup) -> String {
    let one = &backup.summary;
    let list = |labels: &[String]| match labels {
        [] => "none".to_owned(),
        labels => labels.join(", "),
    };
    let state = match (backup.whole, backup.missing.as_slice()) {
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
        ("Needs", list(&backup.needs)),
        ("Needed by", list(&backup.needed_by)),
    ];
    let mut text = format!("{}\n", one.label);
    for (name, value) in fields {
        // Writing to a string does not fail.
        let _infallible = writeln!(text, "  {name:<15}{value}");
    }
    text
}

/// Prints everything about one.
pub(crate) fn show(backup: &OneBackup, output: OneFormat, terminal: Terminal) -> Result {
    match output {
        OneFormat::Text => terminal.result(&text(backup))?,
        OneFormat::Json => terminal.json(backup)?,
        OneFormat::Yaml => {
            let text = serde_saphyr::to_string(backup).map_err(std::io::Error::other)?;
            terminal.result(&text)?;
        }
    }
    Ok(Exit::Ok)
}

/// Has the name of a base backup typed back that is to be deleted, unless that was said already.
pub(crate) fn confirmed(
    (backup, key): (&OneBackup, &DatabaseKey),
    args: &DeleteBackupArgs,
    terminal: Terminal,
) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    terminal.status(&format!(
        "{} base backup {} of {key}, {} in the repository, ended {}.",
        terminal.paint_err(Tone::Failed, "Delete"),
        args.backup,
        bytes(backup.summary.stored_bytes),
        second(backup.summary.stopped_at),
    ));
    confirm(&args.backup, "Say so with `--yes`.", terminal)
}

/// Shows everything about one, as the repository has it.
pub(super) async fn describe(
    session: &Opened<impl BackupPlatform>,
    args: &OneBackupArgs,
    terminal: Terminal,
) -> Result {
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, &args.database)?;
    let backup = look(&*session.platform, (&seen, &key), &args.backup).await?;
    show(&backup, args.output, terminal)
}

/// Deletes one, once its name was typed back.
pub(super) async fn delete(
    session: &Opened<impl BackupPlatform>,
    args: &DeleteBackupArgs,
    terminal: Terminal,
) -> Result {
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, &args.database)?;
    let backup = look(&*session.platform, (&seen, &key), &args.backup).await?;
    confirmed((&backup, &key), args, terminal)?;
    let actor = actor("backup delete");
    delete_for(&*session.platform, (&key, &args.backup), actor).await?;
    terminal.status(&format!("Deleted {}.", args.backup));
    Ok(Exit::Ok)
}

/// Deletes one for somebody. The agent does it, between two jobs of its own.
pub(crate) async fn delete_for(
    platform: &impl BackupPlatform,
    (key, label): (&DatabaseKey, &str),
    actor: String,
) -> std::result::Result<(), Box<Problem>> {
    let entry = |outcome: &str| AuditEntry {
        at: Timestamp::now(),
        actor: actor.clone(),
        action: format!("delete base backup {label}"),
        subject: format!("Database {key}"),
        outcome: outcome.to_owned(),
    };
    // Who asked is known, also when this is cut off.
    platform.audit(&entry("begun")).await?;
    platform.delete_backup(key, label).await?;
    platform.audit(&entry("done")).await
}

/// A base backup, as its repository has it.
pub(crate) async fn look(
    platform: &impl BackupPlatform,
    (seen, key): (&Observed, &DatabaseKey),
    label: &str,
) -> std::result::Result<OneBackup, Box<Problem>> {
    let backups = Backups::of(platform, seen, key).await?;
    let (repository, instance) = (&backups.repository, backups.instance);
    let prefixes = prefixes(repository, instance).await;
    for prefix in prefixes.map_err(|error| error.problem())? {
        let catalog = Catalog::read(repository, &prefix, &mut Cache::default()).await;
        let catalog = catalog.map_err(|error| error.problem())?;
        if let Some(backup) = view(&catalog, label) {
            return Ok(backup);
        }
    }
    Err(unknown(label).into())
}

fn unknown(label: &str) -> Problem {
    let label = label.to_owned();
    Refusal::UnknownBackup { label }.problem()
}
