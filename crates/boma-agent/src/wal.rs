//! The write-ahead log's part of the API: PostgreSQL hands files over here, and asks for them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use boma_backup::wal::{Fetched, Restorer, Shipper};
use boma_instance::api;
use boma_problem::{Class, IntoProblem as _, Problem};
use serde::Deserialize;
use tokio::sync::watch;

/// What carries the write-ahead log of this instance; none where it is not known yet, or not
/// wanted.
#[derive(Clone, Debug, Default)]
pub struct Carriers {
    /// Into the repository.
    pub shipper: Option<Shipper>,
    /// Out of it.
    pub restorer: Option<Restorer>,
    /// Whether the last segment that a recovering server asked for was not in the archive. That is
    /// how recovery learns that the archive ends, so a server that ends then has reached it.
    pub ended: Arc<AtomicBool>,
}

/// The API's view of them; the agent's task changes them when it accepts an assignment.
pub type Desk = watch::Receiver<Carriers>;

/// Routes of the write-ahead log.
pub fn router(desk: Desk) -> Router {
    let path = format!("{}{{file}}", api::WAL);
    Router::new()
        .route(&path, get(restore).post(archive))
        .with_state(desk)
}

async fn archive(State(desk): State<Desk>, Path(file): Path<String>) -> Response {
    let shipper = desk.borrow().shipper.clone();
    let Some(shipper) = shipper else {
        return refused(&not_set_up("archive"));
    };
    match shipper.ship(&file).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => refused(&error.problem()),
    }
}

#[derive(Debug, Deserialize)]
struct Target {
    to: PathBuf,
}

async fn restore(
    State(desk): State<Desk>,
    Path(file): Path<String>,
    Query(target): Query<Target>,
) -> Response {
    let (restorer, ended) = {
        let carriers = desk.borrow();
        (carriers.restorer.clone(), carriers.ended.clone())
    };
    let Some(restorer) = restorer else {
        return refused(&not_set_up("restore"));
    };
    if !target.to.is_absolute() {
        let text = format!("`{}` is not an absolute path", target.to.display());
        return refused(&Problem::new(Class::User, "wal-name-invalid", text));
    }
    // History files are asked for to learn whether they are there.
    let is_segment = !file.contains('.');
    let fetched = restorer.fetch(&file, &target.to).await;
    if is_segment {
        let ends = matches!(fetched, Ok(Fetched::NotThere));
        ended.store(ends, Ordering::Relaxed);
    }
    match fetched {
        Ok(Fetched::Written) => StatusCode::OK.into_response(),
        Ok(Fetched::NotThere) => (StatusCode::NOT_FOUND, api::ABSENT).into_response(),
        Err(error) => {
            let problem = error.problem();
            tracing::warn!(file, %problem, "a file of the write-ahead log is not fetched");
            refused(&problem)
        }
    }
}

/// Never 404: that means that a file is not in the archive.
fn refused(problem: &Problem) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(problem)).into_response()
}

fn not_set_up(what: &str) -> Problem {
    let text = format!("the agent has no repository to {what} with yet");
    Problem::new(Class::Transient, "wal-not-set-up", text)
        .hint("It opens its repository when it starts; its log says what keeps it from that.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_repository_nothing_is_said_to_be_absent() {
        let (_carriers, desk) = watch::channel(Carriers::default());
        let target = Target {
            to: "/x/RECOVERYXLOG".into(),
        };
        let file = || Path("000000010000000000000001".to_owned());
        let answers = [
            archive(State(desk.clone()), file()).await,
            restore(State(desk), file(), Query(target)).await,
        ];
        for answer in answers {
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        let problem = not_set_up("archive");
        assert!(problem.message.contains("no repository to archive with"));
    }
}
