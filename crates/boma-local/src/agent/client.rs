//! Requests to an agent over its Unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boma_engine::spans;
use boma_instance::api::{self, Accepted, Reported};
use boma_instance::backup::{BackupSummary, Drill};
use boma_instance::statements::Statements;
use boma_instance::{Assignment, History, InstanceStatus};
use boma_problem::{Class, IntoProblem, Problem};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tracing::Instrument as _;

/// How long an agent may take to tell what it knows already. It answers from memory within a
/// millisecond; on a machine that is starved it may take longer, and is not dead for that.
const STATUS_DEADLINE: Duration = Duration::from_secs(2);

/// How long a page waits for an agent: it is shown without what that agent would say.
const LOOK_DEADLINE: Duration = Duration::from_millis(500);

/// How long statements may take to be read: a little longer than the agent waits for its server.
const STATEMENTS_DEADLINE: Duration = Duration::from_secs(7);

/// How long an agent may take to accept something: it finishes the step that it is at first.
const ACCEPT_DEADLINE: Duration = Duration::from_secs(90);

/// How long what was written last may take to be archived: an agent tries for some minutes.
const ARCHIVE_DEADLINE: Duration = Duration::from_mins(10);

/// Between a connection that broke and the next one.
const BROKEN_PAUSE: Duration = Duration::from_millis(20);

/// An answer is a status of a few kilobytes; more than this is not one.
const LONGEST_ANSWER: usize = 4 << 20;

/// Why there was no good answer from an agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Nobody listens on its socket: no agent runs.
    #[error("no agent runs for this instance")]
    Absent,
    /// It runs, and does not answer.
    #[error("the agent did not answer within {:.0} s", .0.as_secs_f32())]
    Deadline(Duration),
    /// The connection failed.
    #[error("ask the agent on `{socket}`")]
    Connection {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answered that something is wrong.
    #[error(transparent)]
    Refused(Box<Problem>),
    /// It answered something else than what was asked for.
    #[error("the agent's answer could not be understood (status {status})")]
    Form {
        /// HTTP status.
        status: u16,
    },
}

impl IntoProblem for AgentError {
    fn problem(&self) -> Problem {
        let problem = |class, code| Problem::from_error(class, code, self);
        match self {
            Self::Absent => problem(Class::Transient, "agent-absent")
                .hint("`boma apply` or `boma serve` starts it again; its server may be running meanwhile."),
            Self::Deadline(_) | Self::Connection { .. } => problem(Class::Transient, "agent-silent")
                .hint("If this lasts, look at `log/agent.log` in the instance's directory, and end the agent: it is started again, and its server goes on running."),
            Self::Refused(problem) => (**problem).clone(),
            Self::Form { .. } => problem(Class::Internal, "agent-answer")
                .hint("Agent and `boma` may be of different versions: end the agent, and it is started again."),
        }
    }
}

/// What an agent knows now.
pub(crate) async fn ask_status(socket: &Path) -> Result<Reported, AgentError> {
    let path = format!("{}?wait=0", api::STATUS);
    let asked = request(socket, Method::GET, &path, None::<&()>);
    within(STATUS_DEADLINE, asked).await
}

/// What an agent knows as soon as it is newer than `after`, or when `wait` is over.
pub(crate) async fn wait_for_status(
    socket: &Path,
    after: u64,
    wait: Duration,
) -> Result<Reported, AgentError> {
    // Whole seconds, never none: an agent that answers at once would be asked in a tight loop.
    let path = format!(
        "{}?after={after}&wait={}",
        api::STATUS,
        wait.as_secs().max(1)
    );
    within(
        wait + STATUS_DEADLINE,
        request(socket, Method::GET, &path, None::<&()>),
    )
    .await
}

/// What an agent has measured lately. Whoever looks at a page waits for it.
pub(crate) async fn history(socket: &Path) -> Result<History, AgentError> {
    let asked = request(socket, Method::GET, api::HISTORY, None::<&()>);
    within(LOOK_DEADLINE, asked).await
}

/// What a database spends its time with, by its server.
pub(crate) async fn statements(socket: &Path) -> Result<Statements, AgentError> {
    let asked = request(socket, Method::GET, api::STATEMENTS, None::<&()>);
    within(STATEMENTS_DEADLINE, asked).await
}

/// Hands an assignment over; the agent has stored it when this returns.
pub(crate) async fn put_assignment(
    socket: &Path,
    assignment: &Assignment,
) -> Result<Accepted, AgentError> {
    within(
        ACCEPT_DEADLINE,
        request(socket, Method::PUT, api::ASSIGNMENT, Some(assignment)),
    )
    .await
}

/// Asks an agent to look at its server now.
pub(crate) async fn look(socket: &Path) -> Result<(), AgentError> {
    within(
        ACCEPT_DEADLINE,
        send(socket, Method::POST, api::LOOK, None::<&()>),
    )
    .await
    .map(drop)
}

/// Takes a base backup, and returns when it is whole, however long that takes. The agent goes on
/// with it when nobody waits any more.
pub(crate) async fn back_up(socket: &Path) -> Result<BackupSummary, AgentError> {
    order(socket, api::BACKUPS).await
}

/// Deletes a base backup, and returns when it is gone; a job that goes on is waited for.
pub(crate) async fn delete_backup(socket: &Path, label: &str) -> Result<(), AgentError> {
    let path = format!("{}/{label}", api::BACKUPS);
    send_once(socket, Method::DELETE, &path, None::<&()>)
        .await
        .map(drop)
}

/// Restores the newest backup to prove it, and returns when that is over.
pub(crate) async fn drill(socket: &Path) -> Result<Drill, AgentError> {
    order(socket, api::DRILL).await
}

/// Has long work done, and returns what came of it.
async fn order<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, AgentError> {
    let (status, bytes) = send_once(socket, Method::POST, path, None::<&()>).await?;
    serde_json::from_slice(&bytes).map_err(|_other_form| AgentError::Form {
        status: status.as_u16(),
    })
}

/// Has everything archived that was written until now.
pub(crate) async fn archive(socket: &Path) -> Result<(), AgentError> {
    within(
        ARCHIVE_DEADLINE,
        send(socket, Method::POST, api::ARCHIVE, None::<&()>),
    )
    .await
    .map(drop)
}

/// Asks an agent to end; the server goes on as it is.
pub(crate) async fn exit(socket: &Path) -> Result<(), AgentError> {
    within(
        STATUS_DEADLINE,
        send(socket, Method::POST, api::EXIT, None::<&()>),
    )
    .await
    .map(drop)
}

async fn within<T>(
    deadline: Duration,
    asked: impl Future<Output = Result<T, AgentError>>,
) -> Result<T, AgentError> {
    tokio::time::timeout(deadline, asked)
        .await
        .unwrap_or(Err(AgentError::Deadline(deadline)))
}

async fn request<A: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<A, AgentError> {
    let (status, bytes) = send(socket, method, path, body).await?;
    serde_json::from_slice(&bytes).map_err(|_other_form| AgentError::Form {
        status: status.as_u16(),
    })
}

/// Sends a request, and once more when the connection broke: an agent that is just dying resets
/// it, and a moment later nobody listens. Every request may be repeated.
async fn send(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<(StatusCode, Bytes), AgentError> {
    match send_once(socket, method.clone(), path, body).await {
        Err(AgentError::Connection { .. }) => {
            tokio::time::sleep(BROKEN_PAUSE).await;
            send_once(socket, method, path, body).await
        }
        outcome => outcome,
    }
}

async fn send_once(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<(StatusCode, Bytes), AgentError> {
    let span = spans::agent_request(method.as_str(), path, socket.display());
    let answer = exchange(socket, method, path, body)
        .instrument(span.clone())
        .await;
    match &answer {
        Ok((status, _)) => spans::answered(&span, status.as_u16()),
        Err(error) => spans::failed(&span, &error.problem()),
    }
    answer
}

/// One request on a connection of its own.
async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<(StatusCode, Bytes), AgentError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| AgentError::Connection {
        socket: socket.to_owned(),
        source,
    };
    let stream = UnixStream::connect(socket).await.map_err(|error| {
        if matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        ) {
            AgentError::Absent
        } else {
            failed(error.into())
        }
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(error.into()))?;
    let body = match body {
        Some(body) => serde_json::to_vec(body).map_err(|error| failed(error.into()))?,
        None => Vec::new(),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "agent")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| failed(error.into()))?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| failed(error.into()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER);
        let bytes = body.collect().await.map_err(failed)?.to_bytes();
        Ok((status, bytes))
    };
    let mut exchange = std::pin::pin!(exchange);
    // The connection is driven beside the exchange and dropped with it: one request each, no pool.
    // It may end first, when the agent closes it after its answer: the exchange still has that.
    let (status, bytes) = tokio::select! {
        outcome = &mut exchange => outcome?,
        ended = connection => match ended {
            Ok(()) => exchange.await?,
            Err(error) => return Err(failed(error.into())),
        },
    };
    if status.is_success() {
        return Ok((status, bytes));
    }
    match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => Err(AgentError::Refused(Box::new(problem))),
        Err(_other_form) => Err(AgentError::Form {
            status: status.as_u16(),
        }),
    }
}

/// Whether a status says that only a person can help.
pub(crate) fn needs_a_person(status: &InstanceStatus) -> bool {
    status
        .problems
        .iter()
        .any(|problem| problem.is_error() && problem.class != Class::Transient)
}

#[cfg(test)]
mod tests;
