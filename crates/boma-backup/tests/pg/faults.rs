//! Base backups into, and restores out of, a store that fails, is slow, and tears what it is given.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use boma_backup::catalog::{Cache, Catalog};
use boma_backup::copy::BackupError;
use boma_backup::format::key::RepositoryKey;
use boma_backup::format::manifest::Manifest;
use boma_backup::meter::Meter;
use boma_backup::restore::restore_files;
use boma_backup::store::Repository;
use boma_backup::store::testing::{Faults, Faulty, Torn};
use boma_backup::verify::verify;
use boma_problem::IntoProblem as _;
use boma_testkit::become_unprivileged;
use jiff::SignedDuration;
use object_store::memory::InMemory;

use crate::server::{Server, installation, stop};

/// A server, and a store for its backups. Each backup begins a second after the one before.
struct Bench {
    server: Server,
    store: Arc<Faulty>,
    repository: Repository,
    taken: i64,
}

impl Bench {
    async fn new() -> anyhow::Result<Self> {
        let store = Faulty::new(Arc::new(InMemory::new()));
        let key = RepositoryKey::new([5; 32]);
        Ok(Self {
            server: Server::new(&installation()?)?,
            repository: Repository::open_store(Arc::clone(&store) as _, key, 1).await?,
            store,
            taken: 0,
        })
    }

    async fn back_up(
        &mut self,
        parent: Option<&Manifest>,
        faults: Faults,
    ) -> anyhow::Result<Result<Manifest, BackupError>> {
        let mut job = self.server.job(parent)?;
        self.taken += 1;
        job.now += SignedDuration::from_secs(self.taken);
        self.store.set(faults);
        let backup = self
            .server
            .try_back_up(&self.repository, &job, &Meter::new())
            .await;
        Ok(backup)
    }

    /// Manifests that can be read, of backups of which nothing is missing.
    async fn whole(&self) -> anyhow::Result<usize> {
        self.store.set(Faults::default());
        let prefix = self.server.prefix()?;
        let catalog = Catalog::read(&self.repository, &prefix, &mut Cache::default()).await?;
        let whole = catalog.backups.iter().filter(|one| one.missing.is_empty());
        Ok(whole.count())
    }

    /// The log of these servers is elsewhere, so that each backup lacks it here and nothing else.
    async fn expect_sound(&self) -> anyhow::Result<()> {
        self.store.set(Faults::default());
        let prefix = self.server.prefix()?;
        let report = verify(&self.repository, &prefix, &Meter::new()).await?;
        for why in report.unusable.values().flatten() {
            ensure!(why.contains("of the write-ahead log"), "{why}");
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_backup_whose_store_fails_at_any_call_is_none_and_the_next_one_is_whole()
-> anyhow::Result<()> {
    become_unprivileged()?;
    let mut bench = Bench::new().await?;
    let running = bench.server.start().await?;
    let full = bench.back_up(None, Faults::default()).await??;
    let mut whole = 1;
    let mut after = 0;
    loop {
        let faults = Faults {
            fail: 1,
            after,
            ..Faults::default()
        };
        let taken = bench.back_up(Some(&full), faults).await?;
        let calls = bench.store.calls();
        match taken {
            Ok(_) => {
                ensure!(
                    calls <= after,
                    "call {after} of {calls} failed, and nobody noticed"
                );
                whole += 1;
                ensure!(bench.whole().await? == whole, "after {after}");
                break;
            }
            Err(error) => {
                let problem = error.problem();
                ensure!(problem.code == "repository-failed", "{problem}");
                // Where only reading it back failed, it is there.
                let found = bench.whole().await?;
                ensure!(
                    (whole..=whole + 1).contains(&found),
                    "{found} after {after}"
                );
                whole = found;
            }
        }
        after += 1;
    }
    ensure!(after > 5, "only {after} calls");
    bench.expect_sound().await?;
    stop(running).await
}

#[tokio::test]
async fn a_backup_that_a_store_tears_is_none() -> anyhow::Result<()> {
    become_unprivileged()?;
    let mut bench = Bench::new().await?;
    let running = bench.server.start().await?;
    for torn in [Torn::Failing, Torn::Lying] {
        let faults = Faults {
            torn: Some(torn),
            ..Faults::default()
        };
        let taken = bench.back_up(None, faults).await?;
        let problem = taken.err().context("half of it is whole")?.problem();
        let expected = match torn {
            Torn::Failing => "repository-failed",
            Torn::Lying => "repository-damaged",
        };
        ensure!(problem.code == expected, "{problem}");
        ensure!(bench.whole().await? == 0, "{torn:?}");
    }
    bench.back_up(None, Faults::default()).await??;
    ensure!(bench.whole().await? == 1);
    bench.expect_sound().await?;
    stop(running).await
}

#[tokio::test]
async fn a_restore_whose_store_fails_at_any_call_begins_again_and_is_whole() -> anyhow::Result<()> {
    become_unprivileged()?;
    let mut bench = Bench::new().await?;
    let running = bench.server.start().await?;
    let full = bench.back_up(None, Faults::default()).await??;
    stop(running).await?;
    let mut after = 0;
    loop {
        bench.store.set(Faults {
            fail: 1,
            after,
            delay: Duration::from_millis(2),
            ..Faults::default()
        });
        let target = Server::empty(&bench.server.installation)?;
        let (layout, meter) = (target.layout(), Meter::new());
        let prefix = bench.server.prefix()?;
        let restored = restore_files(&bench.repository, prefix, &full, &layout, &meter).await;
        let control = target.data().join("global/pg_control");
        let failed = bench.store.calls() > after;
        match restored {
            Ok(restored) if failed => {
                // Only what the next backup is compared with could not be looked at.
                let code = restored.warnings.first().map(|one| one.code.as_str());
                ensure!(code == Some("repository-failed"), "{restored:?}");
            }
            Ok(restored) => {
                ensure!(restored.warnings.is_empty(), "{restored:?}");
                ensure!(control.exists());
                break;
            }
            Err(error) => {
                let problem = error.problem();
                ensure!(problem.code == "repository-failed", "{problem}");
                ensure!(!control.exists(), "a server could start on what failed");
            }
        }
        // The number of calls is that of packs and frames; not each one is worth a restore.
        after += 1 + after / 3;
    }
    ensure!(after > 5, "only {after} calls");
    Ok(())
}
