//! What a stopped server leaves: it counts as stopped when the last of its log is archived.
//!
//! PostgreSQL ends its last segment when it is shut down and hands it over before it goes, so mostly
//! there is nothing to do. What waits still is shipped by the agent. A repository that takes nothing
//! is waited for no longer than [`patience`] says: nobody can stop a server otherwise while it is away.

use std::path::Path;
use std::time::Duration;

use boma_backup::wal::{Shipper, backlog};
use boma_instance::Assignment;
use boma_postgres::control::ControlData;
use boma_problem::IntoProblem as _;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Situation;

/// The longest time that a repository is waited for that takes nothing.
const LONGEST: Duration = Duration::from_mins(1);

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(2);

/// How far the last of its log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It is on its way, or nobody has looked yet: so many files.
    OnItsWay(u64),
    /// All of it is in the repository.
    Archived,
    /// Not in the repository, and no longer waited for: why.
    Behind(String),
}

/// How long a server that is to stop is kept from that by a repository that takes nothing.
fn patience(want: &Assignment) -> Duration {
    let interval = want
        .spec
        .backup
        .as_ref()
        .map_or(0, |spec| spec.archive_interval_seconds);
    LONGEST.min(Duration::from_secs(u64::from(interval)) * 12)
}

/// Sees to it.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    task: Option<JoinHandle<()>>,
    tried_at: Option<Instant>,
    /// Files that waited, and since when it is that many.
    pulse: Option<(u64, Instant)>,
}

impl Leaving {
    /// Looks, and ships what waits; none: the server runs.
    pub(super) fn look(
        &mut self,
        want: &Assignment,
        situation: &Situation,
        (data, shipper): (&Path, Option<&Shipper>),
    ) -> Option<Left> {
        if !situation.stopped {
            *self = Self::default();
            return None;
        }
        // What was not promoted yet has written nothing of its own.
        let has_written = !situation.recovering && data.join("global/pg_control").exists();
        if want.spec.backup.is_none() || !has_written {
            return Some(Left::Archived);
        }
        let files = match backlog::ready(&data.join("pg_wal")) {
            Ok(ready) => ready.len() as u64,
            Err(error) => return Some(Left::Behind(format!("read its log: {error}"))),
        };
        if files == 0 {
            self.pulse = None;
            return Some(as_it_was_left(data));
        }
        if let Some(shipper) = shipper {
            self.ship(shipper);
        }
        if self.pulse.is_none_or(|(known, _)| known != files) {
            self.pulse = Some((files, Instant::now()));
        }
        if self.pulse?.1.elapsed() < patience(want) {
            return Some(Left::OnItsWay(files));
        }
        let failure = shipper.and_then(|shipper| shipper.status().failure);
        let why = failure.map_or_else(
            || "its repository does not answer".into(),
            |one| one.message,
        );
        Some(Left::Behind(format!(
            "{files} files of its log wait still: {why}"
        )))
    }

    fn ship(&mut self, shipper: &Shipper) {
        let goes_on = self.task.as_ref().is_some_and(|task| !task.is_finished());
        if goes_on || self.tried_at.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        self.tried_at = Some(Instant::now());
        let shipper = shipper.clone();
        self.task = Some(tokio::spawn(async move {
            match shipper.ship_left().await {
                Ok(()) => tracing::info!("what the server left is archived"),
                Err(error) => {
                    tracing::warn!(problem = %error.problem(), "what the server left waits still");
                }
            }
        }));
    }

    /// Whether something waits.
    pub(super) fn goes_on(&self) -> bool {
        self.pulse.is_some()
    }

    /// Waits until an attempt has ended; for ever, when none goes on.
    pub(super) async fn ended(&mut self) {
        match &mut self.task {
            Some(task) => {
                // What came of it is seen by the next look.
                let _seen_next = task.await;
                self.task = None;
            }
            None => std::future::pending().await,
        }
    }
}

/// Nothing waits: whether that is all that it wrote. A server that was shut down in order ended its
/// last segment; one that was killed did not, and what it wrote last is in its data directory only.
fn as_it_was_left(data: &Path) -> Left {
    match ControlData::read(data) {
        Ok(control) if control.state.is_clean() => Left::Archived,
        Ok(_) => Left::Behind(
            "the server was not shut down in order, and did not end its last segment".to_owned(),
        ),
        Err(error) => Left::Behind(error.problem().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assignment, backed_up};

    #[test]
    fn a_server_of_which_nobody_knows_how_it_ended_is_not_called_archived() {
        let data = tempfile::tempdir().unwrap();
        let left = as_it_was_left(data.path());
        assert!(matches!(left, Left::Behind(_)), "{left:?}");
    }

    #[test]
    fn a_repository_that_is_away_is_waited_for_a_minute_at_most() {
        let mut want = assignment(1);
        want.spec.backup = Some(backed_up());
        assert_eq!(patience(&want), Duration::from_mins(1));
        if let Some(spec) = &mut want.spec.backup {
            spec.archive_interval_seconds = 1;
        }
        assert_eq!(patience(&want), Duration::from_secs(12));
    }
}
