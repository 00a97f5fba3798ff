//! The scenarios that hold on every platform, in pods.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use boma_testkit::Ran;
use boma_testkit::scenario::{Stage, play};
use serde_json::Value;

use crate::cluster::{Cluster, PATIENCE, kubectl, postgres_image};
use crate::each::each_scenario;
use crate::store::Store;

each_scenario! { [#[ignore = "needs a cluster: make test-kubernetes"]] in_pods }

fn in_pods(file: &Path) -> Result<()> {
    let mut pods = Pods {
        cluster: Cluster::new()?,
        store: None,
    };
    play(file, &mut pods)
}

struct Pods {
    cluster: Cluster,
    store: Option<Store>,
}

impl Stage for Pods {
    fn manifests(&self) -> PathBuf {
        self.cluster.path("m")
    }

    fn given(&self) -> Vec<(&'static str, String)> {
        let image = postgres_image().unwrap_or_default();
        let source = format!("{{image: {image:?}}}");
        vec![
            ("PROJECT", self.cluster.project().to_owned()),
            ("SOURCE", source),
        ]
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn boma(&self, arguments: &[&str], input: &str) -> Result<Ran> {
        let mut command = self.cluster.command(arguments);
        if let Some(store) = &self.store {
            command.envs(store.reached());
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("start boma")?;
        let mut stdin = child.stdin.take().context("it has standard input")?;
        // Most commands read nothing, and may have ended by now.
        drop(stdin.write_all(input.as_bytes()));
        drop(stdin);
        Ok(Ran::from(&child.wait_with_output()?))
    }

    fn apply_again(&self) -> Result<Ran> {
        let ran = self.boma(&["-v", "apply", "."], "")?;
        ensure!(
            ran.stderr.contains("writes=0"),
            "something was written: {ran}"
        );
        Ok(ran)
    }

    fn start(&self, application: &str, number: usize) -> Result<String> {
        let pod = format!("{application}-client-{number}");
        let label = format!("lowops.manifests/application={application}");
        let secrets = ["get", "secrets", "-l", &label, "-o", "json"];
        let secrets: Value = serde_json::from_str(&self.cluster.kubectl(&secrets)?)?;
        let mut secrets = secrets["items"].as_array().into_iter().flatten();
        let secret = secrets.find(|secret| secret["data"].get("DATABASE_URL").is_some());
        let secret = secret.context("it is given no database")?;
        let secret = secret["metadata"]["name"].as_str();
        let secret = secret.context("every Secret has a name")?;
        self.cluster.client_pod(&pod, application, secret)?;
        Ok(pod)
    }

    fn psql(&self, started: &str) -> Result<Command> {
        let namespace = &self.cluster.namespace;
        let mut command = Command::new("kubectl");
        command.args(["--namespace", namespace, "exec", "-i", started, "--"]);
        // Where a NetworkPolicy is in the way, nobody answers.
        let script = "export PGCONNECT_TIMEOUT=10; exec psql \"$DATABASE_URL\" \"$@\"";
        command.args(["sh", "-c", script, "psql"]);
        Ok(command)
    }

    fn variable(&self, application: &str, name: &str) -> Result<String> {
        let deployment = format!("deployment/{application}");
        let print = [
            "exec",
            &deployment,
            "-c",
            "application",
            "--",
            "printenv",
            name,
        ];
        self.cluster.kubectl(&print)
    }

    fn repository(&mut self, name: &str) -> Result<()> {
        let store = Store::start(&self.cluster)?;
        kubectl(&["create", "namespace", &self.cluster.home])?;
        store.give(&self.cluster, "credentials", &store.secret)?;
        store.configure(&self.cluster, (name, "credentials"))?;
        self.store = Some(store);
        Ok(())
    }
}
