//! A store that fails, tears writes, and takes its callers with it when they die.

use std::sync::Arc;
use std::time::Duration;

use boma_backup::format::key::{KEY_BYTES, RepositoryKey};
use boma_backup::owner::{Claim, WriterId};
use boma_backup::store::Repository;
use boma_backup::store::testing::{Faults, Faulty, Hang, Torn};
use boma_backup::wal::{self, Archive, Pushed};
use boma_instance::MajorVersion;
use boma_instance::wal::WalFile;
use boma_problem::IntoProblem as _;
use object_store::memory::InMemory;

use crate::cluster::{FIRST, Place};

const SEGMENT: u32 = 16 << 20;

struct Bench {
    place: Place,
    store: Arc<Faulty>,
    repository: Repository,
}

impl Bench {
    async fn new() -> anyhow::Result<Self> {
        Self::at(Place::new(MajorVersion::V17)?).await
    }

    /// A new store for a cluster that is there.
    async fn at(place: Place) -> anyhow::Result<Self> {
        let store = Faulty::new(Arc::new(InMemory::new()));
        let key = RepositoryKey::new([7; KEY_BYTES]);
        let repository = Repository::open_store(Arc::clone(&store) as _, key, 1).await?;
        Ok(Self {
            place,
            store,
            repository,
        })
    }

    fn archive(&self) -> anyhow::Result<Archive> {
        self.place.archive(&self.repository)
    }

    fn faults(&self, faults: Faults) {
        self.store.set(faults);
    }

    async fn read(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let prefix = self.place.cluster()?.prefix(self.place.instance);
        let file = WalFile::parse(FIRST, SEGMENT)?;
        Ok(wal::read(&self.repository, &prefix, (file, SEGMENT)).await?)
    }

    fn content(&self) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(self.place.pg_wal().join(FIRST))?)
    }
}

#[tokio::test]
async fn killed_at_every_call_to_the_store_and_started_again_a_file_is_archived_once()
-> anyhow::Result<()> {
    let mut bench = Bench::new().await?;
    bench.faults(Faults::default());
    bench.archive()?.push(FIRST).await?;
    let count = bench.store.calls();
    assert!(count >= 3, "only {count} calls");
    for number in 0..count {
        for hang in [Hang::Before(number), Hang::After(number)] {
            bench = Bench::at(bench.place).await?;
            bench.faults(Faults {
                hang: Some(hang),
                ..Faults::default()
            });
            let archive = bench.archive()?;
            tokio::select! {
                pushed = archive.push(FIRST) => anyhow::bail!("{hang:?} did not hang: {pushed:?}"),
                () = bench.store.hangs() => {}
            }
            bench.faults(Faults::default());
            let pushed = bench.archive()?.push(FIRST).await?;
            let stored_before = hang == Hang::After(count - 1);
            assert_eq!(
                matches!(pushed, Pushed::Found(_)),
                stored_before,
                "{hang:?}"
            );
            assert_eq!(bench.read().await?, Some(bench.content()?), "{hang:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_fails_a_few_times_is_a_failure_each_time_and_then_none() -> anyhow::Result<()>
{
    let bench = Bench::new().await?;
    let archive = bench.archive()?;
    for fail in 1..4 {
        bench.faults(Faults {
            fail: 1,
            ..Faults::default()
        });
        let error = archive.push(FIRST).await.err();
        let problem = error
            .ok_or_else(|| anyhow::anyhow!("try {fail} went well"))?
            .problem();
        assert_eq!(problem.code, "repository-failed", "{problem}");
    }
    archive.push(FIRST).await?;
    bench.faults(Faults {
        fail: 1,
        ..Faults::default()
    });
    let error = bench.read().await.err();
    assert!(error.is_some(), "a failure was taken for an answer");
    assert_eq!(bench.read().await?, Some(bench.content()?));
    Ok(())
}

#[tokio::test]
async fn a_torn_write_is_never_read_and_never_counts_as_archived() -> anyhow::Result<()> {
    for torn in [Torn::Failing, Torn::Lying] {
        let bench = Bench::new().await?;
        let archive = bench.archive()?;
        // The owner is there whole.
        let writer = WriterId::of(&bench.place.directory())?;
        Claim::take(&bench.repository, archive.prefix(), writer).await?;
        bench.faults(Faults {
            torn: Some(torn),
            ..Faults::default()
        });
        let pushed = archive.push(FIRST).await;
        assert_eq!(pushed.is_err(), torn == Torn::Failing, "{pushed:?}");
        bench.faults(Faults::default());
        let error = bench.read().await.err();
        let error = error.ok_or_else(|| anyhow::anyhow!("{torn:?}: half is read as whole"))?;
        assert!(error.to_string().contains("cut short"), "{torn:?}: {error}");
        let pushed = archive.push(FIRST).await?;
        assert!(matches!(pushed, Pushed::Stored(_)), "{torn:?}: {pushed:?}");
        assert_eq!(bench.read().await?, Some(bench.content()?));
    }
    Ok(())
}

#[tokio::test]
async fn a_slow_store_is_waited_for() -> anyhow::Result<()> {
    let bench = Bench::new().await?;
    bench.faults(Faults {
        delay: Duration::from_millis(300),
        ..Faults::default()
    });
    bench.archive()?.push(FIRST).await?;
    assert_eq!(bench.read().await?, Some(bench.content()?));
    Ok(())
}
