//! Changes of what an application may use.

use super::{Change, Step, Written};

/// Where grants are in an application's manifest.
const GRANTS: [&str; 3] = ["spec", "accessControl", "databases"];

/// An application gets access to a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The database, as a manifest of the application's project names it.
    pub database: String,
    /// The variable that gets the connection string.
    pub variable: String,
    /// Whether it may only read.
    pub read_only: bool,
}

impl From<Attachment> for Change {
    fn from(new: Attachment) -> Self {
        let variable = Written::fields([("envVar", Written::Text(new.variable))]);
        let grant = Written::fields([
            ("name", Written::Text(new.database)),
            ("readOnly", Written::Flag(new.read_only)),
            ("secretSource", variable),
        ]);
        Self::Append(Step::fields(GRANTS), grant)
    }
}

impl Change {
    /// A grant of an application goes: the one at this place in its manifest's list, from 0.
    pub fn detachment(index: usize) -> Self {
        let mut path = Step::fields(GRANTS);
        path.push(Step::Item(index));
        Self::Remove(path)
    }
}
