//! How much a server does, by its own counters.

use std::time::Duration;

use anyhow::Context;
use boma_instance::{Access, Activity};
use boma_testkit::eventually;

use crate::server::{Server, on_each_version};

const LONG: Duration = Duration::from_mins(1);

async fn look(server: &Server) -> anyhow::Result<Activity> {
    let seen = server.controls().activity().await?;
    seen.context("the database is there")
}

/// Waits for counters that are as wanted: a session tells them a little after its transaction.
async fn becomes(server: &Server, is_good: impl Fn(&Activity) -> bool) -> anyhow::Result<Activity> {
    eventually(LONG, async || {
        let seen = look(server).await.map_err(|error| format!("{error:#}"))?;
        if is_good(&seen) {
            Ok(seen)
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await
}

#[tokio::test]
async fn work_is_counted_and_boma_is_not_a_connection() -> anyhow::Result<()> {
    on_each_version(async |server| {
        assert_eq!(server.controls().activity().await?, None, "no database yet");
        server.grant("rita", Access::ReadWrite);
        server.converge().await?;
        // 256 MiB: 25 connections, of which the agent keeps 5.
        let before = becomes(server, |seen| seen.connections == 0).await?;
        assert_eq!(before.connection_limit, 20);
        let rita = server.connect("rita").await?;
        assert_eq!(look(server).await?.connections, 1);
        for _transaction in 0..500 {
            rita.simple_query("SELECT count(*) FROM pg_class").await?;
        }
        drop(rita);
        let after = becomes(server, |seen| {
            seen.connections == 0 && seen.transactions >= before.transactions + 500
        })
        .await?;
        assert!(after.blocks_hit > before.blocks_hit, "{after:?}");
        assert_eq!(after.since, before.since);

        let by_hand = server.by_hand("accounts_db").await?;
        by_hand.batch_execute("SELECT pg_stat_reset()").await?;
        drop(by_hand);
        becomes(server, |seen| seen.since > before.since).await?;
        Ok(())
    })
    .await
}
