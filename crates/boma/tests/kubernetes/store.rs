//! An S3 server in a pod, which lets in nobody but those who know its key.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::cluster::{Cluster, given, kubectl, path};

const PORT: u16 = 5000;

/// What moto answers before it asks for a key: a bucket, a user, what it may do, and its key.
const PREPARE: &str = r#"
import json, boto3
at = dict(endpoint_url="http://127.0.0.1:5000", region_name="us-east-1",
          aws_access_key_id="x", aws_secret_access_key="x")
boto3.client("s3", **at).create_bucket(Bucket="backups")
iam = boto3.client("iam", **at)
iam.create_user(UserName="boma")
allow = {"Version": "2012-10-17",
         "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="boma", PolicyName="all", PolicyDocument=json.dumps(allow))
key = iam.create_access_key(UserName="boma")["AccessKey"]
print(key["AccessKeyId"], key["SecretAccessKey"])
"#;
/// Calls that it answers so.
const BEFORE_KEYS: &str = "4";

/// A running server with a bucket `backups`; its namespace goes with the test.
pub(crate) struct Store {
    namespace: String,
    /// Who is let in.
    pub(crate) id: String,
    /// And by what.
    pub(crate) secret: String,
    forward: Forward,
}

/// What leads to it from this machine.
struct Forward {
    process: Child,
    address: String,
    /// It tells each connection, and ends when nobody can read that.
    _said: BufReader<ChildStdout>,
}

impl Store {
    /// Starts one and waits until it answers.
    pub(crate) fn start(cluster: &Cluster) -> Result<Self> {
        let namespace = format!("{}-store", cluster.home);
        kubectl(&["create", "namespace", &namespace])?;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "moto", "labels": {"app": "moto"}},
            "spec": {
                "automountServiceAccountToken": false,
                // `MOTO_PORT` would be taken for the port to listen on.
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "moto",
                    "image": given("BOMA_TEST_KUBERNETES_STORE")?,
                    "imagePullPolicy": "IfNotPresent",
                    "args": ["-H", "0.0.0.0", "-p", PORT.to_string()],
                    "env": [
                        {"name": "INITIAL_NO_AUTH_ACTION_COUNT", "value": BEFORE_KEYS},
                        // Else the first part of its own name would be the bucket.
                        {"name": "S3_IGNORE_SUBDOMAIN_BUCKETNAME", "value": "true"},
                    ],
                    "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
                }],
            },
        });
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "moto"},
            "spec": {"selector": {"app": "moto"}, "ports": [{"port": PORT}]},
        });
        let file = cluster.path("store.json");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [pod, service]});
        std::fs::write(&file, list.to_string())?;
        kubectl(&["-n", &namespace, "apply", "-f", path(&file)?])?;
        let ready = [
            "wait",
            "--for=condition=Ready",
            "--timeout=180s",
            "pod/moto",
        ];
        kubectl(&[&["-n", namespace.as_str()], &ready[..]].concat())?;
        let python = given("BOMA_TEST_KUBERNETES_STORE_PYTHON")?;
        let prepare = [
            "-n", &namespace, "exec", "moto", "--", &python, "-c", PREPARE,
        ];
        let said = kubectl(&prepare)?;
        let (id, secret) = said.trim().split_once(' ').context("moto gives a key")?;
        let forward = Forward::start(&namespace)?;
        Ok(Self {
            namespace,
            id: id.to_owned(),
            secret: secret.to_owned(),
            forward,
        })
    }

    /// Tells an installation of it by a name, and of the Secret that its credentials are in.
    pub(crate) fn configure(&self, cluster: &Cluster, (name, secret): (&str, &str)) -> Result<()> {
        cluster.configure(&format!(
            "[repositories.{name}]\ntype = \"s3\"\nbucket = \"backups\"\nendpoint = \
             \"http://moto.{}.svc:{PORT}\"\nallow-http = true\nsecret = \"{secret}\"\n",
            self.namespace
        ))
    }

    /// Puts credentials into a Secret of the installation.
    pub(crate) fn give(&self, cluster: &Cluster, name: &str, secret: &str) -> Result<()> {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": {"access-key-id": self.id, "secret-access-key": secret},
        });
        let file = cluster.path("credentials.json");
        std::fs::write(&file, object.to_string())?;
        kubectl(&["-n", &cluster.home, "apply", "-f", path(&file)?])?;
        Ok(())
    }

    /// Variables with which a program on this machine reaches it by its name in the cluster.
    pub(crate) fn reached(&self) -> [(&str, &str); 1] {
        [("http_proxy", &self.forward.address)]
    }
}

impl Forward {
    /// Forwards a port of this machine.
    fn start(namespace: &str) -> Result<Self> {
        let mut process = Command::new("kubectl")
            .args(["-n", namespace, "port-forward", "pod/moto"])
            .arg(format!(":{PORT}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start kubectl")?;
        let said = process.stdout.take().context("it has standard output")?;
        let mut said = BufReader::new(said);
        let mut line = String::new();
        said.read_line(&mut line)?;
        // `Forwarding from 127.0.0.1:41213 -> 5000`
        let address = line.split(' ').nth(2).unwrap_or_default();
        ensure!(address.starts_with("127.0.0.1:"), "kubectl says {line:?}");
        Ok(Self {
            process,
            address: format!("http://{address}"),
            _said: said,
        })
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(kubectl(&[
            "delete",
            "namespace",
            &self.namespace,
            "--wait=false",
            "--ignore-not-found",
        ]));
    }
}
