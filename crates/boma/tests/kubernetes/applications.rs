//! Applications that Boma runs, and those that it attaches to.

use std::fs;

use anyhow::{Context, Result, ensure};
use boma_testkit::eventually;
use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE, postgres_image};

/// Waits until all pods of a Deployment are there, and runs a script in one of them.
async fn said_in(cluster: &Cluster, deployment: &str, script: &str) -> Result<String> {
    let target = format!("deployment/{deployment}");
    cluster.kubectl(&["rollout", "status", "--timeout=180s", &target])?;
    let ask = async || {
        cluster
            .kubectl(&[
                "exec",
                &target,
                "-c",
                deployment_container(deployment),
                "--",
                "sh",
                "-c",
                script,
            ])
            .map_err(|error| error.to_string())
    };
    Ok(eventually(PATIENCE, ask).await?.trim().to_owned())
}

fn deployment_container(deployment: &str) -> &str {
    if deployment == "shop" {
        "application"
    } else {
        deployment
    }
}

/// What its Deployment rolls out: a pod that changes is another one.
fn template(cluster: &Cluster, deployment: &str) -> Result<Value> {
    Ok(cluster.object("deployment", deployment)?["spec"]["template"].clone())
}

/// How often it was rolled out.
fn revision(cluster: &Cluster, deployment: &str) -> Result<String> {
    let object = cluster.object("deployment", deployment)?;
    let revision = &object["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
    Ok(revision
        .as_str()
        .context("a Deployment has a revision")?
        .to_owned())
}

/// An application of the image that is at hand, with these fields besides.
fn shop(cluster: &Cluster, greeting: &str, more: &str) -> Result<()> {
    let image = postgres_image()?;
    let spec = format!(
        "{{source: {{image: {image:?}}}, target: {{port: 5432}}, env: {{GREETING: {greeting:?}}}, \
         accessControl: {{databases: [{{name: accounts}}]}}{more}}}"
    );
    cluster.write("Application", "shop", &spec)
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn an_image_runs_with_its_environment_and_rolls_when_its_secret_changes() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", "")?;
    let migrate = ", preDeploy: 'psql \"$DATABASE_URL\" -qc \"create table migrated(i int)\"'";
    shop(&cluster, "hello $(HOME)", migrate)?;
    let said = cluster.apply()?;
    assert!(said.contains("run preDeploy"), "{said}");
    let count = "psql \"$DATABASE_URL\" -Atqc 'select count(*) from migrated'";
    assert_eq!(said_in(&cluster, "shop", count).await?, "0");
    assert_eq!(
        said_in(&cluster, "shop", "echo \"$GREETING\"").await?,
        "hello $(HOME)"
    );
    let service = cluster.object("service", "accounts")?["spec"]["clusterIP"].clone();
    let resolved = said_in(&cluster, "shop", "getent hosts accounts.internal").await?;
    assert_eq!(resolved.split_whitespace().next(), service.as_str());
    cluster.apply_again()?;
    let listed = cluster.boma(&["get"])?.code(0)?;
    ensure!(listed.contains("Running"), "{listed}");

    // Others come and go, and what it runs with is the same.
    let first = revision(&cluster, "shop")?;
    cluster.application("other", "accounts")?;
    cluster.apply()?;
    cluster.remove("Application", "other")?;
    cluster.apply()?;
    assert_eq!(revision(&cluster, "shop")?, first);

    // What somebody changes by hand comes back.
    let before = template(&cluster, "shop")?;
    cluster.kubectl(&["set", "env", "deployment/shop", "GREETING=changed"])?;
    eventually(PATIENCE, async || {
        cluster.apply().map_err(|error| error.to_string())?;
        let now = template(&cluster, "shop").map_err(|error| error.to_string())?;
        if now == before {
            Ok(())
        } else {
            Err(now.to_string())
        }
    })
    .await?;

    // Another password is another rollout.
    shop(&cluster, "hello $(HOME)", "")?;
    cluster.apply()?;
    let before = revision(&cluster, "shop")?;
    cluster.kubectl(&["delete", "secret", "accounts.shop.logins"])?;
    eventually(PATIENCE, async || {
        cluster.apply().map_err(|error| error.to_string())?;
        let now = revision(&cluster, "shop").map_err(|error| error.to_string())?;
        if now == before { Err(now) } else { Ok(()) }
    })
    .await?;
    assert_eq!(said_in(&cluster, "shop", count).await?, "0");
    cluster.apply_again()?;

    cluster.remove("Application", "shop")?;
    cluster.apply()?;
    gone(&cluster, "shop").await
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn an_application_is_described_stopped_started_and_deployed_again() -> Result<()> {
    let cluster = Cluster::new()?;
    let image = postgres_image()?;
    let shop = format!("{{source: {{image: {image:?}}}}}");
    cluster.write("Application", "shop", &shop)?;
    cluster.apply()?;
    said_in(&cluster, "shop", "true").await?;
    let described = cluster.boma(&["describe", "shop"])?.code(0)?;
    for part in ["Application shop", "Application-shop.yaml:3", "start"] {
        ensure!(described.contains(part), "{part}: {described}");
    }
    // The image is that of a server, which says at once what it lacks.
    eventually(PATIENCE, async || {
        let printed = cluster.boma(&["logs", "shop", "--lines", "50"]);
        let printed = printed.and_then(|ran| ran.code(0));
        let printed = printed.map_err(|error| error.to_string())?;
        if printed.is_empty() {
            Err(printed)
        } else {
            Ok(())
        }
    })
    .await?;
    let followed = cluster.boma(&["logs", "shop", "--follow"])?.code(1)?;
    ensure!(followed.contains("kubectl --namespace"), "{followed}");

    cluster.boma(&["stop", "shop"])?.code(0)?;
    let asked = ["get", "deployment", "shop", "--ignore-not-found"];
    assert_eq!(cluster.kubectl(&asked)?, "");
    let listed = cluster.boma(&["get"])?.code(0)?;
    ensure!(listed.contains("Stopped"), "{listed}");
    cluster.boma(&["start", "shop"])?.code(0)?;
    let before = template(&cluster, "shop")?;
    cluster.boma(&["deploy", "shop"])?.code(0)?;
    ensure!(template(&cluster, "shop")? != before, "{before}");
    cluster.apply_again()
}

/// A Secret that others make; labelled for applications, or not.
fn their_secret(cluster: &Cluster, name: &str, (value, labels): (&str, Value)) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels},
        "stringData": {"password": value},
    });
    let file = cluster.path("secret.json");
    fs::write(&file, secret.to_string())?;
    let file = file.to_str().context("a path is text")?;
    cluster.kubectl(&["apply", "-f", file])?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_secret_of_the_project_is_given_and_another_value_is_another_rollout() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.make_namespace()?;
    let image = postgres_image()?;
    let shop = |secret: &str| {
        let env = format!("{{SMTP_PASSWORD: {{secret: {secret}}}}}");
        let spec = format!("{{source: {{image: {image:?}}}, env: {env}}}");
        cluster.write("Application", "shop", &spec)
    };
    // What is not meant for applications is out of reach, though it is there.
    their_secret(&cluster, "payroll", ("nobody's business", json!({})))?;
    shop("payroll")?;
    let said = cluster.boma(&["apply", "."])?.code(1)?;
    ensure!(said.contains("there is no secret"), "{said}");

    let labels = json!({
        "lowops.manifests/installation": cluster.home,
        "lowops.manifests/part": "secret",
    });
    shop("smtp")?;
    for value in ["first", "second"] {
        their_secret(&cluster, "smtp", (value, labels.clone()))?;
        cluster.apply()?;
        let read = async || {
            let read = said_in(&cluster, "shop", "echo \"$SMTP_PASSWORD\"").await;
            let read = read.map_err(|error| error.to_string())?;
            // A pod of the former kind may still be ending.
            if read == value { Ok(()) } else { Err(read) }
        };
        eventually(PATIENCE, read).await?;
    }
    cluster.apply_again()?;

    // What it was given it keeps, also in pods that start later.
    cluster.kubectl(&["delete", "secret", "smtp"])?;
    let said = cluster.boma(&["apply", "."])?.code(1)?;
    ensure!(said.contains("there is no secret"), "{said}");
    let pods = "--selector=lowops.manifests/application=shop";
    cluster.kubectl(&["delete", "pods", pods])?;
    let read = said_in(&cluster, "shop", "echo \"$SMTP_PASSWORD\"").await?;
    assert_eq!(read, "second");
    Ok(())
}

/// Waits until nothing of an application is left.
async fn gone(cluster: &Cluster, application: &str) -> Result<()> {
    let selector = format!("lowops.manifests/application={application}");
    let kinds = "deployment,job,secret";
    eventually(PATIENCE, async || {
        let left = cluster.kubectl(&["get", kinds, "-l", &selector, "-o", "name"]);
        let left = left.map_err(|error| error.to_string())?;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_failed_pre_deploy_says_how_it_ended_and_nothing_is_rolled_out() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", "")?;
    shop(
        &cluster,
        "a",
        ", preDeploy: 'echo \"url $DATABASE_URL\"; exit 3'",
    )?;
    let said = cluster
        .boma(&["apply", "--patience", "180", "."])?
        .code(1)?;
    ensure!(said.contains("ended with exit code 3"), "{said}");
    ensure!(said.contains("url [redacted]"), "{said}");
    ensure!(said.contains("kubectl -n"), "{said}");
    ensure!(cluster.object("deployment", "shop").is_err());
    shop(&cluster, "a", ", preDeploy: 'exit 0'")?;
    cluster.apply()?;
    said_in(&cluster, "shop", "true").await?;
    let jobs = cluster.kubectl(&["get", "jobs", "-o", "name"])?;
    assert_eq!(jobs.lines().count(), 1, "{jobs}");
    cluster.apply_again()
}

/// A workload that somebody else has made.
fn theirs(cluster: &Cluster, name: &str, own: &Value) -> Result<()> {
    let image = postgres_image()?;
    let container = |name: &str, env: &Value| {
        json!({
            "name": name,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "infinity"],
            "env": env,
        })
    };
    let labels = json!({"app": name});
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "Helm"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [container("side", &json!([])), container(name, own)],
                },
            },
        },
    });
    let file = cluster.path("theirs.json");
    fs::write(&file, deployment.to_string())?;
    let file = file.to_str().context("scratch paths are text")?;
    cluster.kubectl(&["apply", "-f", file])?;
    Ok(())
}

fn attached(cluster: &Cluster, name: &str, more: &str) -> Result<()> {
    let spec = format!(
        "{{target: {{workload: Deployment/{name}}}, env: {{GREETING: hello}}, \
         accessControl: {{databases: [{{name: accounts}}]}}{more}}}"
    );
    cluster.write("Application", name, &spec)
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_workload_of_others_is_given_its_environment_and_nothing_else() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", "")?;
    let migrate = ", preDeploy: 'psql \"$DATABASE_URL\" -qc \"create table migrated as select ''$OWN''::text\"'";
    attached(&cluster, "web", migrate)?;
    let missing = cluster.boma(&["apply", "--patience", "180", "."])?;
    ensure!(missing.code != 0, "{}", missing.stdout);
    let said = format!("{}{}", missing.stdout, missing.stderr);
    ensure!(said.contains("to attach to"), "{said}");

    theirs(
        &cluster,
        "web",
        &json!([{"name": "OWN", "value": "theirs"}]),
    )?;
    let before = cluster.object("deployment", "web")?;
    eventually(PATIENCE, async || {
        cluster.apply().map_err(|error| error.to_string())
    })
    .await?;
    let asked = "psql \"$DATABASE_URL\" -Atqc 'table migrated'; echo $GREETING $OWN";
    assert_eq!(
        said_in(&cluster, "web", asked).await?,
        "theirs\nhello theirs"
    );
    let now = cluster.object("deployment", "web")?;
    assert_eq!(
        now["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "Helm"
    );
    let containers = |object: &Value| object["spec"]["template"]["spec"]["containers"].clone();
    assert_eq!(containers(&now)[0], containers(&before)[0]);
    cluster.apply_again()?;

    // What is taken away is taken back, and nothing but that.
    cluster.remove("Application", "web")?;
    cluster.apply()?;
    let left = cluster.object("deployment", "web")?;
    assert_eq!(left["spec"], before["spec"]);
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_others_set_in_their_workload_is_not_overruled() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.database("accounts", "")?;
    cluster.apply()?;
    theirs(
        &cluster,
        "web",
        &json!([{"name": "DATABASE_URL", "value": "theirs"}]),
    )?;
    attached(&cluster, "web", "")?;
    let before = cluster.object("deployment", "web")?["spec"].clone();
    let said = cluster
        .boma(&["apply", "--patience", "180", "."])?
        .code(1)?;
    ensure!(said.contains("give Deployment"), "{said}");
    ensure!(said.contains("is not overruled"), "{said}");
    assert_eq!(cluster.object("deployment", "web")?["spec"], before);
    // Nor is a Deployment that has the name of an application taken over.
    cluster.remove("Application", "web")?;
    theirs(&cluster, "shop", &json!([]))?;
    shop(&cluster, "a", "")?;
    let said = cluster
        .boma(&["apply", "--patience", "180", "."])?
        .code(1)?;
    ensure!(said.contains("is not Boma's"), "{said}");
    ensure!(said.contains("target.workload"), "{said}");
    Ok(())
}
