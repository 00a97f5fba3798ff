//! What people ask of backups, beside what the engine asks of a [`Platform`].

use boma_instance::Secret;
use boma_instance::api::Reported;
use boma_instance::backup::{BackupSummary, Drill, RepositoryAccess};
use boma_problem::{Class, IntoProblem, Problem};

use crate::keys::DatabaseKey;
use crate::platform::{Platform, PlatformError};

/// A platform whose agents back their servers up.
///
/// It carries out what a person asks for and decides nothing. Long work of an agent goes on when
/// nobody waits for it any more.
pub trait BackupPlatform: Platform {
    /// One repository with its key, made where there is none.
    fn repository(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<RepositoryAccess, PlatformError>> + Send;

    /// The key of a repository, for a person to keep.
    fn export_key(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Secret<String>, PlatformError>> + Send;

    /// Takes the key of a repository that another installation made. Repeating it changes nothing.
    fn import_key(
        &self,
        name: &str,
        key: Secret<String>,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Puts a key that holds the former one in its place, and hands it over to all agents. Killed
    /// in between, agents go on with the former one, and the next pass hands the new one over.
    fn renew_key(
        &self,
        name: &str,
        former: &Secret<String>,
        key: Secret<String>,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Takes a base backup of a database, and returns when it is whole.
    fn back_up(
        &self,
        key: &DatabaseKey,
    ) -> impl Future<Output = Result<BackupSummary, PlatformError>> + Send;

    /// Restores the newest backup of a database beside it, to prove it; returns what came of it.
    fn drill(&self, key: &DatabaseKey)
    -> impl Future<Output = Result<Drill, PlatformError>> + Send;

    /// Deletes a base backup of a database, unless others need it or it is the last whole one.
    fn delete_backup(
        &self,
        key: &DatabaseKey,
        label: &str,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// Has everything archived that was written to a database until now.
    fn archive_now(
        &self,
        key: &DatabaseKey,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;

    /// What the agent of a database says as soon as that is newer than `after`, or after a while.
    fn next_status(
        &self,
        key: &DatabaseKey,
        after: u64,
    ) -> impl Future<Output = Result<Reported, PlatformError>> + Send;
}

/// Why a repository cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryRefusal {
    /// The configuration has none of this name.
    #[error("there is no repository {name:?} in this installation")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// It has another key already.
    #[error("the repository {name:?} has another key already")]
    OtherKey {
        /// Its name.
        name: String,
    },
    /// Somebody else has renewed it in the same moment.
    #[error("the key of the repository {name:?} was changed meanwhile")]
    Changed {
        /// Its name.
        name: String,
    },
    /// It was never used.
    #[error("the repository {name:?} has no key yet")]
    NoKey {
        /// Its name.
        name: String,
    },
}

impl IntoProblem for RepositoryRefusal {
    fn problem(&self) -> Problem {
        match self {
            Self::Unknown { .. } => Problem::from_error(Class::Config, "repository-unknown", self)
                .hint(
                    "Repositories are in `config.toml` of the state directory: docs/operations.md.",
                ),
            Self::OtherKey { .. } => Problem::from_error(Class::Config, "repository-has-key", self)
                .hint(
                    "What is in it can be read with that key only. Give the repository that \
                     belongs to the imported key another name in `config.toml`.",
                ),
            Self::Changed { .. } => {
                Problem::from_error(Class::User, "repository-key-changed", self)
                    .hint("Nothing was done. `boma backup key` prints the key as it is now.")
            }
            Self::NoKey { .. } => Problem::from_error(Class::User, "repository-without-key", self)
                .hint("It gets one when the first database is backed up into it."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hinders_says_what_to_do() {
        let name = || "offsite".to_owned();
        for (refusal, text, hint) in [
            (
                RepositoryRefusal::Unknown { name: name() },
                "there is no repository \"offsite\" in this installation",
                "Repositories are in `config.toml`",
            ),
            (
                RepositoryRefusal::OtherKey { name: name() },
                "the repository \"offsite\" has another key already",
                "What is in it can be read with that key only.",
            ),
            (
                RepositoryRefusal::Changed { name: name() },
                "the key of the repository \"offsite\" was changed meanwhile",
                "Nothing was done.",
            ),
            (
                RepositoryRefusal::NoKey { name: name() },
                "the repository \"offsite\" has no key yet",
                "It gets one when",
            ),
        ] {
            let problem = refusal.problem();
            assert_eq!(problem.to_string(), text);
            assert!(problem.hints[0].starts_with(hint), "{problem:?}");
        }
    }
}
