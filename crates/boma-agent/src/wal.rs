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
    /// A data directory that was restored from a base backup, whose server may replay from where
    /// `backup_label` says and from nowhere else; none: nothing is known of how it began.
    pub restored: Option<PathBuf>,
}

impl Carriers {
    /// Refuses to let a restored server replay that was not told where to start: without its label
    /// it starts where the source happened to be when its control file was copied, and what was
    /// copied before that is never put right. PostgreSQL renames the label once it has read it.
    fn check_start(&self) -> Result<(), Box<Problem>> {
        let Some(data) = &self.restored else {
            return Ok(());
        };
        let labels = ["backup_label", "backup_label.old"];
        if labels.iter().any(|label| data.join(label).exists()) {
            return Ok(());
        }
        let text = format!(
            "`{}` is of a base backup and has no `backup_label`: nobody knows where its log starts",
            data.display()
        );
        Err(Problem::new(Class::Config, "backup-label-missing", text)
            .hint("Somebody removed it. Restore again, as a new database.")
            .into())
    }
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
    let (restorer, ended, start) = {
        let carriers = desk.borrow();
        let start = carriers.check_start();
        (carriers.restorer.clone(), carriers.ended.clone(), start)
    };
    if let Err(problem) = start {
        tracing::error!(file, %problem, "a file of the write-ahead log is not given");
        return refused(&problem);
    }
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

    #[test]
    fn a_restored_server_without_its_label_is_given_nothing() -> anyhow::Result<()> {
        let scratch = boma_testkit::ScratchDir::new()?;
        let carriers = Carriers {
            restored: Some(scratch.path().to_owned()),
            ..Carriers::default()
        };
        let problem = carriers.check_start().unwrap_err();
        assert_eq!(problem.code, "backup-label-missing");
        assert!(
            problem.message.contains("has no `backup_label`"),
            "{problem}"
        );
        for label in ["backup_label", "backup_label.old"] {
            let path = scratch.path().join(label);
            std::fs::write(&path, "")?;
            assert!(carriers.check_start().is_ok(), "{label}");
            std::fs::remove_file(path)?;
        }
        Ok(())
    }
}
