//! Why SQL was not done.

use std::error::Error;
use std::time::Duration;

use boma_problem::{Class, IntoProblem, Problem};
use tokio_postgres::error::SqlState;

use super::control::ConnectError;

/// What a server says when it refuses, or how the connection broke.
///
/// It keeps the server's code, message and detail, and nothing of the statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    code: Option<SqlState>,
    text: String,
}

impl Refusal {
    /// The server's code; none: the connection broke.
    pub fn sql_state(&self) -> Option<&SqlState> {
        self.code.as_ref()
    }
}

impl From<tokio_postgres::Error> for Refusal {
    fn from(error: tokio_postgres::Error) -> Self {
        let code = error.code().cloned();
        let text = match (error.as_db_error(), error.source()) {
            (Some(said), _) => match said.detail() {
                Some(detail) => format!("{} ({})", said.message(), detail.replace('\n', "; ")),
                None => said.message().to_owned(),
            },
            (None, Some(source)) => format!("{error}: {source}"),
            (None, None) => error.to_string(),
        };
        Self { code, text }
    }
}

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
        source: Refusal,
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
            Self::Refused { source, .. } => source.sql_state(),
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

fn refused(error: &SqlError, source: &Refusal) -> Problem {
    let code = source.sql_state().map(SqlState::code);
    match code {
        // Out of disk space.
        Some("53100") => Problem::from_error(Class::Config, "disk-full", error)
            .hint("Free some space, or raise `spec.storage.size`."),
        // No such file, or a feature that is not there: an extension without its files.
        Some("58P01" | "0A000") => {
            Problem::from_error(Class::Config, "postgres-lacks-a-feature", error)
                .hint("Install the packages that it needs beside PostgreSQL.")
        }
        // What the step is about was dropped or made meanwhile, or changed at the same time, for
        // which the server has no code of its own.
        Some("42P01" | "3F000" | "42704" | "42710" | "42P04" | "42P06" | "XX000") => {
            Problem::from_error(Class::Transient, "changed-meanwhile", error).hint(
                "An application probably changes the same things. It is looked at again and tried \
                 again; if it stays, `boma logs` shows what the server says.",
            )
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
