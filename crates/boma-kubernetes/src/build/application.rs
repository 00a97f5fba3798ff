//! The objects of an application: what runs it, and what runs before it is rolled out.

use boma_engine::keys::ApplicationKey;
use boma_engine::platform::Program;
use serde_json::{Map, Value, json};

use crate::desired::Desired;
use crate::kinds::Kind;
use crate::names::{self, Part};
use crate::records::{ApplicationRow, RunRow, Variable};

/// Container that Boma makes for an application.
const CONTAINER: &str = "application";

/// What of a container only serves one that stays.
const OF_SERVING: [&str; 7] = [
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "ports",
    "args",
    "stdin",
];

/// An application and what it runs with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running<'a> {
    /// Namespace of Boma itself.
    pub(crate) home: &'a str,
    /// Namespace of its project.
    pub(crate) namespace: &'a str,
    /// What it was given.
    pub(crate) row: &'a ApplicationRow,
    /// Secrets to pull images with.
    pub(crate) pull_secrets: &'a [String],
}

impl Running<'_> {
    fn key(&self) -> &ApplicationKey {
        &self.row.key
    }

    /// Labels of its pods: by the application's, network policies let them pass.
    fn labels(&self, part: Part) -> Value {
        json!({
            names::MANAGED_BY: names::MANAGER,
            names::INSTALLATION: self.home,
            names::APPLICATION: *self.key().name,
            names::PART: part.word(),
        })
    }

    /// Changes when what is in its Secrets does, and when a person asks for a restart.
    fn annotations(&self, run: &RunRow) -> Value {
        let digests = self.row.bindings.values().chain(self.row.secrets.values());
        let digests: Vec<&str> = digests.map(String::as_str).collect();
        let mut annotations = Map::new();
        let secrets = names::digest_of(digests.join(" ").as_bytes());
        annotations.insert(names::SECRETS.to_owned(), json!(secrets));
        if run.restarts > 0 {
            let restarts = run.restarts.to_string();
            annotations.insert(names::RESTARTS.to_owned(), json!(restarts));
        }
        Value::Object(annotations)
    }

    /// `env` of its container.
    fn variables(&self) -> Vec<Value> {
        let variables = self.row.variables.iter();
        let entry = |(name, variable): (&String, &Variable)| match variable {
            // The kubelet takes `$(NAME)` for a reference, and `$$(NAME)` for what it says.
            Variable::Text(text) => json!({"name": name, "value": text.replace("$(", "$$(")}),
            Variable::Secret { name: secret, key } => json!({
                "name": name,
                "valueFrom": {"secretKeyRef": {"name": secret, "key": key}},
            }),
        };
        variables.map(entry).collect()
    }

    fn aliases(&self) -> Vec<Value> {
        let aliases = self.row.aliases.iter();
        aliases
            .map(|(name, ip)| json!({"ip": ip, "hostnames": [name]}))
            .collect()
    }

    fn object(&self, kind: Kind, name: String, part: Part, body: Value) -> Desired {
        Desired::new(self.home, kind, self.namespace, name, body)
            .part(part)
            .label(names::APPLICATION, &*self.key().name)
            .annotation(names::IDENTITY, self.key().to_string())
    }

    /// What pods of Boma's own making have in common. Whom an image runs as is left to the image:
    /// there is no field for it in a manifest.
    fn pod(&self, container: Value, restart: &str) -> Value {
        let mut container = container;
        container["imagePullPolicy"] = json!("IfNotPresent");
        container["env"] = json!(self.variables());
        container["securityContext"] = json!({"allowPrivilegeEscalation": false});
        let pull_secrets = self.pull_secrets.iter();
        let pull_secrets: Vec<Value> = pull_secrets.map(|name| json!({ "name": name })).collect();
        json!({
            "restartPolicy": restart,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "imagePullSecrets": pull_secrets,
            "hostAliases": self.aliases(),
            "containers": [container],
        })
    }

    /// A Deployment of an image. Its selector names the application, and cannot be changed: what
    /// others made under this name is never taken over.
    pub(crate) fn deployment(
        &self,
        run: &RunRow,
        (image, port, replicas): (&str, Option<u16>, u32),
    ) -> Desired {
        let labels = self.labels(Part::Workload);
        let mut container = json!({"name": CONTAINER, "image": image});
        if let Some(port) = port {
            container["ports"] = json!([{
                "name": CONTAINER, "containerPort": port, "protocol": "TCP",
            }]);
            // One that does not listen is not rolled out any further.
            container["readinessProbe"] = json!({
                "tcpSocket": {"port": CONTAINER}, "periodSeconds": 5, "failureThreshold": 3,
            });
        }
        let body = json!({"spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": self.annotations(run)},
                "spec": self.pod(container, "Always"),
            },
        }});
        let name = self.key().name.to_string();
        self.object(Kind::Deployment, name, Part::Workload, body)
    }

    /// What Boma says of a workload of others: variables of one container, the label by which
    /// network policies let its pods pass, and what makes it roll out.
    pub(crate) fn attached(
        &self,
        run: &RunRow,
        (kind, name, container): (Kind, &str, &str),
    ) -> Desired {
        let body = json!({"spec": {"template": {
            "metadata": {
                "labels": {names::APPLICATION: *self.key().name},
                "annotations": self.annotations(run),
            },
            "spec": {"containers": [{"name": container, "env": self.variables()}]},
        }}});
        Desired::within(self.home, kind, self.namespace, name, body)
            .label(names::APPLICATION, &*self.key().name)
            .annotation(names::IDENTITY, self.key().to_string())
    }

    /// A Job with a command of the application, in its image.
    pub(crate) fn job(&self, deployment: &str, program: &Program, image: &str) -> Desired {
        let container = json!({"name": CONTAINER, "image": image, "command": program.command});
        self.job_of(deployment, self.pod(container, "Never"))
    }

    /// A Job with a command beside a workload of others: its pod, but for what only serves one
    /// that stays, with the environment that it is about to be given.
    pub(crate) fn job_beside(
        &self,
        deployment: &str,
        program: &Program,
        (template, container): (&Value, &str),
    ) -> Desired {
        let mut pod = template["spec"].clone();
        let mut containers = pod["containers"].as_array().into_iter().flatten();
        let own = containers.find(|one| one["name"] == container);
        let mut own = own.cloned().unwrap_or_else(|| json!({"name": container}));
        if let Some(fields) = own.as_object_mut() {
            fields.retain(|name, _| !OF_SERVING.contains(&name.as_str()));
        }
        let theirs = own["env"].as_array().into_iter().flatten();
        let theirs = theirs.filter(|one| {
            let name = one["name"].as_str().unwrap_or_default();
            !self.row.variables.contains_key(name)
        });
        own["env"] = theirs.cloned().chain(self.variables()).collect();
        own["command"] = json!(program.command);
        pod["containers"] = json!([own]);
        pod["restartPolicy"] = json!("Never");
        self.job_of(deployment, pod)
    }

    fn job_of(&self, deployment: &str, mut pod: Value) -> Desired {
        let containers = pod["containers"].as_array_mut().into_iter().flatten();
        for container in containers {
            // The last lines are told with the failure.
            container["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
        }
        let body = json!({"spec": {
            // Half a migration is not run again by itself.
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": self.labels(Part::PreDeploy)},
                "spec": pod,
            },
        }});
        let name = names::pre_deploy(self.key(), deployment);
        self.object(Kind::Job, name, Part::PreDeploy, body)
    }
}

#[cfg(test)]
mod tests;
