//! The write-ahead log's part of the API: PostgreSQL hands files over here, and asks for them.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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

use crate::recovery::{self, Recovery};

/// How long a server that recovers waits for a repository that is just being opened. It may ask as
/// soon as it is started, and an error would end it.
const OPENS_WITHIN: Duration = Duration::from_secs(30);

/// The last segment that a recovering server asked for, where that was not in the archive; none: it
/// was. That is how recovery learns that the archive ends, so a server that ends then has reached it.
#[derive(Clone, Debug, Default)]
pub struct End(Arc<Mutex<Option<String>>>);

impl End {
    /// The segment.
    pub fn get(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Remembers another.
    pub fn set(&self, segment: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = segment;
    }
}

/// What carries the write-ahead log of this instance; none where it is not known yet, or not
/// wanted.
#[derive(Clone, Debug, Default)]
pub struct Carriers {
    /// Into the repository.
    pub shipper: Option<Shipper>,
    /// Out of it.
    pub restorer: Option<Restorer>,
    /// Where the archive ends for a server that recovers.
    pub ended: End,
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

    /// Whether a segment is part of what a restored server recovers. One whose target was let go at
    /// the end of the archive is given nothing that was archived since: its source may still run,
    /// and what it writes is of later than the target.
    fn is_part(&self, segment: &str) -> Result<bool, Box<Problem>> {
        let Some(data) = &self.restored else {
            return Ok(true);
        };
        let path = data.join(recovery::FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let recovery = Recovery::parse(&text);
                Ok(recovery.is_none_or(|recovery| recovery.includes(segment)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => {
                let text = format!("read `{}`", path.display());
                let mut problem = Problem::new(Class::Transient, "recovery-not-known", text)
                    .hint("It says how far to recover; nothing is replayed before it can be read.");
                problem.causes.push(error.to_string());
                Err(problem.into())
            }
        }
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
    State(mut desk): State<Desk>,
    Path(file): Path<String>,
    Query(target): Query<Target>,
) -> Response {
    // History files are asked for to learn whether they are there.
    let is_segment = !file.contains('.');
    let opened = desk.wait_for(|carriers| carriers.restorer.is_some());
    // Without one it is refused below.
    drop(tokio::time::timeout(OPENS_WITHIN, opened).await);
    let (restorer, ended, part) = {
        let carriers = desk.borrow();
        let part = carriers.check_start().and_then(|()| {
            let is_part = !is_segment || carriers.is_part(&file)?;
            Ok(is_part)
        });
        (carriers.restorer.clone(), carriers.ended.clone(), part)
    };
    let is_part = match part {
        Ok(is_part) => is_part,
        Err(problem) => {
            tracing::error!(file, %problem, "a file of the write-ahead log is not given");
            return refused(&problem);
        }
    };
    let Some(restorer) = restorer else {
        return refused(&not_set_up("restore"));
    };
    if !target.to.is_absolute() {
        let text = format!("`{}` is not an absolute path", target.to.display());
        return refused(&Problem::new(Class::User, "wal-name-invalid", text));
    }
    let fetched = if is_part {
        restorer.fetch(&file, &target.to).await
    } else {
        Ok(Fetched::NotThere)
    };
    if is_segment {
        let is_end = matches!(fetched, Ok(Fetched::NotThere));
        ended.set(is_end.then(|| file.clone()));
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
    use boma_backup::format::key::{KEY_BYTES, RepositoryKey};
    use boma_backup::format::names::Prefix;
    use boma_backup::store::Repository;
    use boma_instance::InstanceId;
    use boma_instance::backup::{RecoveryTarget, RepositoryAccess, RepositoryLocation};
    use boma_instance::wal::Timeline;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn without_a_repository_nothing_is_said_to_be_absent() {
        // Nobody opens one any more.
        let (_, desk) = watch::channel(Carriers::default());
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

    #[tokio::test]
    async fn who_asks_while_the_repository_is_being_opened_waits_for_it() -> anyhow::Result<()> {
        let scratch = boma_testkit::ScratchDir::new()?;
        let (carriers, desk) = watch::channel(Carriers::default());
        let to = scratch.path().join("RECOVERYXLOG");
        let file = Path("000000010000000000000001".to_owned());
        let asked = tokio::spawn(restore(State(desk), file, Query(Target { to })));
        let location = RepositoryLocation::Directory {
            path: scratch.path().join("repository").display().to_string(),
        };
        let access = RepositoryAccess {
            location,
            key: RepositoryKey::new([7; KEY_BYTES]).export(),
            compression_level: 1,
        };
        let repository = Repository::open(&access).await?;
        let prefix = Prefix {
            instance: InstanceId(Uuid::from_u128(1)),
            system_identifier: 1,
        };
        let spool = scratch.path().join("spool");
        let restorer = Restorer::new(&repository, prefix, 16 << 20, &spool)?;
        carriers.send_modify(|carriers| carriers.restorer = Some(restorer));
        // It was looked for, and is not there.
        assert_eq!(asked.await?.status(), StatusCode::NOT_FOUND);
        Ok(())
    }

    #[test]
    fn a_server_whose_target_was_let_go_is_given_nothing_that_was_archived_since() {
        let scratch = boma_testkit::ScratchDir::new().unwrap();
        let carriers = Carriers {
            restored: Some(scratch.path().to_owned()),
            ..Carriers::default()
        };
        let (before, after) = ("0000000100000000000000A2", "0000000100000000000000A3");
        assert!(carriers.is_part(after).unwrap(), "nothing is known of it");
        let recovery = Recovery {
            database: "orders".into(),
            target: RecoveryTarget::Time(jiff::Timestamp::UNIX_EPOCH),
            timeline: Timeline(1),
            ends_before: Some(after.into()),
        };
        let path = scratch.path().join(recovery::FILE);
        std::fs::write(&path, recovery.render("exec true")).unwrap();
        assert!(carriers.is_part(before).unwrap());
        assert!(!carriers.is_part(after).unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let problem = carriers.is_part(before).unwrap_err();
        assert_eq!(problem.code, "recovery-not-known");
        assert!(problem.hints[0].contains("how far to recover"), "{problem}");
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
