//! What cannot be done, with its place and what to do about it. All that can be known before
//! anything is done is said here.

mod application;
mod database;
mod notes;
mod restore;

use std::sync::Arc;

use boma_problem::{Class, IntoProblem, Problem};
use jiff::Timestamp;

use crate::catalog::Subject;
use crate::keys::DatabaseKey;
use crate::source::CUSTOM_RESOURCES;

pub use application::ApplicationRefusal;
pub(super) use application::{of_application, pre_deploy_failed};
pub use database::DatabaseRefusal;
pub(super) use database::{of_database, restored_version, settings};
pub(super) use notes::Notes;
pub use restore::RestoreRefusal;

/// How many names a message lists before it says "and N more".
const LISTED: usize = 5;

/// Why something cannot be taken away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemovalRefusal {
    /// The database is protected.
    #[error("Database {key} has no manifest any more, and is protected against removal")]
    Protected {
        /// Which one.
        key: DatabaseKey,
    },
    /// Another source than before would take resources away.
    #[error("these manifests come from {current}, the applied ones from {former}; {} would be removed", list(.removed))]
    OtherSource {
        /// Where the applied manifests came from.
        former: String,
        /// Where these come from.
        current: String,
        /// What has no manifest in the new source.
        removed: Vec<Subject>,
    },
    /// There are no manifests at all.
    #[error("there is no manifest at all; {} would be removed", list(removed))]
    NoManifests {
        /// Where they were looked for, where that is remembered.
        place: Option<Arc<str>>,
        /// What would be removed.
        removed: Vec<Subject>,
    },
}

impl IntoProblem for RemovalRefusal {
    fn problem(&self) -> Problem {
        let problem = |code| Problem::new(Class::User, code, self.to_string());
        match self {
            Self::Protected { key } => problem("deletion-protected").hint(format!(
                "Put the manifest of `{}` back with `deletionProtection: false` and apply it; \
                 then take it away. Its data is kept even then, until `boma purge {}`.",
                key.name, key.name
            )),
            Self::OtherSource { former, .. } => problem("other-source")
                .hint(format!(
                    "Work in {former}, or put the missing manifests here."
                ))
                .hint("If the move is meant, say so: `boma apply --change-source`."),
            Self::NoManifests { place, .. } if place.as_deref() == Some(CUSTOM_RESOURCES) => {
                problem("no-manifests")
                    .hint(
                        "Look whether somebody has deleted the definitions, and with them every \
                         Database and Application: make those again, and all is as it was.",
                    )
                    .hint(
                        "If everything is to go, say so: `boma --platform kubernetes apply \
                         --change-source custom-resources`.",
                    )
            }
            Self::NoManifests { .. } => problem("no-manifests")
                .hint("Look whether this is the right directory.")
                .hint("If everything is to go, say so: `boma apply --change-source`."),
        }
    }
}

/// Names resources: all of few, the first of many.
fn list(subjects: &[Subject]) -> String {
    let names: Vec<String> = subjects
        .iter()
        .take(LISTED)
        .map(Subject::to_string)
        .collect();
    let names = names.join(", ");
    match subjects.len().saturating_sub(LISTED) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// A retired database whose time is over. It is said, never acted upon.
pub(super) fn expired(key: &DatabaseKey, until: Timestamp) -> Problem {
    let message = format!("the time of the retired Database {key} was over at {until}");
    Problem::new(Class::User, "retired-expired", message)
        .warning()
        .hint(format!(
            "`boma purge {}` destroys its data; nothing else does.",
            key.name
        ))
        .hint("To have it back, put its manifest back.")
}
