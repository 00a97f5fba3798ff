//! Whatever dies, and when: the next agent goes on, nothing is lost, and never do two servers run
//! on one data directory.

use anyhow::{Context, Result, ensure};
use boma_instance::Phase;
use boma_testkit::postgres_builds;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::agent::{Place, wait};

fn kill_9(pid: u32) -> Result<()> {
    Ok(kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?)
}

#[tokio::test]
async fn a_server_outlives_its_agent_and_is_adopted() -> Result<()> {
    let place = Place::new(&postgres_builds()?[0])?;
    let agent = place.start();
    place.assign().await?;
    let before = place.ready().await?.server.context("no server")?;
    agent.kill().await;
    let _next = place.start();
    wait(async || place.status().await).await?;
    let after = place.ready().await?.server.context("no server")?;
    assert_eq!(
        (before.pid, before.started_at),
        (after.pid, after.started_at)
    );
    place.end().await
}

#[tokio::test]
async fn a_killed_server_is_started_again_with_everything_that_was_acknowledged() -> Result<()> {
    for build in postgres_builds()? {
        let place = Place::new(&build)?;
        let _agent = place.start();
        place.assign().await?;
        let before = place.ready().await?.server.context("no server")?;
        place.sql("create table t as select 42 as x").await?;
        kill_9(before.pid)?;
        let after = wait(async || {
            let server = place.status().await?.server.context("no server")?;
            ensure!(server.pid != before.pid, "still the old one");
            Ok(server)
        })
        .await?;
        ensure!(
            after.system_identifier == before.system_identifier,
            "another cluster"
        );
        place.ready().await?;
        assert_eq!(place.sql("select x from t").await?, ["42"]);
        place.end().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_data_directory_is_reported_and_never_replaced() -> Result<()> {
    let place = Place::new(&postgres_builds()?[0])?;
    let agent = place.start();
    place.assign().await?;
    let server = place.ready().await?.server.context("no server")?;
    agent.kill().await;
    kill_9(server.pid)?;
    std::fs::rename(place.data(), place.scratch.path().join("lost"))?;
    let _next = place.start();
    let status = wait(async || place.status().await).await?;
    assert_eq!(status.phase, Phase::Failed);
    assert_eq!(status.problems[0].code, "data-lost", "{status:?}");
    assert!(!place.data().exists());
    // Put back, it goes on by itself.
    std::fs::rename(place.scratch.path().join("lost"), place.data())?;
    place.look().await?;
    place.ready().await?;
    place.end().await
}

#[tokio::test]
async fn a_directory_of_somebody_else_is_left_as_it_is() -> Result<()> {
    let place = Place::new(&postgres_builds()?[0])?;
    std::fs::create_dir_all(place.data())?;
    std::fs::write(place.data().join("diary.txt"), "precious")?;
    let _agent = place.start();
    place.assign().await?;
    let status = place.in_phase(Phase::Failed).await?;
    assert_eq!(status.problems[0].code, "data-not-ours", "{status:?}");
    assert_eq!(
        std::fs::read_to_string(place.data().join("diary.txt"))?,
        "precious"
    );
    Ok(())
}

#[tokio::test]
async fn an_agent_that_dies_again_and_again_gets_there_in_the_end() -> Result<()> {
    let place = Place::new(&postgres_builds()?[0])?;
    std::fs::create_dir_all(&place.config.dir)?;
    std::fs::write(
        place.config.dir.join("assignment.json"),
        serde_json::to_vec(&place.assignment)?,
    )?;
    // Each life is longer than the one before; together they end in the middle of every step.
    for life in 1..30_u64 {
        let agent = place.start();
        tokio::time::timeout(
            std::time::Duration::from_millis(life * 31),
            std::future::pending::<()>(),
        )
        .await
        .unwrap_or(());
        agent.kill().await;
    }
    let _agent = place.start();
    wait(async || place.status().await).await?;
    place.ready().await?;
    let servers = place
        .sql("select count(*) from pg_stat_activity where backend_type = 'checkpointer'")
        .await?;
    assert_eq!(servers, ["1"]);
    place.end().await
}
