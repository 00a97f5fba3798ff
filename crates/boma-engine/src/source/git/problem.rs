//! What hinders reading a repository.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use boma_problem::{Class, IntoProblem, Problem};

use super::GitLocation;

/// A repository could not be read; what was read before stays in force.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no program `git`.
    #[error("run `git`")]
    NoProgram(#[source] io::Error),
    /// Something that happens on this machine failed.
    #[error("`git {command}` failed: {output}")]
    Failed {
        /// The subcommand.
        command: String,
        /// What it said.
        output: String,
    },
    /// It took too long.
    #[error("`git {command}` took more than {} s", .patience.as_secs())]
    TooSlow {
        /// The subcommand.
        command: String,
        /// How long it may take.
        patience: Duration,
    },
    /// The branch could not be fetched.
    #[error("fetch {location}: {output}")]
    Fetch {
        /// From where.
        location: Box<GitLocation>,
        /// What git said.
        output: String,
    },
    /// What git tells of the commit makes no sense.
    #[error("what git says of the newest commit of {location} cannot be read")]
    Unreadable {
        /// Of which repository.
        location: Box<GitLocation>,
    },
    /// The commit does not have the directory.
    #[error("there is no directory `{}` in commit {commit} of {}", .location.path.display(), .location.url)]
    NoSuchPath {
        /// Which repository and directory.
        location: Box<GitLocation>,
        /// Which commit.
        commit: String,
    },
    /// The directory for its files cannot be written.
    #[error("write `{}`", .place.display())]
    Unwritable {
        /// Where.
        place: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl GitError {
    /// A failure of the other side, with the address.
    pub(super) fn of(self, location: &GitLocation) -> Self {
        if let Self::Failed { output, .. } = self {
            let location = Box::new(location.clone());
            return Self::Fetch { location, output };
        }
        self
    }
}

impl IntoProblem for GitError {
    fn problem(&self) -> Problem {
        let (class, code, hint) = match self {
            Self::NoProgram(_) => (
                Class::Config,
                "git-missing",
                "Install git: manifests in a repository are fetched with it.",
            ),
            Self::Failed { .. } | Self::Unreadable { .. } => (
                Class::Internal,
                "git-failed",
                "The text is git's own. It is tried again.",
            ),
            Self::TooSlow { .. } => (
                Class::Transient,
                "git-too-slow",
                "It is tried again. What was applied last stays in force.",
            ),
            Self::Fetch { .. } => (
                Class::Transient,
                "git-fetch-failed",
                "Try `git ls-remote` with the same address as the user that runs Boma. What was \
                 applied last stays in force.",
            ),
            Self::NoSuchPath { .. } => (
                Class::User,
                "git-no-such-path",
                "Put the directory back, or name another with `--path`. What was applied last \
                 stays in force.",
            ),
            Self::Unwritable { .. } => (
                Class::Config,
                "git-place-unwritable",
                "Give the disk room, and the directory to the user that runs Boma.",
            ),
        };
        Problem::from_error(class, code, self).hint(hint)
    }
}
