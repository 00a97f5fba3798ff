//! Names of resources across the whole installation. Cheap to clone: plans are full of them.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! key_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name {
            /// `organization/organizational-unit/environment/project`.
            pub project: Arc<str>,
            /// `metadata.name`.
            pub name: Arc<str>,
        }

        impl $name {
            /// Names a resource of a project.
            pub fn new(project: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
                Self { project: project.into(), name: name.into() }
            }
        }

        // Written out so that tests can count how often keys are compared.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                #[cfg(test)]
                looked_at::once_more();
                self.project.cmp(&other.project).then_with(|| self.name.cmp(&other.name))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.project, self.name)
            }
        }

        impl FromStr for $name {
            type Err = NotAKey;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let (project, name) = text.rsplit_once('/').ok_or_else(|| NotAKey(text.into()))?;
                Ok(Self::new(project, name))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAKey;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(key: $name) -> Self {
                key.to_string()
            }
        }
    };
}

/// A text that does not name a resource of a project.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form project/name")]
pub struct NotAKey(String);

key_type! {
    /// Names a database: project identity and `metadata.name`.
    DatabaseKey
}

key_type! {
    /// Names an application: project identity and `metadata.name`.
    ApplicationKey
}

key_type! {
    /// Names a secret that people have stored for the applications of a project.
    SecretKey
}

/// Names a grant: which application on which database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GrantKey {
    /// Who is granted access.
    pub application: ApplicationKey,
    /// To what.
    pub database: DatabaseKey,
}

impl fmt::Display for GrantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.application, self.database)
    }
}

/// How often keys were compared by this thread: the work of a plan, counted instead of timed.
#[cfg(test)]
pub(crate) mod looked_at {
    use std::cell::Cell;

    thread_local! {
        static TIMES: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn once_more() {
        TIMES.set(TIMES.get() + 1);
    }

    pub(crate) fn times() -> u64 {
        TIMES.get()
    }
}
