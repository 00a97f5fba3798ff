//! What is said about backups in a status. Pure.

use boma_backup::wal::outlook::{self, Measured};
use boma_instance::backup::{BackupSpec, BackupStatus};
use boma_instance::{
    ARCHIVED, Assignment, Condition, InstanceStatus, LEFT_BEHIND, OFF, Phase, Truth,
};
use boma_problem::{Class, Problem};
use jiff::Timestamp;

use super::Report;
use super::left::Left;

/// Adds what is known of backups to a status.
pub(crate) fn add_to(
    mut status: InstanceStatus,
    want: &Assignment,
    report: &Report,
    now: Timestamp,
) -> InstanceStatus {
    let archiving = archiving(want, report, &status, now);
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
    wait_for_left(&mut status, want, report);
    let parts = [
        backups(want.spec.backup.as_ref(), report),
        archiving,
        proved(report.status.as_ref()),
    ];
    status.conditions.extend(parts);
    status.backup.clone_from(&report.status);
    status
}

/// A server that was stopped counts as stopped when the last of its log is archived, or is not
/// waited for any more. As long as nobody has looked it is not known.
fn wait_for_left(status: &mut InstanceStatus, want: &Assignment, report: &Report) {
    let is_over = matches!(
        left_of(want, report),
        Some(Left::Archived | Left::Behind(_))
    );
    if status.phase == Phase::Suspended && want.spec.backup.is_some() && !is_over {
        status.phase = Phase::Stopping;
        let before = status.accepted_generation.saturating_sub(1);
        status.converged_generation = status.converged_generation.min(before);
    }
}

/// What was left under this spec: an earlier one may have been stopped and started since.
fn left_of<'r>(want: &Assignment, report: &'r Report) -> Option<&'r Left> {
    let (generation, left) = report.left.as_ref()?;
    (*generation == want.spec.generation).then_some(left)
}

/// What is said of the log of a server that was stopped.
fn left(left: &Left) -> (Truth, &'static str, String) {
    match left {
        Left::OnItsWay(files) => (
            Truth::False,
            "OnItsWay",
            format!("stopped; {files} files of its log are being archived"),
        ),
        Left::Archived => (
            Truth::True,
            "AllArchived",
            "stopped; everything that it wrote is archived".to_owned(),
        ),
        Left::Behind(why) => (
            Truth::False,
            LEFT_BEHIND,
            format!("stopped; what it wrote last is in its data directory only: {why}"),
        ),
    }
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
        return say(Truth::False, OFF, message);
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
    want: &Assignment,
    report: &Report,
    status: &InstanceStatus,
    now: Timestamp,
) -> Condition {
    let say = |truth, reason, message: String| condition(ARCHIVED, truth, (reason, message));
    if want.spec.backup.is_none() {
        let message = "the write-ahead log is not archived, as the manifest says".to_owned();
        return say(Truth::False, OFF, message);
    }
    if let Some(found) = left_of(want, report) {
        let (truth, reason, message) = left(found);
        return say(truth, reason, message);
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
    // What a stopped server left is told of by its condition, and is no reason to wait.
    if archiving.status != Truth::False || archiving.reason == "Off" || report.left.is_some() {
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
