//! The agent's HTTP API (see [`boma_instance::api`]): what is asked is handed to the agent's one
//! task; what is answered is what that task last published.

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use boma_instance::api::{self, Accepted, Reported};
use boma_instance::backup::{BackupSummary, Drill};
use boma_instance::statements::Statements;
use boma_instance::{Assignment, History};
use boma_problem::{Class, Problem};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::backups::{Order, Reply};
use crate::history::Record;
use crate::metrics;

/// Longest a status request is held open; clients ask again.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Requests that may wait for the agent's task. The engine sends one at a time; a few more leave
/// room for people at the command line.
pub(crate) const QUEUE: usize = 8;

/// What the API asks of the agent's task.
#[derive(Debug)]
pub(crate) enum Request {
    /// Accept an assignment.
    Accept(Box<Assignment>, Reply<Accepted>),
    /// Restart the server.
    Restart(Reply<()>),
    /// Observe now.
    Look,
    /// Observe now, because somebody watches. A wait after a failure goes on.
    Measure,
    /// Ask the server what its database spends its time with.
    Statements(Reply<Statements>),
    /// End the agent, leave the server.
    Exit,
    /// Stop the server in order, then end the agent: the pod ends.
    Shutdown,
}

/// The API's side of the channels to the agent's task.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) status: watch::Receiver<Option<Reported>>,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) record: Record,
}

/// Routes of the API.
pub(crate) fn router(handle: Handle) -> Router {
    Router::new()
        .route(api::ASSIGNMENT, put(accept))
        .route(api::STATUS, get(status))
        .route(api::HISTORY, get(history))
        .route(api::STATEMENTS, get(statements))
        .route(api::LOOK, post(look))
        .route(api::RESTART, post(restart))
        .route(api::BACKUPS, post(back_up))
        .route(
            &format!("{}/{{label}}", api::BACKUPS),
            delete(delete_backup),
        )
        .route(api::DRILL, post(prove))
        .route(api::ARCHIVE, post(archive))
        .route(api::METRICS, get(samples))
        .route(api::EXIT, post(exit))
        .with_state(handle)
}

/// A problem as an answer.
struct Refused(Problem);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0.class {
            Class::User | Class::Config => StatusCode::CONFLICT,
            Class::Transient => StatusCode::SERVICE_UNAVAILABLE,
            Class::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self.0)).into_response()
    }
}

fn ending() -> Refused {
    Refused(Problem::new(
        Class::Transient,
        "agent-ending",
        "the agent is ending",
    ))
}

/// Hands something over, and waits for what comes of it.
async fn answered<M, T>(
    queue: &mpsc::Sender<M>,
    message: impl FnOnce(Reply<T>) -> M,
) -> Result<T, Refused> {
    let (reply, answer) = oneshot::channel();
    let sent = queue.send(message(reply)).await;
    sent.map_err(|_closed| ending())?;
    let answer = answer.await.map_err(|_closed| ending())?;
    answer.map_err(Refused)
}

async fn accept(
    State(handle): State<Handle>,
    Json(assignment): Json<Assignment>,
) -> Result<Json<Accepted>, Refused> {
    let message = |reply| Request::Accept(Box::new(assignment), reply);
    answered(&handle.requests, message).await.map(Json)
}

async fn restart(State(handle): State<Handle>) -> Result<StatusCode, Refused> {
    answered(&handle.requests, Request::Restart).await?;
    Ok(StatusCode::OK)
}

async fn back_up(State(handle): State<Handle>) -> Result<Json<BackupSummary>, Refused> {
    answered(&handle.orders, Order::BackUp).await.map(Json)
}

async fn delete_backup(
    State(handle): State<Handle>,
    Path(label): Path<String>,
) -> Result<StatusCode, Refused> {
    let message = |reply| Order::Delete(label, reply);
    answered(&handle.orders, message).await?;
    Ok(StatusCode::OK)
}

async fn prove(State(handle): State<Handle>) -> Result<Json<Drill>, Refused> {
    answered(&handle.orders, Order::Prove).await.map(Json)
}

async fn archive(State(handle): State<Handle>) -> Result<StatusCode, Refused> {
    answered(&handle.orders, Order::Archive).await?;
    Ok(StatusCode::OK)
}

async fn look(State(handle): State<Handle>) -> Result<StatusCode, Refused> {
    handle
        .requests
        .send(Request::Look)
        .await
        .map_err(|_closed| ending())?;
    Ok(StatusCode::ACCEPTED)
}

async fn exit(State(handle): State<Handle>) -> Result<StatusCode, Refused> {
    handle
        .requests
        .send(Request::Exit)
        .await
        .map_err(|_closed| ending())?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Debug, Deserialize)]
struct StatusQuery {
    after: Option<u64>,
    wait: Option<u64>,
}

async fn status(
    State(mut handle): State<Handle>,
    Query(query): Query<StatusQuery>,
) -> Result<Json<Reported>, Refused> {
    if let Some(after) = query.after {
        let wait = query
            .wait
            .map_or(LONGEST_WAIT, Duration::from_secs)
            .min(LONGEST_WAIT);
        let newer =
            |reported: &Option<Reported>| reported.as_ref().is_some_and(|one| one.serial > after);
        // Out of patience, what was said last is still the answer.
        drop(tokio::time::timeout(wait, handle.status.wait_for(newer)).await);
    }
    handle
        .status
        .borrow()
        .clone()
        .map(Json)
        .ok_or_else(not_measured)
}

/// Answers with what is known, and has more measured for who asks again.
async fn history(State(handle): State<Handle>) -> Json<History> {
    if handle.record.is_stale(Timestamp::now()) {
        // An agent that has a row of requests to answer looks anyway.
        let _busy = handle.requests.try_send(Request::Measure);
    }
    Json(handle.record.history())
}

async fn statements(State(handle): State<Handle>) -> Result<Json<Statements>, Refused> {
    let told = answered(&handle.requests, Request::Statements).await;
    told.map(Json)
}

async fn samples(State(handle): State<Handle>) -> Result<Response, Refused> {
    let reported = handle.status.borrow().clone();
    let reported = reported.ok_or_else(not_measured)?;
    let kind = [(header::CONTENT_TYPE, metrics::MEDIA_TYPE)];
    Ok((
        kind,
        metrics::render(&reported.status, handle.record.last().as_ref()),
    )
        .into_response())
}

fn not_measured() -> Refused {
    Refused(Problem::new(
        Class::Transient,
        "not-measured-yet",
        "nothing was measured yet",
    ))
}
