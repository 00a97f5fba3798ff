//! Secrets that people have stored for the applications of a project: Secrets in its namespace that
//! say by a label that they are meant for that. Who makes them does not matter.

use std::collections::BTreeMap;

use boma_engine::keys::{ApplicationKey, SecretKey};
use boma_engine::platform::{AuditEntry, Environment, PlatformError};
use boma_instance::Secret;
use boma_problem::{Class, IntoProblem, Problem};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::json;

use super::{Inner, KubernetesPlatform};
use crate::desired::{Desired, secret_data};
use crate::error::{KubernetesError, boxed};
use crate::kinds::Kind;
use crate::names::{self, Part};
use crate::projects::{self, Owner};
use crate::records::Variable;

/// What an application is given of secrets of its project.
#[derive(Default)]
pub(super) struct Given {
    /// Its variables.
    pub(super) variables: BTreeMap<String, Variable>,
    /// The digest of each secret.
    pub(super) digests: BTreeMap<String, String>,
}

/// The entry that holds the value, where there are several.
const VALUE: &str = "value";

/// Why a secret is not stored or given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// A Secret of that name is not one for applications.
    #[error("Secret {namespace}/{name} is there, and is not one that was stored for applications")]
    Taken {
        /// Where.
        namespace: String,
        /// Which.
        name: String,
    },
    /// One that an application is to be given was deleted a moment ago.
    #[error("there is no secret {secret}")]
    Missing {
        /// Its full name.
        secret: SecretKey,
    },
}

impl IntoProblem for SecretError {
    fn problem(&self) -> Problem {
        match self {
            Self::Taken { .. } => Problem::new(Class::User, "secret-taken", self.to_string())
                .hint("Give the secret another name.")
                .hint(
                    "To hand a Secret that exists to applications, label it: `kubectl label secret \
                     NAME lowops.manifests/installation=NAMESPACE lowops.manifests/part=secret`, \
                     with the namespace of Boma.",
                ),
            Self::Missing { secret } => {
                Problem::new(Class::User, "secret-missing", self.to_string())
                    .hint(format!("Store it: `boma secret set {secret} < FILE`."))
            }
        }
    }
}

impl KubernetesPlatform {
    /// The secrets of projects, sorted.
    pub fn named_secrets(&self) -> Vec<String> {
        let found = self.inner.named_secrets();
        found.keys().map(ToString::to_string).collect()
    }

    /// Stores a secret, in the place of one that has the name. The audit trail has the name.
    ///
    /// # Errors
    /// When another Secret has that name, or the API server does not take it.
    pub async fn set_named_secret(
        &self,
        key: &SecretKey,
        value: &Secret<String>,
        actor: &str,
    ) -> Result<(), PlatformError> {
        self.inner.set_secret(key, value).await.map_err(boxed)?;
        self.audit_secret(key, "stored", actor).await
    }

    /// Forgets a secret; tells whether there was one.
    ///
    /// # Errors
    /// When another Secret has that name, or the API server does not delete it.
    pub async fn forget_named_secret(
        &self,
        key: &SecretKey,
        actor: &str,
    ) -> Result<bool, PlatformError> {
        let was_there = self.inner.forget_secret(key).await.map_err(boxed)?;
        if was_there {
            self.audit_secret(key, "forgotten", actor).await?;
        }
        Ok(was_there)
    }

    async fn audit_secret(
        &self,
        key: &SecretKey,
        done: &str,
        actor: &str,
    ) -> Result<(), PlatformError> {
        let entry = AuditEntry {
            at: Timestamp::now(),
            actor: actor.to_owned(),
            action: format!("secret {key} is {done}"),
            subject: "Installation".to_owned(),
            outcome: "done".to_owned(),
        };
        self.inner.add_audit(&entry).await
    }
}

impl Inner {
    /// The secrets of projects, and the revision of each.
    pub(super) fn named_secrets(&self) -> BTreeMap<SecretKey, String> {
        let secrets = self.secrets(Part::Secret).into_iter();
        let found = secrets.filter_map(|secret| {
            let entry = entry_of(&secret)?;
            let revision = names::digest_of(secret.data["data"][&entry].as_str()?.as_bytes());
            let project = self.project_of(&secret.namespace()?)?;
            Some((SecretKey::new(project, secret.name_any()), revision))
        });
        found.collect()
    }

    /// What an application is given of secrets of its project.
    pub(super) fn given(
        &self,
        namespace: &str,
        key: &ApplicationKey,
        environment: &Environment,
    ) -> Result<Given, SecretError> {
        let known = self.named_secrets();
        let mut given = Given::default();
        for (variable, name) in &environment.secrets {
            let secret = SecretKey::new(key.project.clone(), name.as_str());
            let found = self.cluster.get(Kind::Secret, namespace, name);
            let entry = found.as_deref().and_then(entry_of);
            let Some((entry, digest)) = entry.zip(known.get(&secret)) else {
                return Err(SecretError::Missing { secret });
            };
            given.digests.insert(name.clone(), digest.clone());
            let name = name.clone();
            let one = Variable::Secret { name, key: entry };
            given.variables.insert(variable.clone(), one);
        }
        Ok(given)
    }

    /// The project that a namespace is in use for.
    fn project_of(&self, namespace: &str) -> Option<String> {
        let found = self.cluster.get(Kind::Namespace, "", namespace)?;
        match projects::owner(&self.config.namespace, &found) {
            Owner::Project(project) => {
                let own = self.known_namespace(&project)?;
                (own == namespace).then_some(project)
            }
            Owner::OtherInstallation | Owner::Nobody => None,
        }
    }

    async fn set_secret(
        &self,
        key: &SecretKey,
        value: &Secret<String>,
    ) -> Result<(), KubernetesError> {
        let namespace = self.namespace(&key.project).await?;
        self.own_secret(&namespace, &key.name).await?;
        let body = json!({
            "type": "Opaque",
            "data": secret_data([(VALUE, value.expose().as_bytes())]),
        });
        let name = key.name.to_string();
        let wanted = Desired::new(&self.config.namespace, Kind::Secret, &namespace, name, body)
            .part(Part::Secret)
            .annotation(names::IDENTITY, key.to_string());
        self.cluster.apply(&wanted).await?;
        Ok(())
    }

    async fn forget_secret(&self, key: &SecretKey) -> Result<bool, KubernetesError> {
        let Some(namespace) = self.known_namespace(&key.project) else {
            return Ok(false);
        };
        let Some(found) = self.own_secret(&namespace, &key.name).await? else {
            return Ok(false);
        };
        self.cluster.delete(Kind::Secret, &found).await?;
        Ok(true)
    }

    /// The Secret of a name, which must be one for applications if there is one.
    async fn own_secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<std::sync::Arc<DynamicObject>>, KubernetesError> {
        match self.cluster.read(Kind::Secret, namespace, name).await? {
            Some(found) if !is_named(&found) => Err(SecretError::Taken {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }
            .into()),
            found => Ok(found),
        }
    }
}

fn is_named(secret: &DynamicObject) -> bool {
    secret.labels().get(names::PART).map(String::as_str) == Some(Part::Secret.word())
}

/// The entry that holds the value: `value`, or else the only one.
fn entry_of(secret: &DynamicObject) -> Option<String> {
    let entries = secret.data["data"].as_object()?;
    if entries.contains_key(VALUE) {
        return Some(VALUE.to_owned());
    }
    let mut names = entries.keys();
    names.next().filter(|_| names.next().is_none()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_secret_of_a_project_is_said_with_what_to_do() {
        let taken = SecretError::Taken {
            namespace: "ns".into(),
            name: "smtp".into(),
        };
        let problem = taken.problem();
        assert_eq!(problem.code, "secret-taken");
        assert_eq!(
            problem.to_string(),
            "Secret ns/smtp is there, and is not one that was stored for applications"
        );
        assert!(problem.hints[1].contains("lowops.manifests/part=secret"));
        let secret = SecretKey::new("o/u/e/p", "smtp");
        let problem = SecretError::Missing { secret }.problem();
        assert_eq!(problem.code, "secret-missing");
        assert_eq!(problem.to_string(), "there is no secret o/u/e/p/smtp");
        assert_eq!(
            problem.hints,
            ["Store it: `boma secret set o/u/e/p/smtp < FILE`."]
        );
    }

    #[test]
    fn the_value_is_in_the_entry_of_that_name_or_in_the_only_one() {
        let secret = |entries: serde_json::Value| DynamicObject {
            data: json!({ "data": entries }),
            ..DynamicObject::new("smtp", &Kind::Secret.resource())
        };
        let found = |entries| entry_of(&secret(entries));
        assert_eq!(found(json!({"password": "eA=="})).unwrap(), "password");
        let both = json!({"password": "eA==", "value": "eQ=="});
        assert_eq!(found(both).unwrap(), "value");
        assert_eq!(found(json!({"a": "eA==", "b": "eQ=="})), None);
        assert_eq!(found(json!({})), None);
    }
}
