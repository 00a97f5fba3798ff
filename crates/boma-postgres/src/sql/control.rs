//! Connections that Boma works with itself.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use boma_instance::names::SUPERUSER;
use boma_problem::{Class, IntoProblem, Problem};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Row};

use super::error::{Refusal, SqlError};
use super::step::Groups;

/// How long a connection may take to be made. A server under load forks within milliseconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long one answer may take: a little longer than `statement_timeout`, so that the server's own
/// word comes first. Making a database or changing the owner of thousands of tables takes seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(75);

/// What a server says when the owner of a database has set `transaction_timeout` (17 and newer) for
/// its sessions, and to so little that not even a session's start gets through.
const TRANSACTION_TIMEOUT: &str = "25P04";

/// Settings of a control session. They stand in the startup packet, which beats what `ALTER
/// DATABASE` and `ALTER ROLE` set, from the first moment on.
const SESSION: &[(&str, &str)] = &[
    // PostgreSQL's own names first and temporary ones last; an application's never.
    ("search_path", "pg_catalog, pg_temp"),
    // A synchronous standby that is down must not keep Boma from mending things.
    ("synchronous_commit", "local"),
    ("statement_timeout", "60s"),
    // Whoever comes after a session that waits for a lock on a table waits behind it: an
    // application must not stand still for longer than this, and Boma can try again.
    ("lock_timeout", "3s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("idle_session_timeout", "0"),
    // An owner of the database may have set these for all its sessions.
    ("default_transaction_read_only", "off"),
    ("default_transaction_isolation", "read committed"),
    ("standard_conforming_strings", "on"),
    ("row_security", "off"),
    // Compiling a query over the catalogs takes longer than running it.
    ("jit", "off"),
    // Statements with a verifier are neither logged, whatever happens, nor shown, nor collected.
    ("log_statement", "none"),
    ("log_min_duration_statement", "-1"),
    ("log_min_duration_sample", "-1"),
    ("log_transaction_sample_rate", "0"),
    ("log_duration", "off"),
    ("log_min_error_statement", "panic"),
    ("log_parser_stats", "off"),
    ("debug_print_parse", "off"),
    ("debug_print_rewritten", "off"),
    ("debug_print_plan", "off"),
    // Deadlocks and crashes log what sessions were doing, as they see it here.
    ("track_activities", "off"),
    ("pg_stat_statements.track", "none"),
    ("pg_stat_statements.track_utility", "off"),
    ("auto_explain.log_min_duration", "-1"),
    ("pgaudit.log", "none"),
];

/// Parameters of a query, each with its type, which saves asking the server for it.
pub(super) type Parameters<'a> = [(&'a (dyn ToSql + Sync), Type)];

/// Where a server's Unix socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its directory.
    pub directory: PathBuf,
    /// The server's port, which is part of the socket's name.
    pub port: u16,
}

/// No connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server refused, or nobody listens.
    #[error("connect to database {database:?} through `{}`", directory.display())]
    Refused {
        /// Which database.
        database: String,
        /// Directory of the socket.
        directory: PathBuf,
        /// Why.
        #[source]
        source: Refusal,
    },
    /// Nobody answered.
    #[error(
        "connect to database {database:?} through `{}`: no answer within {} seconds",
        directory.display(),
        CONNECT_LIMIT.as_secs()
    )]
    NoAnswer {
        /// Which database.
        database: String,
        /// Directory of the socket.
        directory: PathBuf,
    },
}

impl ConnectError {
    /// The server's code for it, where the server refused.
    pub fn sql_state(&self) -> Option<&SqlState> {
        match self {
            Self::Refused { source, .. } => source.sql_state(),
            Self::NoAnswer { .. } => None,
        }
    }
}

impl IntoProblem for ConnectError {
    fn problem(&self) -> Problem {
        let hint = match self.sql_state() {
            Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                "The agent must run as the system user that owns the server."
            }
            _ => "The server may be starting or stopping; it is tried again.",
        };
        Problem::from_error(Class::Transient, "server-not-reachable", self).hint(hint)
    }
}

/// One session as superuser over the Unix socket.
#[derive(Debug)]
pub struct Control {
    client: Client,
    driver: JoinHandle<()>,
    /// Transactions of this session, as the server counts them.
    transactions: AtomicU64,
}

impl Control {
    /// Connects, with everything pinned that could change what statements mean or where they show.
    pub async fn connect(socket: &Socket, database: &str) -> Result<Self, ConnectError> {
        let connecting = async {
            match Self::connect_with(socket, database, "").await {
                // Said while nothing was asked, it shows as a connection that is closed.
                Err(error)
                    if error.is_closed()
                        || error.code().map(SqlState::code) == Some(TRANSACTION_TIMEOUT) =>
                {
                    let again =
                        Self::connect_with(socket, database, " -c transaction_timeout=0").await;
                    // Servers that do not know the setting do not take it.
                    again.map_err(|other| match other.code() {
                        Some(code) if *code == SqlState::UNDEFINED_OBJECT => error,
                        _ => other,
                    })
                }
                result => result,
            }
        };
        match timeout(CONNECT_LIMIT, connecting).await {
            Ok(Ok(control)) => Ok(control),
            Ok(Err(source)) => Err(ConnectError::Refused {
                database: database.to_owned(),
                directory: socket.directory.clone(),
                source: source.into(),
            }),
            Err(_elapsed) => Err(ConnectError::NoAnswer {
                database: database.to_owned(),
                directory: socket.directory.clone(),
            }),
        }
    }

    async fn connect_with(
        socket: &Socket,
        database: &str,
        more_options: &str,
    ) -> Result<Self, tokio_postgres::Error> {
        let (client, connection) = Config::new()
            .host_path(&socket.directory)
            .port(socket.port)
            .user(SUPERUSER)
            .dbname(database)
            .application_name("boma")
            .options(session_options() + more_options)
            .connect(NoTls)
            .await?;
        let can_time_out = connection
            .parameter("server_version")
            .is_some_and(has_transaction_timeout);
        // It ends with an error when the server goes away; whoever asks next is told then.
        let driver = tokio::spawn(async move { drop(connection.await) });
        let control = Self {
            client,
            driver,
            // One of the session's start, one of what follows here.
            transactions: AtomicU64::new(2),
        };
        // An owner may also have set `role` for the sessions of the database, which no startup
        // option beats; and `transaction_timeout`, which older servers do not know.
        let mut session = "SET SESSION AUTHORIZATION DEFAULT; SET ROLE NONE".to_owned();
        if can_time_out {
            session.push_str("; SET transaction_timeout = 0");
        }
        control.client.batch_execute(&session).await?;
        Ok(control)
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs a query in one round trip.
    pub(super) async fn rows(
        &self,
        doing: &str,
        query: &str,
        parameters: &Parameters<'_>,
    ) -> Result<Vec<Row>, SqlError> {
        self.rows_within((doing, ANSWER_LIMIT), query, parameters)
            .await
    }

    /// Runs a query that may take as long as `limit`.
    pub(super) async fn rows_within(
        &self,
        (doing, limit): (&str, Duration),
        query: &str,
        parameters: &Parameters<'_>,
    ) -> Result<Vec<Row>, SqlError> {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        within((doing, limit), self.client.query_typed(query, parameters)).await
    }

    /// Runs statements as one transaction: all of them or none. `doing` is all that an error tells
    /// of them.
    pub(super) async fn transaction(
        &self,
        doing: &str,
        statements: &[String],
    ) -> Result<(), SqlError> {
        // Without BEGIN, statements of one message are one transaction already, and a failure
        // leaves none open.
        self.batch(doing, &statements.join("; ")).await
    }

    /// Runs one statement that cannot be part of a transaction.
    pub(super) async fn statement(&self, doing: &str, statement: &str) -> Result<(), SqlError> {
        self.batch(doing, statement).await
    }

    async fn batch(&self, doing: &str, text: &str) -> Result<(), SqlError> {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        within((doing, ANSWER_LIMIT), self.client.batch_execute(text)).await
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn within<T>(
    (doing, limit): (&str, Duration),
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, SqlError> {
    match timeout(limit, answer).await {
        Ok(result) => result.map_err(|error| SqlError::Refused {
            doing: doing.to_owned(),
            source: error.into(),
        }),
        Err(_elapsed) => Err(SqlError::NoAnswer {
            doing: doing.to_owned(),
            limit,
        }),
    }
}

/// Whether servers of this version (`17.2 (Debian 17.2-1)`, `18beta1`) know the setting
/// `transaction_timeout`: 17 and newer do.
fn has_transaction_timeout(version: &str) -> bool {
    let end = version
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(version.len());
    version[..end].parse().is_ok_and(|major: u32| major >= 17)
}

/// The settings as the `options` of a startup packet, where a backslash keeps a space.
fn session_options() -> String {
    let options: Vec<_> = SESSION
        .iter()
        .map(|(name, value)| format!("-c {name}={}", value.replace(' ', "\\ ")))
        .collect();
    options.join(" ")
}

/// The connections of one pass: to the maintenance database for what concerns the whole cluster,
/// and to the instance's database once it is there. Made when first needed; dropped with it, so
/// that an idle server holds none.
#[derive(Debug)]
pub struct Controls {
    socket: Socket,
    groups: Groups,
    cluster: Option<Control>,
    database: Option<Control>,
}

impl Controls {
    /// Database that a cluster always has; nothing of an application is in it.
    const MAINTENANCE: &'static str = "postgres";

    /// Prepares to work on the server behind `socket` for the instance's database `database`
    /// ([`InstanceSpec::database`](boma_instance::InstanceSpec::database)). Connects to nothing yet.
    pub fn open(socket: Socket, database: &str) -> Self {
        Self {
            socket,
            groups: Groups::of(database),
            cluster: None,
            database: None,
        }
    }

    /// The names that the database brings with it.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Where the server is.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Transactions of the open session in the instance's database, as the server counts them.
    pub fn transactions(&self) -> u64 {
        let session = self.database.as_ref();
        session.map_or(0, |one| one.transactions.load(Ordering::Relaxed))
    }

    /// A connection for what concerns the whole cluster.
    pub(super) async fn cluster(&mut self) -> Result<&Control, SqlError> {
        if self.cluster.as_ref().is_none_or(Control::is_closed) {
            self.cluster = Some(Control::connect(&self.socket, Self::MAINTENANCE).await?);
        }
        Ok(self
            .cluster
            .as_ref()
            .expect("it should have just been connected"))
    }

    /// A connection to the instance's database; none: there is no such database, or it lets nobody
    /// in.
    pub(super) async fn database(&mut self) -> Result<Option<&Control>, SqlError> {
        if self.database.as_ref().is_none_or(Control::is_closed) {
            self.database = self.connect_to_database().await?;
        }
        Ok(self.database.as_ref())
    }

    async fn connect_to_database(&self) -> Result<Option<Control>, SqlError> {
        let name = &self.groups.database;
        // With a session at hand, asking is ten times cheaper than being refused.
        if let Some(cluster) = self.cluster.as_ref().filter(|control| !control.is_closed()) {
            let query = "SELECT FROM pg_database WHERE datname = $1 AND datallowconn";
            let doing = "look for the database";
            if cluster
                .rows(doing, query, &[(name, Type::TEXT)])
                .await?
                .is_empty()
            {
                return Ok(None);
            }
        }
        match Control::connect(&self.socket, name).await {
            Ok(control) => Ok(Some(control)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A connection to whichever database there is.
    pub(super) async fn any(&mut self) -> Result<&Control, SqlError> {
        if self.database().await?.is_some() {
            return self.the_database().await;
        }
        self.cluster().await
    }

    /// A connection for what concerns the whole cluster, and one to the instance's database where
    /// that is there. Only one is opened when none is, and stands for both.
    pub(super) async fn both(&mut self) -> Result<(&Control, Option<&Control>), SqlError> {
        if self.database().await?.is_none() {
            return Ok((self.cluster().await?, None));
        }
        let inside = self.database.as_ref();
        let cluster = self.cluster.as_ref().filter(|one| !one.is_closed());
        let outside = cluster.or(inside).expect("one should be open");
        Ok((outside, inside))
    }

    /// A connection that is open already, else one to whichever database there is.
    pub(super) async fn at_hand(&mut self) -> Result<&Control, SqlError> {
        let is_open =
            |control: &Option<Control>| control.as_ref().is_some_and(|one| !one.is_closed());
        if !is_open(&self.database) && is_open(&self.cluster) {
            return self.cluster().await;
        }
        self.any().await
    }

    /// Like [`Self::database`], where the database must be there.
    pub(super) async fn the_database(&mut self) -> Result<&Control, SqlError> {
        let database = self.groups.database.clone();
        self.database()
            .await?
            .ok_or(SqlError::NoDatabase { database })
    }

    /// A connection to any database of the cluster.
    pub(super) async fn other(&self, database: &str) -> Result<Control, SqlError> {
        Ok(Control::connect(&self.socket, database).await?)
    }
}

fn is_absence(error: &ConnectError) -> bool {
    error.sql_state().is_some_and(|code| {
        *code == SqlState::INVALID_CATALOG_NAME
            || *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_have_a_timeout_from_17_on() {
        for (version, has) in [
            ("15.18 (Debian 15.18-0+deb12u1)", false),
            ("16beta1", false),
            ("17.2", true),
            ("18devel", true),
            ("", false),
        ] {
            assert_eq!(has_transaction_timeout(version), has, "{version}");
        }
    }
}
