//! Clusters that are made ahead: spares for later, and the template that many are copied from.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::PoisonError;
use std::time::Duration;

use boma_engine::platform::PlatformError;
use boma_instance::MajorVersion;
use boma_problem::IntoProblem;
use nix::unistd::Uid;

use super::LocalPlatform;
use super::error::boxed;
use crate::agent::{self, PrepareCommand};

/// How long after a database was made spare clusters are made: it has its application's first
/// connections meanwhile, and they should not wait for CPU and disk.
const SPARES_AFTER: Duration = Duration::from_secs(1);

/// Versions whose template this process has tried to make.
pub(super) type Tried = tokio::sync::Mutex<BTreeSet<MajorVersion>>;

impl LocalPlatform {
    /// Before the first of many databases is made: makes the template that all of them copy. One
    /// `initdb` keeps a CPU busy for most of a second, a copy for a tenth of that; as many as
    /// there are CPUs are made side by side without.
    ///
    /// Whoever comes meanwhile waits. A template that cannot be made is no loss: each makes its
    /// own cluster then, and says why it cannot.
    pub(super) async fn template_first(&self, version: MajorVersion) -> Result<(), PlatformError> {
        if self.has_template(version) || !self.makes_many().await? {
            return Ok(());
        }
        let mut tried = self.inner.templates.lock().await;
        if self.has_template(version) || !tried.insert(version) {
            return Ok(());
        }
        let Some(command) = self.prepare_command(version, 0, Duration::ZERO) else {
            return Ok(());
        };
        if let Err(error) = agent::prepare_and_wait(&self.inner.config.boma, &command).await {
            tracing::warn!(problem = %error.problem(), "no template is made");
        }
        Ok(())
    }

    /// Whether there is a template for this very version.
    fn has_template(&self, version: MajorVersion) -> bool {
        let builds = &self.inner.config.builds.servers;
        let Some(build) = builds.iter().find(|build| build.server.major == version) else {
            return false;
        };
        let prefix = format!("{version}-{}-", build.server.version);
        let stores = std::fs::read_dir(self.inner.layout.templates());
        stores.into_iter().flatten().flatten().any(|entry| {
            let name = entry.file_name();
            let is_of_version = name.to_str().is_some_and(|name| name.starts_with(&prefix));
            is_of_version && entry.path().join("template").is_dir()
        })
    }

    /// Whether more databases are to be made than there are CPUs.
    async fn makes_many(&self) -> Result<bool, PlatformError> {
        let rows = self.inner.store.read(|state| state.databases()).await;
        let rows = rows.map_err(boxed)?;
        let unmade = rows.iter().filter(|row| row.spec.is_none()).count();
        Ok(unmade > std::thread::available_parallelism().map_or(1, NonZero::get))
    }

    /// Starts the making of spare clusters for versions that instances were made of since the
    /// last call. Returns at once; the work is done by itself a second later, at low priority.
    pub fn prepare_spares(&self) {
        let mut made = self
            .inner
            .made
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for version in std::mem::take(&mut *made) {
            self.prepare_spare(version);
        }
    }

    /// The same for all versions that are in use; for the start of `boma serve`.
    pub async fn prepare_spares_in_use(&self) -> Result<(), PlatformError> {
        let rows = self
            .inner
            .store
            .read(|state| state.databases())
            .await
            .map_err(boxed)?;
        let mut made = self
            .inner
            .made
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        made.extend(
            rows.iter()
                .filter_map(|row| row.spec.as_ref())
                .map(|spec| spec.version),
        );
        drop(made);
        self.prepare_spares();
        Ok(())
    }

    fn prepare_spare(&self, version: MajorVersion) {
        let spares = self.inner.config.spares;
        let Some(command) = self
            .prepare_command(version, spares, SPARES_AFTER)
            .filter(|_| spares > 0)
        else {
            return;
        };
        // Without spares the next database takes a little longer; nothing else is lost.
        if let Err(error) = agent::prepare(&self.inner.config.boma, &command) {
            tracing::warn!(problem = %error.problem(), "no spare clusters are made");
        }
    }

    fn prepare_command(
        &self,
        version: MajorVersion,
        count: u16,
        after: Duration,
    ) -> Option<PrepareCommand> {
        let inner = &self.inner;
        Some(PrepareCommand {
            store: inner.layout.templates(),
            bin_dir: self.bin_dir(version)?,
            count,
            after,
            user: Uid::effective().is_root().then(|| inner.user.name.clone()),
        })
    }
}
