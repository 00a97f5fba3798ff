//! One file of `pg_wal` into the repository.

use std::fs;

use boma_backup::wal::{self, Pushed};
use boma_instance::MajorVersion;
use boma_instance::wal::WalFile;
use boma_problem::IntoProblem as _;

use crate::cluster::{FIRST, Place};

const SEGMENT: u32 = 16 << 20;

/// The next name; no cluster here has written a segment of it.
const SECOND: &str = "000000010000000000000002";

async fn fetch(place: &Place, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let repository = place.repository().await?;
    let prefix = place.cluster()?.prefix(place.instance);
    let file = WalFile::parse(name, SEGMENT)?;
    Ok(wal::read(&repository, &prefix, (file, SEGMENT)).await?)
}

async fn refusal(place: &Place, name: &str) -> anyhow::Result<boma_problem::Problem> {
    let archive = place.archive(&place.repository().await?)?;
    match archive.push(name).await {
        Ok(pushed) => anyhow::bail!("{name} was archived: {pushed:?}"),
        Err(error) => Ok(error.problem()),
    }
}

#[tokio::test]
async fn a_segment_of_every_version_is_archived_and_comes_back() -> anyhow::Result<()> {
    for major in MajorVersion::ALL {
        let place = Place::new(major)?;
        let archive = place.archive(&place.repository().await?)?;
        let first = archive.push(FIRST).await?;
        assert!(matches!(first, Pushed::Stored(_)), "{first:?}");
        let content = fs::read(place.pg_wal().join(FIRST))?;
        assert_eq!(fetch(&place, FIRST).await?, Some(content));
        assert_eq!(fetch(&place, SECOND).await?, None);
        let again = archive.push(FIRST).await?;
        assert!(matches!(again, Pushed::Found(_)), "{again:?}");
        assert_eq!(again.head(), first.head());
    }
    Ok(())
}

#[tokio::test]
async fn one_that_is_there_with_other_content_is_left_as_it_is() -> anyhow::Result<()> {
    let place = Place::new(MajorVersion::V17)?;
    let archive = place.archive(&place.repository().await?)?;
    let label = format!("{FIRST}.00000028.backup");
    let partial = format!("{FIRST}.partial");
    let history = "00000002.history".to_owned();
    fs::copy(place.pg_wal().join(FIRST), place.pg_wal().join(&partial))?;
    fs::write(
        place.pg_wal().join(&history),
        "1\t0/3000000\tno recovery target\n",
    )?;
    fs::write(
        place.pg_wal().join(&label),
        "START WAL LOCATION: 0/1000028\n",
    )?;
    for name in [FIRST.to_owned(), partial, history, label] {
        archive.push(&name).await?;
        let stored = fs::read(place.object(&name)?)?;
        let path = place.pg_wal().join(&name);
        let mut content = fs::read(&path)?;
        *content.last_mut().ok_or_else(|| anyhow::anyhow!("empty"))? ^= 1;
        fs::write(&path, content)?;
        let problem = refusal(&place, &name).await?;
        assert_eq!(problem.code, "wal-differs", "{problem}");
        assert!(problem.message.contains(&name), "{problem}");
        assert!(problem.message.contains("with other content"), "{problem}");
        assert_eq!(fs::read(place.object(&name)?)?, stored, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_segment_of_this_cluster_is_refused() -> anyhow::Result<()> {
    let place = Place::new(MajorVersion::V16)?;
    let other = Place::new(MajorVersion::V16)?;
    let segment = fs::read(place.pg_wal().join(FIRST))?;
    let cases: [(&str, &str, Vec<u8>); 6] = [
        (SECOND, "is empty", Vec::new()),
        ("00000002.history", "is empty", Vec::new()),
        (SECOND, "has 1000 bytes", segment[..1000].to_vec()),
        (
            SECOND,
            "begins at 0/1000000, and by its name at 0/2000000",
            segment.clone(),
        ),
        (SECOND, "magic number is 0x0000", vec![0; segment.len()]),
        (
            FIRST,
            "of the cluster with system identifier",
            fs::read(other.pg_wal().join(FIRST))?,
        ),
    ];
    for (name, expected, content) in cases {
        fs::write(place.pg_wal().join(name), content)?;
        let problem = refusal(&place, name).await?;
        assert_eq!(problem.code, "wal-not-ours", "{problem}");
        assert!(
            problem.to_string().contains(expected),
            "{expected}: {problem}"
        );
        assert_eq!(fetch(&place, name).await?, None);
    }
    for name in ["../../etc/passwd", "x", ""] {
        let problem = refusal(&place, name).await?;
        assert_eq!(problem.code, "wal-name-invalid", "{problem}");
        assert!(
            problem.message.contains("is not the name of a file"),
            "{problem}"
        );
    }
    let problem = refusal(&place, "000000010000000000000009").await?;
    assert_eq!(problem.code, "wal-not-read", "{problem}");
    assert!(problem.to_string().contains("No such file"), "{problem}");
    Ok(())
}

#[tokio::test]
async fn a_data_directory_that_became_another_cluster_is_refused() -> anyhow::Result<()> {
    let place = Place::new(MajorVersion::V15)?;
    let other = Place::new(MajorVersion::V15)?;
    let archive = place.archive(&place.repository().await?)?;
    let control = "global/pg_control";
    fs::copy(other.data().join(control), place.data().join(control))?;
    let problem = archive.push(FIRST).await.map_err(|error| error.problem());
    let problem = problem.err().ok_or_else(|| anyhow::anyhow!("archived"))?;
    assert_eq!(problem.code, "wal-not-ours", "{problem}");
    assert!(
        problem.message.contains("holds the cluster with"),
        "{problem}"
    );
    Ok(())
}

#[tokio::test]
async fn two_servers_that_are_pointed_at_one_prefix_are_told_apart() -> anyhow::Result<()> {
    let place = Place::new(MajorVersion::V18)?;
    let archive = place.archive(&place.repository().await?)?;
    archive.push(FIRST).await?;
    // Whoever copies a data directory does not copy what is beside it.
    let mut copy = Place::new(MajorVersion::V18)?;
    copy.instance = place.instance;
    fs::remove_dir_all(copy.data())?;
    copy_directory(&place.data(), &copy.data())?;
    let archive = copy.archive(&place.repository().await?)?;
    let error = archive.push(FIRST).await.err();
    let problem = error.ok_or_else(|| anyhow::anyhow!("archived"))?.problem();
    assert_eq!(problem.code, "backup-owned-by-another", "{problem}");
    assert!(problem.message.contains("another server"), "{problem}");
    assert!(problem.hints[1].contains("/owner`"), "{problem}");
    Ok(())
}

fn copy_directory(from: &std::path::Path, to: &std::path::Path) -> anyhow::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_remains_of_a_torn_write_are_replaced_by_the_whole() -> anyhow::Result<()> {
    let place = Place::new(MajorVersion::V17)?;
    let archive = place.archive(&place.repository().await?)?;
    archive.push(FIRST).await?;
    let object = place.object(FIRST)?;
    let whole = fs::read(&object)?;
    for kept in [0, 47, 48, 100, 300, whole.len() / 2, whole.len() - 1] {
        fs::write(&object, &whole[..kept])?;
        let found = fetch(&place, FIRST).await.err();
        let found = found.ok_or_else(|| anyhow::anyhow!("{kept} bytes are read as whole"))?;
        assert!(
            found.to_string().contains("is cut short"),
            "{kept}: {found}"
        );
        let pushed = archive.push(FIRST).await?;
        assert!(matches!(pushed, Pushed::Stored(_)), "{kept}: {pushed:?}");
        assert!(fetch(&place, FIRST).await?.is_some());
    }
    Ok(())
}

#[tokio::test]
async fn a_damaged_object_is_neither_read_nor_replaced() -> anyhow::Result<()> {
    let place = Place::new(MajorVersion::V17)?;
    let archive = place.archive(&place.repository().await?)?;
    archive.push(FIRST).await?;
    let object = place.object(FIRST)?;
    let whole = fs::read(&object)?;
    for at in [0, 5, 10, 20, 60, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&object, &damaged)?;
        assert!(fetch(&place, FIRST).await.is_err(), "byte {at}");
        let problem = refusal(&place, FIRST).await?;
        assert_eq!(problem.code, "repository-damaged", "byte {at}: {problem}");
        assert_eq!(fs::read(&object)?, damaged);
    }
    Ok(())
}

#[tokio::test]
async fn a_repository_that_is_away_has_not_lost_what_it_holds() -> anyhow::Result<()> {
    let place = Place::new(MajorVersion::V17)?;
    let repository = place.repository().await?;
    let archive = place.archive(&repository)?;
    archive.push(FIRST).await?;
    let prefix = place.cluster()?.prefix(place.instance);
    let wanted = (WalFile::parse(FIRST, SEGMENT)?, SEGMENT);
    let away = place.scratch.path().join("unmounted");
    fs::rename(place.stored(), &away)?;
    fs::create_dir(place.stored())?;
    let error = wal::read(&repository, &prefix, wanted).await.err();
    let problem = error.ok_or_else(|| anyhow::anyhow!("not there"))?.problem();
    assert_eq!(problem.code, "repository-gone", "{problem}");
    assert!(
        problem.message.contains("is not there any more"),
        "{problem}"
    );
    let error = archive.push(FIRST).await.err();
    let problem = error.ok_or_else(|| anyhow::anyhow!("archived"))?.problem();
    assert_eq!(problem.code, "repository-gone", "{problem}");
    assert_eq!(fs::read_dir(place.stored())?.count(), 0);
    fs::remove_dir(place.stored())?;
    fs::rename(&away, place.stored())?;
    assert!(wal::read(&repository, &prefix, wanted).await?.is_some());
    Ok(())
}
