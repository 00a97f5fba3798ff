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

/// What an application is given of secrets of its project: copies in a Secret of its own, so that it
/// keeps them when one is forgotten.
pub(super) struct Given {
    /// The Secret with the copies; none: it names no secret.
    pub(super) copies: Option<Desired>,
    /// Its variables.
    pub(super) variables: BTreeMap<String, Variable>,
    /// The revision of each secret that it names.
    pub(super) revisions: BTreeMap<String, String>,
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
    /// One of Boma's own Secrets may be called so.
    #[error("Boma may need the name `{name}` for a Secret of its own")]
    Reserved {
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
            Self::Reserved { .. } => Problem::new(Class::User, "secret-taken", self.to_string())
                .hint("Take a name without a dot, and without a number behind its last `-`."),
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
        self.readable_secrets().0
    }

    /// The secrets of projects: the revision of each; and of those without a value, their entries.
    pub(super) fn readable_secrets(
        &self,
    ) -> (
        BTreeMap<SecretKey, String>,
        BTreeMap<SecretKey, Vec<String>>,
    ) {
        let home = &self.config.namespace;
        let namespaces: Vec<_> = self.cluster.all(Kind::Namespace).collect();
        let projects = namespaces.iter().filter_map(|one| {
            let Owner::Project(project) = projects::owner(home, one) else {
                return None;
            };
            let own = projects::namespace_of(&project, &namespaces)?;
            (own.name_any() == one.name_any()).then(|| (one.name_any(), project))
        });
        let secrets = self.secrets(Part::Secret);
        let mut secrets = secrets
            .filter(|secret| is_free(&secret.name_any()))
            .peekable();
        if secrets.peek().is_none() {
            return (BTreeMap::new(), BTreeMap::new());
        }
        let projects: BTreeMap<String, String> = projects.collect();
        let (mut readable, mut without_value) = (BTreeMap::new(), BTreeMap::new());
        for secret in secrets {
            let namespace = secret.namespace().unwrap_or_default();
            let Some(project) = projects.get(&namespace) else {
                continue;
            };
            let key = SecretKey::new(project.as_str(), secret.name_any());
            match revision_of(&secret) {
                Some(revision) => {
                    readable.insert(key, revision);
                }
                None => {
                    without_value.insert(key, entries_of(&secret));
                }
            }
        }
        (readable, without_value)
    }

    /// What an application is given of secrets of its project.
    pub(super) fn given(
        &self,
        namespace: &str,
        key: &ApplicationKey,
        environment: &Environment,
    ) -> Result<Given, SecretError> {
        let mut given = Given {
            copies: None,
            variables: BTreeMap::new(),
            revisions: BTreeMap::new(),
        };
        let copies = names::environment(key);
        let mut values = serde_json::Map::new();
        for (variable, name) in &environment.secrets {
            let secret = SecretKey::new(key.project.clone(), name.as_str());
            let found = self.cluster.get(Kind::Secret, namespace, name);
            let found = found.filter(|found| is_named(found));
            let found = found
                .as_deref()
                .and_then(|one| Some((value_of(one)?, revision_of(one)?)));
            let Some((value, revision)) = found else {
                return Err(SecretError::Missing { secret });
            };
            given.revisions.insert(name.clone(), revision);
            values.insert(variable.clone(), value.into());
            let one = Variable::Secret {
                name: copies.clone(),
                key: variable.clone(),
            };
            given.variables.insert(variable.clone(), one);
        }
        given.copies = (!values.is_empty()).then(|| {
            let body = json!({"type": "Opaque", "data": values});
            Desired::new(
                &self.config.namespace,
                Kind::Secret,
                namespace,
                copies,
                body,
            )
            .part(Part::Binding)
            .label(names::APPLICATION, &*key.name)
            .annotation(names::IDENTITY, key.to_string())
        });
        Ok(given)
    }

    async fn set_secret(
        &self,
        key: &SecretKey,
        value: &Secret<String>,
    ) -> Result<(), KubernetesError> {
        if !is_free(&key.name) {
            let name = key.name.to_string();
            return Err(SecretError::Reserved { name }.into());
        }
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

/// Whether a Secret is one for applications.
fn is_named(secret: &DynamicObject) -> bool {
    secret.labels().get(names::PART).map(String::as_str) == Some(Part::Secret.word())
        && is_free(&secret.name_any())
}

/// The value, as the Secret has it: the entry `value`, or else the only one.
fn value_of(secret: &DynamicObject) -> Option<&str> {
    let entries = secret.data["data"].as_object()?;
    let mut all = entries.values();
    let only = all.next().filter(|_| all.next().is_none());
    entries.get(VALUE).or(only)?.as_str()
}

/// The names of a Secret's entries, sorted.
fn entries_of(secret: &DynamicObject) -> Vec<String> {
    let entries = secret.data["data"].as_object().into_iter().flatten();
    let mut names: Vec<String> = entries.map(|(name, _)| name.clone()).collect();
    names.sort_unstable();
    names
}

/// Another text whenever the value is another one. It ends up where people may read who may not read
/// Secrets: what they do not know, the Secret's own identity, keeps them from trying values.
fn revision_of(secret: &DynamicObject) -> Option<String> {
    let (uid, value) = (secret.uid()?, value_of(secret)?);
    Some(names::digest_of(format!("{uid} {value}").as_bytes()))
}

/// Whether none of Boma's own Secrets could want this name: those have dots, and instances numbers.
fn is_free(name: &str) -> bool {
    let number = name.rsplit_once('-').map(|(_, number)| number);
    let is_instance = number.is_some_and(|number| number.bytes().all(|one| one.is_ascii_digit()));
    !name.contains('.') && !is_instance
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
        let reserved = SecretError::Reserved { name: "a.b".into() };
        let problem = reserved.problem();
        assert_eq!(problem.code, "secret-taken");
        assert_eq!(
            problem.to_string(),
            "Boma may need the name `a.b` for a Secret of its own"
        );
        assert!(problem.hints[0].contains("without a dot"));
        let secret = SecretKey::new("o/u/e/p", "smtp");
        let problem = SecretError::Missing { secret }.problem();
        assert_eq!(problem.code, "secret-missing");
        assert_eq!(problem.to_string(), "there is no secret o/u/e/p/smtp");
        assert_eq!(
            problem.hints,
            ["Store it: `boma secret set o/u/e/p/smtp < FILE`."]
        );
    }

    fn secret(uid: &str, entries: &serde_json::Value) -> DynamicObject {
        let mut secret = DynamicObject::new("smtp", &Kind::Secret.resource());
        secret.metadata.uid = Some(uid.to_owned());
        secret.data = json!({ "data": entries });
        secret
    }

    #[test]
    fn the_value_is_in_the_entry_of_that_name_or_in_the_only_one() {
        let found = |entries| value_of(&secret("u", &entries)).map(str::to_owned);
        assert_eq!(found(json!({"password": "eA=="})).unwrap(), "eA==");
        let both = json!({"password": "eA==", "value": "eQ=="});
        assert_eq!(found(both).unwrap(), "eQ==");
        assert_eq!(found(json!({"a": "eA==", "b": "eQ=="})), None);
        assert_eq!(found(json!({})), None);
    }

    #[test]
    fn of_a_secret_without_a_value_the_names_of_its_entries_are_known() {
        let found = |entries| entries_of(&secret("u", &entries));
        assert_eq!(found(json!({"b": "eA==", "a": "eQ=="})), ["a", "b"]);
        assert!(found(json!({})).is_empty());
        assert!(found(serde_json::Value::Null).is_empty());
    }

    #[test]
    fn a_revision_is_no_function_of_the_value_alone() {
        let revision = |uid: &str, value: &str| revision_of(&secret(uid, &json!({"value": value})));
        assert_eq!(revision("u", "eA=="), revision("u", "eA=="));
        assert_ne!(revision("u", "eA=="), revision("u", "eQ=="));
        assert_ne!(revision("u", "eA=="), revision("v", "eA=="));
    }

    #[test]
    fn names_of_bomas_own_secrets_are_not_free() {
        for free in ["smtp", "smtp-password", "smtp-v1", "s3"] {
            assert!(is_free(free), "{free}");
        }
        for own in [
            "orders-1",
            "api.orders",
            "orders.database",
            "api.application",
        ] {
            assert!(!is_free(own), "{own}");
        }
    }
}
