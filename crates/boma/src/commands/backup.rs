//! `boma backup`: base backups of a database, and the keys that they are read with.

use std::io::Read as _;
use std::time::Duration;

use boma_backup::find::prefixes;
use boma_backup::format::key::RepositoryKey;
use boma_backup::meter::Meter;
use boma_backup::verify::{self, Report};
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{AgentState, Observed};
use boma_engine::platform::{AuditEntry, Platform};
use boma_instance::Secret;
use boma_instance::backup::{BackupKind, BackupStatus, BackupSummary, Progress};
use boma_problem::{Class, IntoProblem as _, Problem};
use jiff::Timestamp;

use crate::cli::{BackupCommand, Global, KeyArgs};
use crate::commands::repository::Backups;
use crate::session::{Need, Session, actor, find_database};
use crate::table::Table;
use crate::terminal::{Exit, Result, Terminal};

/// How often progress is asked for.
const ASKED: Duration = Duration::from_secs(1);

/// Runs one of its commands.
pub(crate) async fn run(command: &BackupCommand, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::NoBuilds).await?;
    match command {
        BackupCommand::Create(args) => create(&session, &args.database, terminal).await,
        BackupCommand::List(args) => list(&session, &args.database, terminal).await,
        BackupCommand::Verify(args) => verify(&session, &args.database, terminal).await,
        BackupCommand::Drill(args) => drill(&session, &args.database, terminal).await,
        BackupCommand::Key(args) => key(&session, args, terminal).await,
    }
}

async fn create(session: &Session, name: &str, terminal: Terminal) -> Result {
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, name)?;
    let asked = session.platform.back_up(&key);
    let mut asked = std::pin::pin!(asked);
    let summary = loop {
        tokio::select! {
            done = &mut asked => break done?,
            () = tokio::time::sleep(ASKED) => tell_progress(session, &key, terminal).await?,
        }
    };
    let line = format!(
        "Backup {} of {}: {} MiB of data, {} MiB stored.",
        summary.label,
        key.name,
        summary.data_bytes >> 20,
        summary.stored_bytes >> 20
    );
    terminal.status(&line);
    terminal.result(&format!("{}\n", summary.label))?;
    Ok(Exit::Ok)
}

/// Reads the repository from here: it needs no agent, and costs the server nothing.
async fn verify(session: &Session, name: &str, terminal: Terminal) -> Result {
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, name)?;
    let backups = Backups::of(session, &seen, &key).await?;
    let prefixes = prefixes(&backups.repository, backups.instance).await;
    let mut text = String::new();
    let mut clean = true;
    for prefix in prefixes.map_err(|error| error.problem())? {
        let report = verify::verify(&backups.repository, &prefix, &Meter::new())
            .await
            .map_err(|error| error.problem())?;
        clean &= report.is_clean();
        describe(&report, &mut text);
    }
    terminal.result(&text)?;
    if clean {
        Ok(Exit::Ok)
    } else {
        let text = format!("not every backup of {} is whole", key.name);
        Err(Problem::new(Class::Config, "repository-damaged", text)
            .hint("Take a full backup: the next one is full by itself when the newest cannot be read.")
            .into())
    }
}

fn describe(report: &Report, text: &mut String) {
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    line(format!(
        "{} objects read ({} MiB).",
        report.objects,
        report.bytes >> 20
    ));
    for label in &report.whole {
        line(format!("{label}  whole"));
    }
    for (label, reasons) in &report.unusable {
        line(format!("{label}  unusable: {}", reasons.join("; ")));
    }
    for finding in &report.findings {
        line(format!("{}: {}", finding.object, finding.problem));
    }
    for gap in &report.gaps {
        let count = gap.missing.last - gap.missing.first + 1;
        line(format!(
            "timeline {}: {count} segments of the write-ahead log are missing",
            gap.timeline
        ));
    }
}

async fn drill(session: &Session, name: &str, terminal: Terminal) -> Result {
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, name)?;
    let asked = session.platform.drill(&key);
    let mut asked = std::pin::pin!(asked);
    let drill = loop {
        tokio::select! {
            done = &mut asked => break done?,
            () = tokio::time::sleep(ASKED) => tell_progress(session, &key, terminal).await?,
        }
    };
    if let Some(problem) = drill.problem {
        return Err(problem.into());
    }
    let until = drill.recovered_until.map_or_else(
        || "nothing was committed after it".to_owned(),
        |until| format!("replayed up to {until:.0}"),
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

async fn tell_progress(session: &Session, key: &DatabaseKey, terminal: Terminal) -> Result<()> {
    let seen = session.platform.observe().await?;
    if let Some(progress) = status(&seen, key).and_then(|status| status.running.as_ref()) {
        terminal.status(&words(progress, Timestamp::now()));
    }
    Ok(())
}

/// Bytes, and the time that is left when it goes on like this.
fn words(progress: &Progress, now: Timestamp) -> String {
    let done = progress.done_bytes >> 20;
    let Some(total) = progress.total_bytes else {
        return format!("{done} MiB");
    };
    let elapsed = now.duration_since(progress.started_at).as_secs();
    let elapsed = u64::try_from(elapsed).unwrap_or_default();
    let rest = total.saturating_sub(progress.done_bytes);
    let left = elapsed.saturating_mul(rest) / progress.done_bytes.max(1);
    format!("{done} of {} MiB, {left} s left", total >> 20)
}

fn status<'a>(seen: &'a Observed, key: &DatabaseKey) -> Option<&'a BackupStatus> {
    match &seen.databases.get(key)?.agent {
        AgentState::Answering(status) => status.backup.as_ref(),
        AgentState::Silent(_) | AgentState::Absent => None,
    }
}

async fn list(session: &Session, name: &str, terminal: Terminal) -> Result {
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, name)?;
    let Some(status) = status(&seen, &key) else {
        return Err(not_measured(&key).into());
    };
    let mut table = Table::new(&["BACKUP", "KIND", "ENDED", "DATA", "STORED", "POSTGRESQL"]);
    for backup in &status.backups {
        table.row(cells(backup));
    }
    terminal.result(&table.render())?;
    if let (Some(from), Some(until)) = (status.recoverable_from, status.recoverable_until) {
        terminal.status(&format!("Can be restored from {from} to {until}."));
    }
    Ok(Exit::Ok)
}

fn cells(backup: &BackupSummary) -> [String; 6] {
    let kind = match backup.kind {
        BackupKind::Full => "full",
        BackupKind::Incremental => "incremental",
    };
    [
        backup.label.clone(),
        kind.to_owned(),
        backup.stopped_at.to_string(),
        format!("{} MiB", backup.data_bytes >> 20),
        format!("{} MiB", backup.stored_bytes >> 20),
        backup.server_version.clone(),
    ]
}

fn not_measured(key: &DatabaseKey) -> Problem {
    Problem::new(
        Class::Transient,
        "backups-not-measured",
        format!("the backups of {} were not measured", key.name),
    )
    .hint("Its agent has to run for that; `boma describe` says whether it does.")
}

async fn key(session: &Session, args: &KeyArgs, terminal: Terminal) -> Result {
    let name = &args.repository;
    let (action, text) = if args.import {
        session.platform.import_key(name, read_key()?).await?;
        terminal.status(&format!("The repository {name} is read with this key."));
        ("import the key of a repository", None)
    } else {
        let key = session.platform.export_key(name).await?;
        ("export the key of a repository", Some(key))
    };
    // On record before it is shown.
    let entry = AuditEntry {
        at: Timestamp::now(),
        actor: actor("backup key"),
        action: action.to_owned(),
        subject: format!("Repository {name}"),
        outcome: "done".to_owned(),
    };
    session.platform.audit(&entry).await?;
    if let Some(key) = text {
        terminal.result(&format!("{}\n", key.expose()))?;
    }
    Ok(Exit::Ok)
}

/// From standard input: arguments of a program are seen by everybody.
fn read_key() -> Result<Secret<String>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let key = RepositoryKey::parse(&text).map_err(|error| {
        Problem::from_error(Class::User, "repository-key-invalid", &error)
            .hint("`boma backup key` of the installation that made it prints it, whole.")
    })?;
    Ok(key.export())
}

#[cfg(test)]
mod tests {
    use boma_instance::backup::Work;

    use super::*;

    #[test]
    fn progress_says_how_long_it_takes_at_this_rate() {
        let started_at = Timestamp::UNIX_EPOCH;
        let progress = Progress {
            work: Work::Backup,
            started_at,
            done_bytes: 64 << 20,
            total_bytes: Some(256 << 20),
        };
        let now = started_at + jiff::SignedDuration::from_secs(10);
        assert_eq!(words(&progress, now), "64 of 256 MiB, 30 s left");
        let unknown = Progress {
            total_bytes: None,
            ..progress
        };
        assert_eq!(words(&unknown, now), "64 MiB");
    }

    #[test]
    fn backups_that_nobody_measured_are_not_none() {
        let problem = not_measured(&DatabaseKey::new("o/u/e/p", "accounts-db"));
        assert_eq!(problem.code, "backups-not-measured");
        assert!(problem.message.contains("were not measured"), "{problem}");
        let wrong = RepositoryKey::parse("boma-key-2-00").unwrap_err();
        assert!(wrong.to_string().contains("not a repository key"));
    }
}
