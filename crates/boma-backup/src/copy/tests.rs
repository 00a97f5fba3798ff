//! What errors of a backup say.

use super::*;

fn label() -> Label {
    Label::new(Timestamp::UNIX_EPOCH, BackupKind::Full)
}

#[test]
fn each_error_says_what_happened_and_what_to_do() {
    let not_there = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let why = Problem::new(Class::Transient, "x", "the bucket is gone").hint("Make it again.");
    for (error, code, says, hint) in [
        (
            BackupError::Read {
                path: "/data/base/1".into(),
                source: not_there(),
            },
            "backup-cannot-read",
            "read `/data/base/1`",
            "user that servers run as",
        ),
        (
            BackupError::NotArchived {
                label: label(),
                why: Box::new(why),
            },
            "backup-not-archived",
            "the write-ahead log of backup 19700101T000000Z-full is not archived: the bucket is gone",
            "Make it again.",
        ),
        (
            BackupError::Exists { label: label() },
            "backup-given-up",
            "there is a backup 19700101T000000Z-full already",
            "boma backup create",
        ),
        (
            BackupError::Panicked,
            "backup-broken",
            "ended in a panic",
            "boma logs --agent",
        ),
    ] {
        let problem = error.problem();
        assert_eq!(problem.code, code);
        assert!(problem.to_string().contains(says), "{problem}");
        assert!(problem.hints[0].contains(hint), "{:?}", problem.hints);
    }
}
