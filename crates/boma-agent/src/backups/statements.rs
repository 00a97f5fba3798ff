//! What is said about backups in a status. Pure.

use boma_instance::backup::{BackupSpec, BackupStatus};
use boma_instance::{Assignment, Condition, InstanceStatus, Phase, Truth};
use boma_problem::{Class, Problem};
use jiff::{SignedDuration, Timestamp};

use super::Report;

/// How long a file may wait to be archived before a person is told: PostgreSQL tries again after a
/// minute when three attempts have failed.
const PATIENCE: SignedDuration = SignedDuration::from_mins(3);

/// Adds what is known of backups to a status.
pub(crate) fn add_to(
    mut status: InstanceStatus,
    want: &Assignment,
    report: &Report,
    now: Timestamp,
) -> InstanceStatus {
    let archiving = archiving(want.spec.backup.as_ref(), report.status.as_ref(), now);
    if archiving.status == Truth::False && want.spec.backup.is_some() {
        status.problems.push(behind(report, &archiving));
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
    status: Option<&BackupStatus>,
    now: Timestamp,
) -> Condition {
    let say = |truth, reason, message: String| condition("Archiving", truth, (reason, message));
    if spec.is_none() {
        let message = "the write-ahead log is not archived, as the manifest says".to_owned();
        return say(Truth::False, "Off", message);
    }
    let Some(archive) = status.map(|status| &status.archive) else {
        return say(Truth::Unknown, "NotMeasured", "not measured yet".into());
    };
    let late = archive
        .waiting_since
        .filter(|since| now.duration_since(*since) > PATIENCE);
    match late {
        Some(since) => say(
            Truth::False,
            "Behind",
            format!(
                "{} files ({} MiB) wait to be archived, the oldest since {since}",
                archive.waiting_files,
                archive.waiting_bytes >> 20
            ),
        ),
        None => say(
            Truth::True,
            "Current",
            match &archive.last_file {
                Some(file) => format!("{file} was the last"),
                None => "nothing waits".into(),
            },
        ),
    }
}

fn behind(report: &Report, archiving: &Condition) -> Problem {
    let failure = report
        .status
        .as_ref()
        .and_then(|status| status.archive.failure.clone());
    failure.unwrap_or_else(|| {
        Problem::new(
            Class::Transient,
            "archive-behind",
            archiving.message.clone(),
        )
        .hint("`boma logs --agent` says what the repository answers.")
    })
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
