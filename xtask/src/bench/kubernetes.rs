//! A thousand custom resources on an API server: what the operator costs it, and itself.
//!
//! There are no controllers and no nodes, so that no pod ever comes: everything that is written is
//! written by Boma, and the API server's audit log names it.

pub(super) mod create;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Effort;
use super::boma::binary;
use super::scratch::Scratch;

/// Namespaces that the databases are spread over.
const PROJECTS: u32 = 10;

/// After how long without a write nothing is left to write.
const SETTLED: Duration = Duration::from_secs(10);

/// How long all of it may take until it counts as broken.
const PATIENCE: Duration = Duration::from_mins(15);

/// Share of one CPU below which a process counts as idle, in ticks of a hundredth of a second.
const IDLE: u64 = 10;

pub(super) fn run(root: &Path, effort: Effort) -> Result<String> {
    let is_quick = effort.rounds < 9;
    let databases = number("BOMA_BENCH_DATABASES", if is_quick { 100 } else { 1000 })?;
    let quiet = number("BOMA_BENCH_QUIET", if is_quick { 30 } else { 600 })?;
    let scratch = Scratch::make("kubernetes")?;
    let api = Api::start(root, scratch.path())?;
    api.fill(root, databases)?;

    let before = api.writes()?.len();
    let serving = api.serve(root)?;
    let first = api.settle(&serving, before)?;
    let all = api.writes()?.split_off(before);
    ensure!(
        all.iter().filter(|write| write.is("statefulsets")).count() >= databases as usize,
        "not every database has its StatefulSet"
    );
    let (resident, most) = serving.memory()?;
    let calm = api.wait(&serving, Duration::from_secs(quiet.into()))?;
    let (resident_later, most_later) = serving.memory()?;
    drop(serving);

    let before = api.writes()?.len();
    let serving = api.serve(root)?;
    let again = serving.idle()?;
    let again_calm = api.wait(&serving, SETTLED)?;
    let again_writes = api.writes()?.split_off(before);
    let (again_resident, again_most) = serving.memory()?;

    let mut table = format!(
        "### {databases} custom resources on an API server\n\n| | |\n|---|---|\n\
        | all objects made, nothing left to write, s | {:.1} |\n\
        | memory then, MiB (most: {most:.1}) | {resident:.1} |\n\
        | writes for each database | {:.2} |\n\
        | of that: {} | |\n\
        | refused or failed writes | {} |\n\
        | writes in {quiet} s after that, without Leases | {} |\n\
        | writes of Leases meanwhile | {} |\n\
        | CPU meanwhile, s | {:.2} |\n\
        | memory after that, MiB (most: {most_later:.1}) | {resident_later:.1} |\n",
        first.as_secs_f64(),
        f64::from(u32::try_from(count(&all, Lease::Without))?) / f64::from(databases),
        by_resource(&all),
        all.iter().filter(|write| write.code >= 400).count(),
        calm.writes(),
        calm.leases,
        calm.cpu,
    );
    writeln!(
        table,
        "| started again: idle after, s | {:.1} |\n\
        | memory then, MiB (most: {again_most:.1}) | {again_resident:.1} |\n\
        | writes from the start to {} s after that, without Leases | {} |",
        again.as_secs_f64(),
        SETTLED.as_secs(),
        count(&again_writes, Lease::Without),
    )?;
    for (what, calm) in [("quiet", &calm), ("started again", &again_calm)] {
        if calm.writes() > 0 {
            writeln!(table, "| written while {what}: {} | |", calm.named)?;
        }
    }
    Ok(table)
}

fn number(variable: &str, otherwise: u32) -> Result<u32> {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{variable} is a number")),
        Err(_unset) => Ok(otherwise),
    }
}

/// An API server of this benchmark's own.
struct Api {
    root: PathBuf,
    place: PathBuf,
}

/// One write that the API server was asked for.
struct Written {
    verb: String,
    resource: String,
    name: String,
    code: u64,
}

impl Written {
    fn is(&self, resource: &str) -> bool {
        self.resource == resource
    }
}

/// Whether writes of Leases count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lease {
    Only,
    Without,
}

fn count(writes: &[Written], which: Lease) -> usize {
    let is_lease = |write: &&Written| write.is("leases") == (which == Lease::Only);
    writes.iter().filter(is_lease).count()
}

fn by_resource(writes: &[Written]) -> String {
    let mut counts = BTreeMap::new();
    for write in writes.iter().filter(|write| !write.is("leases")) {
        *counts
            .entry(format!("{} {}", write.verb, write.resource))
            .or_insert(0) += 1;
    }
    let counts = counts
        .iter()
        .map(|(what, count): (&String, &u32)| format!("{what} {count}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// A time in which nothing should happen.
struct Calm {
    named: String,
    all: usize,
    leases: usize,
    cpu: f64,
}

impl Calm {
    fn writes(&self) -> usize {
        self.all - self.leases
    }
}

impl Api {
    fn start(root: &Path, scratch: &Path) -> Result<Self> {
        let api = Self {
            root: root.to_owned(),
            place: scratch.join("api"),
        };
        let started = api.script("up")?;
        ensure!(started, "there is no API server to measure with");
        Ok(api)
    }

    fn script(&self, what: &str) -> Result<bool> {
        let status = Command::new(self.root.join("scripts/kubernetes-api.sh"))
            .arg(what)
            .arg(&self.place)
            .stdout(Stdio::null())
            .status()?;
        Ok(status.success())
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        let output = Command::new("kubectl")
            .args(arguments)
            .env("KUBECONFIG", self.place.join("kubeconfig"))
            .output()
            .context("start kubectl")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "kubectl {}: {said}",
            arguments.join(" ")
        );
        Ok(())
    }

    fn boma(&self, root: &Path) -> Result<Command> {
        let state = self.place.join("state");
        if !state.exists() {
            fs::create_dir(&state)?;
            let config = "[kubernetes]\nnamespace = \"boma-bench\"\nimage = \"boma:1\"\n\n\
                [kubernetes.images]\n15 = \"postgres:15\"\n";
            fs::write(state.join("config.toml"), config)?;
        }
        let mut command = Command::new(binary(root)?);
        command
            .env("KUBECONFIG", self.place.join("kubeconfig"))
            .env("BOMA_PLATFORM", "kubernetes")
            .env("BOMA_STATE_DIR", state)
            .current_dir(&self.place)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Definitions, namespaces and custom resources, before anybody looks at them.
    fn fill(&self, root: &Path, databases: u32) -> Result<()> {
        let definitions = self
            .boma(root)?
            .args(["kubernetes", "definitions"])
            .output()?;
        self.apply("definitions.yaml", &definitions.stdout)?;
        for kind in ["databases", "applications"] {
            let name = format!("crd/{kind}.lowops.manifests");
            self.kubectl(&["wait", "--for=condition=Established", &name])?;
        }
        let namespaces = (0..PROJECTS).map(|project| {
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
                "name": format!("bench-{project}"),
                "labels": {"lowops.manifests/installation": "boma-bench"},
                "annotations": {"lowops.manifests/identity": format!("o/u/test/bench{project}")},
            }})
        });
        self.apply("namespaces.json", list(namespaces).as_bytes())?;
        let resources = (0..databases).map(|number| {
            json!({"apiVersion": "lowops.manifests/v1", "kind": "Database", "metadata": {
                "name": format!("db-{number}"),
                "namespace": format!("bench-{}", number % PROJECTS),
            }, "spec": {"cpuCount": 0.1, "memory": "192Mi", "storage": {"size": "1Gi"}}})
        });
        self.apply("databases.json", list(resources).as_bytes())
    }

    fn apply(&self, file: &str, text: &[u8]) -> Result<()> {
        let file = self.place.join(file);
        fs::write(&file, text)?;
        let file = file.to_str().context("a path should be UTF-8")?;
        self.kubectl(&["create", "--validate=false", "-f", file])
    }

    fn serve(&self, root: &Path) -> Result<Serving> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.place.join("serve.log"))?;
        let child = self
            .boma(root)?
            .args(["serve", "custom-resources"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start boma serve")?;
        Ok(Serving {
            child,
            begun: Instant::now(),
        })
    }

    /// Every write so far, oldest first.
    fn writes(&self) -> Result<Vec<Written>> {
        let text = fs::read_to_string(self.place.join("audit.log"))?;
        let parsed = text.lines().filter_map(|line| {
            let entry: Value = serde_json::from_str(line).ok()?;
            let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
            let about = &entry["objectRef"];
            let resource = match about["subresource"].as_str() {
                Some(below) => format!("{}/{below}", text(&about["resource"])),
                None => text(&about["resource"]),
            };
            Some(Written {
                verb: text(&entry["verb"]),
                resource,
                name: format!("{}/{}", text(&about["namespace"]), text(&about["name"])),
                code: entry["responseStatus"]["code"].as_u64().unwrap_or_default(),
            })
        });
        Ok(parsed.collect())
    }

    /// Waits until nothing is written any more; answers when the last write was, after the start.
    fn settle(&self, serving: &Serving, before: usize) -> Result<Duration> {
        let (mut seen, mut last) = (0, serving.begun.elapsed());
        loop {
            pause(Duration::from_millis(500))?;
            let writes = self.writes()?;
            let now = serving.begun.elapsed();
            if count(&writes, Lease::Without) != seen {
                (seen, last) = (count(&writes, Lease::Without), now);
            }
            let has_begun = writes.len() > before;
            if has_begun && now.saturating_sub(last) > SETTLED {
                return Ok(last);
            }
            ensure!(now < PATIENCE, "it is still writing");
        }
    }

    /// What happens in a time in which nothing should.
    fn wait(&self, serving: &Serving, time: Duration) -> Result<Calm> {
        let (before, ticks) = (self.writes()?.len(), serving.ticks()?);
        pause(time)?;
        let writes = self.writes()?.split_off(before);
        let cpu = Duration::from_millis((serving.ticks()? - ticks) * 10).as_secs_f64();
        let named = writes.iter().filter(|write| !write.is("leases"));
        let named: Vec<String> = named
            .map(|write| format!("{} {} {}", write.verb, write.resource, write.name))
            .take(5)
            .collect();
        Ok(Calm {
            named: named.join(", "),
            all: writes.len(),
            leases: count(&writes, Lease::Only),
            cpu,
        })
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Err(error) = self.script("down") {
            println!("{}: {error:#}", self.place.display());
        }
    }
}

fn list(items: impl Iterator<Item = Value>) -> String {
    let items: Vec<Value> = items.collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn pause(time: Duration) -> Result<()> {
    let slept = Command::new("sleep")
        .arg(time.as_secs_f64().to_string())
        .status()?;
    ensure!(slept.success(), "sleep: {slept}");
    Ok(())
}

/// `boma serve`; ended when dropped.
struct Serving {
    child: Child,
    begun: Instant,
}

impl Serving {
    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("read {path}: boma serve has ended"))
    }

    /// Resident memory now, and the most that it was, in MiB.
    fn memory(&self) -> Result<(f64, f64)> {
        let status = self.read("status")?;
        let mib = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
            Ok(f64::from(kib.with_context(|| format!("no {name}"))?) / 1024.0)
        };
        Ok((mib("VmRSS:")?, mib("VmHWM:")?))
    }

    /// Time on a CPU, in hundredths of a second.
    fn ticks(&self) -> Result<u64> {
        let stat = self.read("stat")?;
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' '));
        let fields: Vec<&str> = fields.context("what /proc tells of it")?.collect();
        let field = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        field(11)
            .zip(field(12))
            .map(|(user, system)| user + system)
            .context("its time")
    }

    /// Waits until it does nothing; answers how long that took from its start.
    fn idle(&self) -> Result<Duration> {
        let second = Duration::from_secs(1);
        let mut before = self.ticks()?;
        loop {
            pause(second)?;
            let now = self.ticks()?;
            let took = self.begun.elapsed();
            if now - before < IDLE && took > second * 2 {
                return Ok(took.saturating_sub(second));
            }
            before = now;
            ensure!(took < PATIENCE, "it does not come to rest");
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let stopped = Command::new("kill")
            .arg(&pid)
            .status()
            .and_then(|_| self.child.wait());
        if let Err(error) = stopped {
            println!("stop boma serve, process {pid}: {error}");
        }
    }
}
