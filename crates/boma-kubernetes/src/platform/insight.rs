//! What only somebody who looks asks for: of agents, and of the kubelet by way of the API server.

use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::platform::PlatformError;
use boma_engine::printed::{ApplicationSecrets, END, shown};
use boma_instance::statements::Statements;
use boma_instance::{History, InstanceId, Secret};
use boma_problem::IntoProblem as _;
use futures_util::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, LogParams};
use kube::core::DynamicObject;

use super::{Inner, KubernetesPlatform};
use crate::agent::{Address, AgentError};
use crate::desired::secret_entry;
use crate::error::{KubernetesError, boxed};
use crate::kinds::Kind;
use crate::names::{self, Part};
use crate::records::{ApplicationRow, Variable};

/// Pods of an application whose logs are read, the newest ones: more would be no page to read.
const PODS: usize = 5;

/// Lines of each.
const LINES: i64 = 2000;

/// What of an application has printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Printed {
    /// Its pods.
    Program,
    /// The last run of its `preDeploy`.
    PreDeploy,
}

impl KubernetesPlatform {
    /// What the agent of a database has measured lately.
    ///
    /// # Errors
    /// The agent does not answer at once.
    pub async fn history(&self, key: &DatabaseKey) -> Result<History, PlatformError> {
        let at = self.inner.agent_of(key)?;
        let asked = self.inner.agents.history(&at).await;
        asked.map_err(|error| refused(&error))
    }

    /// What a database spends its time with, asked of its server.
    ///
    /// # Errors
    /// The agent does not answer, or the server does not.
    pub async fn statements(&self, key: &DatabaseKey) -> Result<Statements, PlatformError> {
        let at = self.inner.agent_of(key)?;
        let asked = self.inner.agents.statements(&at).await;
        asked.map_err(|error| refused(&error))
    }

    /// The end of a server's log, without passwords; none: there is none yet.
    ///
    /// # Errors
    /// Its agent does not answer.
    pub async fn server_log(&self, id: InstanceId) -> Result<Option<String>, PlatformError> {
        let at = self.inner.agent_at(id)?;
        let text = self.inner.agents.log(&at).await;
        let text = text.map_err(|error| refused(&error))?;
        // A server is given no password that it could write down.
        Ok(text.map(|text| shown(&text, &ApplicationSecrets::new())))
    }

    /// The end of what an application's pods have printed, without the passwords that it was given;
    /// of several pods, by time, each line with its pod's name. None: there is no pod.
    ///
    /// # Errors
    /// The API server does not answer, or does not let Boma read it.
    pub async fn printed(
        &self,
        key: &ApplicationKey,
        which: Printed,
    ) -> Result<Option<String>, PlatformError> {
        self.inner.printed(key, which).await.map_err(boxed)
    }

    /// The delivered environment of an application.
    ///
    /// # Errors
    /// It was given none yet.
    pub fn environment(&self, key: &ApplicationKey) -> Result<ApplicationSecrets, PlatformError> {
        let (namespace, row) = self.inner.delivered(key).map_err(boxed)?;
        if row.delivered.is_none() {
            return Err(boxed(KubernetesError::NoEnvironment { key: key.clone() }));
        }
        Ok(self.inner.secrets_of(&namespace, &row))
    }
}

fn refused(error: &AgentError) -> PlatformError {
    Box::new(error.problem())
}

impl Inner {
    fn agent_of(&self, key: &DatabaseKey) -> Result<Address, PlatformError> {
        let one = self.registered_as(key).map_err(boxed)?;
        self.agent_at(one.row.id)
    }

    /// Where an agent is; else why its pod does not run.
    fn agent_at(&self, id: InstanceId) -> Result<Address, PlatformError> {
        if let Some(address) = self.attendance.address(id) {
            return Ok(address);
        }
        let one = self.registered_with(id).map_err(boxed)?;
        Err(Box::new(self.pod_trouble(&one).problem()))
    }

    /// What an application was given, as its pods read it now.
    pub(super) fn secrets_of(&self, namespace: &str, row: &ApplicationRow) -> ApplicationSecrets {
        let value = |variable: &Variable| match variable {
            Variable::Text(text) => Some(text.clone()),
            Variable::Secret { name, key } => {
                let secret = self.cluster.get(Kind::Secret, namespace, name)?;
                String::from_utf8(secret_entry(&secret, key)?).ok()
            }
        };
        let all = row.variables.iter();
        all.filter_map(|(name, one)| Some((name.clone(), Secret::new(value(one)?))))
            .collect()
    }

    async fn printed(
        &self,
        key: &ApplicationKey,
        which: Printed,
    ) -> Result<Option<String>, KubernetesError> {
        let Ok((namespace, row)) = self.delivered(key) else {
            return Ok(None);
        };
        let pods = self.pods_of(&namespace, key, which);
        let container = row.run.as_ref().and_then(|run| run.container.as_deref());
        let container = container.filter(|_| which == Printed::Program);
        let logs = pods
            .iter()
            .map(|pod| self.log_of(&namespace, pod, container));
        let mut printed = Vec::new();
        for (pod, log) in pods.iter().zip(join_all(logs).await) {
            printed.push((pod.name_any(), log?));
        }
        if printed.is_empty() {
            return Ok(None);
        }
        let secrets = self.secrets_of(&namespace, &row);
        Ok(Some(shown(&together(&printed), &secrets)))
    }

    /// The newest pods of an application, oldest first.
    fn pods_of(
        &self,
        namespace: &str,
        key: &ApplicationKey,
        which: Printed,
    ) -> Vec<std::sync::Arc<DynamicObject>> {
        let own = self.cluster.all(Kind::Pod).filter(|pod| {
            let labels = pod.labels();
            let part = labels.get(names::PART).map(String::as_str);
            let is_pre_deploy = part == Some(Part::PreDeploy.word());
            pod.namespace().as_deref() == Some(namespace)
                && labels.get(names::APPLICATION).map(String::as_str) == Some(&*key.name)
                && is_pre_deploy == (which == Printed::PreDeploy)
        });
        let mut pods: Vec<_> = own.collect();
        pods.sort_by_key(|pod| pod.creation_timestamp());
        let kept = if which == Printed::PreDeploy { 1 } else { PODS };
        pods.split_off(pods.len().saturating_sub(kept))
    }

    /// What a pod has printed; nothing: its container was not started yet.
    async fn log_of(
        &self,
        namespace: &str,
        pod: &DynamicObject,
        container: Option<&str>,
    ) -> Result<String, KubernetesError> {
        let name = pod.name_any();
        let pods = Api::<Pod>::namespaced(self.cluster.client.clone(), namespace);
        let first = pod.data["spec"]["containers"][0]["name"].as_str();
        let wanted = LogParams {
            container: container.or(first).map(str::to_owned),
            tail_lines: Some(LINES),
            limit_bytes: i64::try_from(END).ok(),
            timestamps: true,
            ..LogParams::default()
        };
        let read = pods.logs(&name, &wanted).await;
        let read = read.map_err(KubernetesError::api(format!(
            "read the log of pod {namespace}/{name}"
        )));
        match read {
            Err(error) if error.is_not_found() || error.is_bad_request() => Ok(String::new()),
            read => read,
        }
    }
}

/// What pods have printed, each line of which begins with its time: one text in the order of time,
/// without the times; where there are several pods, with their names.
fn together(printed: &[(String, String)]) -> String {
    let mut lines: Vec<(Timestamp, &str, &str)> = Vec::new();
    for (pod, text) in printed {
        let mut last = Timestamp::MIN;
        for line in text.lines() {
            // What is no line of the kubelet's goes with the one before.
            let timed = line
                .split_once(' ')
                .and_then(|(at, said)| Some((at.parse().ok()?, said)));
            let (at, said) = timed.unwrap_or((last, line));
            last = at;
            lines.push((at, pod, said));
        }
    }
    lines.sort_by_key(|(at, ..)| *at);
    let several = printed.len() > 1;
    let line = |(_, pod, said): (Timestamp, &str, &str)| {
        if several {
            format!("{pod}: {said}\n")
        } else {
            format!("{said}\n")
        }
    };
    lines.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_several_pods_are_in_the_order_of_time() {
        let log = |pod: &str, text: &str| (pod.to_owned(), text.to_owned());
        let one = log(
            "a",
            "2026-11-22T10:00:00.1Z one\n2026-11-22T10:00:02Z three\n",
        );
        let other = log("b", "2026-11-22T10:00:01Z two\nrest\n");
        assert_eq!(together(std::slice::from_ref(&one)), "one\nthree\n");
        assert_eq!(
            together(&[one, other]),
            "a: one\nb: two\nb: rest\na: three\n"
        );
    }
}
