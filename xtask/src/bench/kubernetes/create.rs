//! From `kubectl apply` to the first query, beside a StatefulSet that somebody wrote by hand, in the
//! cluster that KUBECONFIG names.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bench::Effort;
use crate::bench::boma::binary;
use crate::bench::samples::Samples;
use crate::bench::scratch::Scratch;

const HOME: &str = "boma-bench";
const NAMESPACE: &str = "figures";

/// What both servers may take.
const CPU: &str = "1";
const MEMORY: &str = "320Mi";

/// Asks until it is answered.
const ASK: &str = "until psql \"$0\" -Atqc 'select 1' 2>/dev/null; do sleep 0.05; done";

pub(in crate::bench) fn run(root: &Path, effort: Effort) -> Result<String> {
    let scratch = Scratch::make("kubernetes-create")?;
    let cluster = Cluster {
        binary: binary(root)?,
        place: scratch.path().to_owned(),
        image: variable("BOMA_TEST_KUBERNETES_POSTGRES")?,
    };
    cluster.install()?;
    let [mut by_hand, mut delivered, mut by_boma] = [const { Samples::new() }; 3];
    // The first round of both finds nothing in memory, and is not counted.
    for round in 0..=effort.rounds {
        let hand = cluster.by_hand(round)?;
        let (secret, boma) = cluster.by_boma(round)?;
        if round > 0 {
            by_hand.push(hand);
            delivered.push(secret);
            by_boma.push(boma);
        }
    }
    cluster.uninstall()?;
    let ratio = |samples: &Samples| samples.median().as_secs_f64() / by_hand.median().as_secs_f64();
    Ok(format!(
        "### From `kubectl apply` to the first query\n\n| | s | of by hand |\n|---|---|---|\n\
        | by hand: Service and StatefulSet, its password known | {by_hand} | 1 |\n\
        | Database and Application: its Secret is there | {delivered} | {:.2} |\n\
        | Database and Application: a query with what the Secret says | {by_boma} | {:.2} |\n",
        ratio(&delivered),
        ratio(&by_boma),
    ))
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: see `make bench-kubernetes`"))
}

fn kubectl(arguments: &[&str]) -> Result<String> {
    run_to_end(Command::new("kubectl").args(arguments))
}

/// `kubectl` in the namespace of the benchmark.
fn within(arguments: &[&str]) -> Result<String> {
    kubectl(&[&["-n", NAMESPACE], arguments].concat())
}

fn ask(uri: &str) -> Result<()> {
    within(&[
        "exec", "client", "--", "timeout", "120", "sh", "-c", ASK, uri,
    ])?;
    Ok(())
}

struct Cluster {
    binary: PathBuf,
    place: PathBuf,
    image: String,
}

impl Cluster {
    fn boma(&self, arguments: &[&str]) -> Result<String> {
        run_to_end(
            Command::new(&self.binary)
                .args(arguments)
                .env("BOMA_PLATFORM", "kubernetes")
                .env("BOMA_STATE_DIR", &self.place),
        )
    }

    fn write(&self, objects: &[Value]) -> Result<PathBuf> {
        let file = self.place.join("objects.json");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        fs::write(&file, list.to_string())?;
        Ok(file)
    }

    fn apply(&self, objects: &[Value]) -> Result<()> {
        let file = self.write(objects)?;
        let file = file.to_str().context("a path should be UTF-8")?;
        within(&["apply", "--validate=false", "-f", file])?;
        Ok(())
    }

    /// Boma in the cluster, a project, and a pod that asks.
    fn install(&self) -> Result<()> {
        let config = format!(
            "[kubernetes]\nnamespace = \"{HOME}\"\nimage = \"{}\"\n\n[kubernetes.images]\n15 = \"{}\"\n",
            variable("BOMA_TEST_KUBERNETES_IMAGE")?,
            self.image
        );
        fs::write(self.place.join("config.toml"), config)?;
        self.boma(&["kubernetes", "install", "custom-resources"])?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": NAMESPACE,
            "labels": {"lowops.manifests/installation": HOME},
            "annotations": {"lowops.manifests/identity": "o/u/test/figures"},
        }});
        let file = self.write(&[namespace])?;
        let file = file.to_str().context("a path should be UTF-8")?;
        kubectl(&["apply", "-f", file])?;
        let deployment = ["rollout", "status", "--timeout=120s", "deployment/boma"];
        kubectl(&[&["-n", HOME], &deployment[..]].concat())?;
        let image = format!("--image={}", self.image);
        let pod = ["run", "client", &image, "--image-pull-policy=IfNotPresent"];
        within(&[&pod[..], &["--command", "--", "sleep", "infinity"]].concat())?;
        within(&[
            "wait",
            "--for=condition=Ready",
            "--timeout=120s",
            "pod/client",
        ])?;
        Ok(())
    }

    fn uninstall(&self) -> Result<()> {
        self.boma(&["kubernetes", "uninstall"])?;
        kubectl(&["delete", "namespace", NAMESPACE, HOME, "--wait=false"])?;
        Ok(())
    }

    fn by_hand(&self, round: usize) -> Result<Duration> {
        let name = format!("hand-{round}");
        let labels = json!({"app": name});
        let limits = json!({"cpu": CPU, "memory": MEMORY});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": labels, "ports": [{"port": 5432}]}});
        let server = json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": name},
            "spec": {"serviceName": name, "replicas": 1, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {
                    "containers": [{"name": "postgres", "image": self.image,
                        "imagePullPolicy": "IfNotPresent",
                        "env": [{"name": "POSTGRES_PASSWORD", "value": "known"}],
                        "resources": {"limits": limits, "requests": limits},
                        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/postgresql/data"}],
                    }]}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}}}}]}});
        let begun = Instant::now();
        self.apply(&[service, server])?;
        let uri = format!("postgresql://postgres:known@{name}.{NAMESPACE}.svc/postgres");
        ask(&uri)?;
        let took = begun.elapsed();
        let own = [format!("statefulset/{name}"), format!("service/{name}")];
        within(&["delete", &own[0], &own[1], "--cascade=foreground"])?;
        Ok(took)
    }

    /// Until the Secret is there, and until the query is answered.
    fn by_boma(&self, round: usize) -> Result<(Duration, Duration)> {
        let (database, application) = (format!("db-{round}"), format!("api-{round}"));
        let kind = |kind: &str, name: &str, spec: Value| {
            json!({"apiVersion": "lowops.manifests/v1", "kind": kind, "metadata": {"name": name},
                "spec": spec})
        };
        // An eighth of the memory, and at least 96 MiB, is the agent's, and comes on top.
        let size = json!({"cpuCount": 1, "memory": "224Mi", "storage": {"size": "1Gi"}});
        let access = json!({"accessControl": {"databases": [{"name": database}]}});
        let objects = [
            kind("Database", &database, size),
            kind("Application", &application, access),
        ];
        // Both wait before anything is asked for, as an application does: what is measured is no
        // start of kubectl.
        let mut delivery = Waiting::for_secret(&format!("{application}.{database}"))?;
        let asker = Waiting::that_asks()?;
        let begun = Instant::now();
        self.apply(&objects)?;
        let uri = delivery.line()?;
        let delivered = begun.elapsed();
        asker.asks(&uri)?;
        let took = begun.elapsed();
        let patch = r#"{"spec": {"suspended": true}}"#;
        within(&["patch", "database", &database, "--type=merge", "-p", patch])?;
        let pod = format!("pod/{database}-1-0");
        within(&["wait", "--for=delete", "--timeout=120s", &pod])?;
        Ok((delivered, took))
    }
}

/// A `kubectl` that waits; ended when dropped.
struct Waiting(Child);

impl Waiting {
    fn begin(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new("kubectl");
        command.args(["-n", NAMESPACE]).args(arguments);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Self(piped.spawn().context("start kubectl")?))
    }

    /// Says where the server is, and how to enter, as soon as a Secret says so.
    fn for_secret(name: &str) -> Result<Self> {
        let named = format!("--field-selector=metadata.name={name}");
        let uri = "go-template={{.data.uri | base64decode}}{{\"\\n\"}}";
        Self::begin(&["get", "secret", &named, "--watch", "-o", uri])
    }

    /// Asks for as long as it takes, once it is told where.
    fn that_asks() -> Result<Self> {
        let ask = format!("read -r uri; set -- \"$uri\"; {}", ASK.replace("$0", "$1"));
        let bounded = ["exec", "-i", "client", "--", "timeout", "120"];
        Self::begin(&[&bounded[..], &["sh", "-c", &ask]].concat())
    }

    /// The next line that it says.
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let said = self.0.stdout.as_mut().context("it is piped")?;
        BufReader::new(said).read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "kubectl ended: {line}");
        Ok(line)
    }

    /// Tells it where, and waits until it is answered.
    fn asks(mut self, uri: &str) -> Result<()> {
        let mut told = self.0.stdin.take().context("it is piped")?;
        told.write_all(uri.as_bytes())?;
        drop(told);
        ensure!(self.0.wait()?.success(), "no query is answered");
        Ok(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn run_to_end(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("start {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{:?}: {said}", command.get_args());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
