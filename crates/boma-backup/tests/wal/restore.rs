//! Files out of the repository, with those that follow fetched ahead.

use std::fs;
use std::time::Duration;

use boma_backup::wal::{Fetched, Restorer};
use boma_instance::MajorVersion;
use boma_testkit::eventually;

use crate::cluster::Place;
use crate::ship::{make_ready, segments};

const LONG: Duration = Duration::from_mins(1);
const SEGMENT: u32 = 16 << 20;

struct Recovery {
    place: Place,
    restorer: Restorer,
}

impl Recovery {
    /// An archive of so many segments.
    async fn new(names: &[String]) -> anyhow::Result<Self> {
        let place = Place::new(MajorVersion::V17)?;
        make_ready(&place, names)?;
        let repository = place.repository().await?;
        let archive = place.archive(&repository)?;
        for name in names {
            archive.push(name).await?;
        }
        let spool = place.directory().join("spool");
        fs::create_dir(&spool)?;
        fs::write(
            spool.join(&names[0]),
            "half of a segment that an earlier agent left",
        )?;
        let restorer = Restorer::new(&repository, *archive.prefix(), SEGMENT, &spool)?;
        Ok(Self { place, restorer })
    }

    fn spooled(&self) -> anyhow::Result<usize> {
        Ok(fs::read_dir(self.place.directory().join("spool"))?.count())
    }

    async fn fetch(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let to = self.place.scratch.path().join("RECOVERYXLOG");
        Ok(match self.restorer.fetch(name, &to).await? {
            Fetched::Written => {
                let content = fs::read(&to)?;
                fs::remove_file(&to)?;
                Some(content)
            }
            Fetched::NotThere => None,
        })
    }
}

#[tokio::test]
async fn what_follows_is_fetched_ahead_and_is_what_was_archived() -> anyhow::Result<()> {
    let names = segments(12);
    let recovery = Recovery::new(&names).await?;
    for (name, next) in names.iter().zip(&names[1..]) {
        let expected = fs::read(recovery.place.pg_wal().join(name))?;
        assert!(recovery.fetch(name).await? == Some(expected), "{name}");
        let ahead = recovery.place.directory().join("spool").join(next);
        eventually(LONG, async || {
            ahead.is_file().then_some(()).ok_or("not ahead".into())
        })
        .await?;
        assert!(recovery.spooled()? <= 9, "more than there is room for");
    }
    assert!(recovery.fetch(&names[11]).await?.is_some());
    assert_eq!(recovery.fetch("00000001000000000000000D").await?, None);
    assert_eq!(recovery.fetch("00000002.history").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_switch_of_timelines_finds_room_and_the_right_file() -> anyhow::Result<()> {
    let names = segments(10);
    let recovery = Recovery::new(&names).await?;
    // Recovery asks for each segment on the newest timeline first.
    for name in &names[..4] {
        let newer = format!("00000002{}", &name[8..]);
        assert_eq!(recovery.fetch(&newer).await?, None);
        assert!(recovery.fetch(name).await?.is_some());
    }
    let newer = format!("00000002{}", &names[4][8..]);
    fs::copy(
        recovery.place.pg_wal().join(&names[4]),
        recovery.place.pg_wal().join(&newer),
    )?;
    let archive = recovery
        .place
        .archive(&recovery.place.repository().await?)?;
    archive.push(&newer).await?;
    assert!(recovery.fetch(&newer).await?.is_some());
    // What was there ahead of the old one is let go as recovery passes it.
    for name in &names[5..] {
        let newer = format!("00000002{}", &name[8..]);
        assert_eq!(recovery.fetch(&newer).await?, None);
        assert!(recovery.spooled()? <= 9);
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_was_not_there_is_looked_for_again() -> anyhow::Result<()> {
    let names = segments(3);
    let recovery = Recovery::new(&names[..1]).await?;
    assert!(recovery.fetch(&names[0]).await?.is_some());
    assert_eq!(recovery.fetch(&names[1]).await?, None);
    make_ready(&recovery.place, &names)?;
    let archive = recovery
        .place
        .archive(&recovery.place.repository().await?)?;
    archive.push(&names[1]).await?;
    archive.push(&names[2]).await?;
    assert!(recovery.fetch(&names[1]).await?.is_some());
    assert!(recovery.fetch(&names[2]).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_repository_that_is_away_is_not_one_without_the_file() -> anyhow::Result<()> {
    let names = segments(2);
    let recovery = Recovery::new(&names).await?;
    fs::rename(
        recovery.place.stored(),
        recovery.place.scratch.path().join("away"),
    )?;
    let error = recovery.fetch(&names[0]).await.err();
    let error = error.ok_or_else(|| anyhow::anyhow!("it was said not to be there"))?;
    assert!(
        error.to_string().contains("is not there any more"),
        "{error}"
    );
    Ok(())
}
