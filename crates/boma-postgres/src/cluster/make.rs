//! Making a data directory: beside its place, then into it.

use std::path::{Path, PathBuf};

use boma_instance::InstanceId;
use boma_problem::{Class, IntoProblem, Problem};

use super::copy::{sync_file_system, sync_names};
use super::initdb::{self, ProgramError};
use super::making::{Making, remove_leftovers};
use super::marker::{MadeFrom, Marker};
use super::store::Store;
use super::{DataDirectory, inspect};
use crate::control::{ControlData, ControlError};
use crate::path_error::{At, PathError};
use crate::programs::Installation;

/// What to make, where, for whom.
#[derive(Clone, Copy, Debug)]
pub struct NewCluster<'a> {
    /// The programs to make it with.
    pub installation: &'a Installation,
    /// Where the data directory shall be. Its parent must exist, be on the same file system, and
    /// belong to the user that runs the server.
    pub directory: &'a Path,
    /// Whose data it is.
    pub instance: InstanceId,
}

/// What was just done; a process may be killed after any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Milestone {
    /// There is a directory to make it in.
    Begun,
    /// A spare cluster was taken out of the store.
    Claimed,
    /// The template was copied, and has an identity of its own.
    Copied,
    /// `initdb` made it.
    Initialised,
    /// The marker is in it.
    Marked,
    /// It is in its place.
    Placed,
}

impl Milestone {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Begun,
        Self::Claimed,
        Self::Copied,
        Self::Initialised,
        Self::Marked,
        Self::Placed,
    ];
}

/// A data directory that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its marker, which says how it was made.
    pub marker: Marker,
}

/// Why no data directory was made. Nothing is at its place then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// Something is at its place already.
    #[error("`{}` is in use: {why}", directory.display())]
    Occupied {
        /// The place.
        directory: PathBuf,
        /// What is there.
        why: String,
    },
    /// `initdb` refuses root.
    #[error("root may not make a PostgreSQL cluster")]
    Root,
    /// There is no room for a cluster.
    #[error(
        "make data directory `{}`: {} MiB are free on its file system, {} MiB are needed",
        directory.display(),
        free >> 20,
        needed >> 20
    )]
    NoRoom {
        /// The place.
        directory: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// A file operation failed.
    #[error("make data directory `{}`", directory.display())]
    File {
        /// The place.
        directory: PathBuf,
        /// Which.
        #[source]
        source: PathError,
    },
    /// What was made has no usable control file.
    #[error("make data directory `{}`", directory.display())]
    Control {
        /// The place.
        directory: PathBuf,
        /// Why.
        #[source]
        source: ControlError,
    },
    /// `initdb` failed.
    #[error("make data directory `{}`", directory.display())]
    Program {
        /// The place.
        directory: PathBuf,
        /// How.
        #[source]
        source: ProgramError,
    },
}

impl IntoProblem for MakeError {
    fn problem(&self) -> Problem {
        let of = |class, code| Problem::from_error(class, code, self);
        match self {
            Self::Occupied { directory, .. } => {
                of(Class::Config, "data-directory-in-use").hint(format!(
                    "Boma never touches data that it did not make. Move `{}` out of the way if it \
                     is not needed.",
                    directory.display()
                ))
            }
            Self::Root => of(Class::Config, "server-as-root")
                .hint("Run the agent as the user that shall own the data."),
            Self::NoRoom { .. } => of(Class::Config, "disk-full")
                .hint("Free some space on that file system; it goes on by itself then."),
            Self::File { source, .. } => {
                source.explain(of(Class::Transient, "data-directory-not-made"))
            }
            Self::Control {
                source: ControlError::File(source),
                ..
            } => source.explain(of(Class::Transient, "data-directory-not-made")),
            Self::Control { .. } => of(Class::Internal, "data-directory-not-made"),
            Self::Program {
                source: ProgramError::Killed { .. },
                ..
            } => of(Class::Transient, "initdb-killed")
                .hint("It is tried again. `dmesg` says whether memory was short."),
            Self::Program { .. } => of(Class::Config, "initdb-failed")
                .hint("The text above is what the program said; `boma doctor` checks the rest."),
        }
    }
}

/// Makes a data directory: a spare cluster of the store, else a copy of its template, else (the
/// first time, or without a store) one made by `initdb`. Durable when it returns.
///
/// `progress` is told of each milestone when it is reached.
///
/// # Idempotency
/// Killed at any point, it can be called again; what the last call left behind is removed then.
/// The caller makes sure that no two calls for one instance run at a time (see
/// [`crate::server::Lease`]).
pub fn make(
    new: &NewCluster<'_>,
    store: Option<&Store>,
    progress: &mut dyn FnMut(Milestone),
) -> Result<Made, MakeError> {
    let NewCluster {
        directory,
        instance,
        ..
    } = *new;
    let file = |source| MakeError::File {
        directory: directory.to_owned(),
        source,
    };
    if rustix::process::geteuid().is_root() {
        return Err(MakeError::Root);
    }
    refuse_occupied(directory)?;
    let parent = directory.parent().unwrap_or(Path::new("/"));
    let prefix = format!(".boma-making-{instance}-");
    remove_leftovers(parent, &prefix).map_err(file)?;
    let making = Making::begin(parent, &prefix).map_err(file)?;
    progress(Milestone::Begun);

    let data = making.data();
    let made_from = fill(new, store, &data, progress)?;
    let control = ControlData::read(&data).map_err(|source| MakeError::Control {
        directory: directory.to_owned(),
        source,
    })?;
    let marker = Marker::new(Some(instance), control.system_identifier, made_from);
    marker.write(&data).map_err(file)?;
    if made_from != MadeFrom::Spare {
        sync_file_system(&data).map_err(file)?;
    }
    progress(Milestone::Marked);

    // Replaces an empty directory; anything else makes it fail.
    std::fs::rename(&data, directory)
        .at("put in place", directory)
        .map_err(file)?;
    sync_names(parent).map_err(file)?;
    progress(Milestone::Placed);
    Ok(Made { marker })
}

pub(super) fn refuse_occupied(directory: &Path) -> Result<(), MakeError> {
    let found = inspect(directory).map_err(|source| MakeError::File {
        directory: directory.to_owned(),
        source,
    })?;
    let why = match found {
        DataDirectory::Missing | DataDirectory::Empty => return Ok(()),
        DataDirectory::Ours(ours) => match ours.marker.instance {
            Some(instance) => format!("it is the data of instance {instance}"),
            None => "it is a cluster made ahead".to_owned(),
        },
        DataDirectory::Unfinished { why, .. } | DataDirectory::Foreign { why } => why,
    };
    Err(MakeError::Occupied {
        directory: directory.to_owned(),
        why,
    })
}

/// Puts a cluster at `data`, the quickest way there is.
fn fill(
    new: &NewCluster<'_>,
    store: Option<&Store>,
    data: &Path,
    progress: &mut dyn FnMut(Milestone),
) -> Result<MadeFrom, MakeError> {
    let NewCluster {
        installation,
        directory,
        ..
    } = *new;
    if store.is_some_and(|store| store.claim_spare(installation, data)) {
        progress(Milestone::Claimed);
        return Ok(MadeFrom::Spare);
    }
    check_room(directory, data)?;
    let copied = store.map_or(Ok(false), |store| store.copy_template(installation, data));
    if copied.map_err(|source| MakeError::File {
        directory: directory.to_owned(),
        source,
    })? {
        progress(Milestone::Copied);
        return Ok(MadeFrom::Template);
    }
    initdb::initdb(installation, data).map_err(|source| MakeError::Program {
        directory: directory.to_owned(),
        source,
    })?;
    progress(Milestone::Initialised);
    Ok(MadeFrom::Initdb)
}

/// Sees beforehand that a cluster does not fit, instead of filling the disk to the last byte.
/// What cannot be measured is tried.
fn check_room(directory: &Path, data: &Path) -> Result<(), MakeError> {
    /// An empty cluster is 46 MB, and its server soon writes a second WAL segment of 16.
    const NEEDED: u64 = 64 << 20;
    let free = data
        .parent()
        .and_then(|parent| rustix::fs::statvfs(parent).ok())
        .map_or(NEEDED, |found| found.f_bavail * found.f_frsize);
    if free < NEEDED {
        let directory = directory.to_owned();
        return Err(MakeError::NoRoom {
            directory,
            free,
            needed: NEEDED,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_seen_beforehand() {
        // A file system without a byte of room.
        let error = check_room(Path::new("/x/data"), Path::new("/proc/making")).unwrap_err();
        let problem = error.problem();
        assert_eq!(
            (problem.class, problem.code.as_str()),
            (Class::Config, "disk-full")
        );
        assert_eq!(
            problem.message,
            "make data directory `/x/data`: 0 MiB are free on its file system, 64 MiB are needed"
        );
        assert!(check_room(Path::new("/x/data"), Path::new("/nowhere/making")).is_ok());
    }

    #[test]
    fn every_failure_says_what_to_do() {
        let directory = PathBuf::from("/x/data");
        let source = PathError {
            verb: "write",
            path: PathBuf::from("/x/data/y"),
            source: std::io::ErrorKind::StorageFull.into(),
        };
        let full = MakeError::File {
            directory: directory.clone(),
            source,
        };
        assert_eq!(
            full.problem().to_string(),
            "make data directory `/x/data`: write `/x/data/y`: no storage space"
        );
        assert_eq!(full.problem().code, "disk-full");
        let root = MakeError::Root.problem();
        assert_eq!(root.code, "server-as-root");
        assert!(root.hints[0].contains("as the user"));
    }
}
