//! Servers on which nobody writes, and those that stop: what can be restored ends with now, and with
//! the last row.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use boma_instance::{ARCHIVED, LEFT_BEHIND, MajorVersion, Phase, Power};
use boma_postgres::server::PidFile;
use boma_testkit::put_back;
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::node::{Node, World, wait};
use crate::numbered::Writers;
use crate::trouble::{catalog, expect_restorable, files};

/// A server that is backed up, and who writes to it. An archive interval of five minutes gives a
/// proof in an hour; one of a second, in some seconds.
async fn archived_each_second(world: &World) -> Result<(Node, Writers)> {
    let mut node = world.node("orders")?;
    if let Some(backup) = &mut node.assignment.spec.backup {
        backup.archive_interval_seconds = 1;
    }
    node.bring_up().await?;
    node.first_backup().await?;
    let writers = Writers::start(&node, 1).await?;
    Ok((node, writers))
}

#[tokio::test]
async fn the_end_of_the_window_moves_on_where_nobody_writes() -> Result<()> {
    let world = World::new(MajorVersion::V17)?;
    let (node, mut writers) = archived_each_second(&world).await?;
    writers.more(10).await?;
    let rows = writers.stop(&node).await?;
    node.archive().await?;
    let written = node.connect().await?;
    let position = "SELECT pg_walfile_name(pg_current_wal_lsn())";
    let before: String = written.query_one(position, &[]).await?.get(0);
    // Twice: the first may come from what was archived as writing ended.
    for _ in 0..2 {
        let idle_since = Timestamp::now();
        wait(async || {
            let backup = node.status().await?.backup.context("no backup status")?;
            ensure!(backup.recoverable_until > Some(idle_since), "{backup:?}");
            Ok(())
        })
        .await?;
    }
    // What it says is so: all of it is archived.
    let after: String = written.query_one(position, &[]).await?.get(0);
    ensure!(after > before, "{after} is not behind {before}");
    let (_, _, catalog) = catalog(&world, &node).await?;
    ensure!(
        catalog.archive.gaps().is_empty(),
        "{:?}",
        catalog.archive.gaps()
    );
    expect_restorable(&world, &node, rows.len().try_into()?).await
}

/// Ends a server in good order, with nobody there to archive what it wrote last.
async fn stop_server(data: &Path) -> Result<()> {
    let file = PidFile::read(data)?.context("a server")?;
    kill(Pid::from_raw(i32::try_from(file.pid)?), Signal::SIGINT)?;
    wait(async || {
        ensure!(PidFile::read(data)?.is_none(), "it is still there");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_a_stopped_server_left_is_archived_to_the_last_row() -> Result<()> {
    let world = World::new(MajorVersion::V17)?;
    let mut node = world.backed_up("orders").await?;
    let mut writers = Writers::start(&node, 1).await?;
    writers.more(80).await?;
    node.kill_agent()?;
    let rows = writers.stop_unseen().await?;
    stop_server(&node.data()).await?;
    let status = node.data().join("pg_wal/archive_status");
    let waiting = || {
        let names = files(&status).into_iter();
        let ready = names.filter(|name| name.extension().is_some_and(|one| one == "ready"));
        ready.collect::<Vec<_>>()
    };
    ensure!(!waiting().is_empty(), "nothing waits");
    node.assignment.spec.power = Power::Off;
    node.assignment.spec.generation += 1;
    // Killed on its way, it is done again.
    for turn in 0..2 {
        node.start()?;
        node.assign().await?;
        if turn == 0 {
            node.kill_agent()?;
        }
    }
    wait(async || said(&node, "AllArchived").await)
        .await
        .with_context(|| node.said())?;
    ensure!(waiting().is_empty(), "{:?} wait", waiting());
    // As after a purge: nothing is left of it but what is in the repository.
    node.kill_agent()?;
    fs::remove_dir_all(node.dir())?;
    expect_restorable(&world, &node, rows).await
}

/// Fails unless the server is stopped, and this is why its log is or is not archived.
async fn said(node: &Node, reason: &str) -> Result<()> {
    let status = node.status().await?;
    ensure!(status.phase == Phase::Suspended, "{status:?}");
    let mut conditions = status.conditions.iter();
    let archived = conditions.find(|one| one.kind == ARCHIVED);
    let archived = archived.context("a condition")?;
    ensure!(archived.reason == reason, "{archived:?}");
    Ok(())
}

#[tokio::test]
async fn a_repository_that_is_away_keeps_no_server_from_stopping_for_good() -> Result<()> {
    let world = World::new(MajorVersion::V16)?;
    let (mut node, mut writers) = archived_each_second(&world).await?;
    writers.more(20).await?;
    let away = world.repository().with_extension("away");
    fs::rename(world.repository(), &away)?;
    writers.more(20).await?;
    let rows = writers.stop(&node).await?;
    node.assignment.spec.power = Power::Off;
    node.assignment.spec.generation += 1;
    node.assign().await?;
    // It is waited for, and told that it is; then it is not waited for any more.
    wait(async || {
        let status = node.status().await?;
        let stopped = status.accepted_generation == node.assignment.spec.generation
            && status.server.is_none();
        ensure!(stopped && status.phase == Phase::Stopping, "{status:?}");
        Ok(())
    })
    .await?;
    wait(async || said(&node, LEFT_BEHIND).await).await?;
    // Another agent says the same, and goes on when the repository is back.
    node.kill_agent()?;
    node.start()?;
    wait(async || said(&node, LEFT_BEHIND).await).await?;
    put_back(&away, &world.repository())?;
    wait(async || said(&node, "AllArchived").await)
        .await
        .with_context(|| node.said())?;
    node.kill_agent()?;
    fs::remove_dir_all(node.dir())?;
    expect_restorable(&world, &node, rows.len().try_into()?).await
}
