//! What waits behind a file is shipped with it.

use std::fs;
use std::time::Duration;

use boma_backup::wal::Shipper;
use boma_instance::MajorVersion;
use boma_testkit::eventually;

use crate::cluster::{FIRST, Place};

const LONG: Duration = Duration::from_mins(1);

/// Makes segments that follow the first, each with a header that says so, and marks all as ready.
pub(crate) fn make_ready(place: &Place, names: &[String]) -> anyhow::Result<()> {
    let mut content = fs::read(place.pg_wal().join(FIRST))?;
    for (number, name) in (1_u64..).zip(names) {
        content[8..16].copy_from_slice(&(number * (16 << 20)).to_le_bytes());
        fs::write(place.pg_wal().join(name), &content)?;
        fs::write(
            place.pg_wal().join(format!("archive_status/{name}.ready")),
            "",
        )?;
    }
    Ok(())
}

pub(crate) fn segments(count: u64) -> Vec<String> {
    (1..=count)
        .map(|number| format!("0000000100000000{number:08X}"))
        .collect()
}

#[tokio::test]
async fn one_call_takes_those_along_that_wait_behind_it() -> anyhow::Result<()> {
    let place = Place::new(MajorVersion::V17)?;
    let names = segments(8);
    assert_eq!(names[0], FIRST);
    make_ready(&place, &names)?;
    let shipper = Shipper::new(place.archive(&place.repository().await?)?);
    assert_eq!(shipper.status().waiting_files, 8);
    shipper.ship(FIRST).await?;
    eventually(LONG, async || {
        let status = shipper.status();
        (status.waiting_files == 1)
            .then_some(())
            .ok_or(format!("{status:?}"))
    })
    .await?;
    // The first is shipped and asked for; PostgreSQL has not marked it as done yet.
    for name in &names {
        assert!(place.object(name)?.is_file(), "{name}");
        shipper.ship(name).await?;
        fs::remove_file(place.pg_wal().join(format!("archive_status/{name}.ready")))?;
    }
    let status = shipper.status();
    assert_eq!(status.waiting_files, 0);
    assert_eq!(status.waiting_since, None);
    assert!(status.last_archived_at.is_some() && status.failure.is_none());
    Ok(())
}

#[tokio::test]
async fn a_file_that_was_written_again_after_it_was_shipped_ahead_is_looked_at_again()
-> anyhow::Result<()> {
    let place = Place::new(MajorVersion::V17)?;
    let names = segments(2);
    make_ready(&place, &names)?;
    let shipper = Shipper::new(place.archive(&place.repository().await?)?);
    shipper.ship(FIRST).await?;
    eventually(LONG, async || {
        let left = shipper.status().waiting_files;
        (left == 1).then_some(()).ok_or(format!("{left} wait"))
    })
    .await?;
    let path = place.pg_wal().join(&names[1]);
    let mut content = fs::read(&path)?;
    content[100_000] ^= 1;
    fs::remove_file(&path)?;
    fs::write(&path, content)?;
    let error = shipper.ship(&names[1]).await.err();
    let error = error.ok_or_else(|| anyhow::anyhow!("other content counts as archived"))?;
    assert!(error.to_string().contains("with other content"), "{error}");
    assert_eq!(
        shipper.status().failure.map(|failure| failure.code),
        Some("wal-differs".into())
    );
    Ok(())
}

#[tokio::test]
async fn a_repository_that_is_away_loses_nothing_and_catches_up() -> anyhow::Result<()> {
    let place = Place::new(MajorVersion::V17)?;
    let names = segments(6);
    make_ready(&place, &names)?;
    let shipper = Shipper::new(place.archive(&place.repository().await?)?);
    let away = place.scratch.path().join("away");
    fs::rename(place.stored(), &away)?;
    for _ in 0..3 {
        assert!(shipper.ship(FIRST).await.is_err());
    }
    let status = shipper.status();
    assert_eq!(status.waiting_files, 6);
    assert_eq!(
        status.failure.map(|failure| failure.code),
        Some("repository-gone".into())
    );
    fs::rename(&away, place.stored())?;
    for name in &names {
        shipper.ship(name).await?;
        fs::remove_file(place.pg_wal().join(format!("archive_status/{name}.ready")))?;
        assert!(place.object(name)?.is_file(), "{name}");
    }
    assert_eq!(shipper.status().failure, None);
    Ok(())
}
