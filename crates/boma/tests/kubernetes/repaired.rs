//! What others break, and what comes back.

use anyhow::{Context, Result, ensure};
use boma_testkit::eventually;
use serde_json::json;

use crate::cluster::{Cluster, PATIENCE};

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_is_changed_by_hand_comes_back_and_no_row_is_lost() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", "")?;
    cluster.application("api", "accounts")?;
    cluster.apply()?;
    cluster.client("api", "accounts")?;
    cluster.query("api", "create table t(i int)")?;
    let policy = cluster.object("networkpolicy", "accounts")?["spec"].clone();
    let open = json!({"spec": {"ingress": [{}]}}).to_string();
    let emptied = json!({"data": {"DATABASE_URL": null, "password": "eA=="}}).to_string();
    let nobody = json!({"spec": {"selector": {"nobody": "x"}}}).to_string();
    let edits: [&[&str]; 9] = [
        &["delete", "service", "accounts"],
        &["patch", "service", "accounts", "-p", &nobody],
        &["delete", "networkpolicy", "accounts"],
        &[
            "patch",
            "networkpolicy",
            "accounts",
            "--type=merge",
            "-p",
            &open,
        ],
        &["scale", "statefulset", "accounts-1", "--replicas=0"],
        &["delete", "statefulset", "accounts-1"],
        &["delete", "secret", "api.accounts"],
        &["patch", "secret", "api.accounts", "-p", &emptied],
        &["label", "pvc", "accounts-1", "lowops.manifests/database-"],
    ];
    for (row, edit) in edits.into_iter().enumerate() {
        cluster
            .answered("api", &format!("insert into t values ({row})"))
            .await?;
        cluster.kubectl(edit)?;
        // What is gone is heard of a moment later.
        eventually(PATIENCE, async || {
            let said = cluster.apply().map_err(|error| error.to_string())?;
            if said.contains("Nothing to do") {
                Err(said)
            } else {
                Ok(())
            }
        })
        .await
        .with_context(|| format!("{edit:?} was not noticed"))?;
    }
    assert_eq!(cluster.object("networkpolicy", "accounts")?["spec"], policy);
    // The StatefulSet that they are about was deleted: `describe` would not show all of them.
    let corrected = ["get", "events", "--field-selector=reason=DriftCorrected"];
    let told = cluster.kubectl(&corrected)?;
    ensure!(
        told.contains("changed by hand, and put right: NetworkPolicy"),
        "{told}"
    );
    let rows = cluster.answered("api", "select count(*) from t").await?;
    assert_eq!(rows, edits.len().to_string());
    cluster.apply_again()
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_is_changed_by_hand_is_left_where_the_manifest_says_so() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", ", drift: report")?;
    cluster.application("api", "accounts")?;
    cluster.apply()?;
    cluster.client("api", "accounts")?;
    cluster.query("api", "create table t(i int); insert into t values (7)")?;
    let policy = cluster.object("networkpolicy", "accounts")?["spec"].clone();
    let open = json!({"spec": {"ingress": [{}]}}).to_string();
    let patch = ["patch", "networkpolicy", "accounts", "--type=merge", "-p"];
    cluster.kubectl(&[&patch[..], &[&open]].concat())?;
    cluster.kubectl(&["scale", "statefulset", "accounts-1", "--replicas=0"])?;
    // Who may enter is put right; that nobody is served is told.
    eventually(PATIENCE, async || {
        let said = |error: anyhow::Error| error.to_string();
        let _not_converged = cluster.boma(&["apply", "--patience", "1"]).map_err(said)?;
        let admitted = cluster.object("networkpolicy", "accounts").map_err(said)?;
        if admitted["spec"] != policy {
            return Err(format!("who may enter: {admitted}"));
        }
        let told = ["get", "accounts", "-o", "json"];
        let told = cluster.boma(&told).map_err(said)?;
        if told
            .stdout
            .contains("StatefulSet accounts-1: spec.replicas")
        {
            Ok(())
        } else {
            Err(format!("{told:?}"))
        }
    })
    .await?;
    assert_eq!(
        cluster.object("statefulset", "accounts-1")?["spec"]["replicas"],
        0
    );
    cluster.database("accounts", "")?;
    cluster.apply()?;
    assert_eq!(cluster.answered("api", "select i from t").await?, "7");
    cluster.apply_again()
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn the_server_outlives_its_agent_and_a_deleted_pod_loses_nothing() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", "")?;
    cluster.application("api", "accounts")?;
    cluster.apply()?;
    cluster.client("api", "accounts")?;
    cluster.query("api", "create table t(i int); insert into t values (1)")?;
    let started = "select pg_postmaster_start_time()";
    let before = cluster.query("api", started)?;
    // The agent is the child of process 1 that is not PostgreSQL. It is killed only after it has
    // run for a while: an agent that dies at once ends its pod.
    eventually(PATIENCE, async || {
        let script = "for p in /proc/[0-9]*; do grep -qa -- --inner $p/cmdline && \
                      [ $(awk '{print int($22/100)}' $p/stat) -lt $(( $(awk '{print int($1)}' /proc/uptime) - 11 )) ] && \
                      kill -KILL ${p#/proc/} && echo killed; done; true";
        let killed = cluster.kubectl(&["exec", "accounts-1-0", "-c", "postgres", "--", "sh", "-c", script]);
        let killed = killed.map_err(|error| error.to_string())?;
        if killed.contains("killed") { Ok(()) } else { Err(format!("no agent was killed: {killed}")) }
    })
    .await?;
    assert_eq!(
        cluster.query("api", started)?,
        before,
        "the server was restarted"
    );
    cluster.apply()?;
    assert_eq!(
        cluster.query("api", started)?,
        before,
        "the server was restarted"
    );
    let uid = cluster.pod_uid("accounts")?;
    cluster.query("api", "insert into t values (2)")?;
    cluster.kubectl(&["delete", "pod", "accounts-1-0"])?;
    assert_eq!(
        cluster.answered("api", "select count(*) from t").await?,
        "2"
    );
    let second = cluster.pod_uid("accounts")?;
    ensure!(second != uid);
    // A forced deletion lets a second pod begin while the first one's container may still run; the
    // lock on the data lets only one of the two servers run.
    cluster.query("api", "insert into t values (3)")?;
    cluster.kubectl(&[
        "delete",
        "pod",
        "accounts-1-0",
        "--force",
        "--grace-period=0",
    ])?;
    assert_eq!(
        cluster.answered("api", "select count(*) from t").await?,
        "3"
    );
    cluster.apply()?;
    cluster.apply_again()
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_record_that_is_lost_is_written_again_and_leads_to_the_same_data() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", "")?;
    cluster.application("api", "accounts")?;
    cluster.apply()?;
    cluster.client("api", "accounts")?;
    cluster.query("api", "create table t(i int); insert into t values (5)")?;
    let volume = cluster.object("pvc", "accounts-1")?["spec"]["volumeName"].clone();
    let lost: [&[&str]; 3] = [
        &["accounts.database"],
        &["accounts-1"],
        &["accounts.database", "accounts-1"],
    ];
    for secrets in lost {
        for secret in secrets {
            cluster.kubectl(&["delete", "secret", secret])?;
        }
        // Until then its pod is shown the Secret that is gone.
        eventually(PATIENCE, async || {
            let said = cluster.apply().map_err(|error| error.to_string())?;
            cluster
                .apply_again()
                .map_err(|error| format!("{said}: {error}"))
        })
        .await
        .with_context(|| format!("{secrets:?} were lost"))?;
        assert_eq!(cluster.answered("api", "select i from t").await?, "5");
        cluster.object("secret", "accounts.database")?;
    }
    let now = cluster.object("pvc", "accounts-1")?["spec"]["volumeName"].clone();
    assert_eq!(now, volume);
    // Without a manifest, what is lost is protected: nothing is retired by mistake.
    cluster.kubectl(&["delete", "secret", "accounts.database"])?;
    cluster.remove("Application", "api")?;
    cluster.remove("Database", "accounts")?;
    cluster.write("Application", "idle", "{}")?;
    let said = cluster
        .boma(&["apply", "--patience", "180", "."])?
        .code(1)?;
    ensure!(said.contains("is protected against removal"), "{said}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_claim_grows_and_its_pod_stays() -> Result<()> {
    let cluster = Cluster::new()?;
    let database = |size: &str| {
        let spec = format!("{{cpuCount: 0.1, memory: 192Mi, storage: {{size: {size}}}}}");
        cluster.write("Database", "accounts", &spec)
    };
    database("1Gi")?;
    cluster.apply()?;
    let pod = cluster.pod_uid("accounts")?;
    database("2Gi")?;
    cluster.apply()?;
    let claim = cluster.object("pvc", "accounts-1")?;
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "2Gi");
    assert_eq!(cluster.pod_uid("accounts")?, pod);
    Ok(())
}
