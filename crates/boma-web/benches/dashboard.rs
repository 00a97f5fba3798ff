//! How fast pages and the API of a large installation are, how much they send, and what streams cost.
//! `cargo bench -p boma-web --bench dashboard`
//!
//! The client is in the same process and on the same processors as the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use boma_engine::act::Surroundings;
use boma_engine::catalog::{Basis, Subject};
use boma_engine::engine::{Engine, EngineHandle, Parts as EngineParts};
use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey};
use boma_engine::observed::Feature;
use boma_engine::platform::{AuditEntry, RecordedEvent};
use boma_engine::source::{File, Snapshot};
use boma_engine::testing::{ForeseenCredentials, SimulatedPlatform, machine};
use boma_instance::backup::Drill;
use boma_instance::statements::Statements;
use boma_instance::{Activity, History, InstanceId, Sample, Secret};
use boma_manifest::{SourceFile, parse_file};
use boma_problem::{Class, Problem};
use boma_web::{
    BackupOperations, EndOperations, Holding, Insight, Keys, LogOf, Moment, OneBackup, Operations,
    Parts, People, PeopleChange, Permit, Purgeable, Register, ReplacementStanding, Rights, Said,
    SecretName, SecretOperations, SigningKey, Site, Target, Undone, Verification, Writer, Writing,
};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use uuid::Uuid;

const DATABASES: usize = 1000;

/// Applications of each database beside the two that a repository of tests has.
const MORE: usize = 3;

const TIMES: usize = 200;
const STREAMS: usize = 1000;
const READERS: usize = 8;
const READING: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let table = runtime.block_on(measure())?;
    let mut out = std::io::stdout().lock();
    std::io::Write::write_all(&mut out, table.as_bytes())?;
    Ok(())
}

async fn measure() -> Result<String> {
    let (stop, stopped) = watch::channel(false);
    let client = start(stopped).await?;
    let mut table = String::from(
        "| page | server, ms: median / 99th percentile / max | sent, KiB | with what it loads, first visit, KiB |\n|---|---|---|---|\n",
    );
    let project = "fincorp/retail-banking/development/project-50";
    let first = client.ask("/").await?;
    let mut loaded = 0;
    for asset in first
        .plain()?
        .split('"')
        .filter(|part| part.starts_with("/assets/"))
    {
        loaded += client.ask(asset).await?.bytes.len();
    }
    for (name, path) in [
        ("overview", "/".to_owned()),
        ("overview, filtered", "/?filter=orders-50".to_owned()),
        (
            "a database",
            client.path_of("databases", "orders-500").await?,
        ),
        (
            "a log",
            format!("/logs{}", client.path_of("databases", "orders-500").await?),
        ),
        (
            "an application",
            client.path_of("applications", "shop-500").await?,
        ),
        ("new database", "/new/database".to_owned()),
        ("plan", "/plan".to_owned()),
        ("events", "/events".to_owned()),
        ("`/api`", "/api".to_owned()),
        ("`/metrics`", "/metrics".to_owned()),
        (
            "`GET /api/v1/databases`, 100 of them",
            "/api/v1/databases".to_owned(),
        ),
        (
            "`GET /api/v1/applications?filter=`",
            format!("/api/v1/applications?filter={project}"),
        ),
    ] {
        table.push_str(&client.row(name, &path, loaded).await?);
    }
    let one = client.path_of("databases", "orders-500").await?;
    let reads = client.reads(&format!("/api/v1{one}")).await?;
    let memory = client.streams().await?;
    drop(stop);
    Ok(format!(
        "{table}\nReads of one database by the API: {reads:.0} per second. {STREAMS} open event streams: {memory:.1} MiB, both ends.\n"
    ))
}

/// An installation with everything as its manifests say, and somebody who may look at it.
async fn start(stopped: watch::Receiver<bool>) -> Result<Client> {
    let files = manifests().into_iter().map(|(name, text)| {
        let source = SourceFile::new(name.as_str(), text.as_bytes());
        let parsed = Arc::new(parse_file(&source));
        Arc::new(File { source, parsed })
    });
    let files: Vec<Arc<File>> = files.collect();
    let snapshot = Snapshot {
        changes: files.len(),
        files,
        ..Snapshot::default()
    };
    let (_source, snapshots) = watch::channel(Some(Arc::new(snapshot)));
    let mut capable = machine();
    capable.features.extend([Feature::Images, Feature::Backups]);
    let mut next = 0;
    let (engine, handle) = Engine::new(EngineParts {
        platform: Arc::new(SimulatedPlatform::new(capable)),
        around: Surroundings {
            credentials: Arc::new(ForeseenCredentials),
            ..Surroundings::new("bench")
        },
        ids: Box::new(move || {
            next += 1;
            InstanceId(Uuid::from_u128(next))
        }),
        basis: Basis::default(),
        source_name: "/srv/manifests".into(),
        source: snapshots.clone(),
    });
    tokio::spawn(engine.run(stopped));
    let mut state = handle.state();
    tokio::time::timeout(
        Duration::from_mins(5),
        state.wait_for(|state| state.is_converged()),
    )
    .await
    .context("converge")??;
    drop(state);
    serve(handle, snapshots).await
}

async fn serve(
    engine: EngineHandle,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
) -> Result<Client> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    let key = SigningKey::new(&[7; 32]);
    let token = key.token(Timestamp::now()).context("random bytes")?;
    let parts = Parts {
        engine,
        snapshots,
        basis: Arc::new(Basis::default()),
        source_name: "/srv/manifests".into(),
        targets: vec![Target {
            label: String::new(),
            writing: Writing::Into(Writer::Directory("/nowhere".into())),
        }],
        operations: Arc::new(Nobody),
        insight: Arc::new(Nobody),
        ids: || InstanceId(Uuid::nil()),
        keys: Keys {
            key,
            run: "run".to_owned(),
            owner: "owner".to_owned(),
        },
        register: Arc::new(Nobody),
        url: None,
        provider: None,
    };
    tokio::spawn(Site::new(parts, at)?.serve(listener));
    Ok(Client { at, token })
}

fn manifests() -> Vec<(String, String)> {
    let mut files = boma_manifest::testing::repository(DATABASES);
    for number in 0..DATABASES {
        let (name, text) = &files[number * 2 + 1];
        let first = text.split("---\n").find(|part| !part.is_empty());
        let first = first.unwrap_or_default();
        let more = (0..MORE).map(|index| {
            let other = format!("worker-{index}-{number}");
            first.replace(&format!("shop-{number}\n"), &format!("{other}\n"))
        });
        let text = more.collect::<Vec<_>>().join("---\n");
        files.push((
            name.replace("/application/", "/worker/") + "-more.yaml",
            text,
        ));
    }
    files
}

/// Asks for pages, as somebody who is signed in.
#[derive(Clone)]
struct Client {
    at: SocketAddr,
    token: String,
}

/// What was answered: as it came, and how long it took.
struct Answer {
    head: String,
    bytes: Vec<u8>,
    took: Duration,
}

impl Answer {
    fn plain(&self) -> Result<String> {
        Ok(String::from_utf8(self.bytes.clone())?)
    }
}

impl Client {
    fn request(&self, path: &str, more: &str) -> String {
        let Self { at, token } = self;
        format!("GET {path} HTTP/1.1\r\nhost: {at}\r\nauthorization: Bearer {token}\r\n{more}\r\n")
    }

    async fn with(&self, path: &str, headers: &str) -> Result<Answer> {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(self.at).await?;
        let request = self.request(path, &format!("connection: close\r\n{headers}"));
        stream.write_all(request.as_bytes()).await?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await?;
        let took = begun.elapsed();
        let end = all.windows(4).position(|part| part == b"\r\n\r\n");
        let end = end.context("an answer")? + 4;
        let head = String::from_utf8(all[..end].to_vec())?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        let bytes = all.split_off(end);
        Ok(Answer { head, bytes, took })
    }

    async fn ask(&self, path: &str) -> Result<Answer> {
        self.with(path, "").await
    }

    /// The path of a resource, wherever it is.
    async fn path_of(&self, kind: &str, name: &str) -> Result<String> {
        let page = self.ask(&format!("/?filter={name}")).await?.plain()?;
        let mut links = page
            .split('"')
            .filter(|part| part.starts_with(&format!("/{kind}/")));
        let link = links.find(|link| link.ends_with(&format!("/{name}")));
        Ok(link.with_context(|| name.to_owned())?.to_owned())
    }

    async fn row(&self, name: &str, path: &str, loaded: usize) -> Result<String> {
        let mut times = Vec::with_capacity(TIMES);
        let mut bytes = 0;
        for _ in 0..TIMES {
            let answer = self.with(path, "accept-encoding: gzip\r\n").await?;
            times.push(answer.took);
            bytes = answer.bytes.len() + answer.head.len();
        }
        times.sort_unstable();
        let ms = |at: usize| times[at].as_secs_f64() * 1000.0;
        let (median, high, most) = (ms(TIMES / 2), ms(TIMES * 99 / 100), ms(TIMES - 1));
        let kib = |bytes: usize| bytes.div_ceil(1024);
        let visit = if path.starts_with("/api/") || path == "/metrics" {
            "–".to_owned()
        } else {
            kib(bytes + loaded).to_string()
        };
        Ok(format!(
            "| {name} | {median:.1} / {high:.1} / {most:.1} | {} | {visit} |\n",
            kib(bytes)
        ))
    }

    /// Reads per second, over connections that stay open.
    async fn reads(&self, path: &str) -> Result<f64> {
        let begun = Instant::now();
        let readers: Vec<_> = (0..READERS)
            .map(|_| tokio::spawn(self.clone().read(path.to_owned())))
            .collect();
        let mut count = 0_u32;
        for reader in readers {
            count += reader.await??;
        }
        Ok(f64::from(count) / begun.elapsed().as_secs_f64())
    }

    async fn read(self, path: String) -> Result<u32> {
        let request = self.request(&path, "");
        let mut stream = TcpStream::connect(self.at).await?;
        let begun = Instant::now();
        let mut buffer = vec![0; 1 << 16];
        let mut count = 0;
        while begun.elapsed() < READING {
            stream.write_all(request.as_bytes()).await?;
            let mut got = 0;
            loop {
                got += stream.read(&mut buffer[got..]).await?;
                let text = String::from_utf8_lossy(&buffer[..got]);
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let length = head.split("content-length: ").nth(1).context("a length")?;
                let length: usize = length.lines().next().unwrap_or_default().parse()?;
                if body.len() >= length {
                    break;
                }
            }
            count += 1;
        }
        Ok(count)
    }

    /// What open event streams take, in MiB.
    async fn streams(&self) -> Result<f64> {
        let before = resident()?;
        let mut open = Vec::with_capacity(STREAMS);
        for _ in 0..STREAMS {
            let mut stream = TcpStream::connect(self.at).await?;
            stream
                .write_all(self.request("/stream", "").as_bytes())
                .await?;
            let mut first = [0; 1024];
            let got = stream.read(&mut first).await?;
            ensure!(first[..got].starts_with(b"HTTP/1.1 200"), "no stream");
            open.push(stream);
        }
        Ok((resident()? - before) / 1024.0)
    }
}

/// KiB of this process that are in memory.
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.context("VmRSS")?.trim().trim_end_matches(" kB");
    Ok(number.trim().parse()?)
}

/// A platform that nobody asks for anything.
struct Nobody;

fn refused() -> Box<Problem> {
    Box::new(Problem::new(
        Class::User,
        "not-in-a-benchmark",
        "this is a benchmark",
    ))
}

#[async_trait]
impl Insight for Nobody {
    /// An hour in which somebody has watched.
    async fn history(&self, _: &DatabaseKey) -> Result<History, Box<Problem>> {
        let now = Timestamp::now();
        let samples = (0..360_u32).map(|one| Sample {
            at: now - Duration::from_secs(10) * (360 - one),
            activity: Activity {
                connections: one % 20,
                connection_limit: 20,
                transactions: u64::from(one * one),
                blocks_hit: u64::from(one * one * 9),
                blocks_read: u64::from(one),
                since: Timestamp::UNIX_EPOCH,
            },
            own_transactions: 0,
            storage_used_bytes: Some(u64::from(one) << 20),
            storage_size_bytes: Some(1 << 30),
            archive_waiting_bytes: Some(u64::from(one % 3) << 24),
        });
        Ok(History {
            samples: samples.collect(),
        })
    }

    async fn statements(&self, _: &DatabaseKey) -> Result<Statements, Box<Problem>> {
        Ok(Statements::NotCounted)
    }

    /// As much of a log as is ever read.
    async fn log(&self, _: &LogOf) -> Result<Option<String>, Box<Problem>> {
        let line = "2026-11-22 10:00:00.000 UTC [10] LOG:  checkpoint complete: wrote 3 buffers\n";
        Ok(Some(line.repeat((1 << 20) / line.len())))
    }
}

#[async_trait]
impl Operations for Nobody {
    async fn events(
        &self,
        _: Option<&Subject>,
        _: u32,
    ) -> Result<Vec<RecordedEvent>, Box<Problem>> {
        Ok(Vec::new())
    }

    async fn audit_trail(&self, _: u32) -> Result<Vec<AuditEntry>, Box<Problem>> {
        Ok(Vec::new())
    }

    async fn rotate(&self, _: &Permit, _: &GrantKey) -> Result<(), Box<Problem>> {
        Err(refused())
    }

    async fn hold(&self, _: &Permit, _: &Subject, _: bool) -> Result<(), Box<Problem>> {
        Err(refused())
    }

    async fn back_up(&self, _: &Permit, _: &DatabaseKey) -> Result<(), Box<Problem>> {
        Err(refused())
    }

    async fn reveal(
        &self,
        _: &Permit,
        _: &ApplicationKey,
        _: &str,
    ) -> Result<Secret<String>, Box<Problem>> {
        Err(refused())
    }

    async fn asked_to_deploy(&self, _: &Permit, _: &ApplicationKey) -> Result<(), Box<Problem>> {
        Err(refused())
    }

    async fn wrote(&self, _: &Permit, _: &str) -> Result<(), Box<Problem>> {
        Err(refused())
    }
}

#[async_trait]
impl BackupOperations for Nobody {
    async fn backup(&self, _: &DatabaseKey, _: &str) -> Result<OneBackup, Box<Problem>> {
        Err(refused())
    }

    async fn delete_backup(
        &self,
        _: &Permit,
        _: &DatabaseKey,
        _: &str,
    ) -> Result<(), Box<Problem>> {
        Err(refused())
    }

    async fn verify(&self, _: &DatabaseKey) -> Result<Verification, Box<Problem>> {
        Err(refused())
    }

    async fn drill(&self, _: &Permit, _: &DatabaseKey) -> Result<Drill, Box<Problem>> {
        Err(refused())
    }

    async fn holdings(&self, _: &str) -> Result<Vec<Holding>, Box<Problem>> {
        Err(refused())
    }

    async fn forgettable(&self, _: &str, _: InstanceId) -> Result<Holding, Box<Problem>> {
        Err(refused())
    }

    async fn forget(
        &self,
        _: &Permit,
        _: (&str, InstanceId),
        _: &str,
    ) -> Result<u64, Box<Problem>> {
        Err(refused())
    }
}

#[async_trait]
impl EndOperations for Nobody {
    async fn purgeable(&self, _: &DatabaseKey) -> Result<Purgeable, Box<Problem>> {
        Err(refused())
    }

    async fn purge(&self, _: &Permit, _: &DatabaseKey, _: &Said) -> Result<(), Box<Problem>> {
        Err(refused())
    }

    async fn replacement(&self, _: &DatabaseKey) -> Result<ReplacementStanding, Box<Problem>> {
        Err(refused())
    }

    async fn replace(
        &self,
        _: &Permit,
        _: &DatabaseKey,
        _: &Moment,
    ) -> Result<String, Box<Problem>> {
        Err(refused())
    }

    async fn undo_replacement(&self, _: &Permit, _: &DatabaseKey) -> Result<Undone, Box<Problem>> {
        Err(refused())
    }

    async fn forget_replaced(
        &self,
        _: &Permit,
        _: &DatabaseKey,
        _: &Said,
    ) -> Result<Vec<String>, Box<Problem>> {
        Err(refused())
    }
}

#[async_trait]
impl SecretOperations for Nobody {
    async fn named_secrets(&self) -> Result<Vec<SecretName>, Box<Problem>> {
        Err(refused())
    }

    async fn set_named_secret(
        &self,
        _: &Permit,
        _: &SecretName,
        _: Secret<String>,
    ) -> Result<(), Box<Problem>> {
        Err(refused())
    }

    async fn forget_named_secret(&self, _: &Permit, _: &SecretName) -> Result<(), Box<Problem>> {
        Err(refused())
    }
}

#[async_trait]
impl Register for Nobody {
    async fn people(&self) -> Result<People, Box<Problem>> {
        Ok(People::default())
    }

    async fn change_people(
        &self,
        _: PeopleChange,
        _: &Rights,
        _: &str,
    ) -> Result<People, Box<Problem>> {
        Err(refused())
    }
}
