//! What a plan waits for.

use std::fmt;

use jiff::Timestamp;

use crate::catalog::Subject;
use crate::keys::{ApplicationKey, DatabaseKey};

/// Something that has to happen before more can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingOn {
    /// A person stopped it; only `boma start` lets it run again.
    Held {
        /// What is held.
        subject: Subject,
    },
    /// An application needs a database whose change cannot be done.
    BlockedDatabase {
        /// Who waits.
        application: ApplicationKey,
        /// For what.
        database: DatabaseKey,
    },
    /// An application should start, and a database of its is stopped.
    StoppedDatabase {
        /// Who waits.
        application: ApplicationKey,
        /// For what.
        database: DatabaseKey,
        /// By whom it is stopped.
        stopped: Stopped,
    },
    /// A password is to be exchanged, and its server is not as its spec says.
    RotationDue {
        /// Whose password.
        application: ApplicationKey,
        /// For what.
        database: DatabaseKey,
    },
    /// An application that runs elsewhere has a new password and still needs the former one.
    PickUp {
        /// Who waits.
        application: ApplicationKey,
        /// For what.
        database: DatabaseKey,
        /// Sessions on its new login, and on its former one.
        sessions: (u32, u32),
        /// When sessions on the former login are ended; none: not before there is one on the new.
        until: Option<Timestamp>,
    },
    /// An application ended by itself too often to be started again at once.
    Backoff {
        /// Which one.
        application: ApplicationKey,
        /// How often in a row it ended soon after its start.
        failures: u32,
        /// When it is started again.
        until: Timestamp,
    },
}

/// Why a database does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Its manifest says `suspended: true`.
    Suspended,
    /// A person stopped it by `boma stop`.
    Held,
    /// It is being replaced by what it was.
    Replaced,
}

impl WaitingOn {
    /// Who waits.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Held { subject } => subject.clone(),
            Self::BlockedDatabase { application, .. }
            | Self::StoppedDatabase { application, .. }
            | Self::RotationDue { application, .. }
            | Self::PickUp { application, .. }
            | Self::Backoff { application, .. } => application.into(),
        }
    }

    /// When it is over by the clock; none: something has to happen.
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Backoff { until, .. } => Some(*until),
            Self::PickUp { until, .. } => *until,
            Self::Held { .. }
            | Self::BlockedDatabase { .. }
            | Self::StoppedDatabase { .. }
            | Self::RotationDue { .. } => None,
        }
    }

    /// Stable kebab-case name of the reason.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Held { .. } => "held",
            Self::BlockedDatabase { .. } => "blocked-database",
            Self::StoppedDatabase { .. } => "stopped-database",
            Self::RotationDue { .. } => "rotation-due",
            Self::PickUp { .. } => "pick-up",
            Self::Backoff { .. } => "backoff",
        }
    }
}

impl fmt::Display for WaitingOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { subject } => {
                let name = match subject {
                    Subject::Database(key) => &*key.name,
                    Subject::Application(key) => &*key.name,
                    Subject::Installation => "",
                };
                write!(
                    f,
                    "stopped by a person; `boma start {name}` lets it run again"
                )
            }
            Self::BlockedDatabase { database, .. } => {
                write!(f, "waits for Database {}, which is blocked", database.name)
            }
            Self::StoppedDatabase {
                database, stopped, ..
            } => {
                write!(
                    f,
                    "waits for Database {}, which is {stopped}",
                    database.name
                )
            }
            Self::RotationDue { database, .. } => write!(
                f,
                "another password is due; waits until Database {} is as its manifest says",
                database.name
            ),
            Self::PickUp {
                database,
                sessions: (new, former),
                until,
                ..
            } => {
                write!(
                    f,
                    "waits for the application to pick up its new environment: Database {} has \
                     {new} of its sessions with the new password and {former} with the former one",
                    database.name
                )?;
                until.map_or(Ok(()), |until| write!(f, ", which end at {until}"))
            }
            Self::Backoff {
                failures, until, ..
            } => write!(
                f,
                "ended {failures} times in a row soon after its start; starts again at {until}"
            ),
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Suspended => "suspended",
            Self::Held => "stopped by a person",
            Self::Replaced => "being restored in place",
        })
    }
}
