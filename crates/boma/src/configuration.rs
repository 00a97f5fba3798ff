//! What an operator may set for a whole installation: `config.toml` in the state directory.
//!
//! ```toml
//! hosts-file = "/etc/hosts"      # or "" to write no names
//! system-user = "postgres"       # servers run as this user when Boma runs as root
//! enforce-limits = true          # CPU and memory by cgroups, where that may be done
//! spares = 2                     # clusters made ahead for each PostgreSQL version in use
//! port = 5432
//!
//! [repositories.default]         # without it: a directory in the state directory
//! type = "s3"
//! bucket = "backups"
//! secret = "credentials"         # in a cluster: the Secret that lets into it
//!
//! [dashboard]                    # without it: on this machine only
//! url = "https://boma.example"
//! behind-proxy = true            # which encrypts what comes from other machines
//!
//! [kubernetes]                   # only with `--platform kubernetes`
//! namespace = "boma-system"
//! image = "registry.example/boma:0.1.0"
//!
//! [kubernetes.images]
//! 17 = "postgres:17.10"
//!
//! [kubernetes.identity]          # what pods of databases are to the cloud
//! service-account = "backups"
//!
//! [plans.pro]
//! cpuCount = 2
//! memory = "4Gi"
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use boma_instance::backup::RepositoryLocation;
use boma_instance::{MajorVersion, Secret};
use boma_kubernetes::{Identity, KubernetesConfig};
use boma_local::config::{Addresses, COMPRESSION_LEVEL, HostsFile, LocalConfig, RepositoryConfig};
use boma_manifest::PlanTable;
use boma_problem::{Class, IntoProblem, Problem};
use boma_web::{Assignment, ProviderSettings, SiteUrl};
use serde::Deserialize;

/// Name of the file in the state directory.
const FILE: &str = "config.toml";

/// The file, with nothing filled in.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Configuration {
    hosts_file: Option<PathBuf>,
    system_user: Option<String>,
    application_user: Option<String>,
    enforce_limits: Option<bool>,
    spares: Option<u16>,
    port: Option<u16>,
    plans: Option<PlanTable>,
    #[serde(default)]
    repositories: BTreeMap<String, RepositorySection>,
    #[serde(default)]
    kubernetes: KubernetesSection,
    #[serde(default)]
    dashboard: DashboardSection,
}

/// `[dashboard]`: how people reach it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct DashboardSection {
    url: Option<String>,
    #[serde(default)]
    behind_proxy: bool,
    oidc: Option<ProviderSection>,
}

/// `[dashboard.oidc]`: with whom people sign in who have no password here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ProviderSection {
    issuer: String,
    client_id: String,
    /// The name of a secret of `boma secret set`.
    pub(crate) client_secret: Option<String>,
    groups_claim: Option<String>,
    /// What groups may do, as `boma people invite --role` takes it.
    groups: Option<BTreeMap<String, Vec<Role>>>,
}

/// A role on a scope, as it is written in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Role(Assignment);

impl TryFrom<String> for Role {
    type Error = boma_web::NotAnAssignment;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl ProviderSection {
    /// The provider, with the secret that it knows this dashboard by.
    pub(crate) fn settings(&self, client_secret: Option<Secret<String>>) -> ProviderSettings {
        let groups = self.groups.as_ref().map(|groups| {
            let roles = |all: &Vec<Role>| all.iter().map(|one| one.0.clone()).collect();
            let groups = groups.iter();
            groups
                .map(|(name, all)| (name.clone(), roles(all)))
                .collect()
        });
        ProviderSettings {
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret,
            groups_claim: self
                .groups_claim
                .clone()
                .unwrap_or_else(|| "groups".to_owned()),
            groups,
        }
    }
}

impl DashboardSection {
    /// What people reach it by; none: by the address where it listens.
    pub(crate) fn url(&self) -> Result<Option<SiteUrl>, Box<Problem>> {
        let url = self.url.as_deref().map(str::parse).transpose();
        url.map_err(|error: boma_web::NotASiteUrl| {
            let problem = Problem::from_error(Class::Config, "dashboard-url-invalid", &error);
            Box::new(problem.hint("Mend `url` in `[dashboard]` of config.toml."))
        })
    }

    /// With whom people sign in who have no password here.
    pub(crate) fn provider(&self) -> Option<&ProviderSection> {
        self.oidc.as_ref()
    }

    /// Whether something else encrypts what comes from other machines.
    pub(crate) fn is_behind_proxy(&self) -> bool {
        self.behind_proxy
    }
}

/// `[kubernetes]`: what runs there, and where.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct KubernetesSection {
    namespace: Option<String>,
    image: Option<String>,
    user: Option<u32>,
    images: Option<BTreeMap<MajorVersion, String>>,
    #[serde(default)]
    pull_secrets: Vec<String>,
    identity: Option<IdentitySection>,
}

/// `[kubernetes.identity]`: what pods of databases are to the cloud.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct IdentitySection {
    service_account: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    pod_labels: BTreeMap<String, String>,
}

impl From<&IdentitySection> for Identity {
    fn from(section: &IdentitySection) -> Self {
        Self {
            service_account: section.service_account.clone(),
            annotations: section.annotations.clone(),
            pod_labels: section.pod_labels.clone(),
        }
    }
}

/// `[repositories.NAME]`: where it is, and how it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RepositorySection {
    compression_level: Option<u8>,
    /// The Secret that lets into it, in Boma's namespace of a cluster.
    secret: Option<String>,
    #[serde(flatten)]
    location: RepositoryLocation,
}

impl RepositorySection {
    fn level(&self) -> u8 {
        self.compression_level
            .unwrap_or(COMPRESSION_LEVEL)
            .clamp(1, 19)
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigurationError {
    /// It cannot be read.
    #[error("read configuration `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It does not say what it may say.
    #[error("parse configuration `{}`", path.display())]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
}

impl IntoProblem for ConfigurationError {
    fn problem(&self) -> Problem {
        match self {
            Self::Read { .. } => Problem::from_error(Class::Config, "configuration-unreadable", self)
                .hint("The state directory belongs to the user that runs Boma: try as that user, or name another one with `--state-dir`."),
            Self::Parse { .. } => Problem::from_error(Class::Config, "configuration-invalid", self)
                .hint("docs/operations.md lists what may stand there. Without the file everything has a default."),
        }
    }
}

impl Configuration {
    /// Reads the file of a state directory; there need be none.
    pub(crate) fn read(state_dir: &Path) -> Result<Self, ConfigurationError> {
        let path = state_dir.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|source| ConfigurationError::Parse {
                path,
                source: Box::new(source),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ConfigurationError::Read { path, source }),
        }
    }

    /// Fills in what the operator has set.
    pub(crate) fn apply_to(&self, config: &mut LocalConfig) -> Result<(), Box<Problem>> {
        if let Some(path) = &self.hosts_file {
            config.hosts = if path.as_os_str().is_empty() {
                HostsFile::Off
            } else {
                HostsFile::At(path.clone())
            };
        }
        if let Some(port) = self.port {
            config.addresses = Addresses::Automatic { port };
        }
        config.system_user = self.system_user.clone().or(config.system_user.take());
        config.application_user = self
            .application_user
            .clone()
            .or(config.application_user.take());
        config.enforce_limits = self.enforce_limits.unwrap_or(config.enforce_limits);
        config.spares = self.spares.unwrap_or(config.spares);
        for (name, section) in &self.repositories {
            if section.secret.is_some() {
                return Err(Box::new(secret_elsewhere(name)));
            }
            let repository = RepositoryConfig {
                location: section.location.clone(),
                compression_level: section.level(),
            };
            config.repositories.insert(name.clone(), repository);
        }
        Ok(())
    }

    /// The first repository whose credentials stand in the file itself.
    pub(crate) fn written_credentials(&self) -> Option<&str> {
        let mut repositories = self.repositories.iter();
        let written = repositories.find(|(_, section)| match &section.location {
            RepositoryLocation::S3 {
                secret_access_key: secret,
                ..
            }
            | RepositoryLocation::Gcs {
                service_account_key: secret,
                ..
            }
            | RepositoryLocation::Azure {
                access_key: secret, ..
            } => secret.is_some(),
            RepositoryLocation::Directory { .. } => false,
        });
        written.map(|(name, _)| name.as_str())
    }

    /// The file of a state directory as it is; empty where there is none.
    pub(crate) fn text(state_dir: &Path) -> Result<String, ConfigurationError> {
        let path = state_dir.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(source) => Err(ConfigurationError::Read { path, source }),
        }
    }

    /// How a Kubernetes cluster is used.
    pub(crate) fn kubernetes(&self) -> KubernetesConfig {
        let section = &self.kubernetes;
        let repositories = self.repositories.iter().map(|(name, section)| {
            let repository = boma_kubernetes::RepositoryConfig {
                location: section.location.clone(),
                compression_level: section.level(),
                secret: section.secret.clone(),
            };
            (name.clone(), repository)
        });
        let official = MajorVersion::ALL
            .into_iter()
            .map(|major| (major, format!("docker.io/library/postgres:{major}")));
        KubernetesConfig {
            namespace: section
                .namespace
                .clone()
                .unwrap_or_else(|| "boma-system".to_owned()),
            agent_image: section
                .image
                .clone()
                .unwrap_or_else(|| format!("boma:{}", env!("CARGO_PKG_VERSION"))),
            images: section.images.clone().unwrap_or_else(|| official.collect()),
            builds: boma_kubernetes::known_builds(),
            // The official images' own.
            user: section.user.unwrap_or(999),
            pull_secrets: section.pull_secrets.clone(),
            identity: section.identity.as_ref().map(Identity::from),
            repositories: repositories.collect(),
            new_key: None,
            road: boma_kubernetes::road(),
        }
    }

    /// How people reach the dashboard.
    pub(crate) fn dashboard(&self) -> &DashboardSection {
        &self.dashboard
    }

    /// The plans that manifests may name: the operator's over those that Boma comes with.
    pub(crate) fn plans(&self) -> PlanTable {
        let mut table = PlanTable::default();
        if let Some(plans) = &self.plans {
            table.0.extend(plans.0.clone());
        }
        table
    }
}

fn secret_elsewhere(name: &str) -> Problem {
    let text = format!(
        "what lets into the repository {name:?} is in a Secret of a cluster, and this is one machine"
    );
    Problem::new(Class::Config, "repository-secret-elsewhere", text).hint(
        "Write what lets into it into config.toml, which only its owner may read, in place of \
         `secret`; or use `--platform kubernetes`.",
    )
}

#[cfg(test)]
mod tests {
    use boma_local::config::Builds;

    use super::*;

    #[test]
    fn a_misspelt_setting_is_an_error_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "spares = 2\nhost-file = '/x'\n").unwrap();
        let problem = Configuration::read(dir.path()).unwrap_err().problem();
        assert_eq!(problem.code, "configuration-invalid");
        assert!(problem.to_string().contains("host-file"), "{problem}");
        assert!(problem.to_string().contains("line 2"), "{problem}");
    }

    #[test]
    fn a_directory_in_place_of_the_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(FILE)).unwrap();
        let problem = Configuration::read(dir.path()).unwrap_err().problem();
        assert_eq!(problem.code, "configuration-unreadable");
    }

    #[test]
    fn repositories_are_of_known_kinds_with_known_fields() {
        let dir = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            std::fs::write(dir.path().join(FILE), text).unwrap();
            Configuration::read(dir.path())
        };
        let fine = "[repositories.offsite]\ntype = 's3'\nbucket = 'b'\ncompression-level = 5\n";
        let found = read(fine).unwrap().repositories["offsite"].clone();
        assert_eq!(found.compression_level, Some(5));
        assert!(matches!(found.location, RepositoryLocation::S3 { bucket, .. } if bucket == "b"));
        for wrong in [
            "[repositories.offsite]\ntype = 's3'\nbuket = 'b'\n",
            "[repositories.offsite]\ntype = 'tape'\n",
            "[repositories.offsite]\ntype = 'directory'\npath = '/b'\nbucket = 'b'\n",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_lets_into_a_repository_is_where_its_platform_looks() {
        let read = |more: &str| -> Configuration {
            let text = format!("[repositories.offsite]\ntype = 's3'\nbucket = 'b'\n{more}");
            toml::from_str(&text).unwrap()
        };
        let named = read("secret = 'credentials'\n");
        let repositories = named.kubernetes().repositories;
        assert_eq!(
            repositories["offsite"].secret.as_deref(),
            Some("credentials")
        );
        let mut config = LocalConfig::new("/s".into(), "/b".into(), Builds::default());
        let refused = named.apply_to(&mut config).unwrap_err();
        assert_eq!(refused.code, "repository-secret-elsewhere");
        assert_eq!(
            refused.to_string(),
            "what lets into the repository \"offsite\" is in a Secret of a cluster, and this is one machine"
        );
        assert_eq!(named.written_credentials(), None);
        let written = read("access-key-id = 'a'\nsecret-access-key = 'b'\n");
        assert_eq!(written.written_credentials(), Some("offsite"));
        written.apply_to(&mut config).unwrap();
    }

    #[test]
    fn what_pods_are_to_the_cloud_is_read_strictly() {
        let read = |text: &str| toml::from_str::<Configuration>(text);
        let text = "[kubernetes.identity]\nservice-account = 'backups'\n";
        let more = "annotations = {\"eks.amazonaws.com/role-arn\" = 'arn:x'}\n";
        let identity = read(&format!("{text}{more}"))
            .unwrap()
            .kubernetes()
            .identity;
        let identity = identity.unwrap();
        assert_eq!(identity.service_account, "backups");
        assert_eq!(identity.annotations["eks.amazonaws.com/role-arn"], "arn:x");
        assert!(read(&format!("{text}role = 'x'\n")).is_err());
    }

    #[test]
    fn where_the_dashboard_is_reached_is_an_address() {
        let read = |text: &str| -> DashboardSection { toml::from_str(text).unwrap() };
        let whole = read("url = 'https://boma.example'\nbehind-proxy = true");
        assert_eq!(
            whole.url().unwrap().unwrap().origin(),
            "https://boma.example"
        );
        assert!(whole.is_behind_proxy() && !read("").is_behind_proxy());
        let wrong = read("url = 'boma.example/here'").url().unwrap_err();
        assert_eq!(wrong.code, "dashboard-url-invalid");
        assert!(
            wrong.to_string().contains("no address of a dashboard"),
            "{wrong}"
        );
    }

    #[test]
    fn what_groups_of_a_provider_may_do_is_read_strictly() {
        let read = |groups: &str| {
            let text = "[oidc]\nissuer = 'https://login.example'\nclient-id = 'boma'\n";
            toml::from_str::<DashboardSection>(&format!("{text}[oidc.groups]\n{groups}"))
        };
        let section = read("dba = ['admin', 'viewer:acme']").unwrap();
        let settings = section.provider().unwrap().settings(None);
        assert_eq!(settings.groups_claim, "groups");
        assert_eq!(settings.groups.unwrap()["dba"].len(), 2);
        let wrong = read("dba = ['root']").unwrap_err().to_string();
        assert!(wrong.contains("`root` is no role"), "{wrong}");
    }

    #[test]
    fn an_operator_may_add_and_change_plans() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join(FILE),
            "[plans.tiny]\ncpuCount = 0.1\nmemory = '64Mi'\n",
        )
        .unwrap();
        let plans = Configuration::read(dir.path()).unwrap().plans();
        assert_eq!(plans.0.len(), 5);
    }
}
