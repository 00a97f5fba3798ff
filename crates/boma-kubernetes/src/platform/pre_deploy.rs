//! Commands that run before an application is rolled out, as Jobs.

use boma_engine::keys::ApplicationKey;
use boma_engine::observed::PreDeployRun;
use boma_engine::platform::{PlatformError, Program, Workload};
use boma_engine::printed::redacted;
use boma_problem::{Class, Problem};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::Value;
use std::sync::Arc;

use super::Inner;
use super::workloads::container_of;
use crate::cluster::Change;
use crate::desired::Desired;
use crate::error::{KubernetesError, boxed};
use crate::kinds::Kind;
use crate::names::{self, Part};
use crate::records::ApplicationRow;

/// How a Job ended.
enum End {
    Well,
    Badly(Box<Problem>),
}

impl Inner {
    /// Runs a command to its end, and records how it ended.
    ///
    /// The Job bears the deployment's fingerprint in its name: a Boma that was killed finds it
    /// again, and a command is not run twice for one deployment. Only one whose end is on record
    /// already is deleted and made anew, which is so when a person asks for it. What was made for
    /// earlier deployments goes when the end is on record.
    pub(super) async fn run_pre_deploy(
        &self,
        key: &ApplicationKey,
        deployment: &str,
        program: &Program,
        workload: &Workload,
    ) -> Result<Option<Problem>, PlatformError> {
        let (namespace, row) = self.delivered(key).map_err(boxed)?;
        let name = names::pre_deploy(key, deployment);
        let last = row.pre_deploy.as_ref();
        if last.is_some_and(|last| last.deployment == deployment) {
            self.delete_job(&namespace, &name).await.map_err(boxed)?;
        }
        let found = self.cluster.read(Kind::Job, &namespace, &name).await;
        if found.map_err(boxed)?.is_none() {
            let job = self.job(&namespace, &row, deployment, (program, workload));
            let job = job.await.map_err(boxed)?;
            self.cluster.apply(&job).await.map_err(boxed)?;
        }
        let end = self.end_of(&namespace, &name, &row, program).await?;
        let failure = match end {
            End::Well => None,
            End::Badly(problem) => Some(*problem),
        };
        let run = PreDeployRun {
            deployment: deployment.to_owned(),
            failure: failure.clone(),
            at: Timestamp::now(),
        };
        self.record_pre_deploy(&namespace, key, &run)
            .await
            .map_err(boxed)?;
        self.remove_jobs(&namespace, key, Some(&name))
            .await
            .map_err(boxed)?;
        Ok(failure)
    }

    async fn job(
        &self,
        namespace: &str,
        row: &ApplicationRow,
        deployment: &str,
        (program, workload): (&Program, &Workload),
    ) -> Result<Desired, KubernetesError> {
        let running = self.run_with(namespace, row);
        match workload {
            Workload::Containers { image, .. } => Ok(running.job(deployment, program, image)),
            Workload::Attached { name, .. } => {
                let (kind, what) = super::workloads::attached_place(workload, namespace)?;
                let found = self.cluster.read(kind, namespace, name).await?;
                let found = found.ok_or(KubernetesError::WorkloadMissing { what })?;
                let container = container_of(&found, &row.key.name);
                let container = container.and_then(|one| one["name"].as_str());
                let template = &found.data["spec"]["template"];
                let beside = (template, container.unwrap_or_default());
                Ok(running.job_beside(deployment, program, beside))
            }
            Workload::Process(_) => {
                let what = "running a command of an application";
                Err(KubernetesError::NotHere { what })
            }
        }
    }

    /// Waits for the end of a Job. What keeps its pod from starting is no end: it is told, and the
    /// Job goes on waiting.
    async fn end_of(
        &self,
        namespace: &str,
        name: &str,
        row: &ApplicationRow,
        program: &Program,
    ) -> Result<End, PlatformError> {
        let mut news = self.cluster.news();
        loop {
            let Some(job) = self.cluster.get(Kind::Job, namespace, name) else {
                let (namespace, name) = (namespace.to_owned(), name.to_owned());
                return Err(boxed(KubernetesError::JobGone { namespace, name }));
            };
            if has(&job, "Complete") {
                return Ok(End::Well);
            }
            if has(&job, "Failed") {
                let pod = self.pod_of(&job);
                let said = pod.as_deref().map(said).unwrap_or_default();
                let problem = failed(
                    program,
                    namespace,
                    name,
                    &redacted(&said, &self.secrets_of(namespace, row)),
                );
                return Ok(End::Badly(Box::new(problem)));
            }
            if let Some(trouble) = self.trouble_of(namespace, &row.key, Part::PreDeploy) {
                return Err(Box::new(trouble.problem()));
            }
            if news.changed().await.is_err() {
                let (namespace, name) = (namespace.to_owned(), name.to_owned());
                return Err(boxed(KubernetesError::JobGone { namespace, name }));
            }
        }
    }

    fn pod_of(&self, job: &DynamicObject) -> Option<Arc<DynamicObject>> {
        let mut own = self.cluster.all(Kind::Pod).filter(|pod| {
            let owners = pod.owner_references();
            owners
                .iter()
                .any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref())
        });
        own.next()
    }

    async fn record_pre_deploy(
        &self,
        namespace: &str,
        key: &ApplicationKey,
        run: &PreDeployRun,
    ) -> Result<(), KubernetesError> {
        self.change_delivered(namespace, key, |row| {
            row.pre_deploy = Some(run.clone());
            Change::Write(row.clone(), ())
        })
        .await
    }

    /// Deletes a Job, and returns when it is gone: one of the same name is made next.
    async fn delete_job(&self, namespace: &str, name: &str) -> Result<(), KubernetesError> {
        let mut news = self.cluster.news();
        while let Some(found) = self.cluster.read(Kind::Job, namespace, name).await? {
            self.cluster.delete(Kind::Job, &found).await?;
            if self.cluster.get(Kind::Job, namespace, name).is_some()
                && news.changed().await.is_err()
            {
                break;
            }
        }
        Ok(())
    }

    /// Deletes the Jobs of an application, but for one.
    pub(super) async fn remove_jobs(
        &self,
        namespace: &str,
        key: &ApplicationKey,
        kept: Option<&str>,
    ) -> Result<(), KubernetesError> {
        for job in self.cluster.all(Kind::Job) {
            let is_its = job.namespace().as_deref() == Some(namespace)
                && job.labels().get(names::APPLICATION).map(String::as_str) == Some(&*key.name);
            if is_its && kept != Some(job.name_any().as_str()) {
                self.cluster.delete(Kind::Job, &job).await?;
            }
        }
        Ok(())
    }
}

/// Whether a Job has a condition.
fn has(job: &DynamicObject, wanted: &str) -> bool {
    let conditions = job.data["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one["type"] == wanted && one["status"] == "True")
}

/// How a pod's container ended, and its last lines.
fn said(pod: &DynamicObject) -> String {
    let containers = pod.data["status"]["containerStatuses"].as_array();
    let ended = containers.into_iter().flatten();
    let ended = ended.map(|one: &Value| &one["state"]["terminated"]);
    let lines = ended.map(|ended| {
        let code = ended["exitCode"].as_i64().unwrap_or(-1);
        let message = ended["message"].as_str().unwrap_or_default().trim();
        format!("exit code {code}\n{message}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn failed(program: &Program, namespace: &str, name: &str, said: &str) -> Problem {
    let (ended, lines) = said.split_once('\n').unwrap_or((said, ""));
    let how = if ended.is_empty() { "failure" } else { ended };
    let message = format!("preDeploy `{}` ended with {how}", program.command.join(" "));
    let mut problem = Problem::new(Class::User, "pre-deploy-failed", message).hint(format!(
        "`kubectl -n {namespace} logs job/{name}` shows its whole output. The version that was \
         running goes on."
    ));
    if !lines.is_empty() {
        problem.causes.push(lines.to_owned());
    }
    problem
}
