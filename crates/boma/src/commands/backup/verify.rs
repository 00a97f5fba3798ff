//! `boma backup verify`.

use boma_backup::find::prefixes;
use boma_backup::meter::Meter;
use boma_backup::verify::{self, Report};
use boma_engine::backups::BackupPlatform;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::Observed;
use boma_problem::{Class, IntoProblem as _, Problem};
use boma_web::{Finding, Gap, Verification, VerifiedCluster};

use crate::commands::repository::Backups;
use crate::session::{Opened, find_database};
use crate::terminal::{Exit, Result, Terminal};
use boma_engine::words::bytes;

/// Reads the repository from here.
pub(super) async fn verify(
    session: &Opened<impl BackupPlatform>,
    name: &str,
    terminal: Terminal,
) -> Result {
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, name)?;
    let found = read(&*session.platform, &seen, &key).await?;
    show(&found, &key, terminal)
}

/// Reads all that a database has in its repository.
pub(crate) async fn read(
    platform: &impl BackupPlatform,
    seen: &Observed,
    key: &DatabaseKey,
) -> std::result::Result<Verification, Box<Problem>> {
    let backups = Backups::of(platform, seen, key).await?;
    let prefixes = prefixes(&backups.repository, backups.instance).await;
    let mut found = Verification::default();
    for prefix in prefixes.map_err(|error| error.problem())? {
        let report = verify::verify(&backups.repository, &prefix, &Meter::new())
            .await
            .map_err(|error| error.problem())?;
        found.clusters.push(view(report));
    }
    Ok(found)
}

fn view(report: Report) -> VerifiedCluster {
    let unusable = report.unusable.into_iter();
    let findings = report.findings.into_iter().map(|one| Finding {
        object: one.object,
        problem: one.problem,
    });
    let gaps = report.gaps.iter().map(|gap| Gap {
        timeline: gap.timeline,
        segments: gap.missing.last - gap.missing.first + 1,
    });
    VerifiedCluster {
        objects: report.objects,
        bytes: report.bytes,
        whole: report.whole.iter().map(ToString::to_string).collect(),
        unusable: unusable
            .map(|(label, why)| (label.to_string(), why))
            .collect(),
        findings: findings.collect(),
        gaps: gaps.collect(),
    }
}

/// Prints what was found; that something is wrong is a problem.
pub(crate) fn show(found: &Verification, key: &DatabaseKey, terminal: Terminal) -> Result {
    let mut text = String::new();
    for cluster in &found.clusters {
        describe(cluster, &mut text);
    }
    terminal.result(&text)?;
    if found.is_clean() {
        return Ok(Exit::Ok);
    }
    let text = format!("not every backup of {} is whole", key.name);
    Err(Problem::new(Class::Config, "repository-damaged", text)
        .hint("Take a full backup: the next one is full by itself when the newest cannot be read.")
        .into())
}

fn describe(found: &VerifiedCluster, text: &mut String) {
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    line(format!(
        "{} objects read ({}).",
        found.objects,
        bytes(found.bytes)
    ));
    for label in &found.whole {
        line(format!("{label}  whole"));
    }
    for (label, reasons) in &found.unusable {
        line(format!("{label}  unusable: {}", reasons.join("; ")));
    }
    for finding in &found.findings {
        line(format!("{}: {}", finding.object, finding.problem));
    }
    for gap in &found.gaps {
        line(format!(
            "timeline {}: {} segments of the write-ahead log are missing",
            gap.timeline, gap.segments
        ));
    }
}
