//! The platform itself: what is asked of it, carried out.

mod applications;
mod attend;
mod backups;
mod databases;
mod exchange;
mod grants;
mod hold;
mod insight;
mod installation;
mod journal;
mod notices;
mod observe;
mod people;
mod pods;
mod pre_deploy;
mod put;
mod repositories;
mod secrets;
mod waiting;
mod workloads;

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use boma_engine::authority::Authority;
use boma_engine::catalog::Subject;
use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey};
use boma_engine::observed::{
    Capabilities, DatabaseRecord, Feature, Life, Observed, ProcessState, SettingValue,
};
use boma_engine::platform::{
    ActiveLogin, AskedRotation, AuditEntry, Credential, Environment, Event, Platform,
    PlatformError, Program, Workload,
};
use boma_instance::backup::RepositoryLocation;
use boma_instance::names::Turn;
use boma_instance::{InstanceId, InstanceSpec, InstanceStatus, Listen};
use boma_problem::Problem;
use jiff::Timestamp;
use kube::api::ListParams;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::agent::Agents;
use crate::cluster::{Cluster, record};
use crate::config::{KubernetesConfig, RepositoryConfig, Road};
use crate::credentials::RepositoryError;
use crate::error::{KubernetesError, boxed};
use crate::kinds::Kind;
use crate::lease::{Leadership, Lease};
use crate::names::Part;
use crate::records::ApplicationRow;
use crate::resources::CustomResources;
pub use insight::Printed;
pub use secrets::SecretError;

use attend::Attendance;
use journal::Journal;
use waiting::Waiting;

/// The platform of a Kubernetes cluster. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct KubernetesPlatform {
    inner: Arc<Inner>,
    /// They end with the last clone.
    _tasks: Arc<JoinSet<()>>,
}

struct Inner {
    config: KubernetesConfig,
    cluster: Arc<Cluster>,
    agents: Agents,
    attendance: Attendance,
    capabilities: Capabilities,
    journal: Journal,
    waiting: Waiting,
    /// One namespace is written at a time.
    namespaces: tokio::sync::Mutex<()>,
}

impl KubernetesPlatform {
    /// Opens the cluster that KUBECONFIG names, or the one that this program runs in, and returns
    /// when everything of Boma's in it is known.
    pub async fn open(config: KubernetesConfig) -> Result<Self, KubernetesError> {
        let client = kube::Client::try_default()
            .await
            .map_err(|error| KubernetesError::Configuration(error.into()))?;
        Self::with(client, config).await
    }

    /// Opens the cluster of a client.
    pub(crate) async fn with(
        client: kube::Client,
        config: KubernetesConfig,
    ) -> Result<Self, KubernetesError> {
        let agents = Agents::new(client.clone(), config.road);
        let is_directory = |(_, one): &(_, &RepositoryConfig)| {
            matches!(one.location, RepositoryLocation::Directory { .. })
        };
        if let Some((name, _)) = config.repositories.iter().find(is_directory) {
            let name = name.clone();
            return Err(RepositoryError::Directory { name }.into());
        }
        let secrets = config.repositories.values();
        let secrets = secrets.filter_map(|one| one.secret.clone()).collect();
        let (cluster, mut tasks) = Cluster::open(client, &config.namespace, secrets).await?;
        let inner = Arc::new(Inner {
            capabilities: capabilities(&config),
            config,
            cluster,
            agents,
            attendance: Attendance::default(),
            journal: Journal::default(),
            waiting: Waiting::default(),
            namespaces: tokio::sync::Mutex::default(),
        });
        let writing = inner.clone();
        tasks.spawn(async move { writing.write_events().await });
        let attending = inner.clone();
        tasks.spawn(async move { attending.attend().await });
        Ok(Self {
            inner,
            _tasks: Arc::new(tasks),
        })
    }

    /// What changes whenever something was heard of that the engine should look at.
    pub fn news(&self) -> (watch::Receiver<u64>, watch::Receiver<u64>) {
        let inner = &self.inner;
        (inner.cluster.news(), inner.attendance.news())
    }

    /// The custom resources of the cluster, watched from now on.
    ///
    /// # Errors
    /// When they are not defined, or the API server does not list them.
    pub async fn custom_resources(&self) -> Result<CustomResources, KubernetesError> {
        CustomResources::open(Registry(self.inner.clone())).await
    }

    /// Remembers that a person asks for another password of a grant; the next pass, of whoever makes
    /// one, exchanges it.
    ///
    /// # Errors
    /// When there is no password to exchange, or the API server does not take it.
    pub async fn ask_rotation(
        &self,
        grant: &GrantKey,
        now: Timestamp,
    ) -> Result<AskedRotation, PlatformError> {
        let at_least = u64::try_from(now.as_millisecond()).unwrap_or_default();
        self.inner
            .ask_rotation(grant, at_least)
            .await
            .map_err(boxed)
    }

    /// Waits until this process is the one of its installation that acts; `waiting` is told which
    /// other one does, whenever that changes.
    pub async fn lead(&self, waiting: impl Fn(&str)) -> Result<Leadership, KubernetesError> {
        // The namespace that the Lease is in.
        self.inner.installation().await?;
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_unset| "boma".to_owned());
        let me = format!("{host}_{}", uuid::Uuid::new_v4());
        let client = self.inner.cluster.client.clone();
        let lease = Lease::new(client, &self.inner.config.namespace, me);
        let leadership = lease.take(waiting).await?;
        self.inner.attendance.begin_to_tell();
        Ok(leadership)
    }

    /// The process of this installation that acts, if one does: its pod, or its host, and what tells
    /// it from others.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn leader(&self) -> Result<Option<Leader>, KubernetesError> {
        let client = self.inner.cluster.client.clone();
        let lease = Lease::new(client, &self.inner.config.namespace, String::new());
        let holder = lease.holder().await?;
        Ok(holder.map(|run| Leader {
            host: run.split('_').next().unwrap_or_default().to_owned(),
            run,
        }))
    }

    /// The address of the pod that acts; none: nobody acts, or not in a pod.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn leader_address(&self) -> Result<Option<IpAddr>, KubernetesError> {
        let Some(leader) = self.leader().await? else {
            return Ok(None);
        };
        let cluster = &self.inner.cluster;
        let named = ListParams::default().fields(&format!("metadata.name={}", leader.host));
        let pods = cluster.api(Kind::Pod, self.home()).list(&named).await;
        let pods = pods.map_err(KubernetesError::api("read the pod that has the Lease"))?;
        let address = pods.items.first();
        let address = address.and_then(|pod| pod.data["status"]["podIP"].as_str());
        Ok(address.and_then(|address| address.parse().ok()))
    }

    /// The namespace of the installation.
    pub fn home(&self) -> &str {
        &self.inner.config.namespace
    }

    /// Writes that the API server was asked for since this was opened.
    pub fn writes(&self) -> u64 {
        self.inner.cluster.writes()
    }
}

/// The process that acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The name of its pod, or of its host.
    pub host: String,
    /// What tells this run of it from others.
    pub run: String,
}

/// What custom resources ask the platform.
#[derive(Clone)]
pub(crate) struct Registry(Arc<Inner>);

impl Registry {
    /// What talks to the API server.
    pub(crate) fn client(&self) -> kube::Client {
        self.0.cluster.client.clone()
    }

    /// The namespace of the installation.
    pub(crate) fn home(&self) -> &str {
        &self.0.config.namespace
    }

    /// What signs certificates of the installation, which is made if there is none.
    pub(crate) async fn authority(&self) -> Result<Authority, KubernetesError> {
        Ok(self.0.installation().await?.authority())
    }

    /// The namespace of a project, if it has one.
    pub(crate) fn namespace(&self, project: &str) -> Option<String> {
        self.0.known_namespace(project)
    }

    /// The namespace of a project, made if it has none.
    pub(crate) async fn make_namespace(&self, project: &str) -> Result<String, KubernetesError> {
        self.0.namespace(project).await
    }

    /// Everything that something was made of.
    pub(crate) fn subjects(&self) -> HashSet<Subject> {
        let databases = self.0.registered();
        let databases = databases.map(|one| Subject::from(&one.row.key));
        let applications = self.0.secrets(Part::Application).filter_map(|secret| {
            let row = record::<ApplicationRow>(&secret).ok()?;
            Some(Subject::from(&row.key))
        });
        databases.chain(applications).collect()
    }
}

/// Where this program runs.
pub fn road() -> Road {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        Road::Direct
    } else {
        Road::Forwarded
    }
}

fn capabilities(config: &KubernetesConfig) -> Capabilities {
    let has_image = |major| config.images.contains_key(major);
    let mut features = BTreeSet::from([
        Feature::Images,
        Feature::Workloads,
        Feature::Replicas,
        Feature::StorageClasses,
        Feature::OwnAgents,
        Feature::Replace,
    ]);
    if !config.repositories.is_empty() {
        features.extend([Feature::Backups, Feature::Restore]);
    }
    Capabilities {
        platform: "on Kubernetes".to_owned(),
        servers: config
            .builds
            .iter()
            .filter(|build| has_image(&build.major))
            .cloned()
            .collect(),
        searched: vec!["`[kubernetes.images]` in `config.toml`".to_owned()],
        features,
        repositories: config.repositories.keys().cloned().collect(),
        cpu_millis: None,
        memory_bytes: None,
        // The kubelet holds every container to its limits.
        limits: Some(Ok(())),
        // The programs are in images on nodes: values that a server refuses show in its log.
        judged: None,
    }
}

impl Platform for KubernetesPlatform {
    async fn observe(&self) -> Result<Observed, PlatformError> {
        self.inner.observe().await.map_err(boxed)
    }

    async fn judge_settings(
        &self,
        _settings: &BTreeSet<SettingValue>,
    ) -> Result<(), PlatformError> {
        Ok(())
    }

    async fn record_source(&self, source: &str) -> Result<(), PlatformError> {
        self.inner.record_source(source).await.map_err(boxed)
    }

    async fn record_database(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
        record: &DatabaseRecord,
    ) -> Result<(), PlatformError> {
        self.inner
            .record_database(key, id, record)
            .await
            .map_err(boxed)
    }

    async fn put_instance(
        &self,
        key: &DatabaseKey,
        spec: &InstanceSpec,
    ) -> Result<Listen, PlatformError> {
        self.inner.put(key, spec).await
    }

    async fn await_instance(
        &self,
        id: InstanceId,
        generation: u64,
        patience: Duration,
    ) -> Result<InstanceStatus, PlatformError> {
        self.inner.await_generation(id, generation, patience).await
    }

    async fn set_life(&self, key: &DatabaseKey, life: Life) -> Result<(), PlatformError> {
        self.inner.set_life(key, life).await.map_err(boxed)
    }

    async fn exchange(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
        beside: &DatabaseKey,
        since: Timestamp,
    ) -> Result<(), PlatformError> {
        let exchanged = self.inner.exchange(key, id, beside, since).await;
        exchanged.map_err(boxed)
    }

    async fn purge(&self, key: &DatabaseKey, id: InstanceId) -> Result<(), PlatformError> {
        self.inner.purge(key, id).await.map_err(boxed)
    }

    async fn look(&self, id: InstanceId) -> Result<InstanceStatus, PlatformError> {
        self.inner.look(id).await
    }

    async fn store_credential(
        &self,
        grant: &GrantKey,
        turn: Turn,
        credential: &Credential,
    ) -> Result<(), PlatformError> {
        self.inner
            .store_credential(grant, turn, credential)
            .await
            .map_err(boxed)
    }

    async fn credential(&self, grant: &GrantKey, turn: Turn) -> Result<Credential, PlatformError> {
        self.inner.credential(grant, turn).map_err(boxed)
    }

    async fn activate_login(
        &self,
        grant: &GrantKey,
        login: ActiveLogin,
    ) -> Result<(), PlatformError> {
        self.inner.activate_login(grant, login).await.map_err(boxed)
    }

    async fn release_login(&self, grant: &GrantKey) -> Result<(), PlatformError> {
        self.inner.release_login(grant).await.map_err(boxed)
    }

    async fn forget_grant(&self, grant: &GrantKey) -> Result<(), PlatformError> {
        self.inner.forget_grant(grant).await.map_err(boxed)
    }

    async fn deliver_environment(
        &self,
        application: &ApplicationKey,
        environment: &Environment,
    ) -> Result<(), PlatformError> {
        self.inner
            .deliver(application, environment)
            .await
            .map_err(boxed)
    }

    async fn run_pre_deploy(
        &self,
        application: &ApplicationKey,
        deployment: &str,
        program: &Program,
        workload: &Workload,
    ) -> Result<Option<Problem>, PlatformError> {
        self.inner
            .run_pre_deploy(application, deployment, program, workload)
            .await
    }

    async fn restart_application(
        &self,
        application: &ApplicationKey,
        deployment: &str,
        workload: &Workload,
    ) -> Result<ProcessState, PlatformError> {
        self.inner
            .roll_out(application, deployment, workload)
            .await
            .map_err(boxed)
    }

    async fn stop_application(&self, application: &ApplicationKey) -> Result<(), PlatformError> {
        self.inner.stop(application).await.map_err(boxed)
    }

    async fn forget_application(&self, application: &ApplicationKey) -> Result<(), PlatformError> {
        self.inner
            .forget_application(application)
            .await
            .map_err(boxed)
    }

    async fn event(&self, event: &Event) -> Result<(), PlatformError> {
        self.inner.tell(event).await
    }

    /// The audit trail is also in this program's log, which clusters collect: what is kept in the
    /// cluster itself can be changed by those who may change Secrets of Boma's namespace.
    async fn audit(&self, entry: &AuditEntry) -> Result<(), PlatformError> {
        let AuditEntry {
            actor,
            action,
            subject,
            outcome,
            ..
        } = entry;
        tracing::info!(target: "boma::audit", %actor, %subject, %outcome, "{action}");
        self.inner.add_audit(entry).await
    }
}
