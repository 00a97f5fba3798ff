//! What is said about backups in a status. Pure.

use boma_backup::wal::outlook::{self, ARCHIVED, Measured};
use boma_instance::backup::{BackupSpec, BackupStatus};
use boma_instance::{Assignment, Condition, InstanceStatus, Phase, Truth};
use boma_problem::{Class, Problem};
use jiff::Timestamp;

use super::Report;

/// Adds what is known of backups to a status.
pub(crate) fn add_to(
    mut status: InstanceStatus,
    want: &Assignment,
    report: &Report,
    now: Timestamp,
) -> InstanceStatus {
    let archiving = archiving(want.spec.backup.as_ref(), report, &status, now);
    if let Some(problem) = hindered(report, &archiving, now) {
        status.problems.push(problem);
        if status.phase == Phase::Ready {
            status.phase = Phase::Degraded;
        }
    }
    if let Some(problem) = &report.problem
        && !status.problems.contains(problem)
    {
        status.problems.push(problem.clone());
    }
    // A restore that cannot be made is no data directory that is being made.
    if report.problem.is_some() && status.phase == Phase::Creating {
        status.phase = Phase::Failed;
    }
    let parts = [
        backups(want.spec.backup.as_ref(), report),
        archiving,
        proved(report.status.as_ref()),
    ];
    status.conditions.extend(parts);
    status.backup.clone_from(&report.status);
    status
}

fn condition(kind: &str, status: Truth, (reason, message): (&str, String)) -> Condition {
    Condition {
        kind: kind.into(),
        status,
        reason: reason.into(),
        message,
    }
}

fn backups(spec: Option<&BackupSpec>, report: &Report) -> Condition {
    let say = |truth, reason, message: String| condition("Backups", truth, (reason, message));
    if spec.is_none() {
        let message = "not backed up, as its manifest says".to_owned();
        return say(Truth::False, "Off", message);
    }
    if let Some(problem) = &report.problem {
        return say(Truth::False, "Failing", problem.to_string());
    }
    match report.status.as_ref() {
        None => say(Truth::Unknown, "NotMeasured", "not measured yet".into()),
        Some(status) => match status.backups.last() {
            None => say(
                Truth::False,
                "NoneYet",
                "there is no whole base backup yet".into(),
            ),
            Some(newest) => say(
                Truth::True,
                "Taken",
                format!(
                    "the newest of {} ended at {}",
                    status.backups.len(),
                    newest.stopped_at
                ),
            ),
        },
    }
}

fn archiving(
    spec: Option<&BackupSpec>,
    report: &Report,
    status: &InstanceStatus,
    now: Timestamp,
) -> Condition {
    let say = |truth, reason, message: String| condition(ARCHIVED, truth, (reason, message));
    if spec.is_none() {
        let message = "the write-ahead log is not archived, as the manifest says".to_owned();
        return say(Truth::False, "Off", message);
    }
    let Some(archive) = report.status.as_ref().map(|status| &status.archive) else {
        return say(Truth::Unknown, "NotMeasured", "not measured yet".into());
    };
    let measured = Measured {
        at: now,
        waiting_bytes: archive.waiting_bytes,
    };
    outlook::condition(measured, archive, report.earlier, status.storage.as_ref())
}

/// What a person should look at: one failure is tried again within a minute, and is only shown.
fn hindered(report: &Report, archiving: &Condition, now: Timestamp) -> Option<Problem> {
    let archive = &report.status.as_ref()?.archive;
    let message = archiving.message.clone();
    if archiving.status != Truth::False || archiving.reason == "Off" {
        return None;
    }
    if archiving.reason == outlook::FILLING {
        let problem = Problem::new(Class::Transient, "archive-fills-disk", message)
            .hint("`boma logs --agent` says what the repository answers. Until it takes them, free space on the disk: a server whose disk is full stops.");
        return Some(problem);
    }
    if !outlook::is_late(now, archive) {
        return None;
    }
    let failure = archive.failure.clone();
    Some(failure.unwrap_or_else(|| {
        Problem::new(Class::Transient, "archive-behind", message)
            .hint("`boma logs --agent` says what the repository answers.")
    }))
}

fn proved(status: Option<&BackupStatus>) -> Condition {
    let say = |truth, reason, message: String| condition("RestoreProved", truth, (reason, message));
    match status.and_then(|status| status.last_verified_restore.as_ref()) {
        None => say(
            Truth::Unknown,
            "NeverTried",
            "no backup was restored to prove it yet".into(),
        ),
        Some(drill) => match &drill.problem {
            None => say(
                Truth::True,
                "Proved",
                format!("{} at {}", drill.label, drill.at),
            ),
            Some(problem) => say(Truth::False, "Failed", problem.to_string()),
        },
    }
}
