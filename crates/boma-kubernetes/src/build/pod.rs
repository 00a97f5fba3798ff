//! The pod of an instance.

use std::collections::BTreeMap;
use std::time::Duration;

use boma_instance::InstanceSpec;
use boma_instance::api::pod as api;
use serde_json::{Value, json};

use super::{PORT, Setting, quantity};
use crate::names;

/// Entry of the instance's Secret that is mounted over `/etc/passwd`.
pub(super) const PASSWD: &str = "passwd";

/// What runs in the pod, by the labels that all tools know.
const SERVER: &str = "postgresql";

/// The volume, with the instance directory in it: the root of a volume may hold `lost+found`.
const DATA: &str = "/var/lib/boma";
const INSTANCE: &str = "/var/lib/boma/instance";
/// The Secret.
const SECRET: &str = "/etc/boma";
/// Unix sockets.
const RUN: &str = "/run/boma";
/// This program.
const PROGRAM: &str = "/boma";

/// Seconds from asking to killing: a checkpoint, the rest of the log archived, the shutdown.
const GRACE: u32 = 180;

/// How long a pod may take to go that has no server any more: what it is given before it is killed,
/// and a minute for a node that is slow.
pub(crate) const GOES_WITHIN: Duration = Duration::from_secs(GRACE as u64 + 60);

/// The template of the StatefulSet.
pub(super) fn template(setting: &Setting<'_>, spec: &InstanceSpec) -> Value {
    let name = setting.objects;
    let mut template = json!({
        "metadata": {"labels": labels(setting, spec)},
        "spec": {
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": GRACE,
            "imagePullSecrets": pull_secrets(setting),
            "topologySpreadConstraints": spread(setting),
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": setting.user,
                "runAsGroup": setting.user,
                "fsGroup": setting.user,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "initContainers": [installer(setting)],
            "containers": [server(setting, spec)],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": name}},
                // Only its group reads it: keys and verifiers are in there.
                {"name": "instance", "secret": {"secretName": name, "defaultMode": 0o440}},
                {"name": "boma", "emptyDir": {}},
                {"name": "run", "emptyDir": {"medium": "Memory"}},
                {"name": "tmp", "emptyDir": {}},
                // Parallel queries share memory there; the default of 64 MiB is soon full.
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
            ],
        },
    });
    if let Some(identity) = setting.identity {
        template["spec"]["serviceAccountName"] = json!(identity.service_account);
    }
    template
}

/// Over zones and nodes, so that the loss of one takes as few databases of a project as can be; where
/// that cannot be had, they run all the same.
fn spread(setting: &Setting<'_>) -> Value {
    let servers = json!({"matchLabels": {
        names::INSTALLATION: setting.home,
        names::APP_NAME: SERVER,
    }});
    let over = |topology: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": topology,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": servers,
        })
    };
    json!([
        over("topology.kubernetes.io/zone"),
        over("kubernetes.io/hostname")
    ])
}

/// What others ask for of pods, and above all what pods are known by.
fn labels(setting: &Setting<'_>, spec: &InstanceSpec) -> BTreeMap<String, String> {
    let given = setting.identity.map(|identity| identity.pod_labels.clone());
    let mut labels = given.unwrap_or_default();
    let own = [
        (names::MANAGED_BY, names::MANAGER.to_owned()),
        (names::INSTALLATION, setting.home.to_owned()),
        (names::APP_NAME, SERVER.to_owned()),
        (names::DATABASE, setting.label().to_owned()),
        (names::INSTANCE_ID, spec.id.to_string()),
    ];
    labels.extend(own.map(|(key, value)| (key.to_owned(), value)));
    labels
}

/// Copies this program to where the image of PostgreSQL finds it.
fn installer(setting: &Setting<'_>) -> Value {
    json!({
        "name": "boma",
        "image": setting.agent_image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["agent-install", format!("{PROGRAM}/boma")],
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"cpu": "1", "memory": "128Mi"},
        },
        "securityContext": restricted(),
        "volumeMounts": [{"name": "boma", "mountPath": PROGRAM}],
    })
}

fn server(setting: &Setting<'_>, spec: &InstanceSpec) -> Value {
    let granted = json!({
        "cpu": quantity::cpu(spec.resources.cpu_millis),
        // A server beside which an agent backs up would else be killed by what the agent needs.
        "memory": quantity::bytes(spec.resources.most_memory_bytes()),
    });
    json!({
        "name": "postgres",
        "image": setting.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [
            format!("{PROGRAM}/boma"), "--verbose", "agent-pod",
            "--dir", INSTANCE, "--run-dir", RUN, "--secret", SECRET,
            "--postgres", spec.version.to_string(),
        ],
        "ports": [
            {"name": "postgresql", "containerPort": PORT, "protocol": "TCP"},
            {"name": "agent", "containerPort": api::PORT, "protocol": "TCP"},
        ],
        // Asked for and limited to alike: a database should not be the first to go when a node
        // runs out of memory.
        "resources": {"requests": granted, "limits": granted},
        // An agent that answers is alive, whatever its server does: one that starts, restores or
        // is suspended must not be killed for it.
        "livenessProbe": probe(api::LIVE, [20, 10, 6]),
        "readinessProbe": probe(api::READY, [5, 5, 2]),
        "securityContext": restricted(),
        "volumeMounts": [
            {"name": "data", "mountPath": DATA},
            {"name": "instance", "mountPath": SECRET, "readOnly": true},
            {"name": "instance", "mountPath": "/etc/passwd", "subPath": PASSWD, "readOnly": true},
            {"name": "boma", "mountPath": PROGRAM, "readOnly": true},
            {"name": "run", "mountPath": RUN},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    })
}

fn probe(path: &str, [period, timeout, failures]: [u32; 3]) -> Value {
    json!({
        "httpGet": {"path": path, "port": "agent", "scheme": "HTTPS"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    })
}

/// What the `restricted` Pod Security Standard asks of a container, and a file system that nothing
/// is written to.
fn restricted() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

fn pull_secrets(setting: &Setting<'_>) -> Vec<Value> {
    let names = setting.pull_secrets.iter();
    names.map(|name| json!({ "name": name })).collect()
}
