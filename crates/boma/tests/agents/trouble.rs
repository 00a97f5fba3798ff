//! Agents and what they call killed at every step, storage that goes away, a key that is wrong: in
//! the end nothing is missing, and nothing half is taken for whole.

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
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::node::{Node, World, wait};
use crate::numbered::{Writers, expect_rows};

/// Files in a directory and those in it, by their whole names.
pub(crate) fn files(directory: &Path) -> BTreeSet<PathBuf> {
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

pub(crate) async fn catalog(world: &World, node: &Node) -> Result<(Repository, Prefix, Catalog)> {
    let repository = Repository::open(&world.access()).await?;
    let prefix = Prefix {
        instance: node.assignment.spec.id,
        system_identifier: ControlData::read(&node.data())?.system_identifier,
    };
    let catalog = Catalog::read(&repository, &prefix, &mut Cache::default()).await?;
    Ok((repository, prefix, catalog))
}

/// Fails unless everything in the repository is as it was written, and every backup can be used.
pub(crate) async fn expect_whole(world: &World, node: &Node) -> Result<()> {
    let (repository, prefix, _) = catalog(world, node).await?;
    let report = verify(&repository, &prefix, &Meter::new()).await?;
    ensure!(report.findings.is_empty(), "{:?}", report.findings);
    ensure!(report.unusable.is_empty(), "{:?}", report.unusable);
    Ok(())
}

/// Restores the newest state into a server of its own, and fails unless it has these rows.
pub(crate) async fn expect_restorable(world: &World, source: &Node, rows: i64) -> Result<()> {
    let name = format!("proof-{rows}");
    let mut copy = world.restored(&name, source, RecoveryTarget::Latest)?;
    copy.bring_up().await?;
    expect_rows(&copy, rows).await
}

/// One more backup clears up what was cut off, and every row that was written comes back.
pub(crate) async fn expect_cleared_up(world: &World, node: &Node, writers: Writers) -> Result<()> {
    let rows = writers.stop(node).await?;
    node.back_up().await?;
    let (_, _, after) = catalog(world, node).await?;
    ensure!(after.remains.is_empty(), "{:?}", after.remains);
    node.archive().await?;
    expect_whole(world, node).await?;
    expect_restorable(world, node, rows.len().try_into()?).await
}

/// Asks for a backup and kills the agent when so many files were written since; whether the
/// backup ended first.
async fn back_up_until(node: &mut Node, backups: &Path, more: usize) -> Result<bool> {
    let before = files(backups);
    let is_far_enough = wait(async || {
        let written = files(backups).difference(&before).count();
        ensure!(written >= more, "{written} of {more} files are written");
        Ok(())
    });
    let ended = tokio::select! {
        // Cancel-safe: the agent goes on when nobody listens any more, until it is killed.
        done = node.back_up() => {
            done?;
            true
        }
        // Cancel-safe: only looks.
        waited = is_far_enough => {
            waited?;
            false
        }
    };
    node.kill_agent()?;
    Ok(ended)
}

#[tokio::test]
async fn an_agent_killed_at_every_step_of_a_backup_leaves_whole_ones_and_the_next_one_clears_up()
-> Result<()> {
    let world = World::new(MajorVersion::V17)?;
    let mut node = world.backed_up("orders").await?;
    let mut writers = Writers::start(&node, 1).await?;
    let (_, prefix, _) = catalog(&world, &node).await?;
    let backups = world.repository().join(prefix.backups_folder());
    let mut whole = 1;
    for more in 0.. {
        writers.more(5).await?;
        let ended = back_up_until(&mut node, &backups, more).await?;
        let (_, _, after) = catalog(&world, &node).await?;
        // One that was killed may have become whole in its last moment, and no other has gone.
        ensure!(
            (whole..=whole + 1).contains(&after.backups.len()),
            "{} of {whole}",
            after.backups.len()
        );
        whole = after.backups.len();
        node.start()?;
        node.ready().await?;
        if ended {
            ensure!(more > 3, "it ended before {more} files were written");
            break;
        }
    }
    writers.more(5).await?;
    expect_cleared_up(&world, &node, writers).await
}

/// Kills what PostgreSQL has started to archive with; how many there were.
fn kill_archivers(node: &Node) -> usize {
    let ours = node.dir().display().to_string();
    let place = ours.trim_end_matches("/i").to_owned();
    let mut killed = 0;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.contains("\0agent\0archive\0") && line.contains(&place) {
            // It may have ended meanwhile.
            killed += usize::from(kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok());
        }
    }
    killed
}

#[tokio::test]
async fn agents_and_archive_commands_that_are_killed_under_load_lose_no_row() -> Result<()> {
    let world = World::new(MajorVersion::V15)?;
    let mut node = world.backed_up("orders").await?;
    let mut writers = Writers::start(&node, 1).await?;
    let (_, prefix, _) = catalog(&world, &node).await?;
    let log = world.repository().join(prefix.wal_folder());
    for turn in 1..=3 {
        // In the middle of something, and each time in the middle of something else.
        let before = files(&log).len();
        let client = node.connect().await?;
        wait(async || {
            client.batch_execute("SELECT pg_switch_wal()").await?;
            ensure!(files(&log).len() > before, "nothing was archived");
            Ok(())
        })
        .await?;
        if turn % 2 == 0 {
            node.kill_agent()?;
            writers.more(20).await?;
            node.start()?;
        } else {
            wait(async || {
                client.batch_execute("SELECT pg_switch_wal()").await?;
                ensure!(kill_archivers(&node) > 0, "nothing is being archived");
                Ok(())
            })
            .await?;
        }
        writers.more(20).await?;
    }
    let rows = writers.stop(&node).await?;
    node.ready().await?;
    wait(async || node.archive().await).await?;
    expect_whole(&world, &node).await?;
    expect_restorable(&world, &node, rows.len().try_into()?).await
}

#[tokio::test]
async fn a_repository_that_was_away_with_the_agent_killed_meanwhile_has_everything_in_the_end()
-> Result<()> {
    let world = World::new(MajorVersion::V17)?;
    let mut node = world.backed_up("orders").await?;
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
    let node = world.backed_up("orders").await?;
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
