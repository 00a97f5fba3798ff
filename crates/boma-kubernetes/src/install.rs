//! What runs Boma itself in a cluster: the objects, and writing and deleting them.

pub(crate) mod admission;
mod chart;
mod dashboard;

use boma_engine::source::CUSTOM_RESOURCES;
use boma_manifest::Kind;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::definitions::{GROUP, definitions, taken_by};
use crate::error::KubernetesError;
use crate::names::{self, MANAGER};
use crate::resources::api_resource;
pub use chart::chart;
pub use dashboard::InstalledDashboard;

/// Name of most of the objects.
const NAME: &str = "boma";
/// ConfigMap with `config.toml`.
const CONFIG: &str = "boma-config";
/// Annotation of a role: what each of its rights is for.
const REASONS: &str = "lowops.manifests/reasons";
/// User and group that Boma runs as; no image has to know it.
const USER: u32 = 65532;
/// The state directory: nothing in there lasts longer than the pod.
const STATE: &str = "/var/lib/boma";
/// Where manifests of a ConfigMap are.
const MANIFESTS: &str = "/manifests";

/// What Boma may do, and why.
struct Right {
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
    why: &'static str,
}

/// In all namespaces: there is one for each project, and they come and go.
const RIGHTS: [Right; 13] = [
    Right {
        group: "",
        resources: &["namespaces"],
        verbs: &["get", "list", "watch", "create", "patch"],
        why: "one for each project; none is ever deleted",
    },
    Right {
        group: "",
        resources: &["secrets"],
        verbs: &[
            "get", "list", "watch", "create", "update", "patch", "delete",
        ],
        why: "records, what pods mount, what applications are given",
    },
    Right {
        group: "",
        resources: &["services", "persistentvolumeclaims"],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        why: "the objects of a database; deleting is `boma purge`",
    },
    Right {
        group: "apps",
        resources: &["statefulsets", "deployments"],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        why: "servers (deleting is `boma purge`), and applications: Boma's own and attached ones",
    },
    Right {
        group: "apps",
        resources: &["daemonsets"],
        verbs: &["get", "list", "watch", "patch"],
        why: "applications that Boma is attached to",
    },
    Right {
        group: "networking.k8s.io",
        resources: &["networkpolicies"],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        why: "who may reach a database; deleting is `boma purge`",
    },
    Right {
        group: "",
        resources: &["serviceaccounts"],
        verbs: &["get", "list", "watch", "create", "patch"],
        why: "what pods of databases are to the cloud, where `[kubernetes.identity]` says so",
    },
    Right {
        group: "batch",
        resources: &["jobs"],
        verbs: &["get", "list", "watch", "create", "patch", "delete"],
        why: "`preDeploy`",
    },
    Right {
        group: "",
        resources: &["pods"],
        verbs: &["list", "watch"],
        why: "what keeps them from running",
    },
    Right {
        group: "",
        resources: &["events"],
        verbs: &["list", "watch"],
        why: "why pods could not be made",
    },
    Right {
        group: "events.k8s.io",
        resources: &["events"],
        verbs: &["get", "create", "patch"],
        why: "what happened, beside the objects that it is about",
    },
    Right {
        group: GROUP,
        resources: &["databases", "applications"],
        verbs: &["get", "list", "watch"],
        why: "custom resources, where they are a source; events beside them",
    },
    Right {
        group: GROUP,
        resources: &["databases/status", "applications/status"],
        verbs: &["patch"],
        why: "what was measured of them",
    },
];

/// In Boma's own namespace.
const OWN_RIGHTS: [Right; 1] = [Right {
    group: "coordination.k8s.io",
    resources: &["leases"],
    verbs: &["get", "create", "update"],
    why: "which of several `boma serve` acts",
}];

/// How Boma is installed.
#[derive(Clone, Debug)]
pub struct InstallOptions {
    /// Its namespace.
    pub namespace: String,
    /// The image that holds this program.
    pub image: String,
    /// Secrets to pull it with, in its namespace.
    pub pull_secrets: Vec<String>,
    /// How many; one acts, the others wait.
    pub replicas: u32,
    /// Where the manifests come from.
    pub sources: Vec<InstalledSource>,
    /// How the dashboard is reached; none: there is to be none.
    pub dashboard: Option<InstalledDashboard>,
    /// `config.toml`, as it is.
    pub config: String,
}

/// Where the manifests of an installed Boma come from.
#[derive(Clone, Debug)]
pub enum InstalledSource {
    /// A Git repository: arguments of `boma serve`.
    Git(Vec<String>),
    /// Entries of a ConfigMap in Boma's namespace.
    ConfigMap(String),
    /// The custom resources of the cluster.
    CustomResources,
}

impl InstalledSource {
    /// Where in repositories the manifests are whose address does not say it.
    pub fn flags(branch: &str, path: Option<&str>) -> Self {
        let branch = ["--branch", branch];
        let path = path.into_iter().flat_map(|path| ["--path", path]);
        Self::Git(branch.into_iter().chain(path).map(str::to_owned).collect())
    }
}

impl InstallOptions {
    fn metadata(&self, name: &str) -> Value {
        json!({"name": name, "namespace": self.namespace, "labels": labels()})
    }

    /// Objects without a namespace bear that of the installation: several share a cluster.
    fn cluster_name(&self) -> String {
        cluster_name(&self.namespace)
    }

    /// Every object, in the order in which they are applied.
    pub fn objects(&self) -> Vec<Value> {
        let account = json!([{
            "kind": "ServiceAccount", "name": NAME, "namespace": self.namespace,
        }]);
        let rbac = "rbac.authorization.k8s.io/v1";
        let role = |kind: &str, name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
        let everywhere = self.cluster_name();
        let (mut everywhere_rules, mut why) = (rules(&RIGHTS), reasons(&RIGHTS));
        if self.reads_resources() {
            let mut own = rules(&[admission::RIGHT]);
            own[0]["resourceNames"] = json!([admission::name(&self.namespace)]);
            everywhere_rules.extend(own);
            why = format!("{why}\n{}", reasons(&[admission::RIGHT]));
        }
        if self.dashboard.is_some() {
            let rights = dashboard::rights(self.reads_resources());
            everywhere_rules.extend(rules(rights));
            why = format!("{why}\n{}", reasons(rights));
        }
        let mut own = labels();
        own[names::INSTALLATION] = json!(self.namespace);
        let mut objects = vec![
            json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": self.namespace, "labels": own},
            }),
            json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": self.metadata(NAME),
            }),
            json!({
                "apiVersion": rbac, "kind": "ClusterRole",
                "metadata": {
                    "name": everywhere, "labels": labels(),
                    "annotations": {REASONS: why},
                },
                "rules": everywhere_rules,
            }),
            json!({
                "apiVersion": rbac, "kind": "ClusterRoleBinding",
                "metadata": {"name": everywhere, "labels": labels()},
                "roleRef": role("ClusterRole", &everywhere), "subjects": account,
            }),
            json!({
                "apiVersion": rbac, "kind": "Role", "metadata": self.metadata(NAME),
                "rules": rules(&OWN_RIGHTS),
            }),
            json!({
                "apiVersion": rbac, "kind": "RoleBinding", "metadata": self.metadata(NAME),
                "roleRef": role("Role", NAME), "subjects": account,
            }),
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": self.metadata(CONFIG),
                "data": {"config.toml": self.config},
            }),
        ];
        if self.reads_resources() {
            objects.extend(admission::objects(self));
        }
        if self.dashboard.is_some() {
            objects.push(dashboard::service(self));
        }
        objects.push(self.deployment());
        objects
    }

    fn reads_resources(&self) -> bool {
        let mut sources = self.sources.iter();
        sources.any(|source| matches!(source, InstalledSource::CustomResources))
    }

    /// The labels that its pods are known by.
    fn selector(&self) -> Value {
        json!({names::APP_NAME: NAME, "app.kubernetes.io/instance": self.namespace})
    }

    fn deployment(&self) -> Value {
        let mut pod_labels = labels();
        pod_labels["app.kubernetes.io/instance"] = json!(self.namespace);
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": self.metadata(NAME),
            "spec": {
                "replicas": self.replicas,
                "revisionHistoryLimit": 2,
                "selector": {"matchLabels": self.selector()},
                "template": {
                    "metadata": {
                        "labels": pod_labels,
                        // Another configuration is another pod.
                        "annotations": {
                            "lowops.manifests/config": names::digest_of(self.config.as_bytes()),
                        },
                    },
                    "spec": self.pod(),
                },
            },
        })
    }

    fn pod(&self) -> Value {
        let mut pod = json!({
            "serviceAccountName": NAME,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER,
                "fsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [self.container()],
            "volumes": self.volumes(),
        });
        if !self.pull_secrets.is_empty() {
            let secrets = self.pull_secrets.iter();
            let secrets = secrets.map(|name| json!({ "name": name }));
            pod["imagePullSecrets"] = secrets.collect();
        }
        pod
    }

    fn container(&self) -> Value {
        let mut arguments = vec![
            "--verbose",
            "--platform",
            "kubernetes",
            "--state-dir",
            STATE,
        ];
        arguments.push("serve");
        let mut mounts = vec![
            json!({"name": "state", "mountPath": STATE}),
            json!({
                "name": "config", "mountPath": format!("{STATE}/config.toml"),
                "subPath": "config.toml", "readOnly": true,
            }),
            json!({"name": "tmp", "mountPath": "/tmp"}),
        ];
        for source in &self.sources {
            match source {
                InstalledSource::Git(more) => arguments.extend(more.iter().map(String::as_str)),
                InstalledSource::CustomResources => arguments.push(CUSTOM_RESOURCES),
                InstalledSource::ConfigMap(_) => {
                    arguments.push(MANIFESTS);
                    let mount =
                        json!({"name": "manifests", "mountPath": MANIFESTS, "readOnly": true});
                    mounts.push(mount);
                }
            }
        }
        let listens = format!("0.0.0.0:{}", admission::PORT);
        if self.reads_resources() {
            arguments.extend(["--admission", &listens]);
        }
        let dashboard = self.dashboard.map(InstalledDashboard::address);
        if let Some(address) = &dashboard {
            arguments.extend(["--dashboard", address]);
        }
        let mut container = json!({
            "name": NAME,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "args": arguments,
            "resources": {
                "requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"},
            },
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": mounts,
        });
        if let Some(probe) = self.dashboard.and_then(InstalledDashboard::probe) {
            container["readinessProbe"] = probe;
        }
        container
    }

    fn volumes(&self) -> Vec<Value> {
        let mut volumes = vec![
            json!({"name": "state", "emptyDir": {}}),
            json!({"name": "config", "configMap": {"name": CONFIG}}),
            json!({"name": "tmp", "emptyDir": {}}),
        ];
        let maps = self.sources.iter().filter_map(|source| match source {
            InstalledSource::ConfigMap(name) => Some(name),
            InstalledSource::Git(_) | InstalledSource::CustomResources => None,
        });
        volumes.extend(maps.map(|name| json!({"name": "manifests", "configMap": {"name": name}})));
        volumes
    }
}

/// What was done to install.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Each object that an earlier installation had and this one has not, as `Kind name`.
    pub deleted: Vec<String>,
    /// Each that was applied.
    pub written: Vec<String>,
}

/// What became of the objects of an installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uninstalled {
    /// Each that was deleted, as `Kind name`.
    pub deleted: Vec<String>,
    /// Definitions of custom resources that stay, because resources would go with them.
    pub left: Vec<String>,
}

/// Applies every object, the definitions of custom resources first, once those are deleted that no
/// option asks for any more.
pub async fn install(options: &InstallOptions) -> Result<Installed, KubernetesError> {
    install_by(&client().await?, options).await
}

async fn install_by(
    client: &Client,
    options: &InstallOptions,
) -> Result<Installed, KubernetesError> {
    let params = PatchParams::apply(MANAGER).force();
    let mut done = Installed::default();
    for object in superfluous(options) {
        done.deleted.extend(delete_own(client, &object).await?);
    }
    let minor = minor_version(client).await?;
    let definitions = definitions().into_iter();
    let definitions = definitions.map(|definition| taken_by(minor, &definition));
    for object in definitions.chain(options.objects()) {
        let (said, api, name) = place(client, &object);
        let answer = api.patch(&name, &params, &Patch::Apply(&object)).await;
        answer.map_err(KubernetesError::api(format!("write {said}")))?;
        done.written.push(said);
    }
    Ok(done)
}

/// Every object that an installation in this namespace may have, whatever its options are.
fn all_objects(namespace: &str) -> Vec<Value> {
    let options = InstallOptions {
        namespace: namespace.to_owned(),
        image: String::new(),
        pull_secrets: Vec::new(),
        replicas: 0,
        sources: vec![InstalledSource::CustomResources],
        dashboard: Some(InstalledDashboard::Forwarded),
        config: String::new(),
    };
    options.objects()
}

/// The objects that an installation with other options may have left.
fn superfluous(options: &InstallOptions) -> Vec<Value> {
    let identity = |object: &Value| (object["kind"].clone(), object["metadata"]["name"].clone());
    let wanted: Vec<_> = options.objects().iter().map(identity).collect();
    let mut all = all_objects(&options.namespace);
    all.retain(|object| !wanted.contains(&identity(object)));
    all
}

/// Deletes an object if it is there and bears our name; tells which.
async fn delete_own(client: &Client, object: &Value) -> Result<Option<String>, KubernetesError> {
    let (said, api, name) = place(client, object);
    let found = api.get_opt(&name).await;
    let found = found.map_err(KubernetesError::api(format!("read {said}")))?;
    let is_ours = |found: &DynamicObject| {
        found.labels().get(names::APP_NAME).map(String::as_str) == Some(NAME)
    };
    if !found.is_some_and(|found| is_ours(&found)) {
        return Ok(None);
    }
    let gone = api.delete(&name, &DeleteParams::background()).await;
    gone.map_err(KubernetesError::api(format!("delete {said}")))?;
    Ok(Some(said))
}

/// Deletes what runs Boma, and nothing of what it has made: its namespace holds its records, and
/// databases go on without it.
pub async fn uninstall(namespace: &str) -> Result<Uninstalled, KubernetesError> {
    let client = client().await?;
    let mut deleted = Vec::new();
    // What runs goes first: without its rights it could only complain.
    for object in all_objects(namespace).iter().rev() {
        if object["kind"] != "Namespace" {
            deleted.extend(delete_own(&client, object).await?);
        }
    }
    let left = remove_definitions(&client, &mut deleted).await?;
    Ok(Uninstalled { deleted, left })
}

/// Deletes the definitions of custom resources where no resource goes with them: neither one of
/// these kinds, wherever it is, nor another installation that reads them. Tells what stays.
async fn remove_definitions(
    client: &Client,
    deleted: &mut Vec<String>,
) -> Result<Vec<String>, KubernetesError> {
    let mut found = Vec::new();
    for definition in definitions() {
        let (said, api, name) = place(client, &definition);
        let there = api.get_opt(&name).await;
        let there = there.map_err(KubernetesError::api(format!("read {said}")))?;
        found.extend(there.map(|_| (said, api, name)));
    }
    if are_used(client, found.iter().map(|(_, _, name)| name.as_str())).await? {
        return Ok(found.into_iter().map(|(said, _, _)| said).collect());
    }
    for (said, api, name) in found {
        let gone = api.delete(&name, &DeleteParams::background()).await;
        gone.map_err(KubernetesError::api(format!("delete {said}")))?;
        deleted.push(said);
    }
    Ok(Vec::new())
}

/// Whether there is a resource of one of these definitions, or another installation.
async fn are_used(
    client: &Client,
    definitions: impl Iterator<Item = &str>,
) -> Result<bool, KubernetesError> {
    let ours = ListParams::default().labels(&format!("{}={NAME}", names::APP_NAME));
    let roles = resource("rbac.authorization.k8s.io/v1", "ClusterRole");
    if !list(client, &roles, &ours).await?.is_empty() {
        return Ok(true);
    }
    for definition in definitions {
        let kinds = Kind::ALL.map(api_resource).into_iter();
        let mut own = kinds.filter(|kind| definition == format!("{}.{GROUP}", kind.plural));
        let one = ListParams::default().limit(1);
        if let Some(kind) = own.next()
            && !list(client, &kind, &one).await?.is_empty()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn list(
    client: &Client,
    resource: &ApiResource,
    which: &ListParams,
) -> Result<Vec<DynamicObject>, KubernetesError> {
    let api = Api::<DynamicObject>::all_with(client.clone(), resource);
    let found = api.list(which).await;
    let found = found.map_err(KubernetesError::api(format!("list {}", resource.plural)))?;
    Ok(found.items)
}

/// The minor version of the API server; vendors write `33+`.
async fn minor_version(client: &Client) -> Result<u32, KubernetesError> {
    let version = client.apiserver_version().await;
    let version = version.map_err(KubernetesError::api("ask for the cluster's version"))?;
    let digits = version
        .minor
        .trim_end_matches(|letter: char| !letter.is_ascii_digit());
    Ok(digits.parse().unwrap_or(u32::MAX))
}

async fn client() -> Result<Client, KubernetesError> {
    Client::try_default()
        .await
        .map_err(|error| KubernetesError::Configuration(error.into()))
}

fn cluster_name(namespace: &str) -> String {
    format!("boma:{namespace}")
}

fn labels() -> Value {
    json!({names::APP_NAME: NAME, names::MANAGED_BY: MANAGER})
}

fn rules(rights: &[Right]) -> Vec<Value> {
    let rule = |right: &Right| json!({"apiGroups": [right.group], "resources": right.resources, "verbs": right.verbs});
    rights.iter().map(rule).collect()
}

/// For those who read the role in the cluster.
fn reasons(rights: &[Right]) -> String {
    let reason = |right: &Right| format!("{}: {}", right.resources.join(", "), right.why);
    rights.iter().map(reason).collect::<Vec<_>>().join("\n")
}

fn resource(version: &str, kind: &str) -> ApiResource {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    ApiResource::from_gvk_with_plural(&gvk, &format!("{}s", kind.to_lowercase()))
}

/// What an object is called, and where it is written.
fn place(client: &Client, object: &Value) -> (String, Api<DynamicObject>, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
    let resource = resource(&text(&object["apiVersion"]), &kind);
    let api = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    (format!("{kind} {name}"), api, name)
}

#[cfg(test)]
mod tests;
