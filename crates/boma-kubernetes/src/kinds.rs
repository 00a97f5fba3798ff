//! The kinds of objects that Boma writes or watches.

use kube::core::ApiResource;

use crate::cache::Many;

/// One kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// One for each project and environment.
    Namespace,
    /// What is recorded, what pods mount, what applications are given.
    Secret,
    /// What clients connect to.
    Service,
    /// The data.
    VolumeClaim,
    /// One for each server.
    StatefulSet,
    /// Who may reach a server.
    NetworkPolicy,
    /// What runs; written by Kubernetes.
    Pod,
    /// An application: one that Boma makes, or one that others make and Boma attaches to.
    Deployment,
    /// An application that others make and Boma attaches to.
    DaemonSet,
    /// A command of an application that runs to its end.
    Job,
    /// What pods of databases are to the cloud.
    ServiceAccount,
    /// What Kubernetes says of pods that it could not make; only read.
    Event,
}

impl Kind {
    /// All of them; the number of each is its place.
    pub(crate) const ALL: [Self; 12] = [
        Self::Namespace,
        Self::Secret,
        Self::Service,
        Self::VolumeClaim,
        Self::StatefulSet,
        Self::NetworkPolicy,
        Self::Pod,
        Self::Deployment,
        Self::DaemonSet,
        Self::Job,
        Self::ServiceAccount,
        Self::Event,
    ];

    /// How many of it there are.
    pub(crate) fn many(self) -> Many {
        match self {
            Self::Namespace | Self::Job | Self::ServiceAccount | Self::Event => Many::Few,
            Self::Secret
            | Self::Service
            | Self::VolumeClaim
            | Self::StatefulSet
            | Self::NetworkPolicy
            | Self::Pod
            | Self::Deployment
            | Self::DaemonSet => Many::Many,
        }
    }

    /// Its place in [`Kind::ALL`].
    pub(crate) fn place(self) -> usize {
        self as usize
    }

    /// Group, version and path.
    pub(crate) fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::VolumeClaim => ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
            Self::StatefulSet => ("apps", "v1", "StatefulSet", "statefulsets"),
            Self::NetworkPolicy => (
                "networking.k8s.io",
                "v1",
                "NetworkPolicy",
                "networkpolicies",
            ),
            Self::Pod => ("", "v1", "Pod", "pods"),
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::DaemonSet => ("apps", "v1", "DaemonSet", "daemonsets"),
            Self::Job => ("batch", "v1", "Job", "jobs"),
            Self::ServiceAccount => ("", "v1", "ServiceAccount", "serviceaccounts"),
            Self::Event => ("", "v1", "Event", "events"),
        };
        let api_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version,
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_at_its_place() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.place(), place);
        }
    }
}
