//! The API server refuses, breaks off, forgets, or says what was so before: Boma comes through, and
//! what is there then is what would have been there anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::proxy::{Asked, Fate, Proxy};

/// Applies a database and an application through an API server that fails as decided, and looks at
/// what there is.
fn comes_through(mut decide: impl FnMut(&Asked) -> Fate + Send + 'static) -> Result<()> {
    let cluster = Cluster::new()?;
    let proxy = Proxy::start()?;
    cluster.database("accounts", "")?;
    cluster.application("api", "accounts")?;
    let failed = Arc::new(AtomicU32::new(0));
    let count = failed.clone();
    proxy.decide(move |asked| {
        let fate = decide(asked);
        count.fetch_add(u32::from(!matches!(fate, Fate::Pass)), Ordering::Relaxed);
        fate
    });
    cluster
        .boma_through(&proxy, &["apply", "--patience", "180", "."])?
        .code(0)?;
    ensure!(failed.load(Ordering::Relaxed) > 0, "nothing ever failed");
    cluster.holds_exactly(&[("api", "accounts")])?;
    cluster.client("api", "accounts")?;
    assert_eq!(cluster.query("api", "select session_user")?, "api_1");
    cluster.apply_again()
}

/// Decides so about each request that is asked for the first time.
fn first_time(of: impl Fn(&Asked) -> bool + Send, fate: Fate) -> impl FnMut(&Asked) -> Fate + Send {
    let mut seen = BTreeSet::new();
    move |asked| {
        let is_new = of(asked) && seen.insert(format!("{} {}", asked.method, asked.path));
        if is_new { fate.clone() } else { Fate::Pass }
    }
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn an_api_server_that_is_busy_is_asked_again() -> Result<()> {
    let busy = Fate::Refuse(429, "Retry-After: 1\r\n", "TooManyRequests");
    comes_through(first_time(Asked::is_write, busy))
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn who_is_told_of_a_conflict_looks_and_tries_again() -> Result<()> {
    let conflict = Fate::Refuse(409, "", "Conflict");
    comes_through(first_time(Asked::is_write, conflict))
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn an_api_server_that_fails_is_asked_again() -> Result<()> {
    let failing = Fate::Refuse(500, "", "InternalError");
    let away = Fate::Refuse(503, "", "ServiceUnavailable");
    let mut writes = first_time(Asked::is_write, failing);
    let mut reads = first_time(|asked| !asked.is_write(), away);
    comes_through(move |asked| {
        if asked.is_write() {
            writes(asked)
        } else {
            reads(asked)
        }
    })
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn half_an_answer_is_none_and_what_was_done_is_found() -> Result<()> {
    let is_plain = |asked: &Asked| !asked.is_watch() && !asked.path.contains("portforward");
    comes_through(first_time(is_plain, Fate::Cut))
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn watches_that_end_and_are_too_old_begin_again() -> Result<()> {
    let mut watches = 0;
    comes_through(move |asked| {
        if !asked.is_watch() {
            return Fate::Pass;
        }
        watches += 1;
        if watches % 3 == 0 {
            Fate::Gone
        } else {
            Fate::EndAfter(Duration::from_millis(300))
        }
    })
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn lists_of_a_time_before_make_nothing_twice() -> Result<()> {
    let cluster = Cluster::new()?;
    let proxy = Proxy::start()?;
    cluster.database("accounts", "")?;
    cluster.application("api", "accounts")?;
    // The proxy keeps the first answers: lists without anything.
    let through = ["apply", "--patience", "180", "."];
    cluster.boma_through(&proxy, &through)?.code(0)?;
    let before = cluster.identities()?;
    let kinds = [
        "secrets",
        "services",
        "statefulsets",
        "persistentvolumeclaims",
    ];
    for stale in [&kinds[..1], &kinds[1..], &kinds[..]] {
        let stale: Vec<String> = stale.iter().map(|kind| (*kind).to_owned()).collect();
        proxy.decide(move |asked| {
            let is_stale = stale.iter().any(|kind| asked.is_list_of(kind));
            if is_stale { Fate::Stale } else { Fate::Pass }
        });
        // What is asked for in vain meanwhile may be an error; what is there is not touched.
        let said = cluster.boma_through(&proxy, &through)?;
        ensure!([0, 1, 4].contains(&said.code), "{said:?}");
        cluster.apply()?;
        assert_eq!(cluster.identities()?, before);
    }
    cluster.holds_exactly(&[("api", "accounts")])?;
    cluster.client("api", "accounts")?;
    assert_eq!(cluster.query("api", "select session_user")?, "api_1");
    cluster.apply_again()
}

impl Cluster {
    /// Which objects of the project there are, by what each is told from another of its name; and
    /// what its applications are given.
    pub(crate) fn identities(&self) -> Result<BTreeMap<String, String>> {
        let objects = self.own_objects()?;
        let told = objects.iter().map(|object| {
            let metadata = &object["metadata"];
            let name = format!(
                "{}/{}",
                object["kind"].as_str().unwrap_or_default(),
                metadata["name"].as_str().unwrap_or_default()
            );
            let given = object["data"]["password"].as_str().unwrap_or_default();
            let uid = metadata["uid"].as_str().unwrap_or_default();
            (name, format!("{uid} {given}"))
        });
        Ok(told.collect())
    }

    fn own_objects(&self) -> Result<Vec<serde_json::Value>> {
        let kinds = "statefulset,service,networkpolicy,pvc,secret";
        let label = format!("lowops.manifests/installation={}", self.home);
        let text = self.kubectl(&["get", kinds, "-l", &label, "-o", "json"])?;
        let list: serde_json::Value = serde_json::from_str(&text)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Holds the project's namespace to what these applications and their databases are made of: no
    /// object is missing, and none is there that nobody needs.
    pub(crate) fn holds_exactly(&self, grants: &[(&str, &str)]) -> Result<()> {
        let mut wanted = BTreeSet::new();
        for (application, database) in grants {
            wanted.extend([
                format!("StatefulSet/{database}-1"),
                format!("Service/{database}"),
                format!("NetworkPolicy/{database}"),
                format!("PersistentVolumeClaim/{database}-1"),
                format!("Secret/{database}-1"),
                format!("Secret/{database}.database"),
                format!("Secret/{database}.{application}.logins"),
                format!("Secret/{application}.application"),
                format!("Secret/{application}.{database}"),
            ]);
        }
        let found: BTreeSet<String> = self.identities()?.into_keys().collect();
        let odd: Vec<&String> = wanted.symmetric_difference(&found).collect();
        ensure!(odd.is_empty(), "missing or left over: {odd:?}");
        for (application, database) in grants {
            self.is_delivered_as_stored(application, database)?;
        }
        Ok(())
    }

    /// What an application was given is the one password that is stored for it.
    fn is_delivered_as_stored(&self, application: &str, database: &str) -> Result<()> {
        let entry = |secret: &str, entry: &str| {
            let template = format!("go-template={{{{index .data \"{entry}\" | base64decode}}}}");
            self.kubectl(&["get", "secret", secret, "-o", &template])
        };
        let stored = entry(&format!("{database}.{application}.logins"), "record.json")?;
        let stored: serde_json::Value = serde_json::from_str(&stored)?;
        let logins = stored["logins"].as_object().context("a record of logins")?;
        ensure!(logins.len() == 1, "{} logins", logins.len());
        let given = entry(&format!("{application}.{database}"), "password")?;
        let is_same = logins.values().all(|login| login["password"] == given);
        ensure!(is_same, "{application} was given another password");
        Ok(())
    }
}
