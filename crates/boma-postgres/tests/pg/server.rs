//! Servers: starting, adopting, stopping, and their log.

use std::time::Duration;

use boma_postgres::control::{ClusterState, ControlData};
use boma_postgres::server::{ServerState, StopError, StopMode, adopt, log};
use boma_problem::IntoProblem;
use boma_testkit::{ScratchDir, become_unprivileged, eventually};

use crate::host::{Host, LONG, installation, installations, stop};

#[tokio::test]
async fn each_version_starts_answers_is_adopted_and_stops() -> anyhow::Result<()> {
    become_unprivileged()?;
    for installation in installations()? {
        let host = Host::new(&installation)?;
        assert!(adopt(&host.data())?.is_none());
        let running = host.start().await?;
        let client = host.connect().await?;
        let version: String = client.query_one("SHOW server_version", &[]).await?.get(0);
        assert!(version.starts_with(&installation.version.to_string()));
        let state = running.state()?.unwrap();
        assert_eq!(state.state, ServerState::Ready);
        assert_eq!(state.port, Some(host.listen.port()));
        assert_eq!(state.socket_directory.as_deref(), Some(host.scratch.path()));

        let adopted = adopt(&host.data())?.expect("it runs");
        assert_eq!(adopted.pid(), running.pid());
        assert!(adopted.ready(LONG).await?);
        let problem = host.start().await.unwrap_err().problem();
        assert_eq!(problem.code, "server-runs-already");
        assert!(
            problem
                .message
                .starts_with(&format!("server {} already runs", running.pid()))
        );

        assert_eq!(adopted.try_exited(), None);
        let exit = adopted.stop(StopMode::Fast, LONG).await?;
        assert_eq!(exit.status.and_then(|status| status.code()), Some(0));
        assert_eq!(adopted.try_exited(), Some(exit));
        assert_eq!(adopted.exited().await, exit);
        assert_eq!(running.exited().await.status, None, "only one is told");
        assert!(adopt(&host.data())?.is_none());
        assert!(running.state()?.is_none());
        // Stopping what has stopped is fine.
        running.stop(StopMode::Fast, LONG).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_reload_changes_settings() -> anyhow::Result<()> {
    become_unprivileged()?;
    let host = Host::new(&installation()?)?;
    let running = host.start().await?;
    let client = host.connect().await?;
    client
        .batch_execute("ALTER SYSTEM SET work_mem = '7MB'")
        .await?;
    running.reload()?;
    eventually(LONG, async || {
        let row = client.query_one("SHOW work_mem", &[]).await;
        let value: String = row.map_err(|error| error.to_string())?.get(0);
        if value == "7MB" { Ok(()) } else { Err(value) }
    })
    .await?;
    drop(client);
    stop(running).await
}

#[tokio::test]
async fn a_smart_stop_waits_for_clients_and_a_harder_one_does_not() -> anyhow::Result<()> {
    become_unprivileged()?;
    let host = Host::new(&installation()?)?;
    let running = host.start().await?;
    let client = host.connect().await?;
    client
        .batch_execute("CREATE TABLE t AS SELECT 1 AS x")
        .await?;
    let error = running
        .stop(StopMode::Smart, Duration::from_millis(300))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        StopError::Patience {
            mode: StopMode::Smart,
            ..
        }
    ));
    let problem = error.problem();
    assert_eq!(problem.code, "server-stops-slowly");
    assert!(problem.hints[0].contains("clients"));
    client.query_one("SELECT x FROM t", &[]).await?;

    running.stop(StopMode::Immediate, LONG).await?;
    let left = ControlData::read(&host.data())?.state;
    assert_eq!(left, ClusterState::InProduction, "it has WAL to replay");
    let running = host.start().await?;
    let client = host.connect().await?;
    client.query_one("SELECT x FROM t", &[]).await?;
    drop(client);
    stop(running).await
}

#[tokio::test]
async fn its_end_is_told_to_all_that_wait() -> anyhow::Result<()> {
    become_unprivileged()?;
    let host = Host::new(&installation()?)?;
    let running = host.start().await?;
    let adopted = adopt(&host.data())?.expect("it runs");
    let client = host.connect().await?;
    let wait = async { tokio::join!(running.exited(), running.exited(), adopted.exited()) };
    let end = async {
        // As an administrator would, behind our back.
        client
            .batch_execute("SELECT pg_terminate_backend(pg_backend_pid())")
            .await
            .ok();
        adopted.stop(StopMode::Fast, LONG).await
    };
    let (told, ended) = tokio::time::timeout(LONG, async { tokio::join!(wait, end) }).await?;
    ended?;
    assert_eq!(told.0, told.1);
    let statuses = [told.0.status, told.2.status];
    assert_eq!(
        statuses
            .iter()
            .flatten()
            .filter(|status| status.success())
            .count(),
        1
    );
    Ok(())
}

#[tokio::test]
async fn the_log_is_rotated_under_a_running_server_without_losing_a_line() -> anyhow::Result<()> {
    const LINES: usize = 400;
    become_unprivileged()?;
    let scratch = ScratchDir::on_disk()?;
    let host = Host::new(&installation()?)?;
    let log = scratch.path().join("postgres.log");
    // The log alone is on a disk, where the front of a file can be cut off.
    std::os::unix::fs::symlink(&log, host.log())?;
    let running = host.start().await?;
    let client = host.connect().await?;
    let keep = log::Keep {
        bytes: 20_000,
        parts: 100,
    };
    let filler = "x".repeat(200);
    let mut rotated = 0;
    for number in 0..LINES {
        let sql = format!("DO $$ BEGIN RAISE LOG 'line {number} {filler}'; END $$");
        client.batch_execute(&sql).await?;
        rotated += u32::from(log::rotate(&log, keep)?);
    }
    assert!(rotated > 2, "{rotated}");
    drop(client);
    stop(running).await?;

    let mut whole = String::new();
    for part in (1..=rotated).rev() {
        whole += &std::fs::read_to_string(scratch.path().join(format!("postgres.log.{part}")))?;
    }
    let last = std::fs::read_to_string(&log)?;
    assert!(last.len() as u64 <= keep.bytes + 4096, "{}", last.len());
    whole += &last;
    for number in 0..LINES {
        assert_eq!(
            whole.matches(&format!("LOG:  line {number} x")).count(),
            1,
            "line {number}"
        );
    }
    Ok(())
}
