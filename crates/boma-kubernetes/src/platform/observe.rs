//! Telling what exists, from what was heard of.

use std::collections::BTreeMap;
use std::time::Duration;

use boma_engine::authority::renewed_from;
use boma_engine::observed::{AgentState, Life, Observed, ObservedDatabase};
use boma_instance::{
    Assignment, Condition, Drift, InstanceStatus, OBJECTS_AS_MANIFEST, Phase, Power, Truth,
};
use jiff::Timestamp;
use kube::ResourceExt;

use super::Inner;
use super::attend::Said;
use super::databases::Registered;
use super::pods::{self, PodTrouble};
use super::put::RESTED;
use crate::build;
use crate::cluster::record;
use crate::desired::{Desired, Met, secret_entry};
use crate::error::KubernetesError;
use crate::kinds::Kind;
use crate::names::{self, Part};
use crate::records::{ApplicationRow, GrantRow};

/// How long is waited for agents that were never asked.
const FIRST_ANSWERS: Duration = Duration::from_secs(3);

impl Inner {
    pub(super) async fn observe(&self) -> Result<Observed, KubernetesError> {
        self.first_answers().await;
        let (mut databases, mut replacements) = (BTreeMap::new(), BTreeMap::new());
        for one in self.registered() {
            let wish = one.lineage.wish.as_ref();
            if let Some(wish) = wish.filter(|_| !names::is_beside(&one.row.key)) {
                replacements.insert(one.row.key.clone(), wish.clone());
            }
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
        let (secrets, secrets_without_value) = self.readable_secrets();
        Ok(Observed {
            source: self
                .known_installation()?
                .and_then(|installation| installation.source),
            capabilities: self.capabilities.clone(),
            databases,
            grants,
            applications,
            replacements,
            secrets,
            secrets_without_value,
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
        let objects = self.objects_of(&one);
        let storage_class = self.storage_class_of(&one);
        let listen = one
            .assignment
            .as_ref()
            .filter(|_| one.row.life != Life::Active || objects.is_some())
            .map(|assignment| assignment.placement.listen.clone());
        let agent = match agent {
            AgentState::Answering(mut status) => {
                // Its pod is still to be taken away, and nobody may be about to.
                let is_active = one.row.life == Life::Active;
                if status.phase == Phase::Suspended && is_active && !self.is_rested(&one) {
                    status.phase = Phase::Stopping;
                }
                status
                    .conditions
                    .extend(objects.as_deref().and_then(left_so));
                AgentState::Answering(status)
            }
            AgentState::Silent(problem) => match objects.as_deref().and_then(left_so) {
                Some(left) => AgentState::Silent(problem.hint(left.message)),
                None => AgentState::Silent(problem),
            },
            AgentState::Absent => AgentState::Absent,
        };
        ObservedDatabase {
            id: one.row.id,
            record: one.row.record,
            life: one.row.life,
            held: one.row.held,
            spec: one.assignment.map(|assignment| assignment.spec),
            listen,
            renew_at,
            storage_class,
            agent,
        }
    }

    /// The class of an instance's volume; none: there is no volume, or none of a class.
    fn storage_class_of(&self, one: &Registered) -> Option<String> {
        let claim = self
            .cluster
            .get(Kind::VolumeClaim, &one.namespace, &one.objects)?;
        claim.data["spec"]["storageClassName"]
            .as_str()
            .map(str::to_owned)
    }

    /// What was changed by hand in the objects of an instance and is left so; none: one is not as
    /// it should be. The instance counts as not placed then, and is put again.
    fn objects_of(&self, one: &Registered) -> Option<Vec<String>> {
        let assignment = one.assignment.as_ref()?;
        if !self.is_marked(one) {
            return None;
        }
        let mut left = Vec::new();
        for wanted in self.objects(one, assignment)? {
            let found = self
                .cluster
                .get(wanted.kind, &wanted.namespace, &wanted.name)?;
            let met = wanted.met_by(&found);
            if met != Met::Whole {
                let may = (assignment.spec.drift == Drift::Report).then_some(&met);
                left.push(may.and_then(|met| wanted.may_be_left(met))?);
            }
        }
        Some(left)
    }

    /// Every object of an instance as it should be; none: that cannot be told.
    fn objects(&self, one: &Registered, assignment: &Assignment) -> Option<Vec<Desired>> {
        let spec = &assignment.spec;
        let setting = self.setting(one, spec).ok()?;
        let secret = self
            .cluster
            .get(Kind::Secret, &one.namespace, &one.objects)?;
        let token = secret_entry(&secret, boma_instance::api::pod::TOKEN)?;
        let token = String::from_utf8(token).ok()?;
        let until = self.certificate_until(one)?;
        let is_good =
            renewed_from(until) > Timestamp::now() && self.has_its_repositories(assignment);
        is_good.then(|| {
            let mut objects = vec![
                build::volume_claim(&setting, spec),
                Self::instance_secret(&setting, assignment, &token, until),
                build::network_policy(&setting, spec),
                self.stateful_set(&setting, spec, one.row.life),
            ];
            if !names::is_beside(&one.row.key) {
                objects.push(build::service(&setting, spec));
            }
            objects.extend(build::service_account(&setting));
            objects
        })
    }

    /// Until when an instance's certificate is good; none: it has none.
    fn certificate_until(&self, one: &Registered) -> Option<Timestamp> {
        let secret = self
            .cluster
            .get(Kind::Secret, &one.namespace, &one.objects)?;
        let until = secret.annotations().get(build::CERTIFICATE_UNTIL)?;
        until.parse().ok()
    }

    /// What is known of an instance through its agent, or through what Kubernetes says of its pod.
    fn agent_state(&self, one: &Registered) -> AgentState {
        let Some(assignment) = &one.assignment else {
            return AgentState::Absent;
        };
        let said = self.attendance.said(one.row.id);
        if let Some(said @ Said::Status(_)) = said {
            return said.into();
        }
        // An agent on its way out does not answer any more, and its server is shut down.
        if let Some(status) = self.rested_status(one, assignment) {
            return AgentState::Answering(Box::new(status));
        }
        let trouble = self.pod_trouble(one);
        match said {
            // A whole node that is silent explains more than one agent that is.
            Some(said) if !trouble.is_of_its_node() => said.into(),
            Some(_) | None => AgentState::Silent(trouble.problem()),
        }
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

    /// A server that was shut down for its spec, and whose pod goes or is gone for that.
    fn rested_status(&self, one: &Registered, assignment: &Assignment) -> Option<InstanceStatus> {
        let generation = assignment.spec.generation;
        let pod = self
            .cluster
            .get(Kind::Pod, &one.namespace, &names::pod(&one.objects));
        let goes = pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some());
        (self.is_rested(one) && goes)
            .then(|| pods::rested(one.row.id, generation, Timestamp::now()))
    }

    /// Whether the StatefulSet is scaled to nothing because the server was shut down for its spec.
    pub(super) fn is_rested(&self, one: &Registered) -> bool {
        let Some(spec) = one.assignment.as_ref().map(|assignment| &assignment.spec) else {
            return false;
        };
        let found = self
            .cluster
            .get(Kind::StatefulSet, &one.namespace, &one.objects);
        found.is_some_and(|found| {
            spec.power == Power::Off
                && found.annotations().get(RESTED) == Some(&spec.generation.to_string())
                && found.data["spec"]["replicas"] == 0
        })
    }

    /// Whether a server that should be stopped has nobody who could stop it, and nothing to stop:
    /// its pod cannot start.
    pub(super) fn lies_idle(&self, one: &Registered) -> bool {
        let is_to_stop = one.row.life == Life::Active
            && one
                .assignment
                .as_ref()
                .is_some_and(|assignment| assignment.spec.power == Power::Off);
        if !is_to_stop || matches!(self.attendance.said(one.row.id), Some(Said::Status(_))) {
            return false;
        }
        let name = names::pod(&one.objects);
        let pod = self.cluster.get(Kind::Pod, &one.namespace, &name);
        let trouble = self.pod_trouble(one);
        trouble.keeps_down(pod.as_deref(), Timestamp::now())
    }

    pub(super) fn pod_trouble(&self, one: &Registered) -> PodTrouble {
        let found = |kind, name: &str| self.cluster.get(kind, &one.namespace, name);
        let pod = found(Kind::Pod, &names::pod(&one.objects));
        let claim = found(Kind::VolumeClaim, &one.objects);
        if pod.is_none() {
            let owner = found(Kind::StatefulSet, &one.objects);
            let events: Vec<_> = self.cluster.all(Kind::Event).collect();
            if let Some(trouble) = owner.and_then(|owner| pods::not_made(&owner, &events)) {
                return trouble;
            }
        }
        pods::trouble(pod.as_deref(), claim.as_deref(), Timestamp::now())
    }
}

/// The condition that says what is left as somebody changed it; none: nothing is.
fn left_so(left: &[String]) -> Option<Condition> {
    (!left.is_empty()).then(|| Condition {
        kind: OBJECTS_AS_MANIFEST.into(),
        status: Truth::False,
        reason: "ChangedByHand".into(),
        message: format!(
            "changed by hand in the cluster, and left so because of `drift: report`: {}",
            left.join("; ")
        ),
    })
}
