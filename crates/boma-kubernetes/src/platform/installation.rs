//! What is recorded of the installation, and the namespaces of projects.

use boma_problem::Problem;
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;
use uuid::Uuid;

use super::{Inner, KubernetesPlatform};
use crate::build;
use crate::cluster::{Change, record};
use crate::desired::Desired;
use crate::error::KubernetesError;
use crate::kinds::Kind;
use crate::names::{self, Part};
use crate::projects::{is_in_use, namespace_of};
use crate::records::Installation;

/// Name of the installation's Secret.
const NAME: &str = "boma-installation";

impl KubernetesPlatform {
    /// The namespace of a project, if it has one.
    pub fn namespace_of(&self, project: &str) -> Option<String> {
        self.inner.known_namespace(project)
    }
}

impl Inner {
    /// Where something is recorded: a Secret that holds nothing yet.
    pub(super) fn record_place(&self, namespace: &str, name: impl Into<String>) -> Desired {
        let home = &self.config.namespace;
        Desired::new(home, Kind::Secret, namespace, name, json!({}))
    }

    fn installation_place(&self) -> Desired {
        self.record_place(&self.config.namespace, NAME)
            .part(Part::Installation)
    }

    /// The installation, if there is one yet.
    pub(super) fn known_installation(&self) -> Result<Option<Installation>, KubernetesError> {
        let found = self.cluster.get(Kind::Secret, &self.config.namespace, NAME);
        found.as_deref().map(record).transpose()
    }

    /// The installation, made if there is none.
    pub(super) async fn installation(&self) -> Result<Installation, KubernetesError> {
        if let Some(known) = self.known_installation()? {
            return Ok(known);
        }
        let home = self.config.namespace.as_str();
        let own = Desired::new(home, Kind::Namespace, "", home, json!({}));
        self.cluster.apply(&own).await?;
        let place = self.installation_place();
        self.cluster
            .change(&place, |found: Option<Installation>| {
                if let Some(known) = found {
                    return Ok(Change::Keep(known));
                }
                let new = Installation::new(Uuid::new_v4(), Timestamp::now())?;
                Ok(Change::Write(new.clone(), new))
            })
            .await
    }

    pub(super) async fn record_source(&self, source: &str) -> Result<(), KubernetesError> {
        self.installation().await?;
        let place = self.installation_place();
        self.cluster
            .change(&place, |found: Option<Installation>| {
                let Some(mut known) = found else {
                    return Err(KubernetesError::Contended {
                        namespace: place.namespace.clone(),
                        name: place.name.clone(),
                    });
                };
                if known.source.as_deref() == Some(source) {
                    return Ok(Change::Keep(()));
                }
                known.source = Some(source.to_owned());
                Ok(Change::Write(known, ()))
            })
            .await
    }

    /// The namespace of a project, if it has one.
    pub(super) fn known_namespace(&self, project: &str) -> Option<String> {
        let namespaces: Vec<_> = self.cluster.all(Kind::Namespace).collect();
        namespace_of(project, &namespaces).map(|namespace| namespace.name_any())
    }

    /// The namespace of a project, made if it has none. One that is there and does not say that it
    /// is the project's is somebody else's, and left alone.
    pub(super) async fn namespace(&self, project: &str) -> Result<String, KubernetesError> {
        let known = || {
            let namespaces: Vec<_> = self.cluster.all(Kind::Namespace).collect();
            namespace_of(project, &namespaces).cloned()
        };
        let written = known().filter(|known| is_in_use(project, known));
        if let Some(written) = written {
            return Ok(written.name_any());
        }
        // A project's databases are made side by side: one of them makes its namespace or takes it
        // into use, and whoever comes later finds it written.
        let _turn = self.namespaces.lock().await;
        if let Some(known) = known() {
            let name = known.name_any();
            // Network policies of other projects know it by its label.
            let wanted = build::namespace(&self.config.namespace, name.clone(), project);
            self.cluster.apply(&wanted).await?;
            return Ok(name);
        }
        let candidates = names::namespaces(project);
        for name in &candidates {
            let wanted = build::namespace(&self.config.namespace, name.clone(), project);
            if self.cluster.create(&wanted).await?.is_some() {
                return Ok(name.clone());
            }
            // Another process of Boma may have made it just now; or it went away just now.
            let found = self.cluster.read(Kind::Namespace, "", name).await?;
            if found.is_none() && self.cluster.create(&wanted).await?.is_some() {
                return Ok(name.clone());
            }
            let label = found.and_then(|found| found.labels().get(names::PROJECT).cloned());
            if label == Some(names::project_digest(project)) {
                return Ok(name.clone());
            }
        }
        Err(KubernetesError::NamespacesTaken {
            names: candidates.join(" and "),
        })
    }

    /// A name that leads nowhere else, for what only one side may know.
    pub(super) fn random_token() -> Result<String, KubernetesError> {
        use ring::rand::SecureRandom as _;
        let mut bytes = [0; 32];
        ring::rand::SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_nothing_more_is_said| KubernetesError::NoRandomness)?;
        Ok(base64::Engine::encode(
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            bytes,
        ))
    }
}

/// Says a problem as one that only a person can mend.
pub(super) fn is_for_a_person(problem: &Problem) -> bool {
    problem.is_error() && problem.class != boma_problem::Class::Transient
}
