//! What cannot be done is said, with what to do.

use std::time::Instant;

use anyhow::{Result, ensure};
use boma_testkit::eventually;

use crate::cluster::{Cluster, PATIENCE};

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn an_image_that_cannot_be_pulled_is_named_at_once() -> Result<()> {
    let cluster = Cluster::with_image("registry.invalid/postgres:15")?;
    cluster.database("accounts", "")?;
    let begun = Instant::now();
    let said = cluster
        .boma(&["apply", "--patience", "180", "."])?
        .code(1)?;
    ensure!(
        said.contains("image `registry.invalid/postgres:15` cannot be pulled"),
        "{said}"
    );
    ensure!(said.contains("[kubernetes]"), "{said}");
    ensure!(begun.elapsed() < PATIENCE, "it was waited for in vain");
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_cannot_start_can_be_suspended_and_started_again() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", "")?;
    cluster.application("shop", "accounts")?;
    cluster.apply()?;
    let table = "CREATE TABLE kept AS SELECT 1";
    cluster.client("shop", "accounts")?;
    cluster.answered("shop", table).await?;
    let with_cpus = |count: &str, more: &str| {
        let size = format!("cpuCount: {count}, memory: 192Mi, storage: {{size: 1Gi}}");
        cluster.write("Database", "accounts", &format!("{{{size}{more}}}"))
    };
    with_cpus("1000", "")?;
    cluster.apply()?;
    // What a pod is given is what the next one gets.
    cluster.kubectl(&["delete", "pod", "accounts-1-0"])?;
    apply_says(&cluster, ["no node takes the pod", "Add a node with room"]).await?;
    with_cpus("1000", ", suspended: true")?;
    cluster.apply()?;
    cluster.apply_again()?;
    let listed = cluster.boma(&["get", "accounts"])?.code(0)?;
    ensure!(listed.contains("Suspended"), "{listed}");
    let server = cluster.object("statefulset", "accounts-1")?;
    assert_eq!(server["spec"]["replicas"], 0);
    with_cpus("0.1", "")?;
    cluster.apply()?;
    let found = cluster.answered("shop", "SELECT * FROM kept").await?;
    assert_eq!(found.trim(), "1");
    cluster.apply_again()
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_namespace_of_somebody_else_is_left_alone() -> Result<()> {
    let cluster = Cluster::new()?;
    crate::cluster::kubectl(&["create", "namespace", &cluster.namespace])?;
    cluster.database("accounts", "")?;
    cluster.boma(&["apply", "--patience", "1", "."])?.code(4)?;
    let left = cluster.kubectl(&[
        "get",
        "statefulset,secret",
        "-l",
        "app.kubernetes.io/managed-by=boma",
        "-o",
        "name",
    ])?;
    ensure!(left.is_empty(), "{left}");
    let said = crate::cluster::kubectl(&["get", "namespace", "-o", "name"])?;
    let own = said
        .lines()
        .find(|line| line.starts_with(&format!("namespace/{}-", cluster.namespace)));
    let own = own.map(|line| line.trim_start_matches("namespace/").to_owned());
    let own = own.ok_or_else(|| anyhow::anyhow!("no namespace with a hash: {said}"))?;
    crate::cluster::kubectl(&["delete", "namespace", &own, "--wait=false"])?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn commands_for_one_machine_say_so() -> Result<()> {
    let cluster = Cluster::new()?;
    let said = cluster.boma(&["psql", "accounts"])?.code(1)?;
    ensure!(
        said.contains("works with databases on this machine only"),
        "{said}"
    );
    let key = cluster.boma(&["rotate", "--key"])?.code(1)?;
    ensure!(key.contains("on this machine only"), "{key}");
    cluster.boma(&["rotate", "api", "--tls"])?.code(2)?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_a_quota_does_not_allow_is_said_with_what_to_do() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.write("Application", "idle", "{}")?;
    cluster.apply()?;
    cluster.kubectl(&["create", "quota", "none", "--hard=persistentvolumeclaims=0"])?;
    cluster.database("accounts", "")?;
    let hint = "Raise the ResourceQuota";
    // The quota's own controller has to have counted what there is.
    apply_says(&cluster, ["exceeded quota", hint]).await?;
    // A quota of pods stops no write of Boma's: Kubernetes itself does not get further.
    cluster.kubectl(&["create", "quota", "pods", "--hard=pods=0"])?;
    eventually(PATIENCE, async || {
        let quota = cluster.object("quota", "pods");
        let quota = quota.map_err(|error| error.to_string())?;
        let counted = &quota["status"]["used"]["pods"];
        if counted == "0" {
            Ok(())
        } else {
            Err(quota.to_string())
        }
    })
    .await?;
    cluster.kubectl(&["delete", "quota", "none"])?;
    apply_says(&cluster, ["the pod could not be made", hint]).await?;
    let listed = cluster.boma(&["get", "accounts", "-o", "yaml"])?.code(0)?;
    ensure!(listed.contains("exceeded quota"), "{listed}");
    cluster.kubectl(&["delete", "quota", "pods"])?;
    cluster.apply()?;
    cluster.apply_again()
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_volume_is_of_the_class_that_is_asked_for_and_stays_in_it() -> Result<()> {
    let cluster = Cluster::new()?;
    let database = |class: &str| {
        let storage = format!("{{size: 1Gi{class}}}");
        let spec = format!("{{cpuCount: 0.1, memory: 192Mi, storage: {storage}}}");
        cluster.write("Database", "accounts", &spec)
    };
    database(", class: nobody-has-it")?;
    let parts = ["storage class `nobody-has-it`", "kubectl describe pvc"];
    apply_says(&cluster, parts).await?;
    let claim = cluster.object("pvc", "accounts-1")?;
    assert_eq!(claim["spec"]["storageClassName"], "nobody-has-it");
    database(", class: other")?;
    let said = cluster.boma(&["apply", "."])?.code(1)?;
    ensure!(
        said.contains("a volume's class cannot be changed to \"other\""),
        "{said}"
    );
    // The way out that the hint names: a claim that never got a volume holds nothing.
    ensure!(said.contains("delete the claim with kubectl"), "{said}");
    assert_eq!(claim["status"]["phase"], "Pending");
    cluster.kubectl(&["delete", "pvc", "accounts-1"])?;
    apply_says(&cluster, ["storage class `other`", "kubectl describe pvc"]).await?;
    let again = cluster.object("pvc", "accounts-1")?;
    assert_eq!(again["spec"]["storageClassName"], "other");
    assert_ne!(again["metadata"]["uid"], claim["metadata"]["uid"]);
    Ok(())
}

/// Applies until all of these are said.
async fn apply_says(cluster: &Cluster, parts: [&str; 2]) -> Result<()> {
    eventually(PATIENCE, async || {
        let said = cluster.boma(&["apply", "--patience", "3", "."]);
        let said = said.map_err(|error| error.to_string())?;
        let said = format!("{}{}", said.stdout, said.stderr);
        if parts.iter().all(|part| said.contains(part)) {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_namespace_that_is_being_deleted_is_said_and_made_anew_when_it_is_gone() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.write("Application", "idle", "{}")?;
    cluster.apply()?;
    // Something keeps it: otherwise it would be gone before it is looked at.
    cluster.kubectl(&["create", "configmap", "kept"])?;
    let finalizers = |list: &str| {
        let patch = format!("{{\"metadata\": {{\"finalizers\": [{list}]}}}}");
        cluster.kubectl(&["patch", "configmap", "kept", "--type=merge", "-p", &patch])
    };
    finalizers("\"test.example/kept\"")?;
    crate::cluster::kubectl(&["delete", "namespace", &cluster.namespace, "--wait=false"])?;
    cluster.database("accounts", "")?;
    let said = cluster.boma(&["apply", "--patience", "3", "."])?;
    let said = format!("{}{}", said.stdout, said.stderr);
    ensure!(said.contains("being terminated"), "{said}");
    ensure!(said.contains("made anew"), "{said}");
    finalizers("")?;
    eventually(PATIENCE, async || {
        cluster.apply().map_err(|error| error.to_string())
    })
    .await?;
    cluster.apply_again()
}
