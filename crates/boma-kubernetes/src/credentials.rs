//! What lets agents into an object store, out of a Secret that those made who run the cluster. Pure.
//!
//! Its entries are called as the fields of `config.toml` that they stand for.

use boma_instance::Secret;
use boma_instance::backup::RepositoryLocation;
use boma_problem::{Class, IntoProblem, Problem};

/// Why a repository cannot be used in a cluster.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// A Secret that the configuration names is not there.
    #[error(
        "Secret {namespace}/{name}, which is to let into the repository {repository:?}, is not there"
    )]
    NoCredentials {
        /// Which repository.
        repository: String,
        /// Where.
        namespace: String,
        /// Which Secret.
        name: String,
    },
    /// It lacks an entry, or that is no text.
    #[error(
        "Secret {namespace}/{name}, which is to let into the repository {repository:?}, has no \
         entry `{entry}`"
    )]
    HalfCredentials {
        /// Which repository.
        repository: String,
        /// Where.
        namespace: String,
        /// Which Secret.
        name: String,
        /// What is missing.
        entry: &'static str,
    },
    /// Pods have no disk for it.
    #[error("the repository {name:?} is a directory, and no disk is there for it in a pod")]
    Directory {
        /// Which repository.
        name: String,
    },
}

impl IntoProblem for RepositoryError {
    fn problem(&self) -> Problem {
        let of = |class, code| Problem::from_error(class, code, self);
        match self {
            Self::NoCredentials { .. } => of(Class::Config, "repository-secret-missing").hint(
                "Make it: `kubectl create secret generic`. docs/kubernetes.md says what is in it. \
                 Until then nothing is backed up there; what runs goes on running.",
            ),
            Self::HalfCredentials { .. } => of(Class::Config, "repository-secret-incomplete").hint(
                "Its entries are called as the fields of `config.toml`: docs/kubernetes.md lists \
                 them.",
            ),
            Self::Directory { .. } => of(Class::Config, "repository-not-in-cluster").hint(
                "Name an object store in `config.toml`: `type = \"s3\"`, `\"gcs\"` or \
                     `\"azure\"`.",
            ),
        }
    }
}

/// The place, with the credentials that `entry` knows by name; else the entry that is missing.
/// What stands there already is overruled: the configuration says that the Secret counts.
pub(crate) fn with_credentials(
    location: &RepositoryLocation,
    entry: impl Fn(&str) -> Option<String>,
) -> Result<RepositoryLocation, &'static str> {
    let entry = |name: &'static str| entry(name).ok_or(name);
    let mut location = location.clone();
    match &mut location {
        RepositoryLocation::S3 {
            access_key_id,
            secret_access_key,
            ..
        } => {
            *access_key_id = Some(entry("access-key-id")?);
            *secret_access_key = Some(Secret::new(entry("secret-access-key")?));
        }
        RepositoryLocation::Gcs {
            service_account_key,
            ..
        } => *service_account_key = Some(Secret::new(entry("service-account-key")?)),
        RepositoryLocation::Azure { access_key, .. } => {
            *access_key = Some(Secret::new(entry("access-key")?));
        }
        // Nobody is asked for anything there.
        RepositoryLocation::Directory { .. } => {}
    }
    Ok(location)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str) -> RepositoryLocation {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn each_store_takes_its_own_entries_and_says_which_is_missing() {
        for (text, names) in [
            (
                r#"{"type": "s3", "bucket": "b", "access-key-id": "former"}"#,
                &["access-key-id", "secret-access-key"][..],
            ),
            (
                r#"{"type": "gcs", "bucket": "b"}"#,
                &["service-account-key"][..],
            ),
            (
                r#"{"type": "azure", "account": "a", "container": "c"}"#,
                &["access-key"][..],
            ),
        ] {
            let place = location(text);
            let all = with_credentials(&place, |name| Some(format!("of {name}"))).unwrap();
            let shown = serde_json::to_string(&all).unwrap();
            for missing in names {
                assert!(shown.contains(&format!("of {missing}")), "{shown}");
                let but = |name: &str| (name != *missing).then(|| "x".to_owned());
                assert_eq!(with_credentials(&place, but), Err(*missing));
            }
            assert!(!shown.contains("former"), "{shown}");
        }
    }

    #[test]
    fn what_keeps_out_says_what_to_do() {
        let (namespace, name) = (|| "ns".to_owned(), || "x".to_owned());
        for (error, code, text) in [
            (
                RepositoryError::NoCredentials {
                    repository: "offsite".into(),
                    namespace: namespace(),
                    name: name(),
                },
                "repository-secret-missing",
                "Secret ns/x, which is to let into the repository \"offsite\", is not there",
            ),
            (
                RepositoryError::HalfCredentials {
                    repository: "offsite".into(),
                    namespace: namespace(),
                    name: name(),
                    entry: "access-key",
                },
                "repository-secret-incomplete",
                "Secret ns/x, which is to let into the repository \"offsite\", has no entry `access-key`",
            ),
            (
                RepositoryError::Directory { name: name() },
                "repository-not-in-cluster",
                "the repository \"x\" is a directory, and no disk is there for it in a pod",
            ),
        ] {
            let problem = error.problem();
            let found = (problem.code.as_str(), problem.to_string());
            assert_eq!(found, (code, text.to_owned()));
            assert!(!problem.hints.is_empty(), "{problem}");
        }
    }
}
