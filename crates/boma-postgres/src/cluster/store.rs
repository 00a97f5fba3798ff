//! Clusters made ahead: a template for each version, and spare clusters copied from it.
//!
//! ```text
//!   <store>/lock                                    held by whoever makes some
//!   <store>/17-17.10-1a2b3c4d/template              made by initdb once, then shut down cleanly
//!   <store>/17-17.10-1a2b3c4d/spare-<random>        ready to be taken: renamed away
//!   <store>/17-17.10-1a2b3c4d/making-<random>/data  not ready yet
//! ```
//!
//! Whoever renames a spare has it; two never have the same. Taking needs no lock.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use boma_problem::{Class, IntoProblem, Problem};

use super::copy::{copy_tree, sync_file_system, sync_names};
use super::initdb::{self, ProgramError, fingerprint};
use super::making::{Making, remove_leftovers};
use super::marker::{MadeFrom, Marker};
use crate::control::{ControlData, ControlError, Identity, give_identity};
use crate::path_error::{At, PathError};
use crate::programs::Installation;

const TEMPLATE: &str = "template";
const SPARE: &str = "spare-";
const MAKING: &str = "making-";

/// A directory of clusters made ahead. It should be on the file system of the data directories:
/// elsewhere spares cannot be taken, only the template be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

/// What is made ahead for an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stock {
    /// Whether there is a template.
    pub template: bool,
    /// How many spares wait.
    pub spares: usize,
}

/// What [`Store::replenish`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replenished {
    /// Another process is at it.
    Busy,
    /// As many spares as wanted are there; so many of them are new.
    Made(usize),
}

/// Why clusters could not be made ahead. Nothing depends on them: making a server takes longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplenishError {
    /// A file operation failed.
    #[error("make spare clusters in `{}`", store.display())]
    File {
        /// The store.
        store: PathBuf,
        /// Which.
        #[source]
        source: PathError,
    },
    /// A copy could not be given an identity of its own.
    #[error("make spare clusters in `{}`", store.display())]
    Control {
        /// The store.
        store: PathBuf,
        /// Why.
        #[source]
        source: ControlError,
    },
    /// `initdb` failed.
    #[error("make spare clusters in `{}`", store.display())]
    Program {
        /// The store.
        store: PathBuf,
        /// How.
        #[source]
        source: ProgramError,
    },
}

impl IntoProblem for ReplenishError {
    fn problem(&self) -> Problem {
        let problem = Problem::from_error(Class::Transient, "spares-not-made", self)
            .warning()
            .hint("New servers start all the same, only slower.");
        match self {
            Self::File { source, .. } => source.explain(problem),
            Self::Control { .. } | Self::Program { .. } => problem,
        }
    }
}

/// What goes wrong inside, before it is known in which store.
enum Failure {
    File(PathError),
    Control(ControlError),
    Program(ProgramError),
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        Self::File(error)
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

impl From<ProgramError> for Failure {
    fn from(error: ProgramError) -> Self {
        Self::Program(error)
    }
}

impl Store {
    /// The store at a directory, which [`Self::replenish`] makes if it is not there.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// What is made ahead for an installation.
    pub fn stock(&self, installation: &Installation) -> Stock {
        let ahead = self.ahead_of(installation);
        Stock {
            template: ahead.join(TEMPLATE).is_dir(),
            spares: spares(&ahead).len(),
        }
    }

    /// Makes clusters ahead until `count` spares wait, the template first, and removes those of
    /// other minor versions. Takes about a second for the template, a tenth for each spare; meant
    /// for a process in the background. One process at a time does it.
    ///
    /// # Idempotency
    /// Killed at any point, what is there is whole; the next call removes what is not.
    pub fn replenish(
        &self,
        installation: &Installation,
        count: usize,
    ) -> Result<Replenished, ReplenishError> {
        self.fill(installation, count)
            .map_err(|failure| self.not_made(failure))
    }

    /// Makes the template unless it is there, and waits for another process that is at it. For
    /// those who are about to make several clusters: one `initdb` and copies of what it made take
    /// less than as many times `initdb`.
    ///
    /// # Idempotency
    /// As with [`Self::replenish`]; who waits for a process that is killed does its work.
    pub fn ensure_template(&self, installation: &Installation) -> Result<(), ReplenishError> {
        let ensure = || {
            let (ahead, lock) = self.open(installation)?;
            lock.lock().at("lock", &self.root)?;
            self.template(installation, &ahead)
        };
        ensure().map_err(|failure| self.not_made(failure))
    }

    fn not_made(&self, failure: Failure) -> ReplenishError {
        let store = self.root.clone();
        match failure {
            Failure::File(source) => ReplenishError::File { store, source },
            Failure::Control(source) => ReplenishError::Control { store, source },
            Failure::Program(source) => ReplenishError::Program { store, source },
        }
    }

    fn fill(&self, installation: &Installation, count: usize) -> Result<Replenished, Failure> {
        let (ahead, lock) = self.open(installation)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Replenished::Busy),
            Err(TryLockError::Error(error)) => Err(error).at("lock", &self.root)?,
        }
        self.template(installation, &ahead)?;
        let mut made = 0;
        while spares(&ahead).len() < count {
            make_spare(&ahead)?;
            made += 1;
        }
        Ok(Replenished::Made(made))
    }

    /// What is ahead of an installation, and the lock of those who make some.
    fn open(&self, installation: &Installation) -> Result<(PathBuf, File), Failure> {
        let ahead = self.ahead_of(installation);
        std::fs::create_dir_all(&ahead).at("create", &ahead)?;
        let path = self.root.join("lock");
        let lock = File::create(&path).at("open", &path)?;
        Ok((ahead, lock))
    }

    /// Makes the template unless it is there; the caller holds the lock.
    fn template(&self, installation: &Installation, ahead: &Path) -> Result<(), Failure> {
        // Whoever held the lock before may have removed it as that of another version.
        std::fs::create_dir_all(ahead).at("create", ahead)?;
        self.remove_stale(installation, ahead)?;
        remove_leftovers(ahead, MAKING)?;
        if !ahead.join(TEMPLATE).is_dir() {
            make_template(installation, ahead)?;
        }
        Ok(())
    }

    /// Moves a spare to `data`, if there is one.
    pub(super) fn claim_spare(&self, installation: &Installation, data: &Path) -> bool {
        for spare in spares(&self.ahead_of(installation)) {
            match std::fs::rename(&spare, data) {
                Ok(()) if is_whole(data) => return true,
                Ok(()) => {
                    tracing::warn!(path = %spare.display(), "a spare cluster is damaged");
                    discard(data);
                }
                // Somebody else has it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(path = %spare.display(), %error, "could not take a spare cluster");
                    return false;
                }
            }
        }
        false
    }

    /// Copies the template to `data`, if there is one, with an identity of its own. A template
    /// that is of no use is as good as none; a full disk is an error, since nothing else would do.
    pub(super) fn copy_template(
        &self,
        installation: &Installation,
        data: &Path,
    ) -> Result<bool, PathError> {
        let template = self.ahead_of(installation).join(TEMPLATE);
        if !template.is_dir() {
            return Ok(false);
        }
        let error: Box<dyn std::error::Error> = match copy_with_identity(&template, data) {
            Ok(_) => return Ok(true),
            Err(Failure::File(error)) if error.is_full() => return Err(error),
            Err(Failure::File(error)) => error.into(),
            Err(Failure::Control(error)) => error.into(),
            Err(Failure::Program(error)) => error.into(),
        };
        // It may have been removed meanwhile.
        tracing::warn!(path = %template.display(), error, "could not copy the template");
        discard(data);
        Ok(false)
    }

    fn ahead_of(&self, installation: &Installation) -> PathBuf {
        let (version, fingerprint) = (installation.version, fingerprint(installation));
        self.root
            .join(format!("{}-{version}-{fingerprint}", version.major))
    }

    /// Removes what was made ahead for other minor versions of the same major version, or in
    /// another way.
    fn remove_stale(&self, installation: &Installation, current: &Path) -> Result<(), PathError> {
        let prefix = format!("{}-", installation.major());
        for entry in std::fs::read_dir(&self.root).at("read", &self.root)? {
            let entry = entry.at("read", &self.root)?;
            let of_this_major = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(&prefix) && name.split('-').count() == 3);
            if of_this_major && entry.path() != current {
                std::fs::remove_dir_all(entry.path()).at("remove", &entry.path())?;
            }
        }
        Ok(())
    }
}

fn spares(ahead: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(ahead) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(SPARE))
        })
        .map(|entry| entry.path())
        .collect()
}

fn make_template(installation: &Installation, ahead: &Path) -> Result<(), Failure> {
    let making = Making::begin(ahead, MAKING)?;
    let data = making.data();
    initdb::initdb(installation, &data)?;
    initdb::add_spare_database(installation, &data)?;
    let identifier = ControlData::read(&data)?.system_identifier;
    Marker::new(None, identifier, MadeFrom::Initdb).write(&data)?;
    put_in_store(&data, &ahead.join(TEMPLATE))
}

fn make_spare(ahead: &Path) -> Result<(), Failure> {
    let making = Making::begin(ahead, MAKING)?;
    let data = making.data();
    let identity = copy_with_identity(&ahead.join(TEMPLATE), &data)?;
    Marker::new(None, identity.system_identifier, MadeFrom::Spare).write(&data)?;
    let name = format!("{SPARE}{}", uuid::Uuid::new_v4().simple());
    put_in_store(&data, &ahead.join(name))
}

/// Whole and durable before it has its name.
fn put_in_store(data: &Path, place: &Path) -> Result<(), Failure> {
    sync_file_system(data)?;
    std::fs::rename(data, place).at("put in place", place)?;
    sync_names(place.parent().unwrap_or(place))?;
    Ok(())
}

fn copy_with_identity(template: &Path, data: &Path) -> Result<Identity, Failure> {
    let identity = Identity::new()?;
    copy_tree(template, data)?;
    give_identity(data, &identity)?;
    Ok(identity)
}

/// Whether a spare is what its marker says; it lay about for long.
fn is_whole(data: &Path) -> bool {
    let (Ok(Some(Ok(marker))), Ok(control)) = (Marker::read(data), ControlData::read(data)) else {
        return false;
    };
    control.state.is_clean() && marker.system_identifier == control.system_identifier
}

/// Removes a copy of ours that is of no use; what cannot be removed goes with the directory that
/// it is in.
fn discard(data: &Path) {
    if let Err(error) = std::fs::remove_dir_all(data) {
        tracing::debug!(path = %data.display(), %error, "could not remove a useless copy");
    }
}
