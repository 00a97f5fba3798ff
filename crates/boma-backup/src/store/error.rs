//! What can go wrong with a store.

use std::fmt;

use boma_problem::{Class, IntoProblem, Problem};

use super::marker::RepositoryId;
use crate::format::frame::FrameError;
use crate::format::key::{KeyId, ParseKeyError};
use crate::format::names::ObjectName;

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reading it.
    Read,
    /// Writing it.
    Write,
    /// Listing its folder.
    List,
    /// Deleting it.
    Delete,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::List => "list",
            Self::Delete => "delete",
        })
    }
}

/// Why an object could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store did not do it.
    #[error("{operation} `{name}` in the backup repository")]
    Failed {
        /// What.
        operation: Operation,
        /// Which object or folder.
        name: String,
        /// Why.
        #[source]
        source: Box<object_store::Error>,
    },
    /// It was changed, cut, or sealed under another key.
    #[error("open `{name}` of the backup repository")]
    Damaged {
        /// Which object.
        name: String,
        /// How it shows.
        #[source]
        source: FrameError,
    },
    /// It is shorter than it was when it was written.
    #[error("`{name}` in the backup repository is cut short")]
    Cut {
        /// Which object.
        name: String,
    },
    /// It is not there, in a repository that is.
    #[error("`{name}` is not in the backup repository")]
    Missing {
        /// Which object.
        name: String,
    },
    /// It is not the repository that was opened, or none any more.
    #[error("the backup repository {id} is not there any more")]
    Gone {
        /// Which was opened.
        id: RepositoryId,
    },
    /// It cannot be made sure that it is on disk.
    #[error("write `{name}` in the backup repository to disk")]
    NotSettled {
        /// Which object.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    NoRandomness,
}

impl StoreError {
    /// Whether an object is not what was stored, or is not there at all; else the store did not answer, and
    /// nothing is known.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. } | Self::Cut { .. } | Self::Missing { .. }
        )
    }

    pub(crate) fn cut(name: &ObjectName) -> Self {
        let name = name.to_string();
        Self::Cut { name }
    }

    pub(crate) fn failed(operation: Operation, name: &str, source: object_store::Error) -> Self {
        Self::Failed {
            operation,
            name: name.to_owned(),
            source: Box::new(source),
        }
    }
}

impl IntoProblem for StoreError {
    fn problem(&self) -> Problem {
        match self {
            Self::Gone { .. } => Problem::from_error(Class::Transient, "repository-gone", self)
                .hint("See that its disk is mounted, or that its bucket is there. Nothing is written to another place meanwhile."),
            Self::Failed { .. } | Self::NotSettled { .. } => Problem::from_error(Class::Transient, "repository-failed", self)
                .hint("It is tried again by itself. See that the repository can be reached, has room, and allows this."),
            Self::Damaged { .. } | Self::Cut { .. } | Self::Missing { .. } => {
                Problem::from_error(Class::Config, "repository-damaged", self)
                    .hint("`boma backup verify` lists what is damaged and which backups are whole.")
            }
            Self::NoRandomness => Problem::from_error(Class::Internal, "no-randomness", self),
        }
    }
}

/// Why a repository could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The key is not one.
    #[error("read the key of the backup repository")]
    Key(#[source] ParseKeyError),
    /// What its configuration says cannot be.
    #[error("set up the backup repository at {place}")]
    Location {
        /// Where it should be.
        place: String,
        /// Why.
        #[source]
        source: Box<object_store::Error>,
    },
    /// Its folder cannot be made.
    #[error("make the backup repository `{path}`")]
    MakeDirectory {
        /// Where it should be.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It was made with another key.
    #[error("the backup repository was made with key {found}; the key that was given is {given}")]
    OtherKey {
        /// Which it was made with.
        found: KeyId,
        /// Which was given.
        given: KeyId,
    },
    /// There is something else.
    #[error("`{name}` in the backup repository is not what Boma writes there")]
    NotOurs {
        /// Which object.
        name: String,
    },
    /// It was changed by somebody who does not have the key, or by a disk.
    #[error("`{name}` in the backup repository was changed after it was written")]
    Changed {
        /// Which object.
        name: String,
    },
    /// A newer Boma made it.
    #[error("the backup repository has format {found}; this Boma reads format {known}")]
    Newer {
        /// What it says.
        found: u32,
        /// What is known here.
        known: u32,
    },
    /// It does not answer, or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IntoProblem for OpenError {
    fn problem(&self) -> Problem {
        match self {
            Self::Key(_) => Problem::from_error(Class::Config, "repository-key-invalid", self)
                .hint("`boma backup key` prints the key of an installation that can use the repository."),
            Self::Location { .. } | Self::MakeDirectory { .. } => {
                Problem::from_error(Class::Config, "repository-misconfigured", self)
                    .hint("See `[repositories]` in `config.toml` (docs/backups.md).")
            }
            Self::OtherKey { .. } => {
                Problem::from_error(Class::Config, "repository-other-key", self).hint(
                    "Give the key that it was made with, or name an empty place for a new repository.",
                )
            }
            Self::NotOurs { .. } | Self::Newer { .. } => {
                Problem::from_error(Class::Config, "repository-not-readable", self)
                    .hint("Name another place, or use the Boma that made it.")
            }
            Self::Changed { .. } => Problem::from_error(Class::Config, "repository-damaged", self)
                .hint("Bring that object back from a copy of the repository; nothing is read or written before."),
            Self::Store(error) => error.problem(),
        }
    }
}
