//! The cluster does its own: nodes are drained or not heard from, and the API server goes away. Databases go on where
//! they can, and come back with every row where they cannot.
//!
//! BOMA_TEST_AWAY_SECONDS says for how long the API server is away.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use boma_testkit::eventually;
use serde_json::Value;

use crate::cluster::{Cluster, PATIENCE, Serving, given, kubectl, number};
use crate::proxy::{Fate, Proxy};

/// A database, and somebody who writes into it without asking the API server for anything: a row
/// each quarter of a second, with its time, and what was acknowledged in a file of the pod.
async fn written_to() -> Result<Cluster> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", "")?;
    cluster.application("api", "accounts")?;
    cluster.apply()?;
    cluster.client("api", "accounts")?;
    let table = "create table t(i int primary key, at timestamptz default now())";
    cluster.answered("api", table).await?;
    let writer = "i=0; while :; do i=$((i+1)); psql \"$DATABASE_URL\" -Atqc \"insert into t(i) values \
                  ($i) returning i\" >>/tmp/acknowledged 2>/dev/null; sleep 0.25; done";
    let started = format!("({writer}) >/dev/null 2>&1 </dev/null & echo started");
    cluster.kubectl(&["exec", "api", "--", "sh", "-c", &started])?;
    Ok(cluster)
}

/// Waits until more is written than now; fails if a row that was acknowledged is not there.
async fn goes_on(cluster: &Cluster) -> Result<()> {
    let count = || -> Result<i64> { Ok(cluster.query("api", "select count(*) from t")?.parse()?) };
    let before = eventually(PATIENCE, async || {
        count().map_err(|error| error.to_string())
    })
    .await?;
    eventually(PATIENCE, async || match count() {
        Ok(now) if now > before => Ok(()),
        other => Err(format!("{before} rows, then {other:?}")),
    })
    .await?;
    let acknowledged = cluster.kubectl(&["exec", "api", "--", "cat", "/tmp/acknowledged"])?;
    let there = cluster.query("api", "select i from t")?;
    let there: BTreeSet<&str> = there.lines().collect();
    let lost: Vec<&str> = acknowledged
        .lines()
        .filter(|row| !there.contains(row))
        .collect();
    ensure!(lost.is_empty(), "{lost:?} are lost");
    Ok(())
}

/// A node that takes no pods, until this is dropped.
struct Closed(String);

impl Closed {
    /// Closes the node of a pod, and drains it of that instance.
    fn drained_of(pod: &Value) -> Result<Self> {
        let node = pod["spec"]["nodeName"].as_str().context("a node")?;
        let closed = Self(node.to_owned());
        let label = "lowops.manifests/instance-id";
        let id = pod["metadata"]["labels"][label].as_str();
        let selector = format!("--pod-selector={label}={}", id.context("an id")?);
        let local = "--delete-emptydir-data";
        kubectl(&["drain", node, &selector, local, "--timeout=170s"])?;
        Ok(closed)
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        drop(kubectl(&["uncordon", &self.0]));
    }
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_database_whose_node_is_drained_waits_for_one_and_has_every_row() -> Result<()> {
    let cluster = written_to().await?;
    goes_on(&cluster).await?;
    let (uid, volume) = (
        cluster.pod_uid("accounts")?,
        cluster.object("pvc", "accounts-1")?,
    );
    let pod = cluster.object("pod", "accounts-1-0")?;
    let closed = Closed::drained_of(&pod)?;
    ensure!(
        cluster.pod_uid("accounts").ok() != Some(uid),
        "it is still there"
    );
    drop(closed);
    goes_on(&cluster).await?;
    let now = cluster.object("pvc", "accounts-1")?;
    assert_eq!(now["metadata"]["uid"], volume["metadata"]["uid"]);
    cluster.apply()?;
    cluster.apply_again()
}

/// A process of this machine that is stopped where it is, until this is dropped.
struct Frozen(String);

impl Frozen {
    fn new(process: &str) -> Result<Self> {
        let frozen = Self(process.to_owned());
        frozen.signal("-STOP")?;
        Ok(frozen)
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill").args([signal, &self.0]).status()?;
        ensure!(status.success(), "kill {signal} {}: {status}", self.0);
        Ok(())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.signal("-CONT"));
    }
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_node_that_is_not_heard_from_is_named_and_nothing_is_started_in_its_place() -> Result<()>
{
    let kubelet = given("BOMA_TEST_KUBERNETES_KUBELET")?;
    let cluster = written_to().await?;
    goes_on(&cluster).await?;
    let started = "select pg_postmaster_start_time()";
    let before = (cluster.pod_uid("accounts")?, cluster.query("api", started)?);
    let clock = "select now()";
    // A pod that was never ready is one that starts, as far as anybody can tell.
    let ready = "--for=condition=Ready";
    cluster.kubectl(&["wait", ready, "--timeout=120s", "pod/accounts-1-0"])?;
    let (gone, begun) = (cluster.query("api", clock)?, Instant::now());
    let frozen = Frozen::new(&kubelet)?;
    eventually(PATIENCE, async || {
        let said = cluster.boma(&["describe", "database", "accounts"]);
        let said = said.map_err(|error| error.to_string())?;
        let parts = ["is not heard from", "node.kubernetes.io/out-of-service"];
        if parts.iter().all(|part| said.stdout.contains(part)) {
            Ok(())
        } else {
            Err(format!("{}{}", said.stdout, said.stderr))
        }
    })
    .await?;
    assert_eq!(cluster.pod_uid("accounts")?, before.0);
    drop(frozen);

    // Its server went on, and is the same.
    let silent = begun.elapsed().as_secs();
    let back = eventually(PATIENCE, async || {
        let back = cluster.query("api", clock);
        back.map_err(|error| error.to_string())
    })
    .await?;
    let written =
        format!("select count(*) >= {silent} / 4 from t where at between '{gone}' and '{back}'");
    assert_eq!(cluster.query("api", &written)?, "t");
    goes_on(&cluster).await?;
    assert_eq!(
        (cluster.pod_uid("accounts")?, cluster.query("api", started)?),
        before
    );
    cluster.apply()?;
    cluster.apply_again()
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn while_the_api_server_is_away_databases_go_on_and_nothing_restarts() -> Result<()> {
    let seconds = number("BOMA_TEST_AWAY_SECONDS")?.unwrap_or(60);
    let cluster = written_to().await?;
    let proxy = Proxy::start()?;
    let serve = || cluster.command_through(&proxy, &["serve", "."]);
    let mut serving = Serving::start(&cluster, serve()?)?;
    // It acts: what is taken away comes back.
    cluster.kubectl(&["delete", "networkpolicy", "accounts"])?;
    cluster.is_made("networkpolicy", "accounts").await?;
    let mut waiting = Serving::start(&cluster, serve()?)?;
    cluster.somebody_waits().await?;
    let started = "select pg_postmaster_start_time()";
    let before = (cluster.pod_uid("accounts")?, cluster.query("api", started)?);

    let clock = "select now()";
    let gone = cluster.query("api", clock)?;
    proxy.decide(|_| Fate::Refuse(503, "", "ServiceUnavailable"));
    cluster.application("late", "accounts")?;
    println!("away for {seconds} s");
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    for boma in [&mut serving, &mut waiting] {
        let log = || std::fs::read_to_string(cluster.path("serve.log"));
        ensure!(boma.is_alive()?, "it has ended: {}", log()?);
    }
    proxy.decide(|_| Fate::Pass);

    // What was asked for meanwhile is done, and nothing else.
    cluster.is_made("secret", "late.accounts").await?;
    let back = cluster.query("api", clock)?;
    let written =
        format!("select count(*) >= {seconds} / 4 from t where at between '{gone}' and '{back}'");
    assert_eq!(cluster.query("api", &written)?, "t");
    goes_on(&cluster).await?;
    assert_eq!(
        (cluster.pod_uid("accounts")?, cluster.query("api", started)?),
        before
    );
    drop((serving, waiting));
    cluster.apply()?;
    cluster.apply_again()
}
