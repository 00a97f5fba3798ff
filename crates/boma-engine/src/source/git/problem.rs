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
    /// The repository does not take a commit.
    #[error("push to branch `{branch}` of {}: {output}", .location.url)]
    Push {
        /// Which repository.
        location: Box<GitLocation>,
        /// To which branch.
        branch: String,
        /// What git said.
        output: String,
    },
    /// Others push faster than a commit can be made.
    #[error("{location} moves all the time")]
    Moving {
        /// Which branch.
        location: Box<GitLocation>,
    },
    /// A branch that was to be made is there.
    #[error("there is a branch `{name}` already")]
    BranchThere {
        /// Its name.
        name: String,
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
    /// A directory is in no repository.
    #[error("`{}` is in no repository: {output}", .directory.display())]
    NoRepository {
        /// Which directory.
        directory: PathBuf,
        /// What git said.
        output: String,
    },
    /// No commit has this name.
    #[error("there is no commit `{name}` in this repository")]
    NoCommit {
        /// The name.
        name: String,
    },
    /// Two commits have no history in common, as far as it is here.
    #[error("{} and {} have no commit in common", short(.base), short(.head))]
    NothingInCommon {
        /// What is merged into.
        base: String,
        /// What is merged.
        head: String,
    },
    /// Two commits change the same lines.
    #[error("the two change the same lines of {}", .files.join(", "))]
    Conflict {
        /// Of which files.
        files: Vec<String>,
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
        self.instead(|output| Self::Fetch {
            location: Box::new(location.clone()),
            output,
        })
    }

    /// What a failure of git means here, made of what it said.
    pub(super) fn instead(self, meaning: impl FnOnce(String) -> Self) -> Self {
        if let Self::Failed { output, .. } = self {
            return meaning(output);
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
            Self::Push { .. } => (
                Class::User,
                "git-push-refused",
                "Nothing was changed. May the user that runs Boma push there? A protected branch takes \
                 changes from a branch for review: `--review NAME`, or so in the dashboard.",
            ),
            Self::Moving { .. } => (
                Class::Transient,
                "git-branch-moving",
                "Nothing was changed. Try again.",
            ),
            Self::BranchThere { .. } => (
                Class::User,
                "git-branch-there",
                "Nothing was changed. Take another name.",
            ),
            Self::NoSuchPath { .. } => (
                Class::User,
                "git-no-such-path",
                "Put the directory back, or name another with `--path`. What was applied last \
                 stays in force.",
            ),
            Self::NoRepository { .. } => (
                Class::User,
                "git-no-repository",
                "Run it in a working tree, or name one: `boma plan DIRECTORY --base main`.",
            ),
            Self::NoCommit { .. } => (
                Class::User,
                "git-no-commit",
                "Fetch it first: `git fetch origin`. A branch that was only fetched is called \
                 `origin/main`.",
            ),
            Self::NothingInCommon { .. } => (
                Class::User,
                "git-nothing-in-common",
                "Most often the history was fetched in part: fetch all of it, with `fetch-depth: 0` \
                 on GitHub or `GIT_DEPTH: 0` on GitLab.",
            ),
            Self::Conflict { .. } => (
                Class::User,
                "git-conflict",
                "Merge the base into the branch, and say which lines it is to have.",
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

/// The beginning of a commit's name.
fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}
