//! Two that serve, of which one acts: clocks differ, and taking over may fail.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use boma_testkit::eventually;
use jiff::{SignedDuration, Timestamp};

use crate::cluster::{Cluster, PATIENCE, Serving, kubectl};
use crate::proxy::{Fate, Proxy};

/// A database and an application, asked for and not applied.
fn asked_for() -> Result<Cluster> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", "")?;
    cluster.application("api", "accounts")?;
    Ok(cluster)
}

/// The library that gives a process another clock.
fn another_clock() -> Result<PathBuf> {
    for directory in fs::read_dir("/usr/lib")? {
        let library = directory?.path().join("faketime/libfaketimeMT.so.1");
        if library.exists() {
            return Ok(library);
        }
    }
    anyhow::bail!("there is no libfaketime: `scripts/setup.sh test` installs it")
}

/// `boma serve` on a machine whose clock differs by so much. Time passes as everywhere. It is led to
/// the API server by a proxy: the certificate of a cluster that is younger than the difference is not
/// good yet.
fn serving_at(cluster: &Cluster, proxy: &Proxy, offset: &str) -> Result<Serving> {
    let mut command = cluster.command_through(proxy, &["serve", "."])?;
    command
        .env("LD_PRELOAD", another_clock()?)
        .env("FAKETIME", offset)
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Serving::start(cluster, command)
}

/// Who has the Lease, and when it was renewed by the clock of who has it.
fn lease(cluster: &Cluster) -> Result<(String, Timestamp)> {
    let template = "go-template={{.spec.holderIdentity}} {{.spec.renewTime}}";
    let home = cluster.home.as_str();
    let said = kubectl(&["-n", home, "get", "lease", "boma", "-o", template])?;
    let (holder, renewed) = said.split_once(' ').context("two words")?;
    Ok((holder.to_owned(), renewed.parse()?))
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn clocks_that_differ_by_a_day_change_nothing() -> Result<()> {
    let cluster = asked_for()?;
    let proxy = Proxy::start()?;
    let behind = serving_at(&cluster, &proxy, "-12h")?;
    cluster.is_made("secret", "api.accounts").await?;
    let (first, mut renewed) = lease(&cluster)?;
    let late = Timestamp::now().duration_since(renewed);
    ensure!(
        late > SignedDuration::from_hours(11),
        "its clock is not behind: {late}"
    );
    let mut ahead = serving_at(&cluster, &proxy, "+12h")?;
    cluster.somebody_waits().await?;
    // To whom it waits, twelve hours are a day; and a Lease is over in fifteen seconds.
    for _renewal in 0..5 {
        renewed = eventually(PATIENCE, async || match lease(&cluster) {
            Ok((holder, _)) if holder != first => Err(format!("{holder} has taken it")),
            Ok((_, at)) if at > renewed => Ok(at),
            other => Err(format!("{other:?}")),
        })
        .await?;
    }
    ensure!(ahead.is_alive()?, "who waits has ended");
    drop(behind);
    cluster.application("late", "accounts")?;
    cluster.is_made("secret", "late.accounts").await?;
    let (second, renewed) = lease(&cluster)?;
    ensure!(second != first, "{first} was killed, and has it");
    let early = renewed.duration_since(Timestamp::now());
    ensure!(
        early > SignedDuration::from_hours(11),
        "its clock is not ahead: {early}"
    );
    // Pods and their certificates have the time of the nodes.
    cluster.client("late", "accounts")?;
    assert_eq!(
        cluster.answered("late", "select session_user").await?,
        "late_1"
    );
    drop(ahead);
    cluster.apply()?;
    cluster.apply_again()
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn taking_over_is_tried_again_when_it_fails() -> Result<()> {
    let cluster = asked_for()?;
    let acting = Serving::start(&cluster, cluster.command(&["serve", "."]))?;
    cluster.is_made("secret", "api.accounts").await?;
    let proxy = Proxy::start()?;
    let serve = cluster.command_through(&proxy, &["serve", "."])?;
    let mut waiting = Serving::start(&cluster, serve)?;
    cluster.somebody_waits().await?;
    let refused = Arc::new(AtomicU32::new(0));
    let count = refused.clone();
    proxy.decide(move |asked| {
        if asked.method == "GET" || !asked.path.contains("/leases/") {
            return Fate::Pass;
        }
        count.fetch_add(1, Ordering::Relaxed);
        // A 503 the client for Kubernetes asks again by itself.
        Fate::Refuse(500, "", "InternalError")
    });
    drop(acting);
    eventually(PATIENCE, async || {
        let times = refused.load(Ordering::Relaxed);
        if times > 1 {
            Ok(())
        } else {
            Err(format!("refused {times} times"))
        }
    })
    .await?;
    ensure!(waiting.is_alive()?, "who waits has ended");
    proxy.decide(|_| Fate::Pass);
    cluster.application("late", "accounts")?;
    cluster.is_made("secret", "late.accounts").await
}
