//! What an operator may set.

use std::collections::BTreeMap;

use boma_engine::observed::ServerBuild;
use boma_instance::MajorVersion;
use boma_instance::Secret;
use boma_instance::backup::RepositoryLocation;
use boma_problem::Problem;

/// How a cluster is used.
#[derive(Clone, Debug)]
pub struct KubernetesConfig {
    /// Namespace of Boma itself.
    pub namespace: String,
    /// The image that holds this program.
    pub agent_image: String,
    /// PostgreSQL's images, by major version.
    pub images: BTreeMap<MajorVersion, String>,
    /// What the PostgreSQL in them can do.
    pub builds: Vec<ServerBuild>,
    /// User and group that servers run as.
    pub user: u32,
    /// Names of Secrets to pull images with, in each project's namespace.
    pub pull_secrets: Vec<String>,
    /// What pods of databases are to the cloud; none: nothing.
    pub identity: Option<Identity>,
    /// Repositories of backups, by name.
    pub repositories: BTreeMap<String, RepositoryConfig>,
    /// Makes the key of a new repository.
    pub new_key: Option<NewKey>,
    /// How agents are reached.
    pub road: Road,
}

/// Makes the key of a new repository.
pub type NewKey = fn() -> Result<Secret<String>, Box<Problem>>;

/// A repository of backups.
#[derive(Clone, Debug)]
pub struct RepositoryConfig {
    /// Where it is.
    pub location: RepositoryLocation,
    /// zstd level.
    pub compression_level: u8,
    /// The Secret in Boma's namespace that holds what lets into it; none: that stands in the
    /// location, or follows from the pod's identity.
    pub secret: Option<String>,
}

/// What pods of databases are to the cloud, which lets them into an object store by that.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The service account that Boma makes in each project's namespace. Pods get no token of it;
    /// clouds hand out their own.
    pub service_account: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Labels of the pods.
    pub pod_labels: BTreeMap<String, String>,
}

/// How agents are reached. On both roads the same TLS connection is made and verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// At the pod's address: in the cluster.
    Direct,
    /// Through the API server, as `kubectl port-forward` does: from anywhere.
    Forwarded,
}
