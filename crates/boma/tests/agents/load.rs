//! Backups, expiries and archiving under the load of `pgbench`, and what is restored out of them.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use boma_instance::MajorVersion;
use boma_instance::backup::RecoveryTarget;
use jiff::Timestamp;
use tokio::process::{Child, Command};

use crate::node::{Node, World, wait};
use crate::trouble::{catalog, expect_whole};

/// One of PostgreSQL's programs, for the database of a server.
fn program(world: &World, node: &Node, name: &str) -> Command {
    let mut command = Command::new(world.bin().join(name));
    command
        .env_clear()
        .env("PGHOST", node.run_dir())
        .env("PGPORT", node.assignment.placement.listen.port.to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", &node.assignment.spec.database)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn run(mut command: Command) -> Result<()> {
    let ran = command.output().await?;
    ensure!(ran.status.success(), "{ran:?}");
    Ok(())
}

/// Transactions without an end.
fn load(world: &World, node: &Node) -> Result<Child> {
    let mut command = program(world, node, "pgbench");
    command
        .args(["--no-vacuum", "--client=4", "--transactions=100000000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(command.spawn()?)
}

/// Ends it, and returns when the server has ended its sessions too.
async fn end(node: &Node, load: &mut Child) -> Result<()> {
    load.kill().await?;
    let client = node.connect().await?;
    wait(async || {
        let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'";
        let left: i64 = client.query_one(left, &[]).await?.get(0);
        ensure!(left == 0, "{left} sessions are left");
        Ok(())
    })
    .await
}

/// Every transaction adds the same to an account, to a teller and to a branch, and says so.
async fn expect_balanced(node: &Node) -> Result<i64> {
    let sums = "SELECT (SELECT coalesce(sum(delta), 0) FROM pgbench_history), \
                       (SELECT sum(abalance) FROM pgbench_accounts), \
                       (SELECT sum(tbalance) FROM pgbench_tellers), \
                       (SELECT sum(bbalance) FROM pgbench_branches), \
                       (SELECT count(*) FROM pgbench_history)";
    let row = node.connect().await?.query_one(sums, &[]).await?;
    let [history, accounts, tellers, branches, count] =
        [0, 1, 2, 3, 4].map(|column| row.get::<_, i64>(column));
    ensure!(
        [accounts, tellers, branches] == [history; 3],
        "{history} in the history, {accounts} in accounts, {tellers} in tellers, {branches} in branches"
    );
    Ok(count)
}

async fn transactions(node: &Node) -> Result<i64> {
    let count = "SELECT count(*) FROM pgbench_history";
    Ok(node.connect().await?.query_one(count, &[]).await?.get(0))
}

async fn now(node: &Node) -> Result<Timestamp> {
    let micros = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let micros = node.connect().await?.query_one(micros, &[]).await?.get(0);
    Ok(Timestamp::from_microsecond(micros)?)
}

/// Restores, and fails unless it is sound to the last index; transactions that are there.
async fn expect_sound(
    world: &World,
    source: &Node,
    (name, target): (&str, RecoveryTarget),
) -> Result<i64> {
    let mut copy = world.restored(name, source, target)?;
    copy.bring_up().await?;
    let mut check = program(world, &copy, "pg_amcheck");
    check.args(["--install-missing", "--heapallindexed", "--parent-check"]);
    run(check).await?;
    expect_balanced(&copy).await
}

fn is_there(bin: &Path) -> bool {
    ["pgbench", "pg_amcheck"]
        .iter()
        .all(|name| bin.join(name).exists())
}

#[tokio::test]
async fn what_was_backed_up_and_expired_under_load_balances_to_the_last_cent() -> Result<()> {
    // A distribution's, with all programs.
    let world = World::new(MajorVersion::V15)?;
    ensure!(is_there(world.bin()), "pgbench and pg_amcheck are needed");
    let mut node = world.node("orders")?;
    if let Some(backup) = &mut node.assignment.spec.backup {
        backup.retention_days = 0;
    }
    node.bring_up().await?;
    node.first_backup().await?;
    let mut fill = program(&world, &node, "pgbench");
    fill.args(["--initialize", "--scale=2", "--quiet"]);
    run(fill).await?;
    let mut load = load(&world, &node)?;
    let mut middle = None;
    for _ in 0..4 {
        let before = transactions(&node).await?;
        node.back_up().await?;
        node.archive().await?;
        wait(async || {
            let more = transactions(&node).await? - before;
            ensure!(more > 200, "{more} transactions more");
            Ok(())
        })
        .await?;
        let least = transactions(&node).await?;
        middle = Some((now(&node).await?, least));
    }
    let moved = catalog(&world, &node).await?.2;
    let oldest = moved
        .archive
        .lines
        .values()
        .flat_map(|line| &line.runs)
        .next();
    let oldest = oldest.context("an archive")?.first;
    ensure!(oldest > 1, "nothing expired");
    wait(async || {
        let (_, more) = middle.context("a moment")?;
        ensure!(transactions(&node).await? > more, "nothing is written");
        Ok(())
    })
    .await?;
    end(&node, &mut load).await?;
    node.archive().await?;
    let all = expect_balanced(&node).await?;
    expect_whole(&world, &node).await?;
    let newest = expect_sound(&world, &node, ("newest", RecoveryTarget::Latest)).await?;
    ensure!(newest == all, "{newest} of {all} transactions");
    let (time, least) = middle.context("a moment")?;
    let then = expect_sound(&world, &node, ("middle", RecoveryTarget::Time(time))).await?;
    ensure!(
        then < all && then + 50 > least,
        "{then} of {all} transactions, not about {least}"
    );
    Ok(())
}
