//! Boma is killed around each of its writes in turn: before the API server hears of it, and after it
//! was done and before Boma is told. Whoever starts next finishes what was begun.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use anyhow::{Result, ensure};

use crate::cluster::Cluster;
use crate::proxy::{Fate, Proxy};

/// More writes than anything here takes.
const MOST_WRITES: usize = 24;

/// How one kill is told from another.
const WAYS: [Fate; 2] = [Fate::KillBefore, Fate::KillAfter];

/// Runs a command that is killed at its write of this number; answers whether it came through.
pub(crate) fn survives(
    cluster: &Cluster,
    proxy: &Proxy,
    (number, way): (usize, &Fate),
    command: &[&str],
) -> Result<bool> {
    let (mut writes, way) = (0, way.clone());
    proxy.decide(move |asked| {
        if !asked.is_write() {
            return Fate::Pass;
        }
        writes += 1;
        if writes == number + 1 {
            way.clone()
        } else {
            Fate::Pass
        }
    });
    let mut command = cluster.command_through(proxy, command)?;
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    proxy.aim_at(&child);
    let ended = child.wait()?;
    ensure!(
        ended.signal() == Some(9) || ended.code() == Some(0),
        "{ended}"
    );
    Ok(ended.signal().is_none())
}

/// What was given to an application stays what it is given.
fn given(objects: &BTreeMap<String, String>, secret: &str) -> Option<String> {
    objects.get(&format!("Secret/{secret}")).cloned()
}

/// Walks over all writes of a command; `before` and `after` each time, with the number of the turn.
fn walk(
    cluster: &Cluster,
    proxy: &Proxy,
    command: &dyn Fn(usize) -> Vec<String>,
    mut before: impl FnMut(usize) -> Result<()>,
    mut after: impl FnMut(usize) -> Result<()>,
) -> Result<usize> {
    let mut turn = 0;
    for number in 0..MOST_WRITES {
        for way in &WAYS {
            before(turn)?;
            let words = command(turn);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let survived = survives(cluster, proxy, (number, way), &words)?;
            after(turn)?;
            turn += 1;
            if survived {
                return Ok(number);
            }
        }
    }
    anyhow::bail!("more than {MOST_WRITES} writes")
}

fn apply(_turn: usize) -> Vec<String> {
    ["apply", "--patience", "120", "."]
        .map(str::to_owned)
        .into()
}

fn make(cluster: &Cluster, turn: usize) -> Result<()> {
    let (database, application) = (format!("db-{turn}"), format!("api-{turn}"));
    cluster.database(&database, ", deletionProtection: false")?;
    cluster.application(&application, &database)
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn killed_around_any_write_that_makes_a_database_the_next_start_finishes_it() -> Result<()> {
    let cluster = Cluster::new()?;
    let proxy = Proxy::start()?;
    let after = |turn: usize| -> Result<()> {
        let (database, application) = (format!("db-{turn}"), format!("api-{turn}"));
        let secret = format!("{application}.{database}");
        let left = given(&cluster.identities()?, &secret);
        cluster.apply()?;
        let objects = cluster.identities()?;
        ensure!(
            left.is_none() || left == given(&objects, &secret),
            "{secret} was delivered twice"
        );
        // One pod is a client of each in turn: starting another takes longer than all the rest.
        if turn == 0 {
            cluster.client(&application, &database)?;
        }
        let said = cluster.query_in("api-0", &application, &database, "select session_user")?;
        assert_eq!(said, format!("api_{turn}_1"));
        let grants: Vec<_> = (0..=turn)
            .map(|one| (format!("api-{one}"), format!("db-{one}")))
            .collect();
        let grants: Vec<_> = grants
            .iter()
            .map(|(application, database)| (application.as_str(), database.as_str()))
            .collect();
        cluster.holds_exactly(&grants)?;
        cluster.apply_again()?;
        // Those before are suspended: whoever was killed, their pods are gone.
        for one in 0..turn {
            let server = cluster.object("statefulset", &format!("db-{one}-1"))?;
            ensure!(server["spec"]["replicas"] == 0, "db-{one} has its pod");
        }
        // Room for the next one.
        cluster.database(&database, ", deletionProtection: false, suspended: true")
    };
    // A database of its own each time: what is there already is not written.
    let walked = walk(&cluster, &proxy, &apply, |turn| make(&cluster, turn), after)?;
    ensure!(walked > 8, "only {walked} writes were walked over");

    // All are retired, and purged one after the other.
    cluster.write("Application", "idle", "{}")?;
    let turns = 2 * walked + 1;
    for turn in 0..turns {
        cluster.remove("Application", &format!("api-{turn}"))?;
        cluster.remove("Database", &format!("db-{turn}"))?;
    }
    cluster.apply()?;
    let purge = |turn: usize| {
        let name = format!("db-{turn}");
        ["purge", &name, "--confirm", &name]
            .map(str::to_owned)
            .into()
    };
    let gone = |turn: usize| -> Result<()> {
        let name = format!("db-{turn}");
        // The one that came through leaves nothing to purge.
        let again = cluster.boma(&["purge", &name, "--confirm", &name])?;
        ensure!(matches!(again.code, 0 | 1), "{again:?}");
        // Kubernetes lets go of a claim a moment after its pod is gone; it may be gone already.
        let claim = format!("pvc/{name}-1");
        drop(cluster.kubectl(&["wait", "--for=delete", "--timeout=60s", &claim]));
        let left = cluster.identities()?;
        let of = |one: usize| {
            let own = [
                format!("/db-{one}"),
                format!("/db-{one}-1"),
                format!("/db-{one}.database"),
            ];
            left.keys()
                .filter(|name| own.iter().any(|end| name.ends_with(end)))
                .count()
        };
        ensure!(of(turn) == 0, "{left:?}");
        ensure!(turn + 1 >= turns || of(turn + 1) == 6, "{left:?}");
        Ok(())
    };
    let walked = walk(&cluster, &proxy, &purge, |_| Ok(()), gone)?;
    ensure!(walked > 5, "only {walked} writes were walked over");
    Ok(())
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn killed_around_any_write_of_a_change_no_row_and_no_password_is_lost() -> Result<()> {
    let cluster = Cluster::new()?;
    let proxy = Proxy::start()?;
    let spec = ", deletionProtection: false";
    cluster.database("accounts", spec)?;
    cluster.application("api", "accounts")?;
    cluster.write("Application", "idle", "{}")?;
    cluster.apply()?;
    cluster.client("api", "accounts")?;
    cluster.query("api", "create table t(i int)")?;
    let before = cluster.identities()?;
    let unchanged = |turn: usize| -> Result<()> {
        cluster.apply()?;
        let objects = cluster.identities()?;
        for (name, own) in &before {
            ensure!(objects.get(name) == Some(own), "turn {turn}: {name}");
        }
        let insert = format!("insert into t values ({turn})");
        cluster.query("api", &insert)?;
        cluster.apply_again()
    };
    // Another limit: the spec that the pod mounts, and its StatefulSet.
    let change = |turn: usize| {
        let memory = format!(", parameters: {{work_mem: {}MB}}{spec}", 2 + turn);
        cluster.database("accounts", &memory)
    };
    let walked = walk(&cluster, &proxy, &apply, change, unchanged)?;
    ensure!(walked > 0, "nothing was written");
    let attach = |turn: usize| cluster.application(&format!("more-{turn}"), "accounts");
    let walked = walk(&cluster, &proxy, &apply, attach, unchanged)?;
    ensure!(walked > 2, "only {walked} writes were walked over");

    // Retired, and brought back each time.
    for turn in 0..=2 * walked {
        drop(cluster.remove("Application", &format!("more-{turn}")));
    }
    cluster.apply()?;
    let volume = cluster.object("pvc", "accounts-1")?["spec"]["volumeName"].clone();
    let rows = cluster.query("api", "select count(*) from t")?;
    let retire = |_turn: usize| {
        cluster.remove("Application", "api")?;
        cluster.remove("Database", "accounts")
    };
    let back = |turn: usize| -> Result<()> {
        cluster.apply()?;
        let listed = cluster.boma(&["get"])?.code(0)?;
        ensure!(listed.contains("Retired"), "turn {turn}: {listed}");
        cluster.apply_again()?;
        cluster.database("accounts", spec)?;
        cluster.application("api", "accounts")?;
        cluster.apply()?;
        let found = cluster.object("pvc", "accounts-1")?["spec"]["volumeName"].clone();
        assert_eq!(found, volume);
        let said = cluster.query_in("api", "api", "accounts", "select count(*) from t")?;
        assert_eq!(said, rows);
        Ok(())
    };
    let walked = walk(&cluster, &proxy, &apply, retire, back)?;
    ensure!(walked > 2, "only {walked} writes were walked over");
    Ok(())
}
