//! A timeline that is left in the middle of the window: the server goes back to an earlier moment,
//! writes on, and every moment of both lines can be restored still.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use boma_instance::backup::RecoveryTarget;
use boma_instance::wal::Timeline;
use boma_instance::{MajorVersion, backup::Origin};

use crate::killed::kill_server;
use crate::node::{Node, World, wait};
use crate::numbered::{Committed, Writers, expect_rows};

/// Rows on the first line, and where it was left.
const FIRST: i64 = 120;
const LEFT: usize = 60;

/// Writes so many rows, and archives them.
async fn write(node: &Node, first: i64, count: i64) -> Result<Vec<Committed>> {
    let mut writers = Writers::start(node, first).await?;
    writers.more(count).await?;
    let rows = writers.stop(node).await?;
    node.archive().await?;
    Ok(rows)
}

/// The host is lost, and its server restored on another one to a moment out of what it archived
/// itself; what proves that it is the one that writes there was brought back.
async fn go_back(node: &mut Node, target: RecoveryTarget) -> Result<()> {
    node.kill_agent()?;
    kill_server(&node.data())?;
    let writer = node.dir().join("backup-writer");
    let proof = fs::read(&writer)?;
    fs::remove_dir_all(node.dir())?;
    fs::create_dir(node.dir())?;
    fs::write(&writer, proof)?;
    let spec = &mut node.assignment.spec;
    let repository = spec
        .backup
        .as_ref()
        .context("it is backed up")?
        .repository
        .clone();
    spec.generation += 1;
    spec.origin = Some(Origin {
        repository,
        instance: spec.id,
        database: spec.database.clone(),
        target,
        timeline: None,
    });
    node.bring_up().await?;
    Ok(())
}

/// A target on a timeline, or on whichever is right; and the last row that is there then.
struct Moment {
    name: &'static str,
    target: RecoveryTarget,
    timeline: Option<u32>,
    last: usize,
}

#[tokio::test]
async fn each_moment_of_both_lines_is_restored_after_the_server_went_back() -> Result<()> {
    let world = World::new(MajorVersion::V17)?;
    let mut source = world.backed_up("orders").await?;
    let one = write(&source, 1, FIRST).await?;
    go_back(&mut source, RecoveryTarget::Lsn(one[LEFT - 1].lsn)).await?;
    expect_rows(&source, LEFT.try_into()?).await?;
    let two = write(&source, i64::try_from(LEFT)? + 1, 30).await?;
    ensure!(LEFT + two.len() < one.len(), "{} rows", two.len());
    source.back_up().await?;

    let at = |row: &Committed| RecoveryTarget::Lsn(row.lsn);
    let moment = |name, target, timeline, last| Moment {
        name,
        target,
        timeline,
        last,
    };
    let end = LEFT + two.len();
    let moments = [
        moment("before", at(&one[29]), None, 30),
        moment("left", at(&one[109]), Some(1), 110),
        moment("left-end", RecoveryTarget::Latest, Some(1), one.len()),
        moment("after", at(&two[9]), None, LEFT + 10),
        moment("newest", RecoveryTarget::Latest, None, end),
        moment("newest-named", RecoveryTarget::Latest, Some(2), end),
    ];
    for moment in moments {
        let mut copy = world.restored(moment.name, &source, moment.target)?;
        if let Some(origin) = &mut copy.assignment.spec.origin {
            origin.timeline = moment.timeline.map(Timeline);
        }
        copy.bring_up().await.context(moment.name)?;
        expect_rows(&copy, moment.last.try_into()?)
            .await
            .context(moment.name)?;
    }
    expect_refused(&world, &source, RecoveryTarget::Time(one[109].at)).await
}

/// At that time another line was the newest, and nobody gets one that was not asked for.
async fn expect_refused(world: &World, source: &Node, target: RecoveryTarget) -> Result<()> {
    let mut copy = world.restored("refused", source, target)?;
    copy.start()?;
    copy.assign().await?;
    wait(async || {
        let status = copy.status().await?;
        let said = format!("{:?}", status.problems);
        ensure!(said.contains("restore-target-abandoned"), "{status:?}");
        Ok(())
    })
    .await?;
    ensure!(!copy.data().exists(), "something was restored");
    Ok(())
}
