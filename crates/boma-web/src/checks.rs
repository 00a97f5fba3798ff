//! Long work that programs ask for and come back to: reading all of a repository, and restoring a
//! backup to prove it. Kept by this process, for as long as it runs and there is room.

use std::sync::{Arc, Mutex, PoisonError};

use boma_engine::keys::DatabaseKey;
use boma_instance::backup::Drill;
use boma_problem::Problem;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::backups::Verification;

/// Checks that are kept at most; the oldest that have ended give way.
const ROOM: usize = 1000;

/// Checks at one time: each reads a whole repository, or fills disks with a restored database.
const SIDE_BY_SIDE: usize = 2;

/// What a check says that has not had its turn.
const WAITS: &str = "waits until other checks have ended";

/// Which check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// All that the database has in its repository is read.
    Verification,
    /// Its newest backup is restored beside it.
    Drill,
}

/// What came of a check.
#[derive(Debug)]
pub(crate) enum Found {
    Verification(Verification),
    Drill(Box<Drill>),
}

/// A check of the backups of a database.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Its name, while this server runs.
    pub id: Uuid,
    /// Which.
    pub kind: CheckKind,
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended; none: it goes on.
    pub ended_at: Option<Timestamp>,
    /// How far it is, in words; none: that is not known, or it has ended.
    pub progress: Option<String>,
    /// What was read.
    pub verification: Option<Verification>,
    /// What was restored.
    pub drill: Option<Drill>,
    /// Why it could not be carried out.
    pub problem: Option<Problem>,
}

/// Checks that were asked for.
pub(crate) struct Checks {
    all: Mutex<Vec<(DatabaseKey, Check)>>,
    turns: Arc<Semaphore>,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            turns: Arc::new(Semaphore::new(SIDE_BY_SIDE)),
        }
    }
}

impl Checks {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(DatabaseKey, Check)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is a check's turn, which is over when the answer is dropped.
    pub(crate) async fn turn(&self, id: Uuid) -> Option<OwnedSemaphorePermit> {
        // None would say that it was closed, which nobody does.
        let turn = self.turns.clone().acquire_owned().await.ok();
        if let Some((_, check)) = self.lock().iter_mut().find(|(_, one)| one.id == id) {
            check.progress = None;
        }
        turn
    }

    /// Begins a check, under this id, unless the same one goes on; answers with the one that does,
    /// and whether it is new.
    pub(crate) fn begin(
        &self,
        database: &DatabaseKey,
        (kind, id): (CheckKind, Uuid),
        now: Timestamp,
    ) -> (Check, bool) {
        let mut checks = self.lock();
        let is_same = |of: &DatabaseKey, one: &Check| {
            of == database && one.kind == kind && one.ended_at.is_none()
        };
        if let Some((_, one)) = checks.iter().find(|(of, one)| is_same(of, one)) {
            return (one.clone(), false);
        }
        if checks.len() >= ROOM
            && let Some(oldest) = checks.iter().position(|(_, one)| one.ended_at.is_some())
        {
            checks.remove(oldest);
        }
        let check = Check {
            id,
            kind,
            began_at: now,
            ended_at: None,
            progress: Some(WAITS.to_owned()),
            verification: None,
            drill: None,
            problem: None,
        };
        checks.push((database.clone(), check.clone()));
        (check, true)
    }

    /// Keeps what came of a check.
    pub(crate) fn end(&self, id: Uuid, found: Result<Found, Box<Problem>>, now: Timestamp) {
        let mut checks = self.lock();
        let Some((_, check)) = checks.iter_mut().find(|(_, one)| one.id == id) else {
            return;
        };
        check.ended_at = Some(now);
        check.progress = None;
        match found {
            Ok(Found::Verification(found)) => check.verification = Some(found),
            Ok(Found::Drill(found)) => check.drill = Some(*found),
            Err(problem) => check.problem = Some(*problem),
        }
    }

    /// A check of a database.
    pub(crate) fn get(&self, database: &DatabaseKey, id: Uuid) -> Option<Check> {
        let checks = self.lock();
        let mut of = checks.iter().filter(|(of, _)| of == database);
        of.find(|(_, one)| one.id == id).map(|(_, one)| one.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> DatabaseKey {
        DatabaseKey::new("o/u/e/p", name)
    }

    fn begin(checks: &Checks, of: &str, kind: CheckKind, id: u128) -> (Check, bool) {
        let id = Uuid::from_u128(id);
        checks.begin(&key(of), (kind, id), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_goes_on_is_not_begun_again() {
        let checks = Checks::default();
        let (first, is_new) = begin(&checks, "a", CheckKind::Drill, 1);
        assert!(is_new);
        assert_eq!(begin(&checks, "a", CheckKind::Drill, 2).0.id, first.id);
        assert!(begin(&checks, "a", CheckKind::Verification, 3).1);
        assert!(begin(&checks, "b", CheckKind::Drill, 4).1);
        let found = Ok(Found::Verification(Verification::default()));
        checks.end(Uuid::from_u128(3), found, Timestamp::UNIX_EPOCH);
        assert!(begin(&checks, "a", CheckKind::Verification, 5).1);
        assert!(checks.get(&key("b"), first.id).is_none());
        let ended = checks.get(&key("a"), Uuid::from_u128(3)).unwrap();
        assert!(ended.ended_at.is_some() && ended.verification.is_some());
    }

    #[tokio::test]
    async fn only_so_many_go_on_at_one_time() {
        let checks = Checks::default();
        let said = |name: &str, id: u128| {
            let check = checks.get(&key(name), Uuid::from_u128(id)).unwrap();
            check.progress
        };
        let mut turns = Vec::new();
        for id in 0..SIDE_BY_SIDE as u128 {
            begin(&checks, &format!("d{id}"), CheckKind::Drill, id);
            assert_eq!(said(&format!("d{id}"), id).as_deref(), Some(WAITS));
            turns.push(checks.turn(Uuid::from_u128(id)).await);
            assert_eq!(said(&format!("d{id}"), id), None);
        }
        begin(&checks, "last", CheckKind::Drill, 9);
        let mut waits = std::pin::pin!(checks.turn(Uuid::from_u128(9)));
        assert!(futures_util::poll!(&mut waits).is_pending());
        assert_eq!(said("last", 9).as_deref(), Some(WAITS));
        turns.pop();
        assert!(waits.await.is_some());
        assert_eq!(said("last", 9), None);
    }

    #[test]
    fn the_oldest_that_has_ended_gives_way() {
        let checks = Checks::default();
        for id in 0..ROOM {
            let id = id as u128;
            begin(&checks, &format!("d{id}"), CheckKind::Verification, id);
        }
        let at = Timestamp::UNIX_EPOCH;
        let ended = Uuid::from_u128(7);
        checks.end(ended, Ok(Found::Verification(Verification::default())), at);
        begin(&checks, "one-more", CheckKind::Drill, 1 << 32);
        assert!(checks.get(&key("d7"), ended).is_none());
        assert!(checks.get(&key("d6"), Uuid::from_u128(6)).is_some());
    }
}
