//! One installation of Boma on the cluster, with a namespace and a project of its own. At the end
//! all of it is deleted.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use boma_testkit::{Ran, eventually};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::proxy::Proxy;

/// How long a pod may take to come or go on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// An installation.
pub(crate) struct Cluster {
    scratch: TempDir,
    /// Namespace of the installation.
    pub(crate) home: String,
    /// Namespace of its project.
    pub(crate) namespace: String,
    project: String,
}

pub(crate) fn given(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: see `make test-kubernetes`"))
}

/// A number that a variable may give.
pub(crate) fn number(variable: &str) -> Result<Option<u64>> {
    let text = std::env::var(variable).ok();
    let parsed = text.map(|text| text.parse());
    parsed
        .transpose()
        .with_context(|| format!("{variable} is a number"))
}

/// `boma serve`, beside the cluster; ended when dropped.
pub(crate) struct Serving(Child);

impl Serving {
    /// Starts it; what it logs is added to `serve.log`.
    pub(crate) fn start(cluster: &Cluster, mut command: Command) -> Result<Self> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(cluster.path("serve.log"))?;
        let child = command.stdout(Stdio::null()).stderr(log).spawn()?;
        Ok(Self(child))
    }

    /// Whether it has not ended by itself.
    pub(crate) fn is_alive(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// An image that the nodes have.
pub(crate) fn postgres_image() -> Result<String> {
    given("BOMA_TEST_KUBERNETES_POSTGRES")
}

impl Cluster {
    /// Nothing is on the cluster yet.
    pub(crate) fn new() -> Result<Self> {
        let postgres = given("BOMA_TEST_KUBERNETES_POSTGRES")?;
        Self::with_image(&postgres)
    }

    /// One whose databases run this image.
    pub(crate) fn with_image(postgres: &str) -> Result<Self> {
        given("KUBECONFIG")?;
        let image = given("BOMA_TEST_KUBERNETES_IMAGE")?;
        let unique = Uuid::new_v4().simple().to_string();
        let unique = unique.get(..8).context("a UUID is longer")?;
        let cluster = Self {
            scratch: tempfile::tempdir()?,
            home: format!("boma-test-{unique}"),
            namespace: format!("p{unique}-test"),
            project: format!("p{unique}"),
        };
        fs::create_dir_all(cluster.path("m"))?;
        fs::create_dir_all(cluster.path("s"))?;
        let config = format!(
            "[kubernetes]\nnamespace = \"{}\"\nimage = \"{image}\"\n\n[kubernetes.images]\n15 = \"{postgres}\"\n",
            cluster.home
        );
        fs::write(cluster.path("s/config.toml"), config)?;
        Ok(cluster)
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.scratch.path().join(name)
    }

    /// Adds to the configuration of the installation.
    pub(crate) fn configure(&self, more: &str) -> Result<()> {
        let file = self.path("s/config.toml");
        let text = fs::read_to_string(&file)?;
        fs::write(&file, format!("{text}\n{more}"))?;
        Ok(())
    }

    /// Writes a manifest of the project.
    pub(crate) fn write(&self, kind: &str, name: &str, spec: &str) -> Result<()> {
        let project = &self.project;
        let text = format!(
            "apiVersion: lowops.manifests.v1\nkind: {kind}\nmetadata: {{name: {name}, organization: \
             o, organizational-unit: u, environment: test, project: {project}}}\nspec: {spec}\n"
        );
        fs::write(self.path(&format!("m/{kind}-{name}.yaml")), text)?;
        Ok(())
    }

    /// The identity of its project.
    pub(crate) fn identity(&self) -> String {
        format!("o/u/test/{}", self.project)
    }

    /// Makes the project's namespace, as those do who run a cluster.
    pub(crate) fn make_namespace(&self) -> Result<()> {
        let (name, home, project) = (&self.namespace, &self.home, &self.project);
        kubectl(&["create", "namespace", name])?;
        let installation = format!("lowops.manifests/installation={home}");
        kubectl(&["label", "namespace", name, &installation])?;
        let identity = format!("lowops.manifests/identity=o/u/test/{project}");
        kubectl(&["annotate", "namespace", name, &identity])?;
        Ok(())
    }

    /// Applies a custom resource in the project's namespace.
    pub(crate) fn resource(&self, kind: &str, name: &str, spec: &str) -> Result<()> {
        let text = format!(
            "apiVersion: lowops.manifests/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        );
        let file = self.path(&format!("{kind}-{name}.yaml"));
        fs::write(&file, text)?;
        self.kubectl(&["apply", "-f", path(&file)?])?;
        Ok(())
    }

    /// A small database.
    pub(crate) fn database(&self, name: &str, more: &str) -> Result<()> {
        let spec = format!("{{cpuCount: 0.1, memory: 192Mi, storage: {{size: 1Gi}}{more}}}");
        self.write("Database", name, &spec)
    }

    /// An application that may write to a database.
    pub(crate) fn application(&self, name: &str, database: &str) -> Result<()> {
        let spec = format!("{{accessControl: {{databases: [{{name: {database}}}]}}}}");
        self.write("Application", name, &spec)
    }

    /// Takes a manifest away.
    pub(crate) fn remove(&self, kind: &str, name: &str) -> Result<()> {
        fs::remove_file(self.path(&format!("m/{kind}-{name}.yaml")))?;
        Ok(())
    }

    /// Boma, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_boma"));
        command
            .args(arguments)
            .env("BOMA_PLATFORM", "kubernetes")
            .env("BOMA_STATE_DIR", self.path("s"))
            .env("NO_COLOR", "1")
            .current_dir(self.path("m"));
        command
    }

    /// Boma, with arguments and environment.
    pub(crate) fn boma_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ran> {
        let mut command = self.command(arguments);
        let output = command.envs(variables.iter().copied()).output();
        Ok(Ran::from(&output.context("start boma")?))
    }

    /// Boma, with arguments.
    pub(crate) fn boma(&self, arguments: &[&str]) -> Result<Ran> {
        self.boma_with(arguments, &[])
    }

    /// Boma, not started yet, whose API server is behind a proxy.
    pub(crate) fn command_through(&self, proxy: &Proxy, arguments: &[&str]) -> Result<Command> {
        let file = self.path("kubeconfig");
        proxy.configure(&file)?;
        let mut command = self.command(arguments);
        command.env("KUBECONFIG", file);
        Ok(command)
    }

    /// Boma, with arguments, through a proxy.
    pub(crate) fn boma_through(&self, proxy: &Proxy, arguments: &[&str]) -> Result<Ran> {
        let output = self.command_through(proxy, arguments)?.output();
        Ok(Ran::from(&output.context("start boma")?))
    }

    /// Applies the manifests to the end.
    pub(crate) fn apply(&self) -> Result<String> {
        self.boma(&["apply", "--patience", "180", "."])?.code(0)
    }

    /// Applies them once more, which must change nothing and write nothing.
    pub(crate) fn apply_again(&self) -> Result<()> {
        let said = self.boma(&["-v", "apply", "."])?.code(0)?;
        ensure!(said.contains("Nothing to do"), "{said}");
        ensure!(said.contains("writes=0"), "{said}");
        Ok(())
    }

    /// `kubectl` in the project's namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        kubectl(&[&["-n", self.namespace.as_str()], arguments].concat())
    }

    /// One object as JSON.
    pub(crate) fn object(&self, kind: &str, name: &str) -> Result<Value> {
        let text = self.kubectl(&["get", kind, name, "-o", "json"])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The name of its project.
    pub(crate) fn project(&self) -> &str {
        &self.project
    }

    /// Starts a pod of the application that waits, with the delivered variable in its environment.
    pub(crate) fn client(&self, application: &str, database: &str) -> Result<()> {
        self.client_pod(
            application,
            application,
            &format!("{application}.{database}"),
        )
    }

    /// The same in a pod of this name, with the variable of a certain Secret.
    pub(crate) fn client_pod(&self, name: &str, application: &str, secret: &str) -> Result<()> {
        let image = given("BOMA_TEST_KUBERNETES_POSTGRES")?;
        let pod = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": {"lowops.manifests/application": application},
            },
            "spec": {
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "psql",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "infinity"],
                    "env": [{"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {
                        "name": secret,
                        "key": "DATABASE_URL",
                    }}}],
                }],
            },
        });
        let file = self.path("client.json");
        fs::write(&file, pod.to_string())?;
        self.kubectl(&["apply", "-f", path(&file)?])?;
        self.kubectl(&[
            "wait",
            "--for=condition=Ready",
            "--timeout=120s",
            "pod",
            name,
        ])?;
        Ok(())
    }

    /// Asks the database as the application does.
    pub(crate) fn query(&self, application: &str, sql: &str) -> Result<String> {
        let command = format!("exec psql \"$DATABASE_URL\" -v ON_ERROR_STOP=1 -Atqc \"{sql}\"");
        let said = self.kubectl(&["exec", application, "--", "sh", "-c", &command])?;
        Ok(said.trim().to_owned())
    }

    /// Asks a database as an application does, from a pod that is there already.
    pub(crate) fn query_in(
        &self,
        pod: &str,
        application: &str,
        database: &str,
        sql: &str,
    ) -> Result<String> {
        let label = format!("lowops.manifests/application={application}");
        self.kubectl(&["label", "--overwrite", "pod", pod, &label])?;
        let secret = format!("{application}.{database}");
        let template = "go-template={{.data.uri | base64decode}}";
        let uri = self.kubectl(&["get", "secret", &secret, "-o", template])?;
        let psql = ["exec", pod, "--", "psql", &uri, "-Atqc", sql];
        Ok(self.kubectl(&psql)?.trim().to_owned())
    }

    /// Waits until a query is answered.
    pub(crate) async fn answered(&self, application: &str, sql: &str) -> Result<String> {
        let ask = async || {
            self.query(application, sql)
                .map_err(|error| error.to_string())
        };
        eventually(PATIENCE, ask).await
    }

    /// Waits for an object.
    pub(crate) async fn is_made(&self, kind: &str, name: &str) -> Result<()> {
        eventually(PATIENCE, async || {
            let found = self.object(kind, name);
            found.map(drop).map_err(|error| error.to_string())
        })
        .await
    }

    /// Waits until one that serves says that another one acts.
    pub(crate) async fn somebody_waits(&self) -> Result<()> {
        eventually(PATIENCE, async || {
            let log = fs::read_to_string(self.path("serve.log"));
            let log = log.map_err(|error| error.to_string())?;
            let waits = log.contains("waits to take over");
            if waits { Ok(()) } else { Err(log) }
        })
        .await
    }

    /// The identity of a database's pod.
    pub(crate) fn pod_uid(&self, database: &str) -> Result<String> {
        let pod = self.object("pod", &format!("{database}-1-0"))?;
        let uid = pod["metadata"]["uid"].as_str();
        Ok(uid.context("every pod has a UID")?.to_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for namespace in [&self.namespace, &self.home] {
            // What is left behind bears a name of its own, and is in nobody's way.
            drop(kubectl(&[
                "delete",
                "namespace",
                namespace,
                "--wait=false",
                "--ignore-not-found",
            ]));
        }
    }
}

/// `kubectl`, on the cluster.
pub(crate) fn kubectl(arguments: &[&str]) -> Result<String> {
    let output = Command::new("kubectl")
        .args(arguments)
        .output()
        .context("start kubectl")?;
    let ran = Ran::from(&output);
    ensure!(
        ran.code == 0,
        "kubectl {}: {}{}",
        arguments.join(" "),
        ran.stdout,
        ran.stderr
    );
    Ok(ran.stdout)
}

pub(crate) fn path(path: &Path) -> Result<&str> {
    path.to_str().context("scratch paths are text")
}
