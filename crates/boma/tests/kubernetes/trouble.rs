//! What cannot be done is said, with what to do.

use std::time::Instant;

use anyhow::{Result, ensure};

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
    Ok(())
}
