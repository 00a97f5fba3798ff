//! Finds from which base backup a moment of an instance is reached.

use boma_instance::InstanceId;
use boma_instance::backup::RecoveryTarget;
use boma_instance::wal::Timeline;
use boma_problem::{IntoProblem, Problem};

use crate::catalog::{Cache, Catalog};
use crate::format::names::{INSTANCES, Prefix};
use crate::retention::choose::{Choice, Refusal, choose};
use crate::store::{Repository, StoreError};

/// Why it is not found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// It cannot be restored.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IntoProblem for FindError {
    fn problem(&self) -> Problem {
        match self {
            Self::Refused(refusal) => refusal.problem(),
            Self::Store(error) => error.problem(),
        }
    }
}

/// Parts of the repository that an instance has written: one for each cluster that it was.
pub async fn prefixes(
    repository: &Repository,
    instance: InstanceId,
) -> Result<Vec<Prefix>, StoreError> {
    let folder = format!("{INSTANCES}/{instance}");
    let names = repository.folders(&folder).await?;
    let identifiers = names.iter().filter_map(|name| name.parse().ok());
    let prefix = |system_identifier| Prefix {
        instance,
        system_identifier,
    };
    Ok(identifiers.map(prefix).collect())
}

/// Finds from which backup the target is reached. An instance whose data was made anew has another
/// system identifier, and the newest counts.
pub async fn find(
    repository: &Repository,
    instance: InstanceId,
    target: &RecoveryTarget,
    timeline: Option<Timeline>,
) -> Result<(Prefix, Choice), FindError> {
    let mut refusal = Refusal::NoBackup { unreadable: 0 };
    let mut found: Option<(Prefix, Choice)> = None;
    for prefix in prefixes(repository, instance).await? {
        let catalog = Catalog::read(repository, &prefix, &mut Cache::default()).await?;
        match choose(&catalog, target, timeline) {
            Ok(choice) => {
                let is_newer = found
                    .as_ref()
                    .is_none_or(|(_, known)| known.label < choice.label);
                if is_newer {
                    found = Some((prefix, choice));
                }
            }
            Err(refused) => refusal = refused,
        }
    }
    found.ok_or(FindError::Refused(refusal))
}
