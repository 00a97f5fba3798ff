//! What errors of a restore say.

use super::*;

#[test]
fn each_error_says_what_happened_and_what_to_do() {
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    for (error, code, says, hint) in [
        (
            RestoreError::Write {
                path: "/data/base/1".into(),
                source: full(),
            },
            "restore-cannot-write",
            "write `/data/base/1`",
            "Free space",
        ),
        (
            RestoreError::Wrong {
                path: "base/1/2".into(),
            },
            "repository-damaged",
            "`base/1/2` came out of the repository otherwise than it went in",
            "boma backup verify",
        ),
        (
            RestoreError::Cancelled,
            "restore-given-up",
            "told to stop",
            "begins again",
        ),
        (
            RestoreError::Panicked,
            "restore-broken",
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
