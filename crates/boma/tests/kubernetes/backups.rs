//! Backups of databases in pods, in an object store.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use boma_testkit::{Ran, eventually};
use serde_json::Value;

use crate::cluster::{Cluster, PATIENCE, kubectl};
use crate::store::Store;

/// An installation that backs up into a store, with credentials of this name.
pub(crate) fn backed_up() -> Result<(Cluster, Store)> {
    let cluster = Cluster::new()?;
    let store = Store::start(&cluster)?;
    kubectl(&["create", "namespace", &cluster.home])?;
    store.give(&cluster, "credentials", &store.secret)?;
    store.configure(&cluster, ("default", "credentials"))?;
    Ok((cluster, store))
}

/// An application with one row in the database that is there, and a base backup of it.
fn one_row(cluster: &Cluster) -> Result<()> {
    cluster.application("api", "accounts")?;
    cluster.apply()?;
    cluster.client("api", "accounts")?;
    cluster.query("api", "create table t(i int); insert into t values (1)")?;
    cluster.boma(&["backup", "create", "accounts"])?.ok()?;
    Ok(())
}

/// Two rows, a moment, a third row; all of it backed up.
pub(crate) fn three_rows() -> Result<(Cluster, Store, String)> {
    let (cluster, store) = backed_up()?;
    cluster.database("accounts", "")?;
    one_row(&cluster)?;
    cluster.query("api", "insert into t values (2)")?;
    let now =
        "select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    let moment = cluster.query("api", &now.replace('"', "\\\""))?;
    cluster.query("api", "insert into t values (3)")?;
    Ok((cluster, store, moment))
}

/// What was measured of a database.
fn computed(cluster: &Cluster, database: &str) -> Result<Value> {
    let name = format!("database/{database}");
    let said = cluster.boma(&["get", &name, "-o", "json"])?.ok()?;
    Ok(serde_json::from_str(&said)?)
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_pod_archives_into_an_object_store_with_credentials_of_a_secret() -> Result<()> {
    let (cluster, store) = backed_up()?;
    cluster.database("accounts", "")?;
    cluster.application("api", "accounts")?;
    cluster.apply()?;
    cluster.apply_again()?;
    cluster.client("api", "accounts")?;
    cluster.query("api", "create table t(i int); insert into t values (1)")?;
    let label = cluster.boma(&["backup", "create", "accounts"])?.ok()?;
    eventually(PATIENCE, async || {
        let listed = cluster.boma(&["backup", "list", "accounts", "-o", "name"]);
        let listed = listed
            .and_then(Ran::ok)
            .map_err(|error| error.to_string())?;
        if listed.contains(label.trim()) {
            Ok(())
        } else {
            Err(listed)
        }
    })
    .await?;
    let measured = eventually(PATIENCE, async || {
        let measured = computed(&cluster, "accounts").map_err(|error| error.to_string())?;
        let text = measured.to_string();
        if text.contains("recoverableUntil") && text.contains("lastBackup") {
            Ok(measured)
        } else {
            Err(text)
        }
    })
    .await?;
    ensure!(
        measured.to_string().contains("recoverableFrom"),
        "{measured}"
    );
    let verified = cluster.boma_with(&["backup", "verify", "accounts"], &store.reached())?;
    ensure!(verified.ok()?.contains("whole"));
    let proved = cluster.boma(&["backup", "drill", "accounts"])?.ok()?;
    ensure!(proved.contains("is proved"), "{proved}");
    cluster.apply_again()?;
    shows_no_credentials(&cluster, &store)
}

/// Looks for the secret of the store in everything but Secrets, and in what containers run with.
fn shows_no_credentials(cluster: &Cluster, store: &Store) -> Result<()> {
    let kinds = kubectl(&["api-resources", "--verbs=list", "-o", "name"])?;
    for kind in kinds.lines().filter(|kind| *kind != "secrets") {
        // Some that are listed may not be read: reviews, bindings.
        let Ok(all) = kubectl(&["get", kind, "--all-namespaces", "-o", "json"]) else {
            continue;
        };
        ensure!(!all.contains(&store.secret), "in {kind}");
    }
    let look = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'";
    let seen = cluster.kubectl(&[
        "exec",
        "accounts-1-0",
        "-c",
        "postgres",
        "--",
        "sh",
        "-c",
        look,
    ])?;
    ensure!(seen.contains("postgres"), "{seen}");
    ensure!(!seen.contains(&store.secret), "{seen}");
    let logs = cluster.kubectl(&["logs", "accounts-1-0", "-c", "postgres"])?;
    ensure!(!logs.contains(&store.secret), "{logs}");
    let own = cluster.kubectl(&["get", "secret", "accounts-1", "-o", "json"])?;
    let own: Value = serde_json::from_str(&own)?;
    own["data"]["assignment.json"]
        .as_str()
        .context("the pod's own Secret has what lets in")?;
    Ok(())
}

/// A Secret that comes late, is wrong, and is mended.
#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn credentials_that_change_reach_agents_that_run() -> Result<()> {
    let cluster = Cluster::new()?;
    let store = Store::start(&cluster)?;
    kubectl(&["create", "namespace", &cluster.home])?;
    store.configure(&cluster, ("default", "credentials"))?;
    cluster.database("accounts", "")?;
    let refused = cluster.boma(&["apply", "."])?.code(1)?;
    let secret = format!("Secret {}/credentials", cluster.home);
    ensure!(refused.contains(&secret), "{refused}");
    store.give(&cluster, "credentials", &store.secret)?;
    cluster.apply()?;
    cluster.boma(&["backup", "create", "accounts"])?.ok()?;
    let pod = cluster.pod_uid("accounts")?;

    store.give(&cluster, "credentials", "wrong")?;
    cluster.apply()?;
    let failed = cluster.boma(&["backup", "create", "accounts"])?;
    ensure!(failed.code != 0, "{failed:?}");
    ensure!(
        failed.stderr.contains("SignatureDoesNotMatch"),
        "{failed:?}"
    );
    // What an agent has stays while there is nothing else; who may enter does not wait for it.
    kubectl(&["-n", &cluster.home, "delete", "secret", "credentials"])?;
    cluster.application("api", "accounts")?;
    cluster.apply()?;
    store.give(&cluster, "credentials", &store.secret)?;
    cluster.apply()?;
    cluster.boma(&["backup", "create", "accounts"])?.ok()?;
    assert_eq!(cluster.pod_uid("accounts")?, pod, "nothing was restarted");
    cluster.apply_again()
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_new_database_is_made_as_another_one_was_at_a_moment() -> Result<()> {
    let (cluster, store, moment) = three_rows()?;

    let outside = [
        "restore",
        "accounts",
        "--as",
        "never",
        "--to-time",
        "2020-01-01T00:00:00Z",
    ];
    let refused = cluster.boma_with(&outside, &store.reached())?.code(1)?;
    ensure!(refused.contains("can be restored"), "{refused}");
    let restore = [
        "restore",
        "accounts",
        "--as",
        "earlier",
        "--to-time",
        &moment,
    ];
    cluster.boma_with(&restore, &store.reached())?.code(0)?;
    cluster
        .boma_with(&["fork", "accounts", "--as", "copy"], &store.reached())?
        .code(0)?;
    cluster.application("past", "earlier")?;
    cluster.application("twin", "copy")?;
    cluster.apply()?;
    let rows = "select string_agg(i::text, ' ' order by i) from t";
    assert_eq!(cluster.query_in("api", "past", "earlier", rows)?, "1 2");
    assert_eq!(cluster.query_in("api", "twin", "copy", rows)?, "1 2 3");
    assert_eq!(cluster.query_in("api", "api", "accounts", rows)?, "1 2 3");
    cluster.apply_again()
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn another_installation_restores_from_the_repository_and_its_key_alone() -> Result<()> {
    let (first, store) = backed_up()?;
    first.database("accounts", "")?;
    first.application("api", "accounts")?;
    first.apply()?;
    first.client("api", "accounts")?;
    first.query("api", "create table t(i int); insert into t values (7)")?;
    first.boma(&["backup", "create", "accounts"])?.ok()?;
    first.query("api", "insert into t values (8)")?;
    first.kubectl(&["delete", "pod", "accounts-1-0"])?;
    let key = first.boma(&["backup", "key"])?.ok()?;
    // Nothing of the first one is left but what is in the bucket, and the key that was exported.
    let project = ["delete", "namespace", &first.namespace, "--wait=false"];
    kubectl(&project)?;
    kubectl(&["delete", "namespace", &first.home])?;

    let second = Cluster::new()?;
    kubectl(&["create", "namespace", &second.home])?;
    store.give(&second, "elsewhere", &store.secret)?;
    store.configure(&second, ("default", "elsewhere"))?;
    let imported = fed(&second, &["backup", "key", "--import"], &key)?;
    ensure!(imported.contains("is read with this key"), "{imported}");
    let listed = ["backup", "repository", "-o", "name"];
    let instance = second.boma_with(&listed, &store.reached())?.ok()?;
    let instance = instance.trim();
    let restore = format!(
        ", bootstrap: {{restore: {{database: accounts, instance: {instance}, repository: default}}}}"
    );
    second.database("accounts", &restore)?;
    second.application("api", "accounts")?;
    second.apply()?;
    second.client("api", "accounts")?;
    assert_eq!(second.query("api", "select sum(i) from t")?, "15");
    second.boma(&["backup", "create", "accounts"])?.ok()?;
    let both = second.boma_with(&listed, &store.reached())?.ok()?;
    assert_eq!(
        both.lines().count(),
        2,
        "each instance has a part of its own"
    );
    second.apply_again()
}

/// Boma, with what it reads from its standard input.
fn fed(cluster: &Cluster, arguments: &[&str], input: &str) -> Result<String> {
    let mut command = cluster.command(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().context("it has standard input")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    Ran::from(&child.wait_with_output()?).code(0)
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_new_key_reaches_agents_that_run_and_the_former_one_opens_what_was() -> Result<()> {
    let (cluster, store) = backed_up()?;
    cluster.database("accounts", ", deletionProtection: false")?;
    one_row(&cluster)?;
    let pod = cluster.pod_uid("accounts")?;
    let first = cluster.boma(&["backup", "key"])?.ok()?;

    let renewed = cluster.boma(&["backup", "key", "--renew"])?;
    ensure!(renewed.stderr.contains("Export it anew"), "{renewed:?}");
    ensure!(renewed.code == 0, "{renewed:?}");
    let both = cluster.boma(&["backup", "key"])?.ok()?;
    ensure!(both != first && both.trim().ends_with(first.trim()));
    cluster.query("api", "insert into t values (2)")?;
    cluster.boma(&["backup", "create", "accounts"])?.ok()?;
    let verified = cluster.boma_with(&["backup", "verify", "accounts"], &store.reached())?;
    ensure!(verified.ok()?.contains("whole"));
    let copied = cluster.boma_with(&["fork", "accounts", "--as", "copy"], &store.reached())?;
    copied.code(0)?;
    cluster.application("twin", "copy")?;
    cluster.apply()?;
    let sum = "select sum(i) from t";
    assert_eq!(cluster.query_in("api", "twin", "copy", sum)?, "3");
    assert_eq!(cluster.pod_uid("accounts")?, pod, "nothing was restarted");
    cluster.apply_again()?;

    // Purged, its backups stay, and that is said.
    cluster.remove("Application", "api")?;
    cluster.remove("Database", "accounts")?;
    cluster.apply()?;
    let purge = ["purge", "accounts", "--confirm", "accounts"];
    let purged = cluster.boma_with(&purge, &store.reached())?.code(0)?;
    ensure!(
        purged.contains("Its backups stay in repository default: "),
        "{purged}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_pod_that_dies_in_the_middle_of_a_backup_leaves_none_and_the_next_is_whole() -> Result<()>
{
    let (cluster, store) = backed_up()?;
    cluster.database("accounts", "")?;
    cluster.application("api", "accounts")?;
    cluster.apply()?;
    cluster.client("api", "accounts")?;
    let first = cluster.boma(&["backup", "create", "accounts"])?.ok()?;
    // Enough to take a while: text of random digits is not compressed to nothing.
    let fill = "create table t as select i, md5(i::text) || md5((-i)::text) as x \
                from generate_series(1, 600000) i";
    cluster.query("api", fill)?;
    let mut taking = cluster.command(&["backup", "create", "accounts"]);
    let mut taking = taking
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let said = taking.stderr.take().context("it has standard error")?;
    let mut lines = BufReader::new(said).lines();
    let begun = lines.next().context("it says how far it is")??;
    cluster.kubectl(&[
        "delete",
        "pod",
        "accounts-1-0",
        "--force",
        "--grace-period=0",
    ])?;
    let ended = taking.wait()?;
    ensure!(!ended.success(), "it was over already: {begun}");

    let label = eventually(PATIENCE, async || {
        let taken = cluster.boma(&["backup", "create", "accounts"]);
        taken.and_then(Ran::ok).map_err(|error| error.to_string())
    })
    .await?;
    let verified = cluster
        .boma_with(&["backup", "verify", "accounts"], &store.reached())?
        .ok()?;
    for label in [&first, &label] {
        let whole = format!("{}  whole", label.trim());
        ensure!(verified.contains(&whole), "{verified}");
    }
    ensure!(!verified.contains("unusable"), "{verified}");
    assert_eq!(
        cluster.answered("api", "select count(*) from t").await?,
        "600000"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn pods_are_to_the_cloud_what_the_configuration_says() -> Result<()> {
    let cluster = Cluster::new()?;
    cluster.configure(
        "[kubernetes.identity]\nservice-account = \"backups\"\n\
         annotations = {\"eks.amazonaws.com/role-arn\" = \"arn:aws:iam::1:role/backups\"}\n\
         pod-labels = {\"azure.workload.identity/use\" = \"true\"}\n",
    )?;
    cluster.database("accounts", "")?;
    cluster.apply()?;
    let account = cluster.object("serviceaccount", "backups")?;
    let role = &account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"];
    assert_eq!(role, "arn:aws:iam::1:role/backups");
    let pod = cluster.object("pod", "accounts-1-0")?;
    assert_eq!(pod["spec"]["serviceAccountName"], "backups");
    let label = &pod["metadata"]["labels"]["azure.workload.identity/use"];
    assert_eq!(label, "true");
    let volumes = pod["spec"]["volumes"].to_string();
    ensure!(!volumes.contains("serviceAccountToken"), "{volumes}");
    // What somebody changes there by hand comes back.
    let remove = "eks.amazonaws.com/role-arn-";
    cluster.kubectl(&["annotate", "serviceaccount", "backups", remove])?;
    cluster.apply()?;
    let mended = cluster.object("serviceaccount", "backups")?;
    assert_eq!(
        mended["metadata"]["annotations"],
        account["metadata"]["annotations"]
    );
    cluster.apply_again()
}
