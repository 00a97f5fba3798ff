//! A manifest of either kind.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::application::Application;
use crate::database::Database;
use crate::metadata::Metadata;
use crate::origin::Origin;

/// Spellings of our apiVersion, the usual one first; the second is how Kubernetes writes group
/// and version.
pub const API_VERSIONS: [&str; 2] = ["lowops.manifests.v1", "lowops.manifests/v1"];

/// Kinds of manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A PostgreSQL database.
    Database,
    /// A program that uses databases.
    Application,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Database, Self::Application];

    /// As it is written in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Database => "Database",
            Self::Application => "Application",
        }
    }
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// A PostgreSQL database.
    Database(Database),
    /// A program that uses databases.
    Application(Application),
}

impl Manifest {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Database(_) => Kind::Database,
            Self::Application(_) => Kind::Application,
        }
    }

    /// Who it is about.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Database(database) => &database.metadata,
            Self::Application(application) => &application.metadata,
        }
    }

    /// Where it is written.
    pub fn origin(&self) -> &Origin {
        match self {
            Self::Database(database) => &database.origin,
            Self::Application(application) => &application.origin,
        }
    }

    /// The manifest as YAML, its fields in the order of the reference.
    pub fn to_yaml(&self) -> String {
        // YAML 1.2 as this crate reads it, yet with quotes where YAML 1.1 would read more into a
        // text: other tools will read it too.
        let options =
            serde_saphyr::ser_options! { compact_list_indent: true, prefer_block_scalars: true };
        serde_saphyr::to_string_with_options(self, options)
            .expect("names, texts and numbers should be serialisable")
    }
}

/// As it is written: `apiVersion`, `kind`, `metadata`, `spec`.
impl Serialize for Manifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_struct("Manifest", 4)?;
        document.serialize_field("apiVersion", API_VERSIONS[0])?;
        document.serialize_field("kind", self.kind().as_str())?;
        document.serialize_field("metadata", self.metadata())?;
        match self {
            Self::Database(database) => document.serialize_field("spec", &database.spec)?,
            Self::Application(application) => {
                document.serialize_field("spec", &application.spec)?;
            }
        }
        document.end()
    }
}
