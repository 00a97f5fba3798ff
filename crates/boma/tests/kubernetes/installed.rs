//! Boma in the cluster itself, with no more rights than it says that it needs.

use anyhow::{Context, Result, ensure};
use boma_testkit::eventually;

use crate::cluster::{Cluster, PATIENCE, kubectl};

/// The pod that holds the Lease.
fn holder(cluster: &Cluster) -> Result<String> {
    let asked = ["-n", &cluster.home, "get", "lease", "boma", "-o"];
    let holder = kubectl(&[&asked[..], &["jsonpath={.spec.holderIdentity}"]].concat())?;
    let (pod, _) = holder.split_once('_').context("a holder is a pod")?;
    Ok(pod.to_owned())
}

/// Whether Boma's account may do something.
fn may(cluster: &Cluster, verb: &str, resource: &str, namespace: &str) -> bool {
    let account = format!("--as=system:serviceaccount:{}:boma", cluster.home);
    kubectl(&["auth", "can-i", verb, resource, &account, "-n", namespace]).is_ok()
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn boma_serves_in_the_cluster_and_another_takes_over() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", "")?;
    cluster.application("api", "accounts")?;
    let install = [
        "kubernetes",
        "install",
        "configmap/databases",
        "--replicas",
        "2",
    ];
    cluster.boma(&install)?.code(0)?;
    let manifests = format!("--from-file={}", cluster.path("m").display());
    kubectl(&[
        "-n",
        &cluster.home,
        "create",
        "configmap",
        "databases",
        &manifests,
    ])?;
    eventually(PATIENCE, async || {
        cluster
            .client("api", "accounts")
            .map_err(|error| error.to_string())
    })
    .await?;
    cluster
        .answered("api", "create table t(i int); insert into t values (3)")
        .await?;

    ensure!(may(&cluster, "create", "statefulsets", &cluster.namespace));
    for (verb, resource) in [
        ("delete", "namespaces"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("create", "clusterrolebindings"),
        ("update", "leases"),
    ] {
        let is_given = may(&cluster, verb, resource, &cluster.namespace);
        ensure!(!is_given, "{verb} {resource}");
    }

    // The one that acts goes away, and the other one mends what is broken.
    let first = holder(&cluster)?;
    kubectl(&[
        "-n",
        &cluster.home,
        "delete",
        "pod",
        &first,
        "--force",
        "--grace-period=0",
    ])?;
    cluster.kubectl(&["delete", "service", "accounts"])?;
    eventually(PATIENCE, async || {
        let mended = cluster.object("service", "accounts");
        mended.map(drop).map_err(|error| error.to_string())
    })
    .await?;
    ensure!(holder(&cluster)? != first);

    // Without Boma, databases go on.
    cluster.boma(&["kubernetes", "uninstall"])?.code(0)?;
    assert_eq!(cluster.answered("api", "select i from t").await?, "3");
    ensure!(!may(&cluster, "get", "secrets", &cluster.namespace));
    let left = kubectl(&[
        "-n",
        &cluster.home,
        "get",
        "secret",
        "boma-installation",
        "-o",
        "name",
    ])?;
    ensure!(!left.is_empty());
    let nothing = cluster.boma(&["kubernetes", "uninstall"])?.code(0)?;
    ensure!(!nothing.contains("deleted"), "{nothing}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_would_be_installed_is_printed_and_taken_by_the_api_server() -> Result<()> {
    let cluster = Cluster::new()?;
    let address = "https://git.example/databases.git";
    let printed = cluster
        .boma(&["kubernetes", "manifests", address])?
        .code(0)?;
    ensure!(printed.contains(address), "{printed}");
    let file = cluster.path("install.yaml");
    std::fs::write(&file, &printed)?;
    let file = file.to_str().context("scratch paths are text")?;
    kubectl(&["create", "namespace", &cluster.home])?;
    // Old API servers do not know rules, and pass over them.
    let dry = ["apply", "--dry-run=server", "--validate=false", "-f", file];
    kubectl(&dry)?;
    let refused = cluster.boma(&["kubernetes", "manifests", "m"])?.code(1)?;
    ensure!(
        refused.contains("a pod cannot read manifests in `m`"),
        "{refused}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn custom_resources_are_installed_and_stay_while_there_is_one() -> Result<()> {
    let cluster = Cluster::new()?;
    let install = ["kubernetes", "install", "configmap/databases"];
    cluster.boma(&install)?.code(0)?;
    let crds = ["databases", "applications"].map(|kind| format!("crd/{kind}.lowops.manifests"));
    for crd in &crds {
        kubectl(&["wait", "--for=condition=Established", "--timeout=60s", crd])?;
        // What is wrong with a schema is said here, and the definition is served all the same.
        let wrong = "jsonpath={.status.conditions[?(@.type==\"NonStructuralSchema\")].message}";
        let wrong = kubectl(&["get", crd, "-o", wrong])?;
        ensure!(wrong.is_empty(), "{crd}: {wrong}");
    }
    cluster.make_namespace()?;
    cluster.resource("Database", "accounts", "{version: 15, cpuCount: 0.1}")?;
    let listed = cluster.kubectl(&["get", "boma"])?;
    ensure!(listed.contains("accounts"), "{listed}");
    let long = "a".repeat(70);
    let wrong = format!("{{access: {{projects: [{{project: {long}}}]}}}}");
    let refused = cluster.resource("Database", "other", &wrong);
    let said = refused.err().context("the name is too long")?.to_string();
    ensure!(said.contains("spec.access.projects.project"), "{said}");

    let said = cluster.boma(&["kubernetes", "uninstall"])?.code(0)?;
    for crd in &crds {
        let name = crd.trim_start_matches("crd/");
        ensure!(said.contains(&format!("{name} stays")), "{said}");
    }
    cluster.object("database", "accounts")?;
    cluster.kubectl(&["delete", "database", "accounts"])?;
    let said = cluster.boma(&["kubernetes", "uninstall"])?.code(0)?;
    // Other installations of these tests may be there, and keep them.
    ensure!(said.contains("databases.lowops.manifests"), "{said}");
    Ok(())
}
