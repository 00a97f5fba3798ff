//! What applications run as: Deployments that Boma makes, and workloads of others that it attaches
//! to.

use std::sync::Arc;

use boma_engine::keys::ApplicationKey;
use boma_engine::observed::{AVAILABLE, ProcessState};
use boma_engine::platform::{AttachedKind, Workload};
use boma_instance::{Condition, Truth};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::Value;

use super::Inner;
use super::pods::{self, PodTrouble};
use crate::build::Running;
use crate::cluster::{Change, record};
use crate::desired::{Desired, Owner};
use crate::error::KubernetesError;
use crate::kinds::Kind;
use crate::names::{self, Part};
use crate::records::{ApplicationRow, RunRow};

impl Inner {
    /// Makes an application run as a workload says, with what was delivered to it.
    ///
    /// What it ran as before is ended first, then it is recorded what it is to run as, and then
    /// that is made so. Cut off anywhere, the application is not seen to run as it should, and the
    /// next pass does all of it again.
    pub(super) async fn roll_out(
        &self,
        key: &ApplicationKey,
        deployment: &str,
        workload: &Workload,
    ) -> Result<ProcessState, KubernetesError> {
        let (namespace, row) = self.delivered(key)?;
        let container = self.container(&namespace, key, workload).await?;
        if let Some(run) = row
            .run
            .as_ref()
            .filter(|run| !is_same(&run.workload, workload))
        {
            self.end(&namespace, key, run).await?;
        }
        let (process, _conditions) = self.process_of(&namespace, &row);
        let is_so =
            matches!(&process, ProcessState::Running { deployment: of, .. } if of == deployment);
        let before = row.run.as_ref().map_or(0, |run| run.restarts);
        let run = RunRow {
            deployment: deployment.to_owned(),
            workload: workload.clone(),
            container,
            // What runs so already is only started again because somebody asked for it.
            restarts: before + u64::from(is_so),
            since: Timestamp::now(),
        };
        let row = ApplicationRow {
            run: Some(run.clone()),
            ..row
        };
        self.record_run(&namespace, key, Some(&run)).await?;
        if let Some(wanted) = self.workload(&namespace, &row, &run) {
            let applied = self.cluster.apply(&wanted).await;
            applied.map_err(|error| held(error, &wanted))?;
        }
        Ok(ProcessState::Running {
            deployment: run.deployment,
            pid: None,
            since: run.since,
        })
    }

    /// Ends what an application runs as.
    pub(super) async fn stop(&self, key: &ApplicationKey) -> Result<(), KubernetesError> {
        let Ok((namespace, row)) = self.delivered(key) else {
            return Ok(());
        };
        let Some(run) = &row.run else {
            return Ok(());
        };
        self.end(&namespace, key, run).await?;
        self.record_run(&namespace, key, None).await
    }

    /// Deletes the Deployment that Boma made, or takes back what it wrote into another's.
    async fn end(
        &self,
        namespace: &str,
        key: &ApplicationKey,
        run: &RunRow,
    ) -> Result<(), KubernetesError> {
        let Some((kind, name)) = place(key, &run.workload) else {
            return Ok(());
        };
        let Some(found) = self.cluster.read(kind, namespace, &name).await? else {
            return Ok(());
        };
        if !self.is_of(&found, key) {
            return Ok(());
        }
        match run.workload {
            Workload::Attached { .. } => self.cluster.release(kind, &found).await,
            Workload::Containers { .. } | Workload::Process(_) => {
                self.cluster.delete(kind, &found).await
            }
        }
    }

    async fn record_run(
        &self,
        namespace: &str,
        key: &ApplicationKey,
        run: Option<&RunRow>,
    ) -> Result<(), KubernetesError> {
        self.change_delivered(namespace, key, |row| {
            if row.run.as_ref() == run {
                return Change::Keep(());
            }
            row.run = run.cloned();
            Change::Write(row.clone(), ())
        })
        .await
    }

    /// Changes what is recorded of an application that something was delivered to.
    pub(super) async fn change_delivered(
        &self,
        namespace: &str,
        key: &ApplicationKey,
        change: impl Fn(&mut ApplicationRow) -> Change<ApplicationRow, ()> + Send + Sync,
    ) -> Result<(), KubernetesError> {
        let place = self.application_place(namespace, key);
        self.cluster
            .change(&place, |found: Option<ApplicationRow>| {
                let mut row =
                    found.ok_or_else(|| KubernetesError::NoEnvironment { key: key.clone() })?;
                Ok(change(&mut row))
            })
            .await
    }

    /// What is recorded of an application that something was delivered to.
    pub(super) fn delivered(
        &self,
        key: &ApplicationKey,
    ) -> Result<(String, ApplicationRow), KubernetesError> {
        let missing = || KubernetesError::NoEnvironment { key: key.clone() };
        let namespace = self.known_namespace(&key.project).ok_or_else(missing)?;
        let name = names::application_record(key);
        let secret = self.cluster.get(Kind::Secret, &namespace, &name);
        let row = record(&*secret.ok_or_else(missing)?)?;
        Ok((namespace, row))
    }

    pub(super) fn run_with<'a>(
        &'a self,
        namespace: &'a str,
        row: &'a ApplicationRow,
    ) -> Running<'a> {
        Running {
            home: &self.config.namespace,
            namespace,
            row,
            pull_secrets: &self.config.pull_secrets,
        }
    }

    /// The container of a workload of others that is given the environment: the one with the
    /// application's name, or else the first. None: Boma makes the workload.
    async fn container(
        &self,
        namespace: &str,
        key: &ApplicationKey,
        workload: &Workload,
    ) -> Result<Option<String>, KubernetesError> {
        let Some((kind, name)) = place(key, workload) else {
            let what = "running a command of an application";
            return Err(KubernetesError::NotHere { what });
        };
        // Past the cache: what is not Boma's yet is not in there.
        let found = self.cluster.read(kind, namespace, &name).await?;
        let what = format!("{} {namespace}/{name}", kind.resource().kind);
        let taken = |whose: &str| KubernetesError::WorkloadTaken {
            what: what.clone(),
            whose: whose.to_owned(),
        };
        match (workload, found) {
            (Workload::Attached { .. }, None) => Err(KubernetesError::WorkloadMissing { what }),
            (Workload::Attached { .. }, Some(found)) => {
                let labels = found.labels();
                if labels.get(names::MANAGED_BY).map(String::as_str) == Some(names::MANAGER) {
                    return Err(taken("Boma's own"));
                }
                let other = labels.get(names::APPLICATION);
                if let Some(other) = other.filter(|other| **other != *key.name) {
                    return Err(taken(&format!("attached to application {other} already")));
                }
                let container = container_of(&found, &key.name);
                container
                    .map(|container| Some(text(&container["name"])))
                    .ok_or_else(|| taken("without any container"))
            }
            (_, Some(found)) if !self.is_of(&found, key) => Err(taken("not Boma's")),
            (_, _) => Ok(None),
        }
    }

    /// Whether something was made, or is attached to, for an application of this installation.
    fn is_of(&self, found: &DynamicObject, key: &ApplicationKey) -> bool {
        let labels = found.labels();
        labels.get(names::INSTALLATION) == Some(&self.config.namespace)
            && labels.get(names::APPLICATION).map(String::as_str) == Some(&*key.name)
    }

    /// What an application runs as, as it should be.
    fn workload(&self, namespace: &str, row: &ApplicationRow, run: &RunRow) -> Option<Desired> {
        let running = self.run_with(namespace, row);
        match &run.workload {
            Workload::Process(_) => None,
            Workload::Containers {
                image,
                port,
                replicas,
            } => Some(running.deployment(run, (image, *port, *replicas))),
            Workload::Attached { kind, name } => {
                let container = run.container.as_deref()?;
                Some(running.attached(run, (kind_of(*kind), name, container)))
            }
        }
    }

    /// What is seen of what an application runs as. One that is not as it should be counts as not
    /// running, and is rolled out again.
    pub(super) fn process_of(
        &self,
        namespace: &str,
        row: &ApplicationRow,
    ) -> (ProcessState, Vec<Condition>) {
        let nothing = (ProcessState::NotRunning, Vec::new());
        let Some(run) = &row.run else {
            return nothing;
        };
        let Some(wanted) = self.workload(namespace, row, run) else {
            return nothing;
        };
        let found = self.cluster.get(wanted.kind, namespace, &wanted.name);
        let Some(found) = found.filter(|found| wanted.is_met_by(found)) else {
            return nothing;
        };
        let process = ProcessState::Running {
            deployment: run.deployment.clone(),
            pid: None,
            since: run.since,
        };
        let trouble = self.trouble_of(namespace, &row.key, Part::Workload);
        (process, vec![available(wanted.kind, &found, trouble)])
    }

    /// What keeps a pod of an application from running; none: nothing that is known.
    pub(super) fn trouble_of(
        &self,
        namespace: &str,
        key: &ApplicationKey,
        part: Part,
    ) -> Option<PodTrouble> {
        let own = self.cluster.all(Kind::Pod).filter(|pod| {
            let labels = pod.labels();
            pod.namespace().as_deref() == Some(namespace)
                && labels.get(names::APPLICATION).map(String::as_str) == Some(&*key.name)
                && labels.get(names::PART).map(String::as_str) == Some(part.word())
        });
        // Pods of a node that is not heard from are replaced by those whose pods they are.
        let passes = |trouble: &PodTrouble| {
            trouble.is_of_its_node()
                || matches!(trouble, PodTrouble::Starting(_) | PodTrouble::Ending)
        };
        own.map(|pod| pods::trouble(Some(&pod), None, Timestamp::now()))
            .find(|trouble| !passes(trouble))
    }
}

/// Where a workload is; none: it is a process.
fn place(key: &ApplicationKey, workload: &Workload) -> Option<(Kind, String)> {
    match workload {
        Workload::Process(_) => None,
        Workload::Containers { .. } => Some((Kind::Deployment, key.name.to_string())),
        Workload::Attached { kind, name } => Some((kind_of(*kind), name.clone())),
    }
}

/// Where a workload of others is, and how it is called in messages.
pub(super) fn attached_place(
    workload: &Workload,
    namespace: &str,
) -> Result<(Kind, String), KubernetesError> {
    let Workload::Attached { kind, name } = workload else {
        let what = "attaching to a workload of Boma's";
        return Err(KubernetesError::NotHere { what });
    };
    Ok((kind_of(*kind), format!("{kind} {namespace}/{name}")))
}

fn kind_of(kind: AttachedKind) -> Kind {
    match kind {
        AttachedKind::Deployment => Kind::Deployment,
        AttachedKind::StatefulSet => Kind::StatefulSet,
        AttachedKind::DaemonSet => Kind::DaemonSet,
    }
}

/// Whether two say the same object, whatever they want of it.
fn is_same(one: &Workload, other: &Workload) -> bool {
    match (one, other) {
        (Workload::Containers { .. }, Workload::Containers { .. }) => true,
        (one, other) => one == other,
    }
}

/// The container that an application's environment is for.
pub(super) fn container_of<'a>(found: &'a DynamicObject, name: &str) -> Option<&'a Value> {
    let containers = found
        .data
        .pointer("/spec/template/spec/containers")?
        .as_array()?;
    let own = containers.iter().find(|one| one["name"] == name);
    own.or_else(|| containers.first())
}

/// Others do not give way, or what they set contradicts it.
fn held(error: KubernetesError, wanted: &Desired) -> KubernetesError {
    let what = format!(
        "{} {}/{}",
        wanted.kind.resource().kind,
        wanted.namespace,
        wanted.name
    );
    if let KubernetesError::Api { source, .. } = &error
        && (wanted.owner != Owner::Others || !KubernetesError::is_held(source))
    {
        return error;
    }
    let KubernetesError::Api { source, .. } = error else {
        return error;
    };
    KubernetesError::WorkloadHeld { what, source }
}

/// Whether all of its pods are there, of the newest kind.
fn available(kind: Kind, found: &Arc<DynamicObject>, trouble: Option<PodTrouble>) -> Condition {
    let condition = |status, reason: &str, message: String| Condition {
        kind: AVAILABLE.to_owned(),
        status,
        reason: reason.to_owned(),
        message,
    };
    let status = &found.data["status"];
    let number = |field: &str| status[field].as_u64().unwrap_or(0);
    let (wanted, updated, ready) = if kind == Kind::DaemonSet {
        (
            number("desiredNumberScheduled"),
            number("updatedNumberScheduled"),
            number("numberAvailable"),
        )
    } else {
        (
            found.data["spec"]["replicas"].as_u64().unwrap_or(1),
            number("updatedReplicas"),
            number("readyReplicas"),
        )
    };
    let is_seen = status["observedGeneration"].as_i64() >= found.metadata.generation;
    if is_seen && updated >= wanted && ready >= wanted {
        return condition(
            Truth::True,
            "RolledOut",
            format!("{ready} of {wanted} pods serve"),
        );
    }
    match trouble {
        Some(trouble) => {
            let problem = trouble.problem();
            let hints = problem.hints.join(" ");
            condition(Truth::False, "PodsFail", format!("{problem}. {hints}"))
        }
        None => condition(
            Truth::Unknown,
            "RollingOut",
            format!("{updated} of {wanted} pods are new, {ready} serve"),
        ),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
