//! Repositories of backups, read from here: it needs no agent, and costs the server nothing.

use boma_backup::store::Repository;
use boma_engine::backups::BackupPlatform;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::Observed;
use boma_engine::plan::RestoreRefusal;
use boma_instance::InstanceId;
use boma_problem::{IntoProblem as _, Problem};

/// Opens a repository by its name.
pub(crate) async fn open(
    platform: &impl BackupPlatform,
    name: &str,
) -> Result<Repository, Box<Problem>> {
    let access = platform.repository(name).await?;
    let opened = Repository::open(&access).await;
    Ok(opened.map_err(|error| error.problem())?)
}

/// Where the backups of a database are.
pub(crate) struct Backups {
    /// The repository.
    pub(crate) repository: Repository,
    /// Whose part of it.
    pub(crate) instance: InstanceId,
}

impl Backups {
    /// Opens the repository of a database.
    pub(crate) async fn of(
        platform: &impl BackupPlatform,
        seen: &Observed,
        key: &DatabaseKey,
    ) -> Result<Self, Box<Problem>> {
        let spec = seen.databases.get(key).and_then(|one| one.spec.as_ref());
        let spec = spec.ok_or_else(|| RestoreRefusal::NoneYet(key.clone()).problem())?;
        let backup = spec.backup.as_ref();
        let backup = backup.ok_or_else(|| RestoreRefusal::NoBackups(key.clone()).problem())?;
        Ok(Self {
            repository: open(platform, &backup.repository).await?,
            instance: spec.id,
        })
    }
}
