//! Errors of single file operations, and what a person can do about them.

use std::io;
use std::path::{Path, PathBuf};

use boma_problem::{Class, IntoProblem, Problem};

/// A file operation that failed: which, on what, why.
#[derive(Debug, thiserror::Error)]
#[error("{verb} `{}`", path.display())]
pub struct PathError {
    /// What was done, as a verb: "read".
    pub verb: &'static str,
    /// To which file or directory.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl PathError {
    /// Adds a hint to a problem where the cause is one that a person can remove, and says who has
    /// to act. A full disk has one code, wherever it is met.
    pub(crate) fn explain(&self, problem: Problem) -> Problem {
        let (code, hint) = match self.cause() {
            Cause::Full => {
                let hint = "Free some space on that file system; it goes on by itself then.";
                ("disk-full".to_owned(), hint.to_owned())
            }
            Cause::Denied => {
                let path = self.path.display();
                let hint = format!(
                    "Make it accessible to the user that runs the server: `ls -ld {path}` shows \
                     who owns it."
                );
                (problem.code, hint)
            }
            Cause::ReadOnly => (
                problem.code,
                "Mount that file system for writing.".to_owned(),
            ),
            Cause::Other => return problem,
        };
        Problem {
            class: Class::Config,
            code,
            ..problem
        }
        .hint(hint)
    }

    /// Whether there was no space left.
    pub(crate) fn is_full(&self) -> bool {
        self.cause() == Cause::Full
    }

    fn cause(&self) -> Cause {
        let kind = self.source.kind();
        let is = |kinds: &[io::ErrorKind]| kinds.contains(&kind);
        if is(&[io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded]) {
            Cause::Full
        } else if is(&[io::ErrorKind::PermissionDenied]) {
            Cause::Denied
        } else if is(&[io::ErrorKind::ReadOnlyFilesystem]) {
            Cause::ReadOnly
        } else {
            Cause::Other
        }
    }
}

/// Causes that a person can remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Full,
    Denied,
    ReadOnly,
    Other,
}

impl IntoProblem for PathError {
    fn problem(&self) -> Problem {
        self.explain(Problem::from_error(
            Class::Transient,
            "file-operation-failed",
            self,
        ))
    }
}

/// Says what was done to which file.
pub(crate) trait At<T> {
    /// Adds the verb and the path to an error.
    fn at(self, verb: &'static str, path: &Path) -> Result<T, PathError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, verb: &'static str, path: &Path) -> Result<T, PathError> {
        self.map_err(|source| PathError {
            verb,
            path: path.to_owned(),
            source: source.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_for_a_person_to_mend() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = Err::<(), _>(full)
            .at("write", Path::new("/data/x"))
            .unwrap_err();
        let problem = error.problem();
        assert_eq!(problem.to_string(), "write `/data/x`: no storage space");
        assert_eq!(
            (problem.class, problem.code.as_str()),
            (Class::Config, "disk-full")
        );
        assert!(problem.hints[0].starts_with("Free some space"));
    }

    #[test]
    fn a_missing_right_names_the_file_to_look_at() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Err::<(), _>(denied)
            .at("open", Path::new("/data/x"))
            .unwrap_err();
        assert!(error.problem().hints[0].contains("`ls -ld /data/x`"));
    }
}
