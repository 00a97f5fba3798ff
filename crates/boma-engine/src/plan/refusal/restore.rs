//! Restores that cannot be made as asked, as far as it is known before anything starts. What the
//! repository says counts in the end; the agent asks it before it makes anything.

use boma_instance::MajorVersion;
use boma_instance::backup::{BackupStatus, RecoveryTarget};
use boma_instance::wal::Lsn;
use boma_problem::{Class, IntoProblem, Problem};
use jiff::Timestamp;

use crate::catalog::{Database, RestoreFrom};
use crate::keys::DatabaseKey;
use crate::observed::{AgentState, Observed};

/// Why a database cannot be made from backups as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreRefusal {
    /// There is no such database.
    #[error("there is no database {0} whose backups could be restored")]
    Unknown(DatabaseKey),
    /// It was never backed up.
    #[error("database {0} is not backed up")]
    NoBackups(DatabaseKey),
    /// Its backups were measured, and there is no whole one.
    #[error("database {0} has no whole backup yet")]
    NoneYet(DatabaseKey),
    /// It has another major version.
    #[error("the backups of {database} are of PostgreSQL {theirs}, the manifest says {wanted}")]
    OtherVersion {
        /// Whose backups.
        database: DatabaseKey,
        /// Its version.
        theirs: MajorVersion,
        /// What the manifest says.
        wanted: MajorVersion,
    },
    /// This platform cannot let two servers change places.
    #[error("not supported {platform} yet: a restore in place")]
    NotInPlace {
        /// "on this machine".
        platform: String,
    },
    /// The moment has not come.
    #[error("{time} cannot be restored: it has not come yet")]
    InTheFuture {
        /// What was asked for.
        time: Timestamp,
    },
    /// The moment is not in the window.
    #[error("{time} cannot be restored: {database} can be restored from {from} to {until}")]
    OutsideWindow {
        /// Whose backups.
        database: DatabaseKey,
        /// What was asked for.
        time: Timestamp,
        /// Oldest moment.
        from: Timestamp,
        /// Newest moment.
        until: Timestamp,
    },
    /// The position is older than what any backup reaches.
    #[error("position {position} cannot be restored: {database} can be restored from {from} on")]
    BeforeWindow {
        /// Whose backups.
        database: DatabaseKey,
        /// What was asked for.
        position: Lsn,
        /// Oldest position.
        from: Lsn,
    },
    /// No backup has this name.
    #[error("database {database} has no base backup {label:?}")]
    UnknownBackup {
        /// Whose backups.
        database: DatabaseKey,
        /// The name.
        label: String,
    },
}

impl IntoProblem for RestoreRefusal {
    fn problem(&self) -> Problem {
        let user = |code| Problem::new(Class::User, code, self.to_string());
        match self {
            Self::Unknown(_) => user("restore-unknown-database")
                .hint("`boma get` lists databases, retired ones too."),
            Self::NoBackups(_) => user("restore-no-backup").hint(
                "Write `backupConfig.enabled: true` in its manifest, or leave `backupConfig` out.",
            ),
            Self::NoneYet(database) => user("restore-no-backup")
                .hint(format!("Take one: `boma backup create {}`.", database.name)),
            Self::OtherVersion { theirs, .. } => user("version-changed")
                .hint(format!("Write `version: \"{theirs}\"`, or leave it out.")),
            Self::NotInPlace { .. } => user("not-supported")
                .hint("Restore into a new database: `boma restore DATABASE --as NEW`."),
            Self::InTheFuture { .. } => user("restore-outside-window")
                .hint("Leave `targetTime` out to restore all that is archived."),
            Self::OutsideWindow { from, until, .. } => user("restore-outside-window")
                .hint(format!("Choose a moment from {from} to {until}.")),
            Self::BeforeWindow { from, .. } => {
                user("restore-outside-window").hint(format!("Choose a position from {from} on."))
            }
            Self::UnknownBackup { database, .. } => user("restore-backup-unknown").hint(format!(
                "`boma backup list {}` shows the base backups that there are.",
                database.name
            )),
        }
    }
}

/// Whether a database can be made from these backups.
pub(super) fn check(
    want: &Database,
    restore: &RestoreFrom,
    (world, now): (&Observed, Timestamp),
) -> Result<(), RestoreRefusal> {
    let database = || restore.database.clone();
    if let RecoveryTarget::Time(time) = restore.target
        && time > now
    {
        return Err(RestoreRefusal::InTheFuture { time });
    }
    // What is in a repository without a database, only who reads it can tell.
    if restore.put_away.is_some() {
        return Ok(());
    }
    let source = world.databases.get(&restore.database);
    let source = source.ok_or_else(|| RestoreRefusal::Unknown(database()))?;
    let Some(spec) = &source.spec else {
        return Err(RestoreRefusal::NoneYet(database()));
    };
    if spec.backup.is_none() {
        return Err(RestoreRefusal::NoBackups(database()));
    }
    if let Some(wanted) = want.version
        && wanted != spec.version
    {
        let theirs = spec.version;
        return Err(RestoreRefusal::OtherVersion {
            database: database(),
            theirs,
            wanted,
        });
    }
    match &source.agent {
        AgentState::Answering(status) => match &status.backup {
            Some(backup) => in_window(restore, backup),
            None => Ok(()),
        },
        AgentState::Silent(_) | AgentState::Absent => Ok(()),
    }
}

fn in_window(restore: &RestoreFrom, backup: &BackupStatus) -> Result<(), RestoreRefusal> {
    let database = || restore.database.clone();
    if backup.backups.is_empty() {
        return Err(RestoreRefusal::NoneYet(database()));
    }
    // What is known of the window is of the newest line of history, and what was written since the
    // last look may be archived by now: only who reads the repository can tell.
    if restore.timeline.is_some() {
        return Ok(());
    }
    let window = backup.recoverable_from.zip(backup.recoverable_until);
    match &restore.target {
        RecoveryTarget::Time(time) => match window {
            Some((from, until)) if *time < from => Err(RestoreRefusal::OutsideWindow {
                database: database(),
                time: *time,
                from,
                until,
            }),
            _ => Ok(()),
        },
        RecoveryTarget::Lsn(position) => {
            match backup.backups.iter().map(|one| one.stop_lsn).min() {
                Some(from) if *position < from => Err(RestoreRefusal::BeforeWindow {
                    database: database(),
                    position: *position,
                    from,
                }),
                _ => Ok(()),
            }
        }
        RecoveryTarget::Backup(label) if backup.backups.iter().all(|one| one.label != *label) => {
            Err(RestoreRefusal::UnknownBackup {
                database: database(),
                label: label.clone(),
            })
        }
        RecoveryTarget::Backup(_) | RecoveryTarget::Latest | RecoveryTarget::Name(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    fn key() -> DatabaseKey {
        DatabaseKey::new("o/u/e/p", "accounts-db")
    }

    #[test]
    fn what_cannot_be_restored_says_what_can() {
        let time: Timestamp = "2026-11-21T14:32:06Z".parse().unwrap();
        let (from, until) = (time + 1.hour(), time + 2.hours());
        let (database, wanted) = (key(), MajorVersion::V15);
        let theirs = MajorVersion::V17;
        for (refusal, text, hint) in [
            (
                RestoreRefusal::Unknown(key()),
                "there is no database o/u/e/p/accounts-db whose backups could be restored",
                "`boma get` lists",
            ),
            (
                RestoreRefusal::NoBackups(key()),
                "database o/u/e/p/accounts-db is not backed up",
                "Write `backupConfig.enabled: true`",
            ),
            (
                RestoreRefusal::NoneYet(key()),
                "database o/u/e/p/accounts-db has no whole backup yet",
                "Take one: `boma backup create accounts-db`.",
            ),
            (
                RestoreRefusal::OtherVersion {
                    database: database.clone(),
                    theirs,
                    wanted,
                },
                "the backups of o/u/e/p/accounts-db are of PostgreSQL 17, the manifest says 15",
                "Write `version: \"17\"`",
            ),
            (
                RestoreRefusal::NotInPlace {
                    platform: "on Kubernetes".into(),
                },
                "not supported on Kubernetes yet: a restore in place",
                "Restore into a new database",
            ),
            (
                RestoreRefusal::InTheFuture { time },
                "2026-11-21T14:32:06Z cannot be restored: it has not come yet",
                "Leave `targetTime` out",
            ),
            (
                RestoreRefusal::OutsideWindow {
                    database,
                    time,
                    from,
                    until,
                },
                "2026-11-21T14:32:06Z cannot be restored: o/u/e/p/accounts-db can be restored \
                 from 2026-11-21T15:32:06Z to 2026-11-21T16:32:06Z",
                "Choose a moment from 2026-11-21T15:32:06Z",
            ),
            (
                RestoreRefusal::BeforeWindow {
                    database: key(),
                    position: Lsn(0x30),
                    from: Lsn(0x1_0000_0040),
                },
                "position 0/30 cannot be restored: o/u/e/p/accounts-db can be restored from 1/40 on",
                "Choose a position from 1/40 on.",
            ),
            (
                RestoreRefusal::UnknownBackup {
                    database: key(),
                    label: "20261121T021406Z-full".into(),
                },
                "database o/u/e/p/accounts-db has no base backup \"20261121T021406Z-full\"",
                "`boma backup list accounts-db` shows",
            ),
        ] {
            let problem = refusal.problem();
            assert_eq!(problem.to_string(), text);
            assert!(problem.hints[0].starts_with(hint), "{problem:?}");
        }
    }
}
