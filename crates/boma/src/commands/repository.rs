//! The backups of a database, read from here: it needs no agent, and costs the server nothing.

use boma_backup::store::Repository;
use boma_engine::backups::BackupPlatform;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::Observed;
use boma_engine::plan::RestoreRefusal;
use boma_instance::InstanceId;
use boma_problem::IntoProblem as _;

use crate::session::Opened;
use crate::terminal::Result;

/// Where they are.
pub(crate) struct Backups {
    /// The repository.
    pub(crate) repository: Repository,
    /// Whose part of it.
    pub(crate) instance: InstanceId,
}

impl Backups {
    /// Opens the repository of a database.
    pub(crate) async fn of(
        session: &Opened<impl BackupPlatform>,
        seen: &Observed,
        key: &DatabaseKey,
    ) -> Result<Self> {
        let spec = seen.databases.get(key).and_then(|one| one.spec.as_ref());
        let spec = spec.ok_or_else(|| RestoreRefusal::NoneYet(key.clone()).problem())?;
        let backup = spec.backup.as_ref();
        let backup = backup.ok_or_else(|| RestoreRefusal::NoBackups(key.clone()).problem())?;
        let access = session.platform.repository(&backup.repository).await?;
        let repository = Repository::open(&access)
            .await
            .map_err(|error| error.problem())?;
        Ok(Self {
            repository,
            instance: spec.id,
        })
    }
}
