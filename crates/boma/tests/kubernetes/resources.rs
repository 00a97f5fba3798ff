//! Databases and applications as custom resources.

use anyhow::{Context, Result, ensure};
use boma_testkit::eventually;

use crate::backups::backed_up;
use crate::cluster::{Cluster, PATIENCE, kubectl, path};

const SMALL: &str = "{cpuCount: 0.1, memory: 192Mi, storage: {size: 1Gi}}";

/// A cluster that knows the kinds, with Boma of this source in it.
fn installed(sources: &[&str]) -> Result<Cluster> {
    let cluster = Cluster::new()?;
    cluster
        .boma(&[&["kubernetes", "install"], sources].concat())?
        .code(0)?;
    defined()?;
    Ok(cluster)
}

/// Waits until the API server knows the kinds.
fn defined() -> Result<()> {
    for kind in ["databases", "applications"] {
        let crd = format!("crd/{kind}.lowops.manifests");
        kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &crd])?;
    }
    Ok(())
}

/// Waits until a resource says this of its manifest.
async fn is_accepted(cluster: &Cluster, kind: &str, name: &str, reason: &str) -> Result<()> {
    let path = "jsonpath={.status.conditions[?(@.type==\"Accepted\")].reason}";
    eventually(PATIENCE, async || {
        let said = cluster.kubectl(&["get", kind, name, "-o", path]);
        let said = said.map_err(|error| error.to_string())?;
        if said == reason { Ok(()) } else { Err(said) }
    })
    .await
    .with_context(|| format!("{kind} {name}"))
}

fn api(database: &str) -> String {
    format!("{{accessControl: {{databases: [{{name: {database}}}]}}}}")
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn custom_resources_are_planned_and_applied_like_files() -> Result<()> {
    // What runs in the cluster waits for a ConfigMap that never comes.
    let cluster = installed(&["configmap/none"])?;
    let source = "custom-resources";
    cluster.make_namespace()?;
    cluster.resource("Database", "accounts", SMALL)?;
    cluster.resource("Application", "api", &api("accounts"))?;
    cluster.resource("Application", "worker", "{}")?;
    let plan = cluster.boma(&["plan", source])?.code(4)?;
    ensure!(plan.contains("Database o/u/test/"), "{plan}");
    cluster
        .boma(&["apply", "--patience", "180", source])?
        .code(0)?;
    let said = cluster.boma(&["-v", "apply", source])?.code(0)?;
    ensure!(
        said.contains("Nothing to do") && said.contains("writes=0"),
        "{said}"
    );
    cluster.client("api", "accounts")?;
    cluster.query("api", "create table t(i int); insert into t values (3)")?;

    // What is wrong is said as `boma validate` says it, and changes nothing.
    cluster.resource("Database", "other", "{cpuCont: 1}")?;
    let said = cluster.boma(&["apply", source])?.code(1)?;
    for part in [
        "has no field `cpuCont`",
        "Did you mean `cpuCount`?",
        &format!("{source}/{}/databases/other", cluster.namespace),
        "Nothing was changed.",
    ] {
        ensure!(said.contains(part), "{part}: {said}");
    }
    cluster.kubectl(&["delete", "database", "other"])?;

    // Deleting the resource is taking the manifest away: the database is protected, and goes on.
    cluster.kubectl(&["delete", "database", "accounts"])?;
    cluster.kubectl(&["delete", "application", "api"])?;
    let said = cluster.boma(&["plan", source])?.code(1)?;
    ensure!(said.contains("deletionProtection"), "{said}");
    assert_eq!(cluster.query("api", "select i from t")?, "3");
    cluster.resource("Database", "accounts", SMALL)?;
    cluster.resource("Application", "api", &api("accounts"))?;
    let said = cluster.boma(&["apply", source])?.code(0)?;
    ensure!(said.contains("Nothing to do"), "{said}");
    let got = cluster.boma(&["get", "-o", "yaml"])?.code(0)?;
    ensure!(got.contains("cpuCount: 0.1"), "{got}");

    // Files are another source, and take nothing over by themselves.
    cluster.database("accounts", "")?;
    let said = cluster.boma(&["apply", "."])?.code(1)?;
    ensure!(said.contains("--change-source"), "{said}");
    cluster.boma(&["kubernetes", "uninstall"])?.code(0)?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_is_restored_among_custom_resources_is_one_itself() -> Result<()> {
    let (cluster, store) = backed_up()?;
    let source = "custom-resources";
    cluster
        .boma(&["kubernetes", "install", "configmap/none"])?
        .code(0)?;
    defined()?;
    cluster.make_namespace()?;
    cluster.resource("Database", "accounts", SMALL)?;
    cluster.resource("Application", "api", &api("accounts"))?;
    let apply = ["apply", "--patience", "180", source];
    cluster.boma(&apply)?.code(0)?;
    cluster.client("api", "accounts")?;
    cluster.query("api", "create table t(i int); insert into t values (3)")?;
    cluster.boma(&["backup", "create", "accounts"])?.ok()?;

    let fork = ["fork", "accounts", "--as", "copy"];
    let said = cluster.boma_with(&fork, &store.reached())?;
    let (text, told) = (said.stdout.clone(), said.stderr.clone());
    said.code(4)?;
    ensure!(told.contains("kubectl apply --filename -"), "{told}");
    ensure!(
        text.starts_with("apiVersion: lowops.manifests/v1\n"),
        "{text}"
    );
    // What is printed is applied as it is, namespace included.
    let file = cluster.path("printed.yaml");
    std::fs::write(&file, &text)?;
    kubectl(&["apply", "--filename", path(&file)?])?;
    cluster.resource("Application", "twin", &api("copy"))?;
    cluster.boma(&apply)?.code(0)?;
    assert_eq!(
        cluster.query_in("api", "twin", "copy", "select i from t")?,
        "3"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn each_custom_resource_stands_for_itself() -> Result<()> {
    let cluster = installed(&["custom-resources", "configmap/databases"])?;
    cluster.make_namespace()?;
    // A database of a file, and an application of the cluster that uses it.
    cluster.database("accounts", "")?;
    let manifests = format!("--from-file={}", cluster.path("m").display());
    let home = &cluster.home;
    kubectl(&["-n", home, "create", "configmap", "databases", &manifests])?;
    cluster.resource("Application", "api", &api("accounts"))?;
    // What is wrong with one, and what is another source's, holds nobody up, where it gets in.
    let webhook = format!("validatingwebhookconfiguration/boma.{home}");
    kubectl(&["delete", &webhook])?;
    cluster.resource("Database", "wrong", "{cpuCont: 1}")?;
    cluster.resource("Database", "accounts", "{storage: {size: 2Gi}}")?;
    cluster.resource("Application", "early", &api("later"))?;
    eventually(PATIENCE, async || {
        let client = cluster.client("api", "accounts");
        client.map_err(|error| error.to_string())
    })
    .await?;
    cluster.answered("api", "create table t(i int)").await?;
    let claim = cluster.object("pvc", "accounts-1")?;
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "1Gi");
    let log = kubectl(&["-n", home, "logs", "deployment/boma"])?;
    for part in [
        "described twice",
        "manifests/Database-accounts.yaml",
        &format!("custom-resources/{}/databases/accounts", cluster.namespace),
        "has no field `cpuCont`",
    ] {
        ensure!(log.contains(part), "{part}: {log}");
    }
    for (kind, name, reason) in [
        ("database", "wrong", "UnknownField"),
        ("database", "accounts", "DuplicateResource"),
        ("application", "early", "NoSuchDatabase"),
        ("application", "api", "Valid"),
    ] {
        is_accepted(&cluster, kind, name, reason).await?;
    }
    let status = cluster.object("database", "accounts")?["status"].clone();
    ensure!(status.get("phase").is_none(), "another source's: {status}");
    // It comes into force once what it waited for is there.
    cluster.kubectl(&["delete", "database", "accounts"])?;
    cluster.resource("Database", "later", SMALL)?;
    eventually(PATIENCE, async || {
        let secret = cluster.object("secret", "early.later");
        secret.map(drop).map_err(|error| error.to_string())
    })
    .await
    .context("an application waits for its database")?;
    is_accepted(&cluster, "application", "early", "Valid").await?;
    cluster.boma(&["kubernetes", "uninstall"])?.code(0)?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_status_says_what_was_measured_and_is_written_when_that_changes() -> Result<()> {
    let cluster = installed(&["custom-resources"])?;
    cluster.make_namespace()?;
    cluster.resource("Database", "accounts", SMALL)?;
    cluster.resource("Application", "api", &api("accounts"))?;
    for resource in ["database/accounts", "application/api"] {
        // A resource without any status is one that the wait does not know what to make of.
        let (kind, name) = resource.split_once('/').context("a kind and a name")?;
        is_accepted(&cluster, kind, name, "Valid").await?;
        let wait = ["wait", "--for=condition=Ready", "--timeout=180s", resource];
        cluster.kubectl(&wait)?;
    }
    let wait = [
        "wait",
        "--for=condition=InSync",
        "--timeout=60s",
        "database/accounts",
    ];
    cluster.kubectl(&wait)?;
    let listed = cluster.kubectl(&["get", "databases"])?;
    let service = format!("accounts.{}.svc:5432", cluster.namespace);
    for column in [
        "VERSION",
        "RECOVERABLE UNTIL",
        "15.",
        "Ready",
        "1Gi",
        &service,
    ] {
        ensure!(listed.contains(column), "{column}: {listed}");
    }
    let listed = cluster.kubectl(&["get", "applications"])?;
    ensure!(
        listed.contains("Delivered") && listed.contains("accounts"),
        "{listed}"
    );

    // What is said of others is no occasion to write.
    let before = cluster.object("database", "accounts")?["metadata"].clone();
    assert_eq!(
        cluster.object("database", "accounts")?["status"]["observedGeneration"],
        1
    );
    cluster.resource("Application", "worker", "{}")?;
    is_accepted(&cluster, "application", "worker", "Valid").await?;
    let after = cluster.object("database", "accounts")?["metadata"].clone();
    assert_eq!(before["resourceVersion"], after["resourceVersion"]);
    let patch = r#"{"spec": {"suspended": true}}"#;
    let suspend = ["patch", "database", "accounts", "--type=merge", "-p", patch];
    cluster.kubectl(&suspend)?;
    eventually(PATIENCE, async || {
        let status = cluster.object("database", "accounts");
        let status = status.map_err(|error| error.to_string())?["status"].clone();
        if status["phase"] == "Suspended" && status["observedGeneration"] == 2 {
            return Ok(());
        }
        Err(status.to_string())
    })
    .await?;
    // What happened stands beside the resource itself.
    eventually(PATIENCE, async || {
        let described = cluster.kubectl(&["describe", "database", "accounts"]);
        let described = described.map_err(|error| error.to_string())?;
        let is_there = described.contains("SpecChanged") && described.contains("PostgreSQL 15");
        if is_there { Ok(()) } else { Err(described) }
    })
    .await?;
    cluster.boma(&["kubernetes", "uninstall"])?.code(0)?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_is_wrong_is_refused_before_it_is_stored_in_the_words_of_validate() -> Result<()> {
    let cluster = installed(&["custom-resources"])?;
    cluster.make_namespace()?;
    cluster.resource("Database", "accounts", SMALL)?;
    is_accepted(&cluster, "database", "accounts", "Valid").await?;
    // Until the API server has heard of the authority, it lets everything in; and it is not asked
    // again about what has not changed.
    let mut attempt = 0;
    let refused = eventually(PATIENCE, async || {
        attempt += 1;
        let wrong = format!("{{cpuCont: {attempt}, memory: 1}}");
        match cluster.resource("Database", "other", &wrong) {
            Err(error) => Ok(error.to_string()),
            Ok(()) => Err("it was let in".to_owned()),
        }
    })
    .await?;
    std::fs::create_dir(cluster.path("v"))?;
    let text = "apiVersion: lowops.manifests/v1\nkind: Database\nmetadata: {name: other, organization: o, \
                organizational-unit: u, environment: test, project: p}\nspec: {cpuCont: 1, memory: 1}\n";
    std::fs::write(cluster.path("v/other.yaml"), text)?;
    let directory = cluster.path("v");
    let directory = directory.to_str().context("scratch paths are text")?;
    let said = cluster.boma(&["validate", directory])?.code(1)?;
    let headings: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("error["))
        .collect();
    ensure!(headings.len() == 2, "{said}");
    for heading in headings.into_iter().chain(["Did you mean `cpuCount`?"]) {
        ensure!(refused.contains(heading), "{heading}: {refused}");
    }

    // A database that was made is deleted on purpose only.
    let wait = [
        "wait",
        "--for=condition=Ready",
        "--timeout=180s",
        "database/accounts",
    ];
    cluster.kubectl(&wait)?;
    let kept = cluster.kubectl(&["delete", "database", "accounts"]);
    let said = kept.err().context("it is protected")?.to_string();
    ensure!(
        said.contains("accounts is protected from deletion"),
        "{said}"
    );
    // In a namespace that is no project's, nobody would read it.
    let file = cluster.path("Database-accounts.yaml");
    let file = file.to_str().context("scratch paths are text")?;
    let stray = kubectl(&["create", "-n", "default", "--dry-run=server", "-f", file]);
    let said = stray.err().context("it is nobody's")?.to_string();
    ensure!(said.contains("namespace default is no project's"), "{said}");
    let patch = r#"{"spec": {"deletionProtection": false}}"#;
    cluster.kubectl(&["patch", "database", "accounts", "--type=merge", "-p", patch])?;
    cluster.kubectl(&["delete", "database", "accounts"])?;
    cluster.boma(&["kubernetes", "uninstall"])?.code(0)?;
    Ok(())
}
