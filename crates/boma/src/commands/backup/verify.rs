//! `boma backup verify`.

use boma_backup::find::prefixes;
use boma_backup::meter::Meter;
use boma_backup::verify::{self, Report};
use boma_engine::backups::BackupPlatform;
use boma_problem::{Class, IntoProblem as _, Problem};

use crate::commands::repository::Backups;
use crate::session::{Opened, find_database};
use crate::terminal::{Exit, Result, Terminal};
use boma_engine::words::bytes;

/// Reads the repository from here: it needs no agent, and costs the server nothing.
pub(super) async fn verify(
    session: &Opened<impl BackupPlatform>,
    name: &str,
    terminal: Terminal,
) -> Result {
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
        "{} objects read ({}).",
        report.objects,
        bytes(report.bytes)
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
