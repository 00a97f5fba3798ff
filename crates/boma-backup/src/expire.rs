//! Carries out what retention decided.
//!
//! ```text
//!   for each backup, dependants before what they need:
//!       manifest ─► everything else of it        what is left if killed here has no manifest
//!   remains of attempts                          only what is not listed as whole, asked again
//!   write-ahead log, oldest first                only when no backup needs it any more
//! ```
//!
//! Killed between any two deletions, the repository is consistent: a backup with a manifest has
//! all that it needs. The next run sees the rest as remains and goes on.

use std::collections::BTreeSet;

use boma_instance::backup::RecoveryTarget;
use boma_instance::wal::{Segment, WalFile};
use boma_problem::{Class, IntoProblem, Problem};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use crate::catalog::{Cache, Catalog};
use crate::format::label::Label;
use crate::format::names::Prefix;
use crate::lease::{self, Restoring};
use crate::retention::choose::{Refusal, choose};
use crate::retention::expiry::{Expiry, Held, Policy, Running, expiry};
use crate::store::{Repository, StoreError};

/// Deletions at once: a store across the ocean answers each in a tenth of a second.
const AT_ONCE: usize = 8;

/// What was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Base backups.
    pub backups: Vec<Label>,
    /// Attempts that never became backups.
    pub remains: Vec<Label>,
    /// Files of the write-ahead log.
    pub log_files: u64,
    /// Why nothing expired although it is old enough, where that is so.
    pub held: Option<Held>,
}

/// Looks into one instance's part of a repository, and deletes what may go.
pub async fn expire(
    repository: &Repository,
    prefix: &Prefix,
    cache: &mut Cache,
    (policy, now): (Policy, Timestamp),
    running: Option<&Running>,
) -> Result<Expired, StoreError> {
    let mut catalog = Catalog::read(repository, prefix, cache).await?;
    loop {
        let expiry = expiry(&catalog, policy, now, running);
        let kept = kept(&catalog, &expiry);
        // What goes is replaced by what stays, which is asked for by name: a listing may be behind.
        if expiry.is_empty() || catalog.confirm(repository, cache, &kept).await? {
            if !expiry.is_empty() && lease::is_held(repository, prefix).await? {
                return Ok(Expired {
                    held: Some(Held::Restoring),
                    ..Expired::default()
                });
            }
            return carry_out(repository, &catalog, &expiry).await;
        }
    }
}

fn kept(catalog: &Catalog, expiry: &Expiry) -> BTreeSet<Label> {
    let labels = catalog.backups.iter().map(|backup| backup.label.clone());
    labels
        .filter(|label| !expiry.backups().contains(label))
        .collect()
}

async fn carry_out(
    repository: &Repository,
    catalog: &Catalog,
    expiry: &Expiry,
) -> Result<Expired, StoreError> {
    let prefix = &catalog.prefix;
    let mut expired = Expired {
        held: expiry.held(),
        ..Expired::default()
    };
    for label in expiry.backups() {
        delete_backup(repository, prefix, label).await?;
        expired.backups.push(label.clone());
    }
    for label in expiry.remains() {
        // It was not there when it was listed; listings may be behind, and this is not.
        if repository.size(&prefix.manifest(label)).await?.is_none() {
            repository
                .delete_folder(&prefix.backup_folder(label))
                .await?;
            expired.remains.push(label.clone());
        }
    }
    let segments = expiry.log().iter().flat_map(|(timeline, run)| {
        (run.first..=run.last).map(|number| {
            WalFile::Segment(Segment {
                timeline: *timeline,
                number,
            })
        })
    });
    let files: Vec<_> = segments.chain(expiry.others().iter().copied()).collect();
    expired.log_files = files.len() as u64;
    stream::iter(files)
        .map(|file| async move {
            let name = prefix.wal(file, catalog.segment_size);
            repository.delete(name.as_str()).await
        })
        .buffered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    Ok(expired)
}

/// The manifest first: without it there is no backup.
async fn delete_backup(
    repository: &Repository,
    prefix: &Prefix,
    label: &Label,
) -> Result<(), StoreError> {
    repository.delete(prefix.manifest(label).as_str()).await?;
    repository.delete_folder(&prefix.backup_folder(label)).await
}

/// Why a base backup is not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// There is none of this name, or it cannot be read.
    #[error(transparent)]
    Unknown(Box<Refusal>),
    /// Others need what it stored.
    #[error("the base backup {label} is needed by {by}")]
    Needed {
        /// The one that was to be deleted.
        label: Label,
        /// One that needs it.
        by: Label,
    },
    /// It is the only one that can be restored.
    #[error("the base backup {label} is the only whole one")]
    Last {
        /// The one that was to be deleted.
        label: Label,
    },
    /// Somebody reads it.
    #[error(transparent)]
    Restoring(#[from] Restoring),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IntoProblem for DeleteError {
    fn problem(&self) -> Problem {
        match self {
            Self::Unknown(refusal) => refusal.problem(),
            Self::Needed { by, .. } => Problem::from_error(Class::User, "backup-needed", self)
                .hint(format!(
                    "Delete {by} first; or leave it to retention, which keeps the order."
                )),
            Self::Last { .. } => Problem::from_error(Class::User, "backup-last", self)
                .hint("Take another first: `boma backup create DATABASE`."),
            Self::Restoring(restoring) => restoring.problem(),
            Self::Store(error) => error.problem(),
        }
    }
}

/// Deletes one base backup by name. Its write-ahead log is left to retention.
pub async fn delete(
    repository: &Repository,
    prefix: &Prefix,
    cache: &mut Cache,
    label: &Label,
    running: Option<&Running>,
) -> Result<(), DeleteError> {
    let catalog = Catalog::read(repository, prefix, cache).await?;
    let backup = catalog.backup(label);
    let damaged = catalog.unreadable.iter().any(|one| one.label == *label);
    if backup.is_none() && !damaged {
        let target = RecoveryTarget::Backup(label.to_string());
        let refusal = choose(&catalog, &target, None).err();
        let refusal = refusal.unwrap_or(Refusal::UnknownBackup {
            label: label.to_string(),
        });
        return Err(DeleteError::Unknown(Box::new(refusal)));
    }
    let compared = running.filter(|running| running.parent.as_ref() == Some(label));
    let dependant = catalog.backups.iter().find(|one| one.needs.contains(label));
    let by = dependant
        .map(|one| &one.label)
        .or(compared.map(|running| &running.label))
        // What cannot be read does not say what it needs.
        .or_else(|| {
            let unreadable = catalog.unreadable.iter().map(|one| &one.label);
            unreadable.filter(|one| *one > label).min()
        });
    if let Some(by) = by {
        return Err(DeleteError::Needed {
            label: label.clone(),
            by: by.clone(),
        });
    }
    let others = catalog.whole().filter(|one| one.label != *label).count();
    if others == 0 && backup.is_some_and(|backup| catalog.is_whole(backup)) {
        return Err(DeleteError::Last {
            label: label.clone(),
        });
    }
    if lease::is_held(repository, prefix).await? {
        return Err(Restoring.into());
    }
    Ok(delete_backup(repository, prefix, label).await?)
}

#[cfg(test)]
mod lies;
#[cfg(test)]
pub(crate) mod tests;
