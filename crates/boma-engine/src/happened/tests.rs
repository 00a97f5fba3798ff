use boma_instance::InstanceId;
use boma_instance::backup::{BackupKind, BackupSummary};
use boma_instance::wal::{Lsn, Timeline};
use boma_problem::{Class, Problem};

use super::*;

fn status(archived: (Truth, &str), backup: BackupStatus) -> InstanceStatus {
    let condition = |kind: &str, (status, reason): (Truth, &str)| Condition {
        kind: kind.into(),
        status,
        reason: reason.into(),
        message: format!("{kind}: {reason}"),
    };
    InstanceStatus {
        id: InstanceId(uuid::Uuid::nil()),
        accepted_generation: 1,
        converged_generation: 1,
        phase: Phase::Ready,
        observed_at: Timestamp::UNIX_EPOCH,
        listen: None,
        server: None,
        storage: None,
        logins: Vec::new(),
        backup: Some(backup),
        corrections: Vec::new(),
        conditions: vec![
            condition(ARCHIVED, archived),
            condition(BACKUPS, (Truth::True, "Taken")),
        ],
        problems: Vec::new(),
    }
}

fn summary(label: &str) -> BackupSummary {
    BackupSummary {
        label: label.into(),
        kind: BackupKind::Full,
        started_at: Timestamp::UNIX_EPOCH,
        stopped_at: Timestamp::UNIX_EPOCH,
        start_lsn: Lsn(0),
        stop_lsn: Lsn(1),
        timeline: Timeline(1),
        data_bytes: 2048,
        stored_bytes: 512,
        server_version: "17.6".into(),
        damaged_pages: 0,
    }
}

fn drill(at: i64, problem: Option<Problem>) -> Drill {
    Drill {
        label: "a".into(),
        at: Timestamp::from_second(at).unwrap(),
        took_ms: 1200,
        recovered_until: None,
        tables: 1,
        rows: 7,
        indexes: 3,
        problem,
    }
}

fn told(old: &InstanceStatus, new: &InstanceStatus) -> Vec<(String, bool)> {
    let key = DatabaseKey::new("o/u/e/p", "orders");
    let events = between(&key, old, new);
    assert!(
        events
            .iter()
            .all(|one| one.subject == "Database o/u/e/p/orders")
    );
    let told = events.into_iter();
    told.map(|one| (format!("{}: {}", one.reason, one.message), one.warning))
        .collect()
}

#[test]
fn nothing_is_told_while_nothing_changes() {
    let same = status((Truth::False, "Late"), BackupStatus::default());
    assert_eq!(told(&same, &same), []);
    let off = status((Truth::False, "Off"), BackupStatus::default());
    let well = status((Truth::True, "Archived"), BackupStatus::default());
    assert_eq!(told(&well, &off), []);
    assert_eq!(told(&off, &well), []);
}

#[test]
fn backups_and_drills_are_told_once_each() {
    let well = (Truth::True, "Archived");
    let old = status(well, BackupStatus::default());
    let mut backup = BackupStatus {
        backups: vec![summary("a")],
        last_verified_restore: Some(drill(1, None)),
        ..BackupStatus::default()
    };
    let new = status(well, backup.clone());
    let expected = [
        (
            "BackupTaken: base backup a: 2048 bytes of data, 512 stored".to_owned(),
            false,
        ),
        (
            "DrillPassed: backup a was restored in 1200 ms: 7 rows, 3 indexes".to_owned(),
            false,
        ),
    ];
    assert_eq!(told(&old, &new), expected);
    assert_eq!(told(&new, &new), []);
    let problem = Problem::new(Class::Config, "x", "an index lies");
    backup.last_verified_restore = Some(drill(2, Some(problem)));
    let failed = status(well, backup);
    assert_eq!(
        told(&new, &failed),
        [("DrillFailed: an index lies".to_owned(), true)]
    );
}

#[test]
fn what_was_changed_by_hand_is_told_when_it_is_found_put_right_and_gone() {
    let well = status((Truth::True, "Archived"), BackupStatus::default());
    let server = boma_instance::ServerStatus {
        version: "17.6".into(),
        pid: 1,
        started_at: Timestamp::UNIX_EPOCH,
        system_identifier: 1,
        pending_restart: Vec::new(),
    };
    let well = InstanceStatus {
        server: Some(server),
        ..well
    };
    let mut found = well.clone();
    found.conditions.push(Condition {
        kind: "AccessAsManifest".into(),
        status: Truth::False,
        reason: "ChangedByHand".into(),
        message: "take a out of b".into(),
    });
    let told_found = told(&well, &found);
    assert_eq!(
        told_found,
        [("DriftFound: take a out of b".to_owned(), true)]
    );
    assert_eq!(told(&found, &found), []);
    let down = InstanceStatus {
        server: None,
        phase: Phase::Unknown,
        ..well.clone()
    };
    assert_eq!(told(&found, &down), [], "nothing is known of it");
    let busy = InstanceStatus {
        phase: Phase::Converging,
        ..well.clone()
    };
    assert_eq!(told(&found, &busy), [], "it was not all looked at");
    let gone = "DriftGone: as the manifest says again".to_owned();
    let afterwards = known(Some(found), busy);
    assert_eq!(told(&afterwards, &well), [(gone, false)]);
}

#[test]
fn everything_that_was_put_right_is_told_also_by_who_did_not_watch() {
    let well = status((Truth::True, "Archived"), BackupStatus::default());
    let correction = |second| Correction {
        at: Timestamp::from_second(second).unwrap(),
        what: format!("set groups {second}"),
    };
    let corrected = |seconds: std::ops::Range<i64>| InstanceStatus {
        corrections: seconds.map(correction).collect(),
        ..well.clone()
    };
    let right = |second| {
        let text = "DriftCorrected: changed by hand, and put right: set groups";
        (format!("{text} {second}"), true)
    };
    assert_eq!(told(&well, &corrected(1..3)), [right(1), right(2)]);
    assert_eq!(told(&corrected(1..3), &corrected(2..4)), [right(3)]);
    assert_eq!(told(&corrected(1..3), &corrected(1..3)), []);
    let key = DatabaseKey::new("o/u/e/p", "orders");
    let since = |told| unwatched(&key, &corrected(1..4), told).len();
    assert_eq!(since(None), 3);
    assert_eq!(since(Some(Timestamp::from_second(2).unwrap())), 1);
}

#[test]
fn an_archive_that_comes_back_is_told_though_an_agent_began_anew_meanwhile() {
    let at = |truth, reason| status((truth, reason), BackupStatus::default());
    let (late, new) = (at(Truth::False, "Late"), at(Truth::Unknown, "NotMeasured"));
    assert_eq!(told(&late, &new), []);
    let back = told(&known(Some(late), new), &at(Truth::True, "Archived"));
    let expected = ("ArchiveAgain: WalArchived: Archived".to_owned(), false);
    assert_eq!(back, [expected]);
}

#[test]
fn what_a_stopped_server_keeps_to_itself_is_told() {
    let key = DatabaseKey::new("o/u/e/p", "orders");
    let stopped = |archived, backups| {
        let backup = BackupStatus {
            backups,
            ..BackupStatus::default()
        };
        let mut status = status(archived, backup);
        status.phase = Phase::Suspended;
        left_behind(&key, &status).map(|event| (event.reason, event.warning))
    };
    let all = (Truth::True, "AllArchived");
    assert_eq!(stopped(all, vec![summary("a")]), None);
    let never = Some(("NeverBackedUp".to_owned(), true));
    assert_eq!(stopped(all, Vec::new()), never);
    let behind = Some((LEFT_BEHIND.to_owned(), true));
    assert_eq!(
        stopped((Truth::False, LEFT_BEHIND), vec![summary("a")]),
        behind
    );
    assert_eq!(stopped((Truth::False, "Off"), Vec::new()), None);
    let runs = status(all, BackupStatus::default());
    assert_eq!(left_behind(&key, &runs), None);
}

#[test]
fn an_archive_that_is_late_and_comes_back_is_told_by_each_reason() {
    let at = |truth, reason| status((truth, reason), BackupStatus::default());
    let well = at(Truth::True, "Archived");
    let (late, full) = (at(Truth::False, "Late"), at(Truth::False, "FillingDisk"));
    let say = |text: &str, warning| [(text.to_owned(), warning)];
    assert_eq!(
        told(&well, &late),
        say("ArchiveLate: WalArchived: Late", true)
    );
    assert_eq!(
        told(&late, &full),
        say("ArchiveLate: WalArchived: FillingDisk", true)
    );
    assert_eq!(
        told(&full, &well),
        say("ArchiveAgain: WalArchived: Archived", false)
    );
}
