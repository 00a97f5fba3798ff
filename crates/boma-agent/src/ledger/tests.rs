use super::*;
use crate::testing::assignment;

#[test]
fn what_was_accepted_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    Ledger::open(dir.path())
        .unwrap()
        .accept(assignment(3))
        .unwrap();
    assert_eq!(
        Ledger::open(dir.path()).unwrap().current(),
        Some(&assignment(3))
    );
}

#[test]
fn an_older_generation_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    ledger.accept(assignment(3)).unwrap();
    let error = ledger.accept(assignment(2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "generation 2 is older than the accepted generation 3"
    );
    assert_eq!(error.problem().code, "assignment-outdated");
    assert_eq!(
        Ledger::open(dir.path()).unwrap().current(),
        Some(&assignment(3))
    );
}

#[test]
fn one_generation_with_two_contents_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    ledger.accept(assignment(3)).unwrap();
    let mut other = assignment(3);
    other.spec.database = "other".into();
    let problem = ledger.accept(other).unwrap_err().problem();
    assert_eq!(
        problem.message,
        "generation 3 was accepted before with another content"
    );
    assert!(problem.hints[0].contains("only one `boma serve`"));
}

#[test]
fn a_correction_is_known_once_it_is_done_whoever_finds_it_so() {
    let dir = tempfile::tempdir().unwrap();
    let correction = |second| Correction {
        at: jiff::Timestamp::from_second(second).unwrap(),
        what: format!("set groups {second}"),
    };
    let mut killed = Ledger::open(dir.path()).unwrap();
    killed.begin_correction(correction(1)).unwrap();
    let mut next = Ledger::open(dir.path()).unwrap();
    assert_eq!(next.corrections(), []);
    next.end_correction().unwrap();
    next.end_correction().unwrap();
    assert_eq!(next.corrections(), [correction(1)]);
    for second in 2..40 {
        next.begin_correction(correction(second)).unwrap();
        next.end_correction().unwrap();
    }
    let kept: Vec<_> = (24..40).map(correction).collect();
    assert_eq!(Ledger::open(dir.path()).unwrap().corrections(), kept);
}

#[test]
fn a_new_placement_of_the_same_generation_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    ledger.accept(assignment(3)).unwrap();
    let mut moved = assignment(3);
    moved.placement.listen.port = 5433;
    ledger.accept(moved.clone()).unwrap();
    assert_eq!(Ledger::open(dir.path()).unwrap().current(), Some(&moved));
}

#[test]
fn another_instance_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap();
    ledger.accept(assignment(3)).unwrap();
    let mut other = assignment(4);
    other.spec.id = InstanceId(uuid::Uuid::from_u128(8));
    assert!(matches!(
        ledger.accept(other),
        Err(LedgerError::OtherInstance { .. })
    ));
}

#[test]
fn a_damaged_ledger_is_an_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(ASSIGNMENT), b"{\"spec\":").unwrap();
    let problem = Ledger::open(dir.path()).unwrap_err().problem();
    assert_eq!(problem.code, "assignment-unreadable");
    assert!(problem.hints[0].contains("Remove the file"));
}

#[test]
fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    Ledger::open(dir.path())
        .unwrap()
        .accept(assignment(1))
        .unwrap();
    let mode = fs::metadata(dir.path().join(ASSIGNMENT))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
