//! Making, changing and awaiting instances.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use boma_engine::authority::renewed_from;
use boma_engine::catalog::Subject;
use boma_engine::happened;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::Life;
use boma_engine::platform::{Event, PlatformError};
use boma_instance::{
    Assignment, Drift, InstanceId, InstanceSpec, InstanceStatus, Listen, Phase, Placement, Power,
    TlsMaterial,
};
use boma_problem::IntoProblem;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use tokio::time::Instant;

use super::Inner;
use super::databases::Registered;
use super::installation::is_for_a_person;
use crate::agent::Address;
use crate::build::{self, Setting};
use crate::desired::{Desired, Met, secret_entry};
use crate::error::{KubernetesError, boxed};
use crate::kinds::Kind;
use crate::names;

/// How long an agent may take to look at its server.
const LOOK_PATIENCE: Duration = Duration::from_secs(90);

/// Annotation of a StatefulSet that is scaled to nothing because its server is suspended: the
/// generation of the spec that the server was shut down for.
pub(super) const RESTED: &str = "lowops.manifests/rested";

impl Inner {
    /// What the objects of a database are made of.
    pub(super) fn setting<'a>(
        &'a self,
        one: &'a Registered,
        spec: &InstanceSpec,
    ) -> Result<Setting<'a>, KubernetesError> {
        let image = self.config.images.get(&spec.version);
        Ok(Setting {
            key: &one.row.key,
            objects: &one.objects,
            namespace: &one.namespace,
            home: &self.config.namespace,
            image: image.ok_or(KubernetesError::NoImage(spec.version))?,
            agent_image: &self.config.agent_image,
            user: self.config.user,
            pull_secrets: &self.config.pull_secrets,
            identity: self.config.identity.as_ref(),
        })
    }

    /// Makes everything about an instance as its spec says; the volume before what says how large
    /// it is, who may enter before anybody can, and the server last.
    pub(super) async fn put(
        &self,
        key: &DatabaseKey,
        spec: &InstanceSpec,
    ) -> Result<Listen, PlatformError> {
        let one = self.registered_as(key).map_err(boxed)?;
        check(&one, spec).map_err(boxed)?;
        self.check_volume(&one, spec).map_err(boxed)?;
        let place = (one.namespace.as_str(), key);
        self.refuse_stranger(place, Some(&one.lineage), spec.id)
            .map_err(boxed)?;
        let setting = self.setting(&one, spec).map_err(boxed)?;
        let apply = async |wanted: &Desired| self.apply_unless_left(key, wanted, spec.drift).await;
        let claim = async {
            let claim = build::volume_claim(&setting, spec);
            self.claim_beside(&one, &claim).await?;
            apply(&claim).await?;
            self.mark(&one).await
        };
        let service = async {
            if names::is_beside(key) {
                return self.service_of(&one);
            }
            apply(&build::service(&setting, spec)).await
        };
        let (service, claim) = tokio::join!(service, claim);
        claim.map_err(boxed)?;
        let listen = listen(key, &one.namespace, &*service.map_err(boxed)?).map_err(boxed)?;
        let assignment = self.assign(&setting, &one, spec, listen.clone()).await?;
        let policy = build::network_policy(&setting, spec);
        apply(&policy).await.map_err(boxed)?;
        if let Some(account) = build::service_account(&setting) {
            apply(&account).await.map_err(boxed)?;
        }
        let server = self.stateful_set(&setting, spec, Life::Active);
        apply(&server).await.map_err(boxed)?;
        // A pod that runs is told at once; one that starts reads it from its Secret.
        if let Some(address) = self.attendance.address(spec.id) {
            match self.agents.assign(&address, &assignment).await {
                Ok(_accepted) => {}
                Err(crate::agent::AgentError::Refused(problem)) => return Err(problem),
                Err(error) => {
                    tracing::debug!(%error, "the agent is told when it answers again");
                }
            }
        }
        Ok(listen)
    }

    /// Makes an object so, and tells if that takes back what somebody has changed by hand; where
    /// the manifest says so, that is left.
    async fn apply_unless_left(
        &self,
        key: &DatabaseKey,
        wanted: &Desired,
        drift: Drift,
    ) -> Result<Arc<DynamicObject>, KubernetesError> {
        let found = self
            .cluster
            .get(wanted.kind, &wanted.namespace, &wanted.name);
        let Some(found) = found else {
            return self.cluster.apply(wanted).await;
        };
        let met = wanted.met_by(&found);
        if drift == Drift::Report && wanted.may_be_left(&met).is_some() {
            return Ok(found);
        }
        let applied = self.cluster.apply(wanted).await?;
        if let Met::ChangedByHand(fields) = met {
            let (kind, name, fields) = (wanted.kind, &wanted.name, fields.join(", "));
            let what = format!("{kind:?} {name}: {}", fields.trim_start_matches('.'));
            let event = Event {
                at: Timestamp::now(),
                subject: Subject::from(key).to_string(),
                reason: happened::CORRECTED.to_owned(),
                message: format!("changed by hand, and put right: {what}"),
                warning: true,
            };
            if let Err(problem) = Box::pin(self.tell(&event)).await {
                tracing::warn!(%problem, subject = %event.subject, "an event is not written");
            }
        }
        Ok(applied)
    }

    /// The Service of the database that one stands beside: it is reached there once it has taken
    /// its place, and nowhere before.
    fn service_of(&self, one: &Registered) -> Result<Arc<DynamicObject>, KubernetesError> {
        let name = names::service(&one.row.key);
        let found = self.cluster.get(Kind::Service, &one.namespace, &name);
        found.ok_or_else(|| KubernetesError::NoAddress {
            namespace: one.namespace.clone(),
            name,
        })
    }

    /// Makes the volume of what stands beside a database, if there is none: with its mark from the
    /// first moment on, so that it is never taken for the volume of the database.
    async fn claim_beside(&self, one: &Registered, claim: &Desired) -> Result<(), KubernetesError> {
        let found = self.cluster.get(claim.kind, &claim.namespace, &claim.name);
        if found.is_none() && names::is_beside(&one.row.key) {
            let marked = claim.clone();
            let marked = marked.annotation(names::BESIDE, one.row.key.to_string());
            self.cluster.create(&marked).await?;
        }
        Ok(())
    }

    /// Whether volume claims say what their instances are to the database.
    pub(super) fn is_marked(&self, one: &Registered) -> bool {
        one.lineage.marks().iter().all(|(name, beside)| {
            let claim = self.cluster.get(Kind::VolumeClaim, &one.namespace, name);
            claim.is_none_or(|claim| says(&claim, beside.as_ref()))
        })
    }

    /// Writes on volume claims what their instances are to the database, for when the record is
    /// lost. What changed places without being told of here is told of by this.
    async fn mark(&self, one: &Registered) -> Result<(), KubernetesError> {
        for (name, beside) in &one.lineage.marks() {
            let claim = self.cluster.get(Kind::VolumeClaim, &one.namespace, name);
            let wrong = claim.filter(|claim| !says(claim, beside.as_ref()));
            if let Some(claim) = wrong {
                let value = beside.as_ref().map(ToString::to_string);
                let mark = (names::BESIDE, value.as_deref());
                self.cluster
                    .annotate(Kind::VolumeClaim, &claim, mark)
                    .await?;
            }
        }
        Ok(())
    }

    /// A claim of that name must be this instance's, and must stay.
    fn check_volume(&self, one: &Registered, spec: &InstanceSpec) -> Result<(), KubernetesError> {
        let name = one.objects.clone();
        let Some(claim) = self.cluster.get(Kind::VolumeClaim, &one.namespace, &name) else {
            return Ok(());
        };
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(KubernetesError::VolumeEnds {
                namespace: one.namespace.clone(),
                name,
            });
        }
        let label = claim.labels().get(names::INSTANCE_ID);
        let given = label.and_then(|id| id.parse().ok()).map(InstanceId);
        match given {
            Some(given) if given != spec.id => Err(KubernetesError::OtherId {
                key: one.row.key.clone(),
                id: spec.id,
                given,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Writes what the instance's pod mounts: the spec, and what it is reached and known by.
    async fn assign(
        &self,
        setting: &Setting<'_>,
        one: &Registered,
        spec: &InstanceSpec,
        listen: Listen,
    ) -> Result<Assignment, PlatformError> {
        let found = self
            .cluster
            .get(Kind::Secret, &one.namespace, setting.objects);
        let token = found
            .as_deref()
            .and_then(|secret| secret_entry(secret, boma_instance::api::pod::TOKEN))
            .and_then(|token| String::from_utf8(token).ok())
            .filter(|token| !token.is_empty());
        let token = match token {
            Some(token) => token,
            None => Self::random_token().map_err(boxed)?,
        };
        let former = found.as_deref().and_then(|secret| {
            let until = secret.annotations().get(build::CERTIFICATE_UNTIL)?;
            until.parse::<Timestamp>().ok()
        });
        let kept = one
            .assignment
            .as_ref()
            .and_then(|assignment| assignment.placement.tls.clone());
        let (tls, until) = self
            .certificate(spec.id, &listen, kept.zip(former))
            .await
            .map_err(boxed)?;
        let assignment = Assignment {
            spec: spec.clone(),
            placement: Placement {
                listen,
                // Pods have addresses of one family or of both; this one takes what comes.
                bind: Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                tls: Some(tls),
                repositories: self.repositories(spec, one.assignment.as_ref()).await?,
            },
        };
        let secret = Self::instance_secret(setting, &assignment, &token, until);
        self.cluster.apply(&secret).await.map_err(boxed)?;
        Ok(assignment)
    }

    /// The Secret of an instance.
    pub(super) fn instance_secret(
        setting: &Setting<'_>,
        assignment: &Assignment,
        token: &str,
        until: Timestamp,
    ) -> Desired {
        // A spec is plain data: there is nothing in it that JSON could not hold.
        let bytes = serde_json::to_vec(assignment).unwrap_or_default();
        build::secret(setting, &bytes, assignment, token)
            .annotation(build::CERTIFICATE_UNTIL, until.to_string())
    }

    /// The certificate that the instance has while it is still right, or else a new one.
    async fn certificate(
        &self,
        id: InstanceId,
        listen: &Listen,
        former: Option<(TlsMaterial, Timestamp)>,
    ) -> Result<(TlsMaterial, Timestamp), KubernetesError> {
        let now = Timestamp::now();
        let installation = self.installation().await?;
        if let Some((tls, until)) = former
            && tls.authority == installation.authority
            && renewed_from(until) > now
        {
            return Ok((tls, until));
        }
        let mut subjects = vec![names::agent(id)];
        subjects.extend(listen.names.iter().cloned());
        Ok(installation.authority().issue(&subjects, now)?)
    }

    /// The StatefulSet, scaled to nothing where nothing should run.
    pub(super) fn stateful_set(
        &self,
        setting: &Setting<'_>,
        spec: &InstanceSpec,
        life: Life,
    ) -> Desired {
        let generation = spec.generation.to_string();
        let found = self
            .cluster
            .get(Kind::StatefulSet, setting.namespace, setting.objects);
        let is_rested = spec.power == Power::Off
            && found.is_some_and(|found| found.annotations().get(RESTED) == Some(&generation));
        let runs = life == Life::Active && !is_rested;
        let wanted = build::stateful_set(setting, spec, u8::from(runs));
        if is_rested {
            wanted.annotation(RESTED, generation)
        } else {
            wanted
        }
    }

    /// Takes the pod of a server away that was shut down for its spec.
    pub(super) async fn scale_down(
        &self,
        one: &Registered,
        assignment: &Assignment,
    ) -> Result<(), KubernetesError> {
        let spec = &assignment.spec;
        let setting = self.setting(one, spec)?;
        let wanted =
            build::stateful_set(&setting, spec, 0).annotation(RESTED, spec.generation.to_string());
        self.cluster.apply(&wanted).await?;
        Ok(())
    }

    pub(super) async fn await_generation(
        &self,
        id: InstanceId,
        generation: u64,
        patience: Duration,
    ) -> Result<InstanceStatus, PlatformError> {
        let until = Instant::now() + patience;
        let (mut cluster, mut agents) = (self.cluster.news(), self.attendance.news());
        let mut told = None;
        let key = self.registered_with(id).map_err(boxed)?.row.key;
        let waiting = self.waiting.one_more();
        loop {
            // Thousands may wait: what is seen is in none of their futures, and gone while they do.
            let seen = Box::pin(self.sight(&key, (id, generation), &mut told));
            let (status, is_over) = seen.await?;
            if is_over || Instant::now() >= until {
                return Ok(*status);
            }
            drop(status);
            // What comes meanwhile is heard of by all that wait, and looked at by each once.
            let left = until.saturating_duration_since(Instant::now());
            let pause = waiting.pause().min(left);
            tokio::time::sleep(pause).await;
            tokio::select! {
                // All are cancel-safe: they only wait.
                _ = cluster.changed() => {}
                _ = agents.changed() => {}
                () = tokio::time::sleep(left.saturating_sub(pause).min(waiting.without_news())) => {}
            }
            cluster.mark_unchanged();
            agents.mark_unchanged();
        }
    }

    /// Looks at an instance that is waited for, and does what its state asks for; answers with its
    /// status, and whether there is nothing more to wait for.
    async fn sight(
        &self,
        key: &DatabaseKey,
        (id, generation): (InstanceId, u64),
        told: &mut Option<Address>,
    ) -> Result<(Box<InstanceStatus>, bool), PlatformError> {
        let one = self.registered_as(key).map_err(boxed)?;
        if one.row.id != id {
            return Err(boxed(KubernetesError::UnknownInstance { id }));
        }
        let status = Box::new(self.status_of(&one));
        let is_there = boma_engine::is_settled(&status, generation);
        if is_there && status.phase == Phase::Suspended {
            self.rest(&one).await.map_err(boxed)?;
        } else if self.lies_idle(&one) {
            // It is suspended when its pod is gone. Were it about to start after all, it would be
            // told to end in good order, as any pod is.
            if !self.is_rested(&one) {
                self.rest(&one).await.map_err(boxed)?;
            }
            return Ok((status, false));
        }
        let is_known = status.accepted_generation >= generation;
        let is_stuck = matches!(status.phase, Phase::Failed | Phase::Degraded)
            && status.problems.iter().any(is_for_a_person);
        if is_there || is_stuck {
            return Ok((status, true));
        }
        // It started with what its Secret held a moment ago.
        let address = self.attendance.address(id);
        if let (false, Some(address), Some(assignment)) = (is_known, address, &one.assignment)
            && told.as_ref() != Some(&address)
            && self.agents.assign(&address, assignment).await.is_ok()
        {
            *told = Some(address);
        }
        Ok((status, false))
    }

    /// Takes the pod of a suspended server away; its volume stays.
    async fn rest(&self, one: &Registered) -> Result<(), KubernetesError> {
        match &one.assignment {
            Some(assignment) if assignment.spec.power == Power::Off => {
                self.scale_down(one, assignment).await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Lets the agent look now, and tells what it saw.
    pub(super) async fn look(&self, id: InstanceId) -> Result<InstanceStatus, PlatformError> {
        let Some(address) = self.attendance.address(id) else {
            let one = self.registered_with(id).map_err(boxed)?;
            return Ok(self.status_of(&one));
        };
        let asked_at = Timestamp::now();
        let problem = |error: crate::agent::AgentError| Box::new(error.problem());
        self.agents.look(&address).await.map_err(problem)?;
        let until = Instant::now() + LOOK_PATIENCE;
        let mut after = 0;
        loop {
            let wait = Duration::from_secs(u64::from(after != 0));
            let answer = self.agents.status(&address, after, wait).await;
            let reported = answer.map_err(problem)?;
            // Clocks of two machines differ by less than what a look is repeated after.
            let is_new = reported.status.observed_at >= asked_at || after != 0;
            if is_new || Instant::now() >= until {
                return Ok(reported.status);
            }
            after = reported.serial;
        }
    }
}

/// Whether a volume claim says this of its instance.
fn says(claim: &DynamicObject, beside: Option<&DatabaseKey>) -> bool {
    let said = claim.annotations().get(names::BESIDE);
    said == beside.map(ToString::to_string).as_ref()
}

/// Whether a spec fits the database that it is handed over for.
fn check(one: &Registered, spec: &InstanceSpec) -> Result<(), KubernetesError> {
    let key = one.row.key.clone();
    if one.row.id != spec.id {
        return Err(KubernetesError::OtherId {
            key,
            id: spec.id,
            given: one.row.id,
        });
    }
    if one.row.purging {
        return Err(KubernetesError::BeingPurged { key });
    }
    match &one.assignment {
        Some(stored) if stored.spec.generation > spec.generation => {
            Err(KubernetesError::OlderGeneration {
                key,
                stored: stored.spec.generation,
                given: spec.generation,
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// Where clients reach the database.
fn listen(
    key: &DatabaseKey,
    namespace: &str,
    service: &kube::core::DynamicObject,
) -> Result<Listen, KubernetesError> {
    let address = service.data.pointer("/spec/clusterIP");
    let address = address.and_then(|address| address.as_str()?.parse().ok());
    let address = address.ok_or_else(|| KubernetesError::NoAddress {
        namespace: namespace.to_owned(),
        name: service.name_any(),
    })?;
    Ok(Listen {
        address,
        port: build::PORT,
        names: names::hosts(&names::base(key), namespace),
    })
}
