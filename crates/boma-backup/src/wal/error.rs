//! Why a file of the write-ahead log could not be archived, or not be fetched.

use std::io;
use std::path::PathBuf;

use boma_instance::wal::NotAWalFile;
use boma_postgres::PathError;
use boma_postgres::control::ControlError;
use boma_problem::{Class, IntoProblem, Problem};

pub use super::header::WrongHeader;
use crate::owner::ClaimError;
use crate::store::StoreError;

/// Why a file of the write-ahead log could not be archived.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// It has no name that PostgreSQL gives.
    #[error(transparent)]
    Name(#[from] NotAWalFile),
    /// It cannot be read.
    #[error("read `{}`", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It has no bytes.
    #[error("`{}` is empty", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// It is not as long as a segment is.
    #[error("`{}` has {found} bytes, and a segment has {expected}", path.display())]
    WrongLength {
        /// Which file.
        path: PathBuf,
        /// What it has.
        found: u64,
        /// What it should have.
        expected: u32,
    },
    /// It is not what its name says.
    #[error("check `{}`", path.display())]
    NotOurs {
        /// Which file.
        path: PathBuf,
        /// How it shows.
        #[source]
        source: WrongHeader,
    },
    /// Somebody wrote to it meanwhile.
    #[error("`{}` was changed while it was being archived", path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// The cluster's control file cannot be used.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Its version cannot be read.
    #[error(transparent)]
    File(#[from] PathError),
    /// Its version is none that Boma runs.
    #[error("`{}` is of none of the versions that Boma runs", data.display())]
    UnknownVersion {
        /// Which data directory.
        data: PathBuf,
    },
    /// There is another cluster now.
    #[error("`{}` holds the cluster with system identifier {found}, and not {expected}", data.display())]
    OtherCluster {
        /// Which data directory.
        data: PathBuf,
        /// Which is there.
        found: u64,
        /// Which was.
        expected: u64,
    },
    /// Another file of this name is archived.
    #[error("`{name}` is archived already with other content: {stored}, and here {given}")]
    Differs {
        /// Which object.
        name: String,
        /// Digest of what is stored.
        stored: String,
        /// Digest of what was to be stored.
        given: String,
    },
    /// Another server writes there.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// What is stored there cannot be compared.
    #[error(transparent)]
    Get(#[from] GetError),
    /// The repository does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The agent is ending.
    #[error("archiving was cut off")]
    Interrupted,
}

impl IntoProblem for PushError {
    fn problem(&self) -> Problem {
        match self {
            Self::Name(_) => Problem::from_error(Class::User, "wal-name-invalid", self),
            Self::Read { .. } | Self::Changed { .. } => {
                Problem::from_error(Class::Transient, "wal-not-read", self)
                    .hint("PostgreSQL asks again by itself.")
            }
            Self::Empty { .. } | Self::WrongLength { .. } | Self::NotOurs { .. } => {
                Problem::from_error(Class::Config, "wal-not-ours", self).hint(
                    "Nothing was stored. See who else writes to this `pg_wal`, and whether its disk is sound.",
                )
            }
            Self::OtherCluster { .. } | Self::UnknownVersion { .. } => {
                Problem::from_error(Class::Config, "wal-not-ours", self)
                    .hint("Restart the agent if this data directory was put there on purpose.")
            }
            Self::Differs { .. } => Problem::from_error(Class::Config, "wal-differs", self).hint(
                "Two servers write one history: one is a copy of the other. Stop the copy; what is archived stays as it is.",
            ),
            Self::Control(error) => error.problem(),
            Self::File(error) => error.problem(),
            Self::Claim(error) => error.problem(),
            Self::Get(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Interrupted => interrupted(self),
        }
    }
}

/// Why a file of the write-ahead log could not be fetched. Never that it is not there.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// It has no name that PostgreSQL gives.
    #[error(transparent)]
    Name(#[from] NotAWalFile),
    /// The repository does not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored there is another file.
    #[error("`{name}` holds something else than its name says")]
    NotWhatItsNameSays {
        /// Which object.
        name: String,
    },
    /// It cannot be put where it is wanted.
    #[error("write `{}`", path.display())]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The agent is ending.
    #[error("fetching was cut off")]
    Interrupted,
}

impl IntoProblem for GetError {
    fn problem(&self) -> Problem {
        match self {
            Self::Name(_) => Problem::from_error(Class::User, "wal-name-invalid", self),
            Self::Store(error) => error.problem(),
            Self::NotWhatItsNameSays { .. } => {
                Problem::from_error(Class::Config, "repository-damaged", self)
                    .hint("`boma backup verify` lists what is damaged and which backups are whole.")
            }
            Self::Write { .. } => Problem::from_error(Class::Transient, "wal-not-written", self)
                .hint("See that the disk has room."),
            Self::Interrupted => interrupted(self),
        }
    }
}

fn interrupted(error: &(dyn std::error::Error + 'static)) -> Problem {
    Problem::from_error(Class::Transient, "agent-ending", error)
}
