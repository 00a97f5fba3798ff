//! What is wrong between manifests.

use std::fmt;

use boma_manifest::Origin;
use boma_problem::{Class, IntoProblem, Place, Problem};

use crate::keys::{ApplicationKey, DatabaseKey};

/// Kind of a resource, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    /// `Database`.
    Database,
    /// `Application`.
    Application,
}

/// Something is wrong between manifests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// Two manifests describe one resource.
    #[error("{kind} {name} is described twice")]
    Duplicate {
        /// What they describe.
        kind: SubjectKind,
        /// Its full name.
        name: String,
        /// Where it is described first.
        first: Box<Place>,
        /// Where it is described again.
        again: Box<Place>,
    },
    /// A grant names a database that is not there.
    #[error("there is no Database {database}")]
    NoSuchDatabase {
        /// Its full name.
        database: DatabaseKey,
        /// What may be meant, as it would be written.
        nearest: Option<String>,
        /// Where it is named.
        at: Box<Place>,
    },
    /// A grant names a database of a project that does not admit the application's.
    #[error("Database {database} does not admit applications of project {project}")]
    NotAdmitted {
        /// The database's full name.
        database: DatabaseKey,
        /// The application's project.
        project: String,
        /// Where the grant is.
        at: Box<Place>,
        /// Where the database is described.
        database_at: Box<Place>,
    },
    /// Two applications would get one role name.
    #[error("{one} and {other} would both get login role {role:?} in Database {database}")]
    SameRole {
        /// Which database.
        database: DatabaseKey,
        /// The role's name.
        role: String,
        /// One application.
        one: ApplicationKey,
        /// The other one.
        other: ApplicationKey,
        /// Where the other one's grant is.
        at: Box<Place>,
    },
}

impl CatalogError {
    pub(super) fn duplicate(key: &impl Key, first: &Origin, again: &Origin) -> Self {
        Self::Duplicate {
            kind: key.kind(),
            name: key.to_string(),
            first: Box::new(first.place("metadata.name")),
            again: Box::new(again.place("metadata.name")),
        }
    }
}

/// A key that knows the kind of what it names.
pub(super) trait Key: fmt::Display {
    fn kind(&self) -> SubjectKind;
}

impl Key for DatabaseKey {
    fn kind(&self) -> SubjectKind {
        SubjectKind::Database
    }
}

impl Key for ApplicationKey {
    fn kind(&self) -> SubjectKind {
        SubjectKind::Application
    }
}

impl fmt::Display for SubjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "Database",
            Self::Application => "Application",
        })
    }
}

impl IntoProblem for CatalogError {
    fn problem(&self) -> Problem {
        let problem =
            |code, at: &Place| Problem::new(Class::User, code, self.to_string()).at(at.clone());
        match self {
            Self::Duplicate { first, again, .. } => problem("duplicate-resource", again)
                .related("described here first", (**first).clone())
                .hint("Take one of the two away, or give it another name."),
            Self::NoSuchDatabase { nearest, at, .. } => {
                let problem = problem("no-such-database", at);
                match nearest {
                    Some(name) => problem.hint(format!("Did you mean `{name}`?")),
                    None => problem.hint(
                        "Add a manifest of kind Database with this name, or take the grant away.",
                    ),
                }
            }
            Self::NotAdmitted {
                at,
                database_at,
                project,
                ..
            } => {
                let own = project.rsplit('/').next().unwrap_or_default();
                problem("not-admitted", at)
                    .related("the database", (**database_at).clone())
                    .hint(format!(
                        "Add `project: {own}` to `access.projects` of the database's manifest."
                    ))
            }
            Self::SameRole { at, .. } => {
                problem("same-role", at).hint("Give one of the applications another name.")
            }
        }
    }
}
