//! Restores in place: another instance takes the database's place, and changes back; through every
//! death in between.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use boma_testkit::Ran;
use serde_json::Value;

use crate::backups::three_rows;
use crate::cluster::Cluster;
use crate::killed::survives;
use crate::proxy::{Fate, Proxy};
use crate::store::Store;

const ROWS: &str = "select string_agg(i::text, ' ' order by i) from t";

/// More writes than a restore in place takes.
const MOST_WRITES: usize = 60;

/// What applications connect to, and as whom.
fn connection(cluster: &Cluster) -> Result<(String, Value)> {
    let template = "go-template={{.data.uri | base64decode}}";
    let uri = cluster.kubectl(&["get", "secret", "api.accounts", "-o", template])?;
    let service = cluster.object("service", "accounts")?;
    Ok((uri, service["spec"]["clusterIP"].clone()))
}

/// The objects of a kind that are of databases, by name.
fn of_databases(cluster: &Cluster, kind: &str) -> Result<BTreeMap<String, Value>> {
    let label = "lowops.manifests/instance-id";
    let list = cluster.kubectl(&["get", kind, "-l", label, "-o", "json"])?;
    let list: Value = serde_json::from_str(&list)?;
    let items = list["items"].as_array().context("a list")?;
    let named = items.iter().map(|one| {
        let name = one["metadata"]["name"].as_str().unwrap_or_default();
        (name.to_owned(), one.clone())
    });
    Ok(named.collect())
}

/// Checks that one server runs, and that no two instances share anything.
fn one_server(cluster: &Cluster) -> Result<()> {
    let mut servers = of_databases(cluster, "statefulsets")?;
    servers.retain(|_, server| server["spec"]["replicas"] != 0);
    assert_eq!(servers.len(), 1, "{:?}", servers.keys());
    let server = servers.values().next().context("one")?;
    let id = &server["metadata"]["labels"]["lowops.manifests/instance-id"];
    let service = cluster.object("service", "accounts")?;
    assert_eq!(
        &service["spec"]["selector"]["lowops.manifests/instance-id"],
        id
    );
    for (name, claim) in of_databases(cluster, "pvc")? {
        let labels = &claim["metadata"]["labels"];
        let is_its = &labels["lowops.manifests/instance-id"] == id;
        let beside = &claim["metadata"]["annotations"]["lowops.manifests/beside"];
        assert_eq!(is_its, beside.is_null(), "{name}: {beside}");
    }
    Ok(())
}

/// Names of volume claims and their volumes.
fn volumes(cluster: &Cluster) -> Result<BTreeMap<String, Value>> {
    let claims = of_databases(cluster, "pvc")?.into_iter();
    Ok(claims
        .map(|(name, claim)| (name, claim["spec"]["volumeName"].clone()))
        .collect())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_database_goes_back_and_comes_back_and_its_applications_keep_what_they_have() -> Result<()>
{
    let (cluster, store, moment) = three_rows()?;
    let before = connection(&cluster)?;
    let first = volumes(&cluster)?;
    let early = ["--in-place", "--to-time", "2020-01-01T00:00:00Z"];
    let early = [&["restore", "accounts"], &early[..]].concat();
    let refused = cluster.boma_with(&early, &store.reached())?.code(1)?;
    ensure!(refused.contains("can be restored"), "{refused}");

    let restore = ["restore", "accounts", "--in-place", "--to-time", &moment];
    let back = cluster.boma_with(&restore, &store.reached())?.code(0)?;
    ensure!(back.contains("--forget-old"), "{back}");
    assert_eq!(cluster.answered("api", ROWS).await?, "1 2");
    assert_eq!(connection(&cluster)?, before);
    one_server(&cluster)?;
    let both = volumes(&cluster)?;
    ensure!(both.len() == 2 && first.iter().all(|one| both.get(one.0) == Some(one.1)));
    let listed = cluster.boma(&["get", "databases"])?.ok()?;
    ensure!(listed.contains("accounts.restore-"), "{listed}");
    cluster.apply_again()?;
    // What it is now has a place of its own in the repository.
    cluster.boma(&["backup", "create", "accounts"])?.ok()?;

    // Without its record, volumes say which is which.
    cluster.kubectl(&["delete", "secret", "accounts.database"])?;
    cluster.apply()?;
    cluster.apply_again()?;
    assert_eq!(cluster.answered("api", ROWS).await?, "1 2");
    one_server(&cluster)?;

    cluster.boma(&["restore", "accounts", "--undo"])?.ok()?;
    assert_eq!(cluster.answered("api", ROWS).await?, "1 2 3");
    assert_eq!(connection(&cluster)?, before);
    one_server(&cluster)?;
    cluster.query("api", "insert into t values (4)")?;
    assert_eq!(volumes(&cluster)?, both);

    let forget = ["restore", "accounts", "--forget-old"];
    let asked = cluster.boma(&forget)?.code(1)?;
    ensure!(asked.contains("--confirm"), "{asked}");
    let forget = [&forget[..], &["--confirm", "accounts"]].concat();
    cluster.boma(&forget)?.ok()?;
    for name in both.keys().filter(|name| !first.contains_key(*name)) {
        let gone = ["wait", "--for=delete", "--timeout=60s"];
        let claim = format!("pvc/{name}");
        drop(cluster.kubectl(&[&gone[..], &[claim.as_str()]].concat()));
    }
    assert_eq!(volumes(&cluster)?, first);
    let secrets = of_databases(&cluster, "secrets,statefulsets,networkpolicies")?;
    ensure!(
        secrets
            .keys()
            .all(|name| first.contains_key(name) || name == "accounts")
    );
    assert_eq!(cluster.answered("api", ROWS).await?, "1 2 3 4");
    let none = cluster.boma(&forget)?.code(1)?;
    ensure!(none.contains("nothing is kept"), "{none}");
    cluster.apply_again()
}

/// What the API server has before one write it has after the one before: so Boma is killed before
/// each of them.
#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn killed_before_any_write_of_an_exchange_it_is_one_or_the_other_and_comes_to_its_end()
-> Result<()> {
    let (cluster, store, moment) = three_rows()?;
    let restore = ["restore", "accounts", "--in-place", "--to-time", &moment];
    cluster.boma_with(&restore, &store.reached())?.code(0)?;
    let (both, before) = (volumes(&cluster)?, connection(&cluster)?);
    let (mut lines, mut is) = ([String::from("1 2"), String::from("1 2 3")], 0);
    let proxy = Proxy::start()?;
    let mut changes = 0;
    for number in 0..MOST_WRITES {
        let undo = ["restore", "accounts", "--undo"];
        let turn = (number, &Fate::KillBefore);
        let survived = survives(&cluster, &proxy, turn, &undo)?;
        cluster.apply()?;
        let rows = cluster.answered("api", ROWS).await?;
        let now = lines.iter().position(|line| *line == rows);
        let now = now.with_context(|| format!("killed at {number}: {rows:?}, not of {lines:?}"))?;
        changes += usize::from(now != is);
        is = now;
        one_server(&cluster)?;
        cluster.apply_again()?;
        assert_eq!(volumes(&cluster)?, both);
        assert_eq!(connection(&cluster)?, before);
        // Each goes on with its own line, whatever the other one gets.
        let row = 10 * (number + 1) + is;
        cluster.query("api", &format!("insert into t values ({row})"))?;
        lines[is] = format!("{} {row}", lines[is]);
        if survived {
            ensure!(number > 6, "only {number} writes");
            // But for the first one: nobody had heard of the wish.
            assert_eq!(changes, number);
            return Ok(());
        }
    }
    anyhow::bail!("more than {MOST_WRITES} writes")
}

/// Asks for a restore in place where the manifests cannot be read, so that nothing is done about it.
fn ask(cluster: &Cluster, store: &Store, moment: &str) -> Result<()> {
    let (here, elsewhere) = (cluster.path("m"), cluster.path("elsewhere"));
    std::fs::rename(&here, &elsewhere)?;
    let restore = ["restore", "accounts", "--in-place", "--to-time", moment];
    let mut asking = cluster.command(&restore);
    let asked = asking
        .envs(store.reached())
        .current_dir(cluster.path("s"))
        .output();
    std::fs::rename(&elsewhere, &here)?;
    let said = Ran::from(&asked?).code(4)?;
    ensure!(said.contains("`boma serve` in the cluster"), "{said}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn killed_while_it_makes_what_is_to_take_its_place_the_database_is_untouched() -> Result<()> {
    let (cluster, store, moment) = three_rows()?;
    let (first, before) = (volumes(&cluster)?, connection(&cluster)?);
    let pod = cluster.pod_uid("accounts")?;
    let proxy = Proxy::start()?;
    // The record, and everything that is made beside it.
    for number in 0..8 {
        ask(&cluster, &store, &moment)?;
        let turn = (number, &Fate::KillBefore);
        let apply = ["apply", "--patience", "120", "."];
        ensure!(!survives(&cluster, &proxy, turn, &apply)?, "{number}");
        let given_up = cluster.boma(&["restore", "accounts", "--undo"])?.code(0)?;
        ensure!(given_up.contains("is given up"), "{number}: {given_up}");
        assert_eq!(cluster.query("api", ROWS)?, "1 2 3");
        assert_eq!(cluster.pod_uid("accounts")?, pod);
        assert_eq!(connection(&cluster)?, before);
        cluster.apply()?;
        cluster.apply_again()?;
        let listed = cluster.boma(&["get", "databases", "-o", "name"])?.ok()?;
        for name in listed.split_whitespace() {
            let name = name.rsplit('/').next().unwrap_or(name);
            if name.contains(".restore-") {
                cluster.boma(&["purge", name, "--confirm", name])?.ok()?;
            }
        }
        for name in volumes(&cluster)?.keys() {
            if !first.contains_key(name) {
                let claim = format!("pvc/{name}");
                drop(cluster.kubectl(&["wait", "--for=delete", "--timeout=60s", &claim]));
            }
        }
        assert_eq!(volumes(&cluster)?, first);
    }
    Ok(())
}
