//! What hinders, and what to do about it.

use boma_engine::authority::CertificateError;
use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey};
use boma_engine::platform::PlatformError;
use boma_instance::InstanceId;
use boma_problem::{Class, IntoProblem, Problem};

use crate::credentials::RepositoryError;
use crate::platform::SecretError;

/// What to do about a claim that goes away under a database.
const VOLUME_ENDS: &str = "Its data is there as long as the pod uses it: take a backup now, and see \
    to it that the volume's reclaim policy is Retain. A claim that is being deleted cannot be kept.";

/// What to do about the claim of a purged database that does not go.
const CLAIM_LEFT: &str = "A pod still uses it, or a finalizer holds it: `kubectl describe pvc` says \
    which. Then purge again; what is destroyed already stays so.";

/// What to do where a password is another one by now.
const EXCHANGED: &str = "Another engine has exchanged it. Plan again.";

/// Why something could not be carried out on Kubernetes.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// No cluster is known.
    #[error("find out which Kubernetes cluster is meant")]
    Configuration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The API server answered with an error, or not at all.
    #[error("{doing}")]
    Api {
        /// A verb phrase.
        doing: String,
        /// What it said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The first lists did not come.
    #[error("the API server did not list the objects of Boma within {0} s")]
    NotListed(u64),
    /// What is stored cannot be read.
    #[error("read the record in Secret {namespace}/{name}")]
    Record {
        /// Where.
        namespace: String,
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Somebody changes the same record all the time.
    #[error("Secret {namespace}/{name} is changed by somebody else again and again")]
    Contended {
        /// Where.
        namespace: String,
        /// Which.
        name: String,
    },
    /// Both namespaces that the project may have are somebody else's.
    #[error("namespaces {names} exist and are not Boma's")]
    NamespacesTaken {
        /// Which.
        names: String,
    },
    /// Something else changes an object while it is written.
    #[error("{what} is not as it was written")]
    NotKept {
        /// Kind, namespace and name.
        what: String,
    },
    /// Somebody deleted a volume.
    #[error("volume claim {namespace}/{name} is being deleted")]
    VolumeEnds {
        /// Where.
        namespace: String,
        /// Which.
        name: String,
    },
    /// There is no such database.
    #[error("no database {key} is registered")]
    UnknownDatabase {
        /// Which.
        key: DatabaseKey,
    },
    /// There is no such instance.
    #[error("no instance {id} is registered")]
    UnknownInstance {
        /// Which.
        id: InstanceId,
    },
    /// The database has another instance.
    #[error("database {key} has instance {given}, not {id}")]
    OtherId {
        /// Which database.
        key: DatabaseKey,
        /// What was said.
        id: InstanceId,
        /// What it has.
        given: InstanceId,
    },
    /// A newer spec is stored.
    #[error("generation {given} of {key} is older than the stored generation {stored}")]
    OlderGeneration {
        /// Which database.
        key: DatabaseKey,
        /// What is stored.
        stored: u64,
        /// What was given.
        given: u64,
    },
    /// It is on its way to be purged.
    #[error("database {key} is being purged")]
    BeingPurged {
        /// Which.
        key: DatabaseKey,
    },
    /// What it is to be purged of is still there.
    #[error("volume claim {namespace}/{name} of database {key} was deleted, and is still there")]
    ClaimLeft {
        /// Which database.
        key: DatabaseKey,
        /// Where.
        namespace: String,
        /// Which claim.
        name: String,
    },
    /// Only what is retired is purged.
    #[error("database {key} is in use, and only a retired database is purged")]
    NotRetired {
        /// Which.
        key: DatabaseKey,
    },
    /// Nobody wants its place to be taken any more, or what was to take it is being purged.
    #[error("the restore of database {key} in place was given up")]
    GivenUp {
        /// Which.
        key: DatabaseKey,
    },
    /// Something of it still runs.
    #[error("database {key} is not stopped")]
    NotStopped {
        /// Which.
        key: DatabaseKey,
    },
    /// A secret of a project.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A password that somebody may be using.
    #[error("the password of {grant} is in use and not replaced")]
    PasswordInUse {
        /// Whose.
        grant: GrantKey,
    },
    /// Another password than the one that is meant.
    #[error("another password than expected is stored for {grant}")]
    OtherPassword {
        /// Whose.
        grant: GrantKey,
    },
    /// None is stored.
    #[error("no password is stored for {grant}")]
    NoCredential {
        /// Whose.
        grant: GrantKey,
    },
    /// The configuration names no image for a version.
    #[error("there is no image for PostgreSQL {0}")]
    NoImage(boma_instance::MajorVersion),
    /// The Service has no address.
    #[error("Service {namespace}/{name} has no cluster address")]
    NoAddress {
        /// Where.
        namespace: String,
        /// Which.
        name: String,
    },
    /// A certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// There is nothing of that name to attach to.
    #[error("there is no {what} to attach to")]
    WorkloadMissing {
        /// Kind, namespace and name.
        what: String,
    },
    /// It belongs to something else.
    #[error("{what} is {whose}")]
    WorkloadTaken {
        /// Kind, namespace and name.
        what: String,
        /// `of another application`.
        whose: String,
    },
    /// Others hold to what Boma is to set.
    #[error("give {what} its environment")]
    WorkloadHeld {
        /// Kind, namespace and name.
        what: String,
        /// What the API server says.
        #[source]
        source: Box<kube::Error>,
    },
    /// A Job was taken away before it ended.
    #[error("Job {namespace}/{name} was deleted before it ended")]
    JobGone {
        /// Where.
        namespace: String,
        /// Which.
        name: String,
    },
    /// An application is to run before it was given its environment.
    #[error("application {key} was given no environment yet")]
    NoEnvironment {
        /// Which.
        key: ApplicationKey,
    },
    /// The cluster does not know our kinds.
    #[error("the cluster has no definitions of Database and Application")]
    NoDefinitions,
    /// Nobody can be answered there.
    #[error("answer the API server on {address}")]
    AdmissionPort {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The library does not take the certificate that was made.
    #[error("answer the API server with a certificate of the installation")]
    AdmissionCertificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A repository cannot be used.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Processes are for one machine.
    #[error("{what} is not done on Kubernetes")]
    NotHere {
        /// What was asked for.
        what: &'static str,
    },
}

impl IntoProblem for KubernetesError {
    fn problem(&self) -> Problem {
        let of = |class, code| Problem::from_error(class, code, self);
        match self {
            Self::Configuration(_) => of(Class::Config, "kubernetes-unknown")
                .hint("Set KUBECONFIG, or run Boma in the cluster: docs/kubernetes.md."),
            Self::Api { source, .. } => self.of_api(source),
            Self::NotListed(_) => of(Class::Transient, "kubernetes-unreachable")
                .hint("`kubectl get --raw /readyz` shows whether the API server is well."),
            Self::Record { .. } => of(Class::Config, "record-unreadable").hint(
                "Somebody changed it by hand. Put back what it held; nothing is done with this \
                 resource until then, and what runs goes on running.",
            ),
            Self::Contended { .. } => of(Class::Transient, "record-contended")
                .hint("Let only one `boma serve` manage this cluster."),
            Self::NamespacesTaken { .. } => of(Class::Config, "namespace-taken").hint(
                "Give one of them to Boma with the label that docs/kubernetes.md names, or \
                 choose another name for the project.",
            ),
            Self::NotKept { .. } => of(Class::Config, "object-not-kept").hint(
                "An admission webhook or another controller changes it, or it is being deleted. \
                 `kubectl get -o yaml --show-managed-fields` shows who.",
            ),
            Self::VolumeEnds { .. } => of(Class::Config, "volume-ending").hint(VOLUME_ENDS),
            Self::UnknownDatabase { .. } | Self::UnknownInstance { .. } => {
                of(Class::User, "database-unknown").hint("`boma get` lists what there is.")
            }
            Self::OtherId { .. } => of(Class::Config, "instance-other-id").hint(
                "Nothing was changed, and the data of both is there. Did somebody delete a record \
                 (a Secret of Boma's) by hand? Put it back, then plan again.",
            ),
            Self::OlderGeneration { .. } => of(Class::User, "spec-outdated")
                .hint("Another engine has changed this instance since. Plan again."),
            Self::BeingPurged { .. } => of(Class::User, "being-purged")
                .hint("Once it is gone, another database of this name can be made."),
            Self::ClaimLeft { .. } => of(Class::Transient, "claim-left").hint(CLAIM_LEFT),
            Self::NotRetired { .. } => of(Class::User, "not-retired")
                .hint("Take its manifest away first, with `deletionProtection: false`."),
            Self::GivenUp { .. } => of(Class::Transient, "replacement-given-up")
                .hint("Nothing has changed places; the next pass starts the database again."),
            Self::NotStopped { .. } => of(Class::Transient, "not-stopped"),
            Self::PasswordInUse { .. } => of(Class::Transient, "password-in-use").hint(EXCHANGED),
            Self::OtherPassword { .. } => of(Class::Transient, "password-other").hint(EXCHANGED),
            Self::NoCredential { .. } => of(Class::Transient, "credential-missing")
                .hint("The next pass makes one, and delivers it to the application."),
            Self::Repository(error) => error.problem(),
            Self::Secret(error) => error.problem(),
            Self::NoImage(_) => of(Class::Config, "image-missing")
                .hint("Name one under `[kubernetes.images]` in `config.toml`."),
            Self::NoAddress { .. } => of(Class::Config, "service-without-address")
                .hint("Delete the Service: it is made again as it should be."),
            Self::Certificate(error) => error.problem(),
            Self::NoRandomness => of(Class::Config, "no-randomness"),
            Self::WorkloadMissing { .. } => of(Class::Transient, "workload-missing").hint(
                "Deploy it: it is given its environment then. Or let Boma run the application, \
                 with `source.image` in place of `target.workload`.",
            ),
            Self::WorkloadTaken { .. } => of(Class::User, "workload-taken")
                .hint("Give the application another name, or attach it to another workload.")
                .hint("To attach to a workload that exists: `target.workload: Deployment/NAME`."),
            Self::WorkloadHeld { .. } => of(Class::User, "workload-held").hint(
                "Take the variable out of the workload itself, or give it another name in the \
                 manifest (`secretSource.envVar`): what others set is not overruled.",
            ),
            Self::JobGone { .. } => {
                of(Class::Transient, "pre-deploy-gone").hint("The next pass makes it again.")
            }
            Self::NoEnvironment { .. } => {
                of(Class::Internal, "environment-missing").hint("Run `boma apply` once more.")
            }
            Self::NoDefinitions => of(Class::Config, "definitions-missing").hint(
                "`boma kubernetes install` applies them, and so does `boma kubernetes definitions | \
                 kubectl apply -f -`.",
            ),
            Self::AdmissionPort { .. } => of(Class::Config, "admission-not-open")
                .hint("Name another address: `--admission 0.0.0.0:9443`."),
            Self::AdmissionCertificate(_) => of(Class::Internal, "admission-certificate")
                .hint("Leave `--admission` out: custom resources are checked when they are read, too."),
            Self::NotHere { .. } => of(Class::User, "not-on-kubernetes")
                .hint("docs/kubernetes.md says what to use in its place."),
        }
    }
}

impl KubernetesError {
    /// Sorts an answer of the API server.
    fn of_api(&self, source: &kube::Error) -> Problem {
        let of = |class, code| Problem::from_error(class, code, self);
        let kube::Error::Api(status) = source else {
            return of(Class::Transient, "kubernetes-unreachable")
                .hint("Databases go on serving meanwhile; Boma tries again.")
                .hint("`kubectl get --raw /readyz` shows whether the API server is well.");
        };
        match status.code {
            403 if status.message.contains("exceeded quota") => of(Class::Config, "quota-exceeded")
                .hint("Raise the ResourceQuota of the namespace, or ask for less in the manifest."),
            403 if status.message.contains("being terminated") => {
                of(Class::Transient, "namespace-ending")
                    .hint("Databases in it go with it; when it is gone, they are made anew.")
            }
            401 | 403 => of(Class::Config, "kubernetes-forbidden")
                .hint("Give Boma the rights that docs/kubernetes.md lists."),
            409 | 429 | 500..=599 | 404 => of(Class::Transient, "kubernetes-unreachable")
                .hint("Databases go on serving meanwhile; Boma tries again."),
            _ => of(Class::Config, "kubernetes-refused").hint(
                "An admission policy of this cluster, or its version, does not take this object.",
            ),
        }
    }

    /// Says what was being done.
    pub(crate) fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Api {
            doing,
            source: Box::new(source),
        }
    }

    /// Whether somebody else changed the object in between.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Whether the API server says that others hold to what was to be set, or that it makes no
    /// sense beside what they have set.
    pub(crate) fn is_held(source: &kube::Error) -> bool {
        matches!(source, kube::Error::Api(status) if matches!(status.code, 409 | 422))
    }

    /// Whether the object is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Whether what was asked for makes no sense as things are.
    pub(crate) fn is_bad_request(&self) -> bool {
        self.code() == Some(400)
    }

    fn code(&self) -> Option<u16> {
        let Self::Api { source, .. } = self else {
            return None;
        };
        let kube::Error::Api(status) = source.as_ref() else {
            return None;
        };
        Some(status.code)
    }
}

/// Boxes an error as a platform returns it.
#[expect(
    clippy::needless_pass_by_value,
    reason = "what `map_err` is given is the error itself"
)]
pub(crate) fn boxed(error: impl IntoProblem) -> PlatformError {
    Box::new(error.problem())
}

#[cfg(test)]
mod tests;
