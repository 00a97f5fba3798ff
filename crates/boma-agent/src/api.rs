//! The agent's HTTP API (see [`boma_instance::api`]): what is asked is handed to the agent's one
//! task; what is answered is what that task last published.

use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use boma_instance::Assignment;
use boma_instance::api::{self, Accepted, Reported};
use boma_instance::backup::{BackupSummary, Drill};
use boma_problem::{Class, Problem};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::backups::Order;

/// Longest a status request is held open; clients ask again.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Requests that may wait for the agent's task. The engine sends one at a time; a few more leave
/// room for people at the command line.
pub(crate) const QUEUE: usize = 8;

/// What the API asks of the agent's task.
#[derive(Debug)]
pub(crate) enum Request {
    /// Accept an assignment.
    Accept(Box<Assignment>, oneshot::Sender<Result<Accepted, Problem>>),
    /// Restart the server.
    Restart(oneshot::Sender<Result<(), Problem>>),
    /// Observe now.
    Look,
    /// End the agent, leave the server.
    Exit,
}

/// The API's side of the channels to the agent's task.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) status: watch::Receiver<Option<Reported>>,
    pub(crate) orders: mpsc::Sender<Order>,
}

/// Routes of the API.
pub(crate) fn router(handle: Handle) -> Router {
    Router::new()
        .route(api::ASSIGNMENT, put(accept))
        .route(api::STATUS, get(status))
        .route(api::LOOK, post(look))
        .route(api::RESTART, post(restart))
        .route(api::BACKUPS, post(back_up))
        .route(api::DRILL, post(prove))
        .route(api::ARCHIVE, post(archive))
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

async fn accept(
    State(handle): State<Handle>,
    Json(assignment): Json<Assignment>,
) -> Result<Json<Accepted>, Refused> {
    let (reply, answer) = oneshot::channel();
    let request = Request::Accept(Box::new(assignment), reply);
    handle
        .requests
        .send(request)
        .await
        .map_err(|_closed| ending())?;
    answer
        .await
        .map_err(|_closed| ending())?
        .map(Json)
        .map_err(Refused)
}

async fn restart(State(handle): State<Handle>) -> Result<StatusCode, Refused> {
    let (reply, answer) = oneshot::channel();
    handle
        .requests
        .send(Request::Restart(reply))
        .await
        .map_err(|_closed| ending())?;
    answer.await.map_err(|_closed| ending())?.map_err(Refused)?;
    Ok(StatusCode::OK)
}

async fn back_up(State(handle): State<Handle>) -> Result<Json<BackupSummary>, Refused> {
    let (reply, answer) = oneshot::channel();
    handle
        .orders
        .send(Order::BackUp(reply))
        .await
        .map_err(|_closed| ending())?;
    answer
        .await
        .map_err(|_closed| ending())?
        .map(Json)
        .map_err(Refused)
}

async fn prove(State(handle): State<Handle>) -> Result<Json<Drill>, Refused> {
    let (reply, answer) = oneshot::channel();
    handle
        .orders
        .send(Order::Prove(reply))
        .await
        .map_err(|_closed| ending())?;
    answer
        .await
        .map_err(|_closed| ending())?
        .map(Json)
        .map_err(Refused)
}

async fn archive(State(handle): State<Handle>) -> Result<StatusCode, Refused> {
    let (reply, answer) = oneshot::channel();
    handle
        .orders
        .send(Order::Archive(reply))
        .await
        .map_err(|_closed| ending())?;
    answer.await.map_err(|_closed| ending())?.map_err(Refused)?;
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

fn not_measured() -> Refused {
    Refused(Problem::new(
        Class::Transient,
        "not-measured-yet",
        "nothing was measured yet",
    ))
}
