//! What a pod says about why its agent does not answer.

use std::sync::Arc;

use boma_instance::{InstanceId, InstanceStatus, Phase};
use boma_problem::{Class, Problem};
use jiff::{SignedDuration, Timestamp};
use kube::core::DynamicObject;
use serde_json::Value;

/// How long a pod may take to start before it is taken for one that nobody waits for: that of a new
/// server waits for its volume, and may wait for its image.
const STARTS_WITHIN: SignedDuration = SignedDuration::from_mins(1);

/// How long after its time a pod may still be there: a kubelet takes volumes away before it says that
/// a pod is gone, and clocks differ.
const ENDS_WITHIN: SignedDuration = SignedDuration::from_mins(1);

/// Why nothing is known of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PodTrouble {
    /// There is no pod.
    #[error("the pod is not there yet")]
    NoPod,
    /// It may not be made.
    #[error("the pod could not be made: {0}")]
    NotMade(String),
    /// No node takes it.
    #[error("no node takes the pod: {0}")]
    Unschedulable(String),
    /// Its volume is not there.
    #[error("the volume is not there: {0}")]
    NoVolume(String),
    /// Its volume is being made, or never will be.
    #[error("storage class `{class}` has no volume for it yet: {why}")]
    VolumePending {
        /// The class.
        class: String,
        /// What the scheduler says.
        why: String,
    },
    /// An image cannot be had.
    #[error("image `{image}` cannot be pulled: {why}")]
    NoImage {
        /// Which.
        image: String,
        /// Why.
        why: String,
    },
    /// A container ends again and again.
    #[error("container `{container}` of the pod ends again and again: {why}")]
    Crashes {
        /// Which.
        container: String,
        /// How it ended.
        why: String,
    },
    /// It was just started.
    #[error("the pod is starting: {0}")]
    Starting(String),
    /// It is going away.
    #[error("the pod is ending")]
    Ending,
    /// Kubernetes does not hear from its node.
    #[error("node `{node}` is not heard from: whether the server still runs there, nobody knows")]
    NodeSilent {
        /// Which.
        node: String,
    },
    /// It should be gone, and its node has not said that it is.
    #[error("the pod should have ended at {at:.0}, and node `{node}` has not said that it did")]
    NotEnded {
        /// Which.
        node: String,
        /// When it should have been gone.
        at: Timestamp,
    },
}

impl PodTrouble {
    /// Whether nothing runs in the pod because of this, and nothing will until somebody does
    /// something about it. It is false of a pod of less than a minute.
    pub(super) fn keeps_down(&self, pod: Option<&DynamicObject>, now: Timestamp) -> bool {
        let is_old = pod.is_none_or(|pod| {
            let made = pod.metadata.creation_timestamp.as_ref();
            made.is_some_and(|made| now.duration_since(made.0) > STARTS_WITHIN)
        });
        match self {
            Self::NotMade(_)
            | Self::Unschedulable(_)
            | Self::NoVolume(_)
            | Self::VolumePending { .. }
            | Self::NoImage { .. }
            | Self::Crashes { .. } => is_old,
            Self::NoPod
            | Self::Starting(_)
            | Self::Ending
            | Self::NodeSilent { .. }
            | Self::NotEnded { .. } => false,
        }
    }

    /// Whether it is not the pod that is in trouble, but the node that it is on.
    pub(super) fn is_of_its_node(&self) -> bool {
        matches!(self, Self::NodeSilent { .. } | Self::NotEnded { .. })
    }

    /// As a problem.
    pub(crate) fn problem(&self) -> Problem {
        let of = |class, code| Problem::new(class, code, self.to_string());
        match self {
            Self::NoPod => of(Class::Transient, "pod-missing")
                .hint("`kubectl describe statefulset` shows what keeps it."),
            Self::NotMade(why) if why.contains("exceeded quota") => {
                of(Class::Transient, "quota-exceeded").hint(
                    "Raise the ResourceQuota of the namespace, or ask for less in the manifest.",
                )
            }
            Self::NotMade(_) => of(Class::Transient, "pod-refused").hint(
                "An admission policy of this cluster does not take it; \
                 `kubectl describe statefulset` shows what it says.",
            ),
            Self::Unschedulable(_) => of(Class::Transient, "pod-unschedulable")
                .hint("Add a node with room, or ask for less CPU and memory in the manifest."),
            Self::NoVolume(_) => of(Class::Config, "volume-missing").hint(
                "Mark a StorageClass as the cluster's default (`kubectl get storageclass`), or \
                 make a volume that fits.",
            ),
            Self::VolumePending { .. } => of(Class::Transient, "volume-pending").hint(
                "`kubectl get storageclass` names the classes that there are, and `kubectl \
                 describe pvc` shows what keeps the volume.",
            ),
            Self::NoImage { .. } => of(Class::Config, "image-not-pulled").hint(
                "Name an image that the nodes can pull under `[kubernetes]` in `config.toml`, and \
                 pull secrets where they are needed.",
            ),
            Self::Crashes { .. } => of(Class::Config, "pod-crashes")
                .hint("`kubectl logs --previous` shows what it said."),
            Self::Starting(_) => of(Class::Transient, "pod-starting")
                .hint("`kubectl describe pod` shows how far it is."),
            Self::Ending => {
                of(Class::Transient, "pod-ending").hint("Another one starts when it is gone.")
            }
            Self::NodeSilent { node } | Self::NotEnded { node, .. } => {
                of(Class::Transient, "node-lost")
                    .hint(format!(
                        "`kubectl describe node {node}` shows since when. The pod stays there: \
                         two servers on one volume would destroy it."
                    ))
                    .hint(format!(
                        "If that machine is off, and only then: `kubectl taint node {node} \
                         node.kubernetes.io/out-of-service=nodeshutdown:NoExecute`. The pod then \
                         starts on another node that can have its volume."
                    ))
            }
        }
    }
}

/// Why Kubernetes could not make a pod of an object, by the newest of its events.
pub(super) fn not_made(owner: &DynamicObject, events: &[Arc<DynamicObject>]) -> Option<PodTrouble> {
    let uid = owner.metadata.uid.as_deref()?;
    let own = events.iter().filter(|event| {
        event.data["involvedObject"]["uid"] == uid && event.data["reason"] == "FailedCreate"
    });
    let newest = own.max_by_key(|event| text(&event.data["lastTimestamp"]))?;
    Some(PodTrouble::NotMade(text(&newest.data["message"])))
}

/// What a pod says, as long as its agent does not.
pub(super) fn trouble(
    pod: Option<&DynamicObject>,
    claim: Option<&DynamicObject>,
    now: Timestamp,
) -> PodTrouble {
    let Some(pod) = pod else {
        return PodTrouble::NoPod;
    };
    if let Some(trouble) = of_node(pod, now) {
        return trouble;
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return PodTrouble::Ending;
    }
    let status = &pod.data["status"];
    let containers = ["initContainerStatuses", "containerStatuses"];
    let containers = containers
        .iter()
        .flat_map(|list| status[list].as_array().into_iter().flatten());
    for container in containers {
        if let Some(trouble) = of_container(container) {
            return trouble;
        }
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let unscheduled = conditions
        .filter(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False")
        .map(|condition| text(&condition["message"]))
        .next();
    if let Some(why) = unscheduled {
        return match claim {
            Some(claim) if claim.data["status"]["phase"] == "Pending" => volume(claim, why),
            Some(_) | None => PodTrouble::Unschedulable(why),
        };
    }
    PodTrouble::Starting(text(&status["phase"]).to_lowercase())
}

fn of_node(pod: &DynamicObject, now: Timestamp) -> Option<PodTrouble> {
    let node = pod.data["spec"]["nodeName"].as_str()?.to_owned();
    if let Some(at) = &pod.metadata.deletion_timestamp {
        let is_late = now.duration_since(at.0) > ENDS_WITHIN;
        return is_late.then_some(PodTrouble::NotEnded { node, at: at.0 });
    }
    let condition = |kind: &str| {
        let mut conditions = pod.data["status"]["conditions"].as_array()?.iter();
        conditions.find(|condition| condition["type"] == kind)
    };
    // The kubelet gives a reason when a pod is not ready. Who gives none is the node controller: it
    // says so of all pods of a node that it does not hear from.
    let is_unready = condition("Ready")?;
    let is_unready = is_unready["status"] == "False" && text(&is_unready["reason"]).is_empty();
    let was_ready = condition("ContainersReady")?["status"] == "True";
    (is_unready && was_ready).then_some(PodTrouble::NodeSilent { node })
}

fn volume(claim: &DynamicObject, why: String) -> PodTrouble {
    match claim.data["spec"]["storageClassName"].as_str() {
        None => PodTrouble::NoVolume("the cluster has no default StorageClass".to_owned()),
        // "unbound immediate PersistentVolumeClaims", "didn't find available persistent volumes". A
        // class may also wait for a node that takes the pod, and the scheduler has other reasons.
        Some(class) if why.to_lowercase().contains("persistent") => PodTrouble::VolumePending {
            class: class.to_owned(),
            why,
        },
        Some(_) => PodTrouble::Unschedulable(why),
    }
}

fn of_container(container: &Value) -> Option<PodTrouble> {
    let waiting = &container["state"]["waiting"];
    match waiting["reason"].as_str()? {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            Some(PodTrouble::NoImage {
                image: text(&container["image"]),
                why: text(&waiting["message"]),
            })
        }
        // The kubelet has not got a Secret or ConfigMap yet that is there: it tries again by itself.
        "CreateContainerConfigError"
            if text(&waiting["message"]).starts_with("failed to sync ") =>
        {
            Some(PodTrouble::Starting(text(&waiting["message"])))
        }
        "CrashLoopBackOff"
        | "CreateContainerError"
        | "RunContainerError"
        | "CreateContainerConfigError" => {
            let last = &container["lastState"]["terminated"];
            let why = match last["exitCode"].as_i64() {
                Some(code) => format!("exit code {code}"),
                None => text(&waiting["message"]),
            };
            Some(PodTrouble::Crashes {
                container: text(&container["name"]),
                why,
            })
        }
        _ => None,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A status that says only why there is none.
pub(super) fn unknown(id: InstanceId, problem: Problem, now: Timestamp) -> InstanceStatus {
    let phase = if super::installation::is_for_a_person(&problem) {
        Phase::Failed
    } else {
        Phase::Unknown
    };
    InstanceStatus {
        phase,
        problems: vec![problem],
        ..empty(id, now)
    }
}

/// The status of a server that was shut down for this generation and whose pod is gone.
pub(super) fn rested(id: InstanceId, generation: u64, now: Timestamp) -> InstanceStatus {
    InstanceStatus {
        accepted_generation: generation,
        converged_generation: generation,
        phase: Phase::Suspended,
        ..empty(id, now)
    }
}

fn empty(id: InstanceId, now: Timestamp) -> InstanceStatus {
    InstanceStatus {
        id,
        accepted_generation: 0,
        converged_generation: 0,
        phase: Phase::Unknown,
        observed_at: now,
        listen: None,
        server: None,
        storage: None,
        logins: Vec::new(),
        backup: None,
        corrections: Vec::new(),
        conditions: Vec::new(),
        problems: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
