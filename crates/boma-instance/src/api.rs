//! The agent's HTTP API: paths and bodies. On one machine it is served on a Unix socket that only
//! the instance's owner can open; in a pod over TLS with a bearer token.
//!
//! | method and path | body → answer |
//! |---|---|
//! | `PUT /v1/assignment` | [`Assignment`](crate::Assignment) → 200 [`Accepted`], 409 [`Problem`](boma_problem::Problem) for an older generation or another instance |
//! | `GET /v1/status?after=SERIAL&wait=SECONDS` | → 200 [`Reported`]; with `after`, answers when the serial grew past it or `wait` is over |
//! | `GET /v1/history` | → 200 [`History`](crate::History) of the last hour; while it is asked for, the agent looks six times as often |
//! | `GET /v1/statements` | → 200 [`Statements`](crate::statements::Statements): asks the server |
//! | `GET /v1/log` | → 200 the end of the server's log, whole lines, or `null`: there is none yet. In a pod only |
//! | `POST /v1/look` | → 202; observe now instead of at the next occasion |
//! | `POST /v1/restart` | → 200 when the server was restarted, or 409/500 `Problem` |
//! | `POST /v1/wal/{file}` | → 200 when the file of `pg_wal` is durable in the repository; else a `Problem` |
//! | `GET /v1/wal/{file}?to=PATH` | → 200 when it was written there; 404 with the body [`ABSENT`] when the repository answers and does not have it; else a `Problem` |
//! | `POST /v1/backups` | → 200 [`BackupSummary`](crate::backup::BackupSummary) when the backup is whole; else a `Problem`. The work goes on when the caller goes away; its progress is in the status |
//! | `DELETE /v1/backups/{label}` | → 200 when that backup is gone; else a `Problem`: others need it, or it is the last whole one |
//! | `POST /v1/archive` | → 200 when all that was written until now is durable in the repository; else a `Problem` |
//! | `POST /v1/drill` | → 200 [`Drill`](crate::backup::Drill) when a backup was restored to prove it, whatever came of it; else a `Problem` |
//! | `GET /metrics` | → 200; what was measured, in the text format of Prometheus |
//! | `POST /v1/exit` | → 202; the agent ends and leaves the server running |

use serde::{Deserialize, Serialize};

use crate::InstanceStatus;

/// Name of the API's Unix socket in the directory of PostgreSQL's.
pub const SOCKET: &str = "agent.sock";
/// Accepts an assignment.
pub const ASSIGNMENT: &str = "/v1/assignment";
/// Reports the status, by long poll.
pub const STATUS: &str = "/v1/status";
/// Tells what was measured lately.
pub const HISTORY: &str = "/v1/history";
/// Tells what the database spends its time with.
pub const STATEMENTS: &str = "/v1/statements";
/// Tells the end of the server's log; in a pod.
pub const LOG: &str = "/v1/log";
/// Wakes the agent.
pub const LOOK: &str = "/v1/look";
/// Restarts the server.
pub const RESTART: &str = "/v1/restart";
/// Folder of the write-ahead log: archives a file, or fetches it.
pub const WAL: &str = "/v1/wal/";
/// Body of the answer that a file is not in the archive. An agent that does not know the path
/// answers with the same status, and that must never be taken for it: recovery would end early.
pub const ABSENT: &str = "not in the archive";
/// Base backups: takes one; with a name behind it, deletes that one.
pub const BACKUPS: &str = "/v1/backups";
/// Restores the newest backup beside the instance, to prove it.
pub const DRILL: &str = "/v1/drill";
/// Archives what was written until now.
pub const ARCHIVE: &str = "/v1/archive";
/// Samples for Prometheus, which wants this path.
pub const METRICS: &str = "/metrics";
/// Ends the agent, not the server.
pub const EXIT: &str = "/v1/exit";

/// Answer to an accepted assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The generation that is stored now.
    pub generation: u64,
}

/// A status with its place in the row of statuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reported {
    /// Grows with each change of the status while the agent lives.
    pub serial: u64,
    /// What was measured.
    pub status: InstanceStatus,
}

/// What there is only in a pod.
pub mod pod {
    /// Whether the agent lives. Anybody may ask.
    pub const LIVE: &str = "/v1/live";
    /// Whether the server takes clients. Anybody may ask.
    pub const READY: &str = "/v1/ready";
    /// TCP port of the API.
    pub const PORT: u16 = 8443;
    /// File of the mounted Secret: the [`Assignment`](crate::Assignment).
    pub const ASSIGNMENT: &str = "assignment.json";
    /// File of the mounted Secret: the API's certificate, PEM.
    pub const CERTIFICATE: &str = "api.crt";
    /// File of the mounted Secret: the key of that certificate, PEM.
    pub const KEY: &str = "api.key";
    /// File of the mounted Secret: what a client says that may ask.
    pub const TOKEN: &str = "token";
}
