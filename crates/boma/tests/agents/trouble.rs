//! Storage that goes away and a key that is wrong: in the end nothing is missing, and nothing is
//! taken for what it is not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use boma_backup::catalog::{Cache, Catalog};
use boma_backup::format::key::RepositoryKey;
use boma_backup::format::names::Prefix;
use boma_backup::meter::Meter;
use boma_backup::store::Repository;
use boma_backup::verify::verify;
use boma_instance::MajorVersion;
use boma_instance::backup::RecoveryTarget;
use boma_postgres::control::ControlData;

use crate::node::{Node, World, wait};
use crate::numbered::{Writers, expect_rows};

/// Files in a directory and those in it, by their whole names.
fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(_) | Err(_) => {
                found.insert(entry.path());
            }
        }
    }
    found
}

async fn catalog(world: &World, node: &Node) -> Result<(Repository, Prefix, Catalog)> {
    let repository = Repository::open(&world.access()).await?;
    let prefix = Prefix {
        instance: node.assignment.spec.id,
        system_identifier: ControlData::read(&node.data())?.system_identifier,
    };
    let catalog = Catalog::read(&repository, &prefix, &mut Cache::default()).await?;
    Ok((repository, prefix, catalog))
}

/// Fails unless everything in the repository is as it was written, and every backup can be used.
async fn expect_whole(world: &World, node: &Node) -> Result<()> {
    let (repository, prefix, _) = catalog(world, node).await?;
    let report = verify(&repository, &prefix, &Meter::new()).await?;
    ensure!(report.findings.is_empty(), "{:?}", report.findings);
    ensure!(report.unusable.is_empty(), "{:?}", report.unusable);
    Ok(())
}

/// Restores the newest state into a server of its own, and fails unless it has these rows.
async fn expect_restorable(world: &World, source: &Node, rows: i64) -> Result<()> {
    let name = format!("proof-{rows}");
    let mut copy = world.restored(&name, source, RecoveryTarget::Latest)?;
    copy.bring_up().await?;
    expect_rows(&copy, rows).await
}

#[tokio::test]
async fn a_repository_that_was_away_with_the_agent_killed_meanwhile_has_everything_in_the_end()
-> Result<()> {
    let world = World::new(MajorVersion::V17)?;
    let mut node = world.node("orders")?;
    node.bring_up().await?;
    node.first_backup().await?;
    let mut writers = Writers::start(&node, 1).await?;
    writers.more(70).await?;
    let away = world.repository().with_extension("away");
    fs::rename(world.repository(), &away)?;
    wait(async || {
        let backup = node.status().await?.backup.context("no backup status")?;
        ensure!(backup.archive.waiting_files > 1, "{:?}", backup.archive);
        ensure!(backup.archive.failure.is_some(), "{:?}", backup.archive);
        Ok(())
    })
    .await?;
    // One that is started meanwhile must not take the empty place for a new repository: what it
    // archived there would be missing afterwards.
    node.kill_agent()?;
    fs::create_dir_all(world.repository())?;
    node.start()?;
    wait(async || {
        let status = node.status().await?;
        let said = format!("{:?}", status.problems);
        ensure!(said.contains("repository-gone"), "{status:?}");
        Ok(())
    })
    .await?;
    let marker = world.repository().join("boma-repository.json");
    ensure!(!marker.exists(), "it was made anew");
    node.kill_agent()?;
    fs::remove_dir_all(world.repository())?;
    fs::rename(&away, world.repository())?;
    node.start()?;
    node.ready().await?;
    writers.more(70).await?;
    let rows = writers.stop(&node).await?;
    wait(async || node.archive().await).await?;
    node.back_up().await?;
    expect_whole(&world, &node).await?;
    expect_restorable(&world, &node, rows.len().try_into()?).await
}

#[tokio::test]
async fn with_a_wrong_key_a_repository_is_neither_read_nor_written() -> Result<()> {
    let world = World::new(MajorVersion::V16)?;
    let mut node = world.node("orders")?;
    node.bring_up().await?;
    node.first_backup().await?;
    let before = files(&world.repository());
    let mut other = world.node("other")?;
    let mut copy = world.restored("copy", &node, RecoveryTarget::Latest)?;
    for node in [&mut other, &mut copy] {
        for access in node.assignment.placement.repositories.values_mut() {
            access.key = RepositoryKey::new([8; 32]).export();
        }
        node.start()?;
        node.assign().await?;
    }
    for node in [&other, &copy] {
        wait(async || {
            let status = node.status().await?;
            let said = format!("{:?}", status.problems);
            ensure!(said.contains("repository-other-key"), "{status:?}");
            Ok(())
        })
        .await?;
    }
    ensure!(!copy.data().exists(), "something was restored");
    ensure!(
        files(&world.repository()) == before,
        "something was written"
    );
    Ok(())
}
