//! The texts of resources that have not changed: a status is written often, a specification seldom.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use boma_manifest::{CustomResource, Kind, ProjectIdentity};
use kube::ResourceExt;
use kube::core::DynamicObject;

/// What a text follows from.
#[derive(Debug, PartialEq, Eq)]
struct Basis {
    uid: Option<String>,
    /// Grows with each change of the specification.
    generation: Option<i64>,
    project: ProjectIdentity,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// By the name of the resource.
#[derive(Debug, Default)]
pub(super) struct Memo(HashMap<String, (Basis, Arc<str>)>);

impl Memo {
    /// The manifest as a file would have it.
    pub(super) fn text(
        &mut self,
        kind: Kind,
        project: &ProjectIdentity,
        object: &DynamicObject,
        name: &str,
    ) -> Arc<str> {
        let basis = Basis {
            uid: object.uid(),
            generation: object.metadata.generation,
            project: project.clone(),
            labels: object.labels().clone(),
            annotations: object.annotations().clone(),
        };
        if let Some((known, text)) = self.0.get(name)
            && *known == basis
        {
            return text.clone();
        }
        let text: Arc<str> = CustomResource {
            kind,
            name: &object.name_any(),
            project,
            labels: &basis.labels,
            annotations: &basis.annotations,
            spec: &object.data["spec"],
        }
        .to_yaml()
        .into();
        self.0.insert(name.to_owned(), (basis, text.clone()));
        text
    }

    /// Forgets all others.
    pub(super) fn keep_only(&mut self, names: &HashSet<String>) {
        self.0.retain(|name, _| names.contains(name));
    }
}
