use boma_instance::backup::ArchiveStatus;
use boma_instance::{InstanceStatus, Phase, Truth};

use super::*;
use crate::testing::assignment;

fn backed_up() -> Assignment {
    let mut want = assignment(1);
    want.spec.backup = Some(crate::testing::backed_up());
    want
}

fn ready(want: &Assignment, now: Timestamp) -> InstanceStatus {
    InstanceStatus {
        id: want.spec.id,
        accepted_generation: 1,
        converged_generation: 1,
        phase: Phase::Ready,
        observed_at: now,
        listen: None,
        server: None,
        storage: None,
        logins: Vec::new(),
        backup: None,
        corrections: Vec::new(),
        conditions: Vec::new(),
        problems: Vec::new(),
    }
}

fn truth(status: &InstanceStatus, kind: &str) -> (Truth, String) {
    let found = status.conditions.iter().find(|one| one.kind == kind);
    let found = found.expect("should be there");
    (found.status, found.reason.clone())
}

#[test]
fn what_was_not_measured_is_unknown() {
    let (want, now) = (backed_up(), Timestamp::UNIX_EPOCH);
    let status = add_to(ready(&want, now), &want, &Report::default(), now);
    for kind in ["Backups", "WalArchived", "RestoreProved"] {
        assert_eq!(truth(&status, kind).0, Truth::Unknown, "{kind}");
    }
    assert_eq!(status.phase, Phase::Ready);
}

#[test]
fn backups_that_are_off_are_told_and_hinder_nothing() {
    let (want, now) = (assignment(1), Timestamp::UNIX_EPOCH);
    let status = add_to(ready(&want, now), &want, &Report::default(), now);
    assert_eq!(truth(&status, "Backups"), (Truth::False, "Off".into()));
    assert_eq!(truth(&status, "WalArchived"), (Truth::False, "Off".into()));
    assert_eq!(status.phase, Phase::Ready);
    let problem = not_backed_up(&want);
    assert!(problem.message.contains("not backed up"), "{problem}");
}

/// So many files, of so many bytes together, wait to be archived since then.
fn waiting(files: u64, bytes: u64, since: Timestamp) -> Report {
    let archive = ArchiveStatus {
        waiting_files: files,
        waiting_bytes: bytes,
        waiting_since: Some(since),
        ..ArchiveStatus::default()
    };
    Report {
        status: Some(BackupStatus {
            archive,
            ..BackupStatus::default()
        }),
        ..Report::default()
    }
}

#[test]
fn an_archive_that_is_behind_degrades_the_database() {
    let (want, since) = (backed_up(), Timestamp::UNIX_EPOCH);
    let report = waiting(3, 48 << 20, since);
    let soon = since + SignedDuration::from_mins(1);
    let status = add_to(ready(&want, soon), &want, &report, soon);
    assert_eq!(truth(&status, "WalArchived").0, Truth::True);
    assert_eq!(status.phase, Phase::Ready);
    let later = since + SignedDuration::from_mins(10);
    let status = add_to(ready(&want, later), &want, &report, later);
    assert_eq!(truth(&status, "WalArchived"), (Truth::False, "Late".into()));
    assert_eq!(status.phase, Phase::Degraded);
    assert_eq!(status.problems[0].code, "archive-behind");
    assert!(
        status.problems[0]
            .message
            .contains("3 files wait, the oldest for more than 5 minutes")
    );
}

#[test]
fn what_cannot_be_backed_up_now_says_why() {
    let problem = not_backed_up(&backed_up());
    assert_eq!(problem.code, "backup-without-server");
    assert!(problem.message.contains("the server does not answer"));
    assert!(busy().message.contains("is being restored"));
}

#[test]
fn a_log_that_fills_the_disk_is_told_of_before_it_is_late() {
    let (want, now) = (backed_up(), Timestamp::UNIX_EPOCH);
    let mut measured = ready(&want, now);
    measured.storage = Some(boma_instance::StorageStatus {
        used_bytes: 1 << 30,
        size_bytes: 10 << 30,
        free_bytes: 1 << 30,
    });
    let report = waiting(64, 1 << 30, now);
    let status = add_to(measured, &want, &report, now);
    let said = (Truth::False, "FillingDisk".into());
    assert_eq!(truth(&status, "WalArchived"), said);
    assert_eq!(status.phase, Phase::Degraded);
    assert_eq!(status.problems[0].code, "archive-fills-disk");
    let text = status.problems[0].message.as_str();
    assert!(text.contains("there is room for 1024 MiB more"), "{text}");
}

#[tokio::test]
async fn work_that_stands_still_is_ended_and_says_so() {
    assert!(!stands_still(Work::Backup, STANDSTILL / 2));
    assert!(stands_still(Work::Backup, STANDSTILL));
    assert!(!stands_still(Work::Drill, STANDSTILL * 2));
    let task = tokio::spawn(std::future::pending::<()>());
    task.abort();
    let problem = cut_off(Work::Backup, &task.await.unwrap_err());
    assert_eq!(problem.code, "backup-stalled");
    assert!(problem.message.contains("moved no byte for 60 minutes"));
}

#[test]
fn a_server_counts_as_stopped_when_the_last_of_its_log_is_archived() {
    let (mut want, now) = (backed_up(), Timestamp::UNIX_EPOCH);
    want.spec.power = boma_instance::Power::Off;
    let said = |left: Left| {
        let mut stopped = ready(&want, now);
        stopped.phase = Phase::Suspended;
        let report = Report {
            status: Some(BackupStatus::default()),
            left: Some((1, left)),
            ..Report::default()
        };
        let status = add_to(stopped, &want, &report, now);
        let (truth, reason) = truth(&status, "WalArchived");
        (status.phase, status.converged_generation, truth, reason)
    };
    let on_its_way = said(Left::OnItsWay(2));
    let expected = (Phase::Stopping, 0, Truth::False, "OnItsWay".to_owned());
    assert_eq!(on_its_way, expected);
    // Nobody has looked since it was stopped.
    let mut stopped = ready(&want, now);
    stopped.phase = Phase::Suspended;
    let status = add_to(stopped, &want, &Report::default(), now);
    assert_eq!(status.phase, Phase::Stopping);
    let archived = said(Left::Archived);
    let expected = (Phase::Suspended, 1, Truth::True, "AllArchived".to_owned());
    assert_eq!(archived, expected);
    // It is not waited for without end, and it is said.
    let behind = said(Left::Behind("the disk is away".into()));
    let expected = (Phase::Suspended, 1, Truth::False, "LeftBehind".to_owned());
    assert_eq!(behind, expected);
}
