//! Somebody edits, scales and deletes what Boma made, at random, while applications write: all of it
//! comes back, and no row that was acknowledged is lost.
//!
//! BOMA_TEST_CHAOS_SECONDS says for how long, BOMA_TEST_CHAOS_SEED what happens: one seed is one row
//! of deeds, the longer the test the more of it. The seed is printed.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use boma_testkit::eventually;

use crate::cluster::{Cluster, PATIENCE, Serving, number};

const DATABASES: [&str; 2] = ["orders", "accounts"];

/// Longest pause between two deeds.
const PAUSE: u64 = 8_000;

/// Rows of one connection.
const ROWS: u64 = 200;

/// What somebody does by hand; `DB` is the database.
const DEEDS: [&str; 19] = [
    "delete service DB --wait=false",
    "delete networkpolicy DB --wait=false",
    "delete statefulset DB-1 --wait=false",
    "delete statefulset DB-1 --cascade=orphan --wait=false",
    "delete pod DB-1-0 --wait=false",
    "delete pod DB-1-0 --grace-period=0 --force",
    "scale statefulset DB-1 --replicas=0",
    "delete secret api-DB.DB --wait=false",
    "delete secret api-DB.application --wait=false",
    "delete secret DB-1 --wait=false",
    "delete secret DB.database --wait=false",
    "delete secret DB.api-DB.logins --wait=false",
    "patch secret api-DB.DB -p {\"data\":{\"password\":\"eA==\",\"uri\":null}}",
    "patch networkpolicy DB --type=merge -p {\"spec\":{\"ingress\":[{}]}}",
    "patch service DB -p {\"spec\":{\"selector\":{\"nobody\":\"x\"}}}",
    "patch statefulset DB-1 -p {\"spec\":{\"template\":{\"spec\":{\"terminationGracePeriodSeconds\":1}}}}",
    "label pvc DB-1 lowops.manifests/database-",
    "annotate statefulset DB-1 lowops.manifests/applied-",
    "",
];

/// Numbers that follow from a seed alone (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        let at = self.below(all.len() as u64);
        all.get(usize::try_from(at).ok()?).copied()
    }
}

/// Writes rows into a database until it is told to stop; answers with those that were acknowledged.
fn write(
    namespace: &str,
    database: &'static str,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<Result<BTreeSet<u64>>> {
    let (namespace, stop) = (namespace.to_owned(), stop.clone());
    std::thread::spawn(move || {
        let mut acknowledged = BTreeSet::new();
        let mut next = 0;
        while !stop.load(Ordering::Relaxed) {
            let secret = format!("api-{database}.{database}");
            let uri = Command::new("kubectl")
                .args(["-n", &namespace, "get", "secret", &secret, "-o"])
                .arg("go-template={{.data.uri | base64decode}}")
                .output()?;
            let uri = String::from_utf8_lossy(&uri.stdout).into_owned();
            let mut psql = Command::new("kubectl")
                .args(["-n", &namespace, "exec", "-i", "client", "--", "sh", "-c"])
                .arg("read -r uri; exec timeout 20 psql \"$uri\" -v ON_ERROR_STOP=1 -Atq")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()?;
            let rows = next..next + ROWS;
            let rows = rows.map(|row| format!("insert into t values ({row}) returning i;\n"));
            let script = format!("{uri}\n{}", rows.collect::<String>());
            next += ROWS;
            // A server that is away takes nothing of it.
            drop(
                psql.stdin
                    .take()
                    .context("it is piped")?
                    .write_all(script.as_bytes()),
            );
            let said = psql.wait_with_output()?;
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            acknowledged.extend(said.lines().filter_map(|line| line.parse::<u64>().ok()));
        }
        Ok(acknowledged)
    })
}

/// Does one thing after the other; answers what it did.
async fn do_by_hand(cluster: &Cluster, seed: u64, until: Instant) -> Result<Vec<String>> {
    let mut chance = Chance(seed);
    let begin = || Serving::start(cluster, cluster.command(&["serve", "."]));
    let mut serving = begin()?;
    let mut done = Vec::new();
    while Instant::now() < until {
        let database = chance.of(&DATABASES).context("there are some")?;
        let deed = chance.of(&DEEDS).context("there are some")?;
        let deed = deed.replace("DB", database);
        let pause = Duration::from_millis(chance.below(PAUSE));
        if deed.is_empty() {
            drop(serving);
            serving = begin()?;
        } else {
            let words: Vec<&str> = deed.split(' ').collect();
            // What is gone already cannot be changed.
            drop(cluster.kubectl(&words));
        }
        done.push(deed);
        tokio::time::sleep(pause).await;
    }
    drop(serving);
    Ok(done)
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn whatever_is_done_by_hand_under_load_all_comes_back_and_no_row_is_lost() -> Result<()> {
    let seconds = number("BOMA_TEST_CHAOS_SECONDS")?.unwrap_or(75);
    let random = u64::from(uuid::Uuid::new_v4().as_fields().0);
    let seed = number("BOMA_TEST_CHAOS_SEED")?.unwrap_or(random);
    println!("BOMA_TEST_CHAOS_SEED={seed} BOMA_TEST_CHAOS_SECONDS={seconds}");
    let cluster = Cluster::new()?;
    let mut volumes = Vec::new();
    for database in DATABASES {
        cluster.database(database, "")?;
        cluster.application(&format!("api-{database}"), database)?;
    }
    cluster.apply()?;
    cluster.pod("client")?;
    for database in DATABASES {
        let application = format!("api-{database}");
        cluster.query_in("client", &application, database, "create table t(i bigint)")?;
        volumes
            .push(cluster.object("pvc", &format!("{database}-1"))?["spec"]["volumeName"].clone());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers = DATABASES.map(|database| write(&cluster.namespace, database, &stop));
    let until = Instant::now() + Duration::from_secs(seconds);
    let done = do_by_hand(&cluster, seed, until).await;
    stop.store(true, Ordering::Relaxed);
    let written = writers.map(JoinHandle::join);
    for (number, deed) in done?.iter().enumerate() {
        println!(
            "{number}: {}",
            if deed.is_empty() {
                "kill -9 of Boma"
            } else {
                deed
            }
        );
    }

    let all = eventually(PATIENCE, async || {
        let applied = cluster.apply().and_then(|_| cluster.apply_again());
        applied.map_err(|error| error.to_string())
    });
    all.await.with_context(|| format!("seed {seed}"))?;
    for ((database, volume), rows) in DATABASES.iter().zip(volumes).zip(written) {
        let rows = rows.map_err(|_panicked| anyhow::anyhow!("the writer panicked"))??;
        let application = format!("api-{database}");
        let said = eventually(PATIENCE, async || {
            let said = cluster.query_in("client", &application, database, "select i from t");
            said.map_err(|error| error.to_string())
        });
        let said = said
            .await
            .with_context(|| format!("seed {seed}: {database}"))?;
        let found: BTreeSet<u64> = said.lines().filter_map(|line| line.parse().ok()).collect();
        let lost: Vec<&u64> = rows.difference(&found).collect();
        ensure!(lost.is_empty(), "seed {seed}: {database} lost {lost:?}");
        ensure!(!rows.is_empty(), "nothing was written into {database}");
        println!("{database}: {} acknowledged rows are there", rows.len());
        let now = cluster.object("pvc", &format!("{database}-1"))?["spec"]["volumeName"].clone();
        assert_eq!(now, volume, "seed {seed}");
    }
    cluster.holds_exactly(&[("api-orders", "orders"), ("api-accounts", "accounts")])
}

impl Cluster {
    /// A pod that waits, with the programs of PostgreSQL.
    fn pod(&self, name: &str) -> Result<()> {
        let image = crate::cluster::postgres_image()?;
        let image = format!("--image={image}");
        let run = [
            "run",
            name,
            &image,
            "--image-pull-policy=IfNotPresent",
            "--command",
            "--",
        ];
        self.kubectl(&[&run[..], &["sleep", "infinity"]].concat())?;
        let pod = format!("pod/{name}");
        self.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", &pod])?;
        Ok(())
    }
}
