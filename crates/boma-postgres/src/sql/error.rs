//! Why SQL was not done.

use std::time::Duration;

use boma_problem::{Class, IntoProblem, Problem};
use tokio_postgres::error::SqlState;

use super::control::ConnectError;

/// Something could not be looked at or done.
///
/// The statement itself is never part of it: it may hold a verifier.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server refused, or the connection broke.
    #[error("{doing}")]
    Refused {
        /// What was being done.
        doing: String,
        /// What the server says.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The server did not answer.
    #[error("{doing}: no answer within {} seconds", limit.as_secs())]
    NoAnswer {
        /// What was being done.
        doing: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The server answered with nothing where there is always something.
    #[error("{doing}: the server answers with nothing")]
    Empty {
        /// What was being done.
        doing: String,
    },
    /// Connections were told to end and did not.
    #[error("connections of role {role:?} do not end")]
    StillConnected {
        /// Whose.
        role: String,
    },
    /// The database is not there (any more).
    #[error("there is no database {database:?}")]
    NoDatabase {
        /// Which.
        database: String,
    },
}

impl SqlError {
    /// Whether the server is starting or replaying WAL and will answer later.
    pub fn is_starting(&self) -> bool {
        self.sql_state() == Some(&SqlState::CANNOT_CONNECT_NOW)
    }

    /// The server's code for it, where the server refused.
    pub fn sql_state(&self) -> Option<&SqlState> {
        match self {
            Self::Refused { source, .. } => source.code(),
            Self::Connect(error) => error.sql_state(),
            Self::NoAnswer { .. }
            | Self::Empty { .. }
            | Self::StillConnected { .. }
            | Self::NoDatabase { .. } => None,
        }
    }
}

impl IntoProblem for SqlError {
    fn problem(&self) -> Problem {
        match self {
            Self::Connect(error) => error.problem(),
            Self::Refused { source, .. } => refused(self, source),
            Self::NoAnswer { .. } => {
                Problem::from_error(Class::Transient, "server-does-not-answer", self)
                    .hint("The server may be overloaded; it is tried again.")
            }
            Self::Empty { .. } => {
                Problem::from_error(Class::Internal, "server-answers-nothing", self)
                    .hint("Please report this, with the version of PostgreSQL.")
            }
            Self::StillConnected { .. } => {
                Problem::from_error(Class::Transient, "connections-do-not-end", self)
                    .hint("A connection may be waiting for the disk; it is tried again.")
            }
            Self::NoDatabase { .. } => {
                Problem::from_error(Class::Transient, "database-missing", self)
                    .hint("It is made again by the next pass.")
            }
        }
    }
}

fn refused(error: &SqlError, source: &tokio_postgres::Error) -> Problem {
    let code = source.code().map(SqlState::code);
    match code {
        // Out of disk space.
        Some("53100") => Problem::from_error(Class::Config, "disk-full", error)
            .hint("Free some space, or raise `spec.storage.size`."),
        // No such file, or a feature that is not there: an extension without its files.
        Some("58P01" | "0A000") => {
            Problem::from_error(Class::Config, "postgres-lacks-a-feature", error)
                .hint("Install the packages that it needs beside PostgreSQL.")
        }
        // No connection, shutting down, too many connections, lock or statement timeout.
        None | Some("55P03" | "57014" | "55006" | "40001" | "40P01") => transient(error),
        Some(code)
            if ["08", "53", "57"]
                .iter()
                .any(|class| code.starts_with(class)) =>
        {
            transient(error)
        }
        Some(_) => Problem::from_error(Class::Internal, "server-refuses-step", error)
            .hint("Please report this; `boma logs` shows what the server says."),
    }
}

fn transient(error: &SqlError) -> Problem {
    Problem::from_error(Class::Transient, "server-busy", error).hint("It is tried again by itself.")
}
