//! Data directories: what one is, and making a new one.
//!
//! ```text
//!                      rename            copy, identity            initdb
//!   spare cluster ───────────┐  template ─────────────┐   nothing ─────────┐
//!                            ▼                        ▼                    ▼
//!             <parent>/.boma-making-<instance>-<random>/data        (never at the final name)
//!                                      │ marker, everything synced
//!                                      ▼ rename
//!                                 <parent>/<name>                    whole, and marked as ours
//! ```
//!
//! # Guarantees
//! - A data directory is made beside its place and renamed into it. Whatever is killed, and when:
//!   at the final name is nothing, or a whole cluster. Only an empty directory is ever replaced.
//! - What an attempt left behind is recognised (a name of ours with this instance's id, and our
//!   marker in it) and removed by the next attempt. Nothing else is ever removed.
//! - Each cluster has a system identifier of its own.
//!
//! Everything here blocks; call it from `tokio::task::spawn_blocking`.

mod beside;
mod copy;
mod initdb;
mod make;
mod making;
mod marker;
mod store;

use std::path::Path;

use boma_instance::MajorVersion;

pub use beside::Beside;
pub use initdb::{ProgramError, SPARE_DATABASE};
pub use make::{Made, MakeError, Milestone, NewCluster, make};
pub use marker::{MadeFrom, Marker};
pub use store::{ReplenishError, Replenished, Stock, Store};

use crate::control::{self, ControlData};
use crate::path_error::{At, PathError};

/// What is at the place of a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataDirectory {
    /// Nothing. [`make()`] may make one.
    Missing,
    /// An empty directory, as a fresh volume is. [`make()`] may make one.
    Empty,
    /// A whole cluster with our marker.
    Ours(Ours),
    /// Something with our marker that is not a cluster: a restore that did not end, or damage.
    Unfinished {
        /// The marker.
        marker: Marker,
        /// What is missing.
        why: String,
    },
    /// Anything else. Never touched.
    Foreign {
        /// How this was seen.
        why: String,
    },
}

/// A whole cluster of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ours {
    /// The marker.
    pub marker: Marker,
    /// Its major version.
    pub major: MajorVersion,
    /// Its control file.
    pub control: ControlData,
}

/// Looks at the place of a data directory; reads only.
pub fn inspect(directory: &Path) -> Result<DataDirectory, PathError> {
    let mut entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(DataDirectory::Missing);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Ok(foreign("it is not a directory"));
        }
        failed => failed.at("read", directory)?,
    };
    if entries.next().is_none() {
        return Ok(DataDirectory::Empty);
    }
    let Some(marker) = Marker::read(directory)? else {
        return Ok(foreign(if directory.join("PG_VERSION").exists() {
            "it is a PostgreSQL cluster that Boma did not make"
        } else {
            "it has files that Boma did not make"
        }));
    };
    let marker = match marker {
        Ok(marker) => marker,
        Err(error) => {
            return Ok(foreign(&format!(
                "its `{}` is not one: {error}",
                marker::FILE
            )));
        }
    };
    Ok(match whole(directory) {
        Ok((_, control)) if control.system_identifier != marker.system_identifier => {
            foreign(&format!(
                "its system identifier is {}, but its `{}` belongs to {}: another cluster was put \
                 in its place",
                control.system_identifier,
                marker::FILE,
                marker.system_identifier
            ))
        }
        Ok((major, control)) => DataDirectory::Ours(Ours {
            marker,
            major,
            control,
        }),
        Err(why) => DataDirectory::Unfinished { marker, why },
    })
}

fn foreign(why: &str) -> DataDirectory {
    DataDirectory::Foreign {
        why: why.to_owned(),
    }
}

/// Its version and control file, or what is wrong with them.
fn whole(directory: &Path) -> Result<(MajorVersion, ControlData), String> {
    let chain = |error: &dyn std::error::Error| {
        let source = error.source().map(|source| format!(": {source}"));
        format!("{error}{}", source.unwrap_or_default())
    };
    let major = control::major_version(directory)
        .map_err(|error| chain(&error))?
        .ok_or("its `PG_VERSION` is none of 15 to 18")?;
    let control = ControlData::read(directory).map_err(|error| chain(&error))?;
    Ok((major, control))
}
