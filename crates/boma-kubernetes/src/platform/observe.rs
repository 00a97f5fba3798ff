//! Telling what exists, from what was heard of.

use std::collections::BTreeMap;
use std::time::Duration;

use boma_engine::authority::renewed_from;
use boma_engine::observed::{AgentState, Life, Observed, ObservedDatabase};
use boma_instance::{Assignment, InstanceStatus, Power};
use jiff::Timestamp;
use kube::ResourceExt;

use super::Inner;
use super::attend::Said;
use super::databases::Registered;
use super::pods::{self, PodTrouble};
use super::put::RESTED;
use crate::build;
use crate::cluster::record;
use crate::desired::{Desired, secret_entry};
use crate::error::KubernetesError;
use crate::kinds::Kind;
use crate::names::{self, Part};
use crate::records::{ApplicationRow, GrantRow};

/// How long is waited for agents that were never asked.
const FIRST_ANSWERS: Duration = Duration::from_secs(3);

impl Inner {
    pub(super) async fn observe(&self) -> Result<Observed, KubernetesError> {
        self.first_answers().await;
        let mut databases = BTreeMap::new();
        for one in self.registered() {
            databases.insert(one.row.key.clone(), self.observed_database(one));
        }
        let mut grants = BTreeMap::new();
        for secret in self.secrets(Part::Grant) {
            match record::<GrantRow>(&secret) {
                Ok(row) => {
                    grants.insert(row.key(), row.observed());
                }
                Err(error) => tracing::error!(%error, "a grant is passed over"),
            }
        }
        let mut applications = BTreeMap::new();
        for secret in self.secrets(Part::Application) {
            let namespace = secret.namespace().unwrap_or_default();
            match record::<ApplicationRow>(&secret) {
                Ok(row) => {
                    let key = row.key.clone();
                    applications.insert(key, self.observed_application(&namespace, row));
                }
                Err(error) => tracing::error!(%error, "an application is passed over"),
            }
        }
        Ok(Observed {
            source: self
                .known_installation()?
                .and_then(|installation| installation.source),
            capabilities: self.capabilities.clone(),
            databases,
            grants,
            applications,
            // Nobody can wish for one here.
            replacements: BTreeMap::new(),
        })
    }

    /// Waits a moment for agents that were never asked: right after the start.
    async fn first_answers(&self) {
        let mut news = self.attendance.news();
        let whole = async {
            while !self.attendance.is_whole() {
                if news.changed().await.is_err() {
                    return;
                }
            }
        };
        // Those that do not answer are silent, and shown to be.
        drop(tokio::time::timeout(FIRST_ANSWERS, whole).await);
    }

    fn observed_database(&self, one: Registered) -> ObservedDatabase {
        let agent = self.agent_state(&one);
        let renew_at = self.certificate_until(&one).map(renewed_from);
        let listen = one
            .assignment
            .as_ref()
            .filter(|assignment| one.row.life != Life::Active || self.is_whole(&one, assignment))
            .map(|assignment| assignment.placement.listen.clone());
        ObservedDatabase {
            id: one.row.id,
            record: one.row.record,
            life: one.row.life,
            held: one.row.held,
            spec: one.assignment.map(|assignment| assignment.spec),
            listen,
            renew_at,
            agent,
        }
    }

    /// Whether every object of an instance is as it should be. Where one is not, the instance
    /// counts as not placed, and is put again.
    fn is_whole(&self, one: &Registered, assignment: &Assignment) -> bool {
        let Some(wanted) = self.objects(one, assignment) else {
            return false;
        };
        wanted.iter().all(|wanted| {
            let found = self
                .cluster
                .get(wanted.kind, &wanted.namespace, &wanted.name);
            found.is_some_and(|found| wanted.is_met_by(&found))
        })
    }

    /// Every object of an instance as it should be; none: that cannot be told.
    fn objects(&self, one: &Registered, assignment: &Assignment) -> Option<Vec<Desired>> {
        let spec = &assignment.spec;
        let setting = self.setting(&one.row.key, &one.namespace, spec).ok()?;
        let name = names::instance(&one.row.key);
        let secret = self.cluster.get(Kind::Secret, &one.namespace, &name)?;
        let token = secret_entry(&secret, boma_instance::api::pod::TOKEN)?;
        let token = String::from_utf8(token).ok()?;
        let until = self.certificate_until(one)?;
        let is_good = renewed_from(until) > Timestamp::now();
        is_good.then(|| {
            vec![
                build::service(&setting),
                build::volume_claim(&setting, spec),
                Self::instance_secret(&setting, assignment, &token, until),
                build::network_policy(&setting, spec),
                self.stateful_set(&setting, spec, one.row.life),
            ]
        })
    }

    /// Until when an instance's certificate is good; none: it has none.
    fn certificate_until(&self, one: &Registered) -> Option<Timestamp> {
        let name = names::instance(&one.row.key);
        let secret = self.cluster.get(Kind::Secret, &one.namespace, &name)?;
        let until = secret.annotations().get(build::CERTIFICATE_UNTIL)?;
        until.parse().ok()
    }

    /// What is known of an instance through its agent, or through what Kubernetes says of its pod.
    fn agent_state(&self, one: &Registered) -> AgentState {
        let Some(assignment) = &one.assignment else {
            return AgentState::Absent;
        };
        if let Some(said) = self.attendance.said(one.row.id) {
            return match said {
                Said::Nothing | Said::Status(_) | Said::Silence(_) => said.into(),
            };
        }
        if let Some(status) = self.rested_status(one, assignment) {
            return AgentState::Answering(Box::new(status));
        }
        AgentState::Silent(self.pod_trouble(one).problem())
    }

    /// The status of an instance, however it is known.
    pub(super) fn status_of(&self, one: &Registered) -> InstanceStatus {
        match self.agent_state(one) {
            AgentState::Answering(status) => *status,
            AgentState::Silent(problem) => pods::unknown(one.row.id, problem, Timestamp::now()),
            AgentState::Absent => {
                let problem = PodTrouble::NoPod.problem();
                pods::unknown(one.row.id, problem, Timestamp::now())
            }
        }
    }

    /// A server that was shut down for its spec, and whose pod is gone for that.
    fn rested_status(&self, one: &Registered, assignment: &Assignment) -> Option<InstanceStatus> {
        let spec = &assignment.spec;
        let name = names::instance(&one.row.key);
        let found = self.cluster.get(Kind::StatefulSet, &one.namespace, &name)?;
        let generation = spec.generation.to_string();
        let is_rested = spec.power == Power::Off
            && found.annotations().get(RESTED) == Some(&generation)
            && found.data["spec"]["replicas"] == 0;
        let pod = self
            .cluster
            .get(Kind::Pod, &one.namespace, &names::pod(&one.row.key));
        (is_rested && pod.is_none())
            .then(|| pods::rested(one.row.id, spec.generation, Timestamp::now()))
    }

    fn pod_trouble(&self, one: &Registered) -> PodTrouble {
        let (namespace, key) = (&one.namespace, &one.row.key);
        let pod = self.cluster.get(Kind::Pod, namespace, &names::pod(key));
        let claim = self
            .cluster
            .get(Kind::VolumeClaim, namespace, &names::instance(key));
        if pod.is_none() {
            let name = names::instance(key);
            let owner = self.cluster.get(Kind::StatefulSet, namespace, &name);
            let events = self.cluster.all(Kind::Event);
            if let Some(trouble) = owner.and_then(|owner| pods::not_made(&owner, &events)) {
                return trouble;
            }
        }
        pods::trouble(pod.as_deref(), claim.as_deref())
    }
}
