//! An application for measuring rotations: 50 workers that query without a pause, either over a
//! connection each that is kept (`pool`) or with a new connection for every query (`poolless`).
//!
//! On SIGTERM every worker finishes the query that it is at and closes its connection, as pools
//! do; then the process ends. What it did is written to a file of its own below the directory
//! named second: queries, failures, when the first and the last query were answered. The file is
//! written again and again, so that a process that was killed is counted, too.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::{Client, Config, NoTls};

/// Workers side by side.
const WORKERS: usize = 50;

/// How often what was done is written down.
const WRITE_AGAIN: Duration = Duration::from_millis(200);

/// How a worker connects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Once, and again when the connection breaks.
    Pool,
    /// For every query.
    Poolless,
}

/// What was done.
#[derive(Default)]
struct Done {
    queries: AtomicU64,
    failures: AtomicU64,
    /// Milliseconds since 1970.
    first: AtomicU64,
    last: AtomicU64,
    /// The first failures, in words.
    errors: Mutex<Vec<String>>,
    /// Whether to end.
    stop: AtomicBool,
}

impl Done {
    fn answered(&self) {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or_default();
        let first = &self.first;
        let _known = first.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        self.last.fetch_max(now, Ordering::Relaxed);
    }

    fn failed(&self, error: &tokio_postgres::Error) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() < 5 {
            errors.push(format!("{:#}", anyhow::anyhow!(error.to_string())));
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// One line: queries, failures, first, last, whether it ended in order; then the failures.
    fn write(&self, path: &Path, end: &str) -> Result<()> {
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let text = format!(
            "{} {} {} {} {end}\n{}\n",
            number(&self.queries),
            number(&self.failures),
            number(&self.first),
            number(&self.last),
            errors.join("\n")
        );
        let beside = path.with_extension("new");
        std::fs::write(&beside, text)?;
        Ok(std::fs::rename(&beside, path)?)
    }
}

async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    // Ends when the client is dropped, after it has told the server.
    drop(tokio::spawn(connection));
    Ok(client)
}

async fn work(config: Arc<Config>, way: Way, done: Arc<Done>) {
    let mut kept: Option<Client> = None;
    while !done.is_over() {
        let client = match kept.take() {
            Some(client) => Ok(client),
            None => connect(&config).await,
        };
        let outcome = match &client {
            Ok(client) => client.simple_query("select 1").await.map(drop),
            Err(_) => Ok(()),
        };
        match (client, outcome) {
            (Ok(client), Ok(())) => {
                done.answered();
                kept = Some(client).filter(|_| way == Way::Pool);
            }
            (Err(error), _) | (Ok(_), Err(error)) => {
                done.failed(&error);
                // As pools do before they try again.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let way = match arguments.next().as_deref() {
        Some("pool") => Way::Pool,
        Some("poolless") => Way::Poolless,
        _ => bail!("say `pool` or `poolless`, then a directory"),
    };
    let directory = arguments.next().context("name a directory")?;
    let path = PathBuf::from(directory).join(format!("{}.load", std::process::id()));
    let url = std::env::var("DATABASE_CONNECTION_STRING")?;
    let config: Arc<Config> = Arc::new(url.parse()?);
    let done = Arc::new(Done::default());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work(config.clone(), way, done.clone()));
    }
    loop {
        done.write(&path, "running")?;
        if tokio::time::timeout(WRITE_AGAIN, terminate.recv())
            .await
            .is_ok()
        {
            break;
        }
    }
    done.stop.store(true, Ordering::Relaxed);
    while workers.join_next().await.is_some() {}
    done.write(&path, "ended")
}
