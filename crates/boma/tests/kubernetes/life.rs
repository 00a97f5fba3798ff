//! A database from its first manifest to its end.

use anyhow::{Context, Result, ensure};
use boma_testkit::eventually;
use serde_json::Value;

use crate::cluster::{Cluster, PATIENCE, kubectl};

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn an_application_queries_over_its_secret_and_a_second_apply_writes_nothing() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", "")?;
    cluster.application("api", "accounts")?;
    cluster.application("other", "accounts")?;
    let said = cluster.apply()?;
    assert!(
        said.contains("1 database and 2 applications are as their manifests say"),
        "{said}"
    );
    cluster.apply_again()?;
    cluster.client("api", "accounts")?;
    cluster.query("api", "create table t(i int); insert into t values (42)")?;
    assert_eq!(cluster.query("api", "select i from t")?, "42");
    let encrypted = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(
        cluster.query("api", &format!("set role none; {encrypted}"))?,
        "t"
    );
    // What another was granted is another login; what it makes belongs to both.
    cluster.client("other", "accounts")?;
    assert_eq!(cluster.query("other", "select i from t")?, "42");
    assert_eq!(cluster.query("other", "select session_user")?, "other_1");
    secret_has_every_key(&cluster)?;
    pod_is_restricted(&cluster)?;
    // A grant that is taken away ends what was connected by it.
    cluster.remove("Application", "other")?;
    let said = cluster.apply()?;
    assert!(said.contains("are as their manifests say"), "{said}");
    assert!(cluster.query("other", "select 1").is_err());
    assert_eq!(cluster.query("api", "select i from t")?, "42");
    let rules = cluster.object("networkpolicy", "accounts")?["spec"]["ingress"].to_string();
    ensure!(
        rules.contains("\"api\"") && !rules.contains("\"other\""),
        "{rules}"
    );
    cluster.apply_again()
}

fn secret_has_every_key(cluster: &Cluster) -> Result<()> {
    let secret = cluster.object("secret", "api.accounts")?;
    let keys = secret["data"].as_object().context("a Secret has data")?;
    for key in [
        "DATABASE_URL",
        "username",
        "user",
        "password",
        "dbname",
        "database",
        "host",
        "port",
        "uri",
        "jdbc-uri",
        "pgpass",
        "type",
        "provider",
    ] {
        ensure!(keys.contains_key(key), "{key} is missing");
    }
    ensure!(secret["type"] == "servicebinding.io/postgresql");
    Ok(())
}

fn pod_is_restricted(cluster: &Cluster) -> Result<()> {
    let pod = cluster.object("pod", "accounts-1-0")?;
    let spec = &pod["spec"];
    ensure!(spec["automountServiceAccountToken"] == false);
    ensure!(spec["securityContext"]["runAsNonRoot"] == true);
    let volumes = spec["volumes"].to_string();
    ensure!(!volumes.contains("serviceAccountToken"), "{volumes}");
    for list in ["initContainers", "containers"] {
        let containers = spec[list].as_array().context("a pod has containers")?;
        for context in containers
            .iter()
            .map(|container| &container["securityContext"])
        {
            ensure!(context["allowPrivilegeEscalation"] == false);
            ensure!(context["readOnlyRootFilesystem"] == true);
            ensure!(context["capabilities"]["drop"][0] == "ALL");
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_suspended_database_gives_its_pod_back_and_resumes_with_its_data() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", "")?;
    cluster.application("api", "accounts")?;
    cluster.apply()?;
    cluster.client("api", "accounts")?;
    cluster.query("api", "create table t(i int); insert into t values (7)")?;
    cluster.database("accounts", ", suspended: true")?;
    cluster.apply()?;
    eventually(PATIENCE, async || {
        let pods = cluster.kubectl(&[
            "get",
            "pods",
            "-l",
            "app.kubernetes.io/name=postgresql",
            "-o",
            "name",
        ]);
        let pods = pods.map_err(|error| error.to_string())?;
        if pods.is_empty() { Ok(()) } else { Err(pods) }
    })
    .await?;
    cluster.apply_again()?;
    let listed = cluster.boma(&["get"])?.code(0)?;
    ensure!(listed.contains("Suspended"), "{listed}");
    cluster.database("accounts", "")?;
    cluster.apply()?;
    assert_eq!(cluster.answered("api", "select i from t").await?, "7");
    cluster.apply_again()
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_retired_database_comes_back_whole_and_only_purge_deletes_its_volume() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", ", deletionProtection: false")?;
    cluster.application("api", "accounts")?;
    // A directory without any manifest would be taken for a mistake.
    cluster.write("Application", "idle", "{}")?;
    cluster.apply()?;
    cluster.client("api", "accounts")?;
    cluster.query("api", "create table t(i int); insert into t values (9)")?;
    let volume = |cluster: &Cluster| -> Result<Value> {
        Ok(cluster.object("pvc", "accounts-1")?["spec"]["volumeName"].clone())
    };
    let before = volume(&cluster)?;
    cluster.remove("Application", "api")?;
    cluster.remove("Database", "accounts")?;
    cluster.apply()?;
    let listed = cluster.boma(&["get"])?.code(0)?;
    ensure!(listed.contains("Retired"), "{listed}");
    assert_eq!(volume(&cluster)?, before);
    cluster.apply_again()?;
    cluster.database("accounts", ", deletionProtection: false")?;
    cluster.application("api", "accounts")?;
    cluster.apply()?;
    assert_eq!(volume(&cluster)?, before);
    cluster.kubectl(&["delete", "pod", "api", "--now"])?;
    cluster.client("api", "accounts")?;
    assert_eq!(cluster.query("api", "select i from t")?, "9");
    // In use it is not purged; retired it is, and nothing of it stays.
    let refused = cluster
        .boma(&["purge", "accounts", "--confirm", "accounts"])?
        .code(1)?;
    ensure!(refused.contains("is not retired"), "{refused}");
    cluster.remove("Application", "api")?;
    cluster.remove("Database", "accounts")?;
    cluster.apply()?;
    cluster
        .boma(&["purge", "accounts", "--confirm", "accounts"])?
        .code(0)?;
    eventually(PATIENCE, async || {
        let kinds = "statefulset,pod,pvc,service,networkpolicy,secret";
        let selector = "lowops.manifests/database=accounts";
        let left = kubectl(&[
            "-n",
            &cluster.namespace,
            "get",
            kinds,
            "-l",
            selector,
            "-o",
            "name",
        ]);
        let left = left.map_err(|error| error.to_string())?;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await?;
    Ok(())
}
