//! Changes of custom resources that people make in the dashboard.

use std::collections::{BTreeMap, BTreeSet};

use boma_manifest::{CustomResource, Kind, ProjectIdentity};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use super::{CustomResources, api_resource, plural};
use crate::error::KubernetesError;
use crate::names;

/// Field manager of these changes: `kubectl get --show-managed-fields` tells them from others.
const MANAGER: &str = "boma-dashboard";

/// How often a change is tried when the resource changes meanwhile.
const ATTEMPTS: u32 = 5;

/// Annotation: who changed a resource in the dashboard last.
const CHANGED_BY: &str = "lowops.manifests/changed-by";

/// What a custom resource is to be.
#[derive(Clone, Debug)]
pub struct ResourceChange {
    /// Its kind.
    pub kind: Kind,
    /// Its project.
    pub project: ProjectIdentity,
    /// Its name.
    pub name: String,
    /// Its labels, less those of tools.
    pub labels: BTreeMap<String, String>,
    /// Its annotations, less those of tools.
    pub annotations: BTreeMap<String, String>,
    /// Its specification.
    pub spec: Value,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenResource {
    /// It is stored.
    Done,
    /// Somebody else has changed the resource since it was read; nothing was stored.
    Changed,
    /// There is one of that name already; nothing was stored.
    Exists,
}

impl ResourceChange {
    /// The manifest as it will be read again.
    pub fn text(&self) -> String {
        let empty = json!({});
        let spec = if self.spec.is_null() {
            &empty
        } else {
            &self.spec
        };
        CustomResource {
            kind: self.kind,
            name: &self.name,
            project: &self.project,
            labels: &self.labels,
            annotations: &self.annotations,
            spec,
        }
        .to_yaml()
    }
}

impl CustomResources {
    /// What a resource is called among all of the cluster: `namespace/databases/name`. Where its
    /// project has no namespace yet, by the one that it would be given.
    pub fn place(&self, change: &ResourceChange) -> String {
        let project = change.project.to_string();
        let known = self.registry().namespace(&project);
        let namespace = known.unwrap_or_else(|| {
            let [nice, _own] = names::namespaces(&project);
            nice
        });
        format!("{namespace}/{}/{}", plural(change.kind), change.name)
    }

    /// Stores a change by somebody of a resource that said `former`; none: it is new.
    ///
    /// # Guarantees
    /// What somebody else has stored since is not written over. Fields that the change does not touch
    /// stay whoever's they are.
    ///
    /// # Errors
    /// The API server, or who it asks, does not take it.
    pub async fn write(
        &self,
        change: &ResourceChange,
        former: Option<&str>,
        actor: &str,
    ) -> Result<WrittenResource, KubernetesError> {
        let project = change.project.to_string();
        let namespace = self.registry().make_namespace(&project).await?;
        let resource = api_resource(change.kind);
        let api = Api::namespaced_with(self.registry().client(), &namespace, &resource);
        let said = format!("{} {namespace}/{}", resource.kind, change.name);
        let stored = match former {
            None => create(&api, &namespace, change, (actor, &said)).await?,
            Some(former) => patch(&api, change, former, (actor, &said)).await?,
        };
        let Some(object) = stored.0 else {
            return Ok(stored.1);
        };
        // What was heard of is late: whoever wrote it reads it next.
        self.keep(change.kind, object);
        Ok(WrittenResource::Done)
    }

    /// Deletes a resource that said `former`.
    ///
    /// # Guarantees
    /// What somebody else has changed since, or made anew, is not deleted.
    ///
    /// # Errors
    /// The API server, or who it asks, does not delete it: a protected database stays.
    pub async fn remove(
        &self,
        change: &ResourceChange,
        former: &str,
    ) -> Result<WrittenResource, KubernetesError> {
        let project = change.project.to_string();
        let Some(namespace) = self.registry().namespace(&project) else {
            return Ok(WrittenResource::Changed);
        };
        let resource = api_resource(change.kind);
        let api = Api::namespaced_with(self.registry().client(), &namespace, &resource);
        let said = format!("{} {namespace}/{}", resource.kind, change.name);
        for _ in 0..ATTEMPTS {
            let Some(found) = saying(&api, change, former, &said).await? else {
                break;
            };
            let params = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: found.metadata.uid.clone(),
                    resource_version: found.metadata.resource_version.clone(),
                }),
                ..DeleteParams::default()
            };
            let answer = api.delete(&change.name, &params).await;
            match answer.map_err(KubernetesError::api(format!("delete {said}"))) {
                Ok(_) => return Ok(WrittenResource::Done),
                // A status is written in between, too: whether it is more than that, the next look tells.
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(WrittenResource::Changed)
    }
}

/// The resource, as long as it says what it said when it was read.
async fn saying(
    api: &Api<DynamicObject>,
    change: &ResourceChange,
    former: &str,
    said: &str,
) -> Result<Option<DynamicObject>, KubernetesError> {
    // Not `get`: to list is a right that Boma has anyway.
    let named = ListParams::default().fields(&format!("metadata.name={}", change.name));
    let found = api.list(&named).await;
    let found = found.map_err(KubernetesError::api(format!("read {said}")))?;
    let found = found.items.into_iter().next();
    Ok(found.filter(|found| says(found, change, former)))
}

type Stored = (Option<DynamicObject>, WrittenResource);

async fn create(
    api: &Api<DynamicObject>,
    namespace: &str,
    change: &ResourceChange,
    (actor, said): (&str, &str),
) -> Result<Stored, KubernetesError> {
    let mut annotations = change.annotations.clone();
    annotations.insert(CHANGED_BY.to_owned(), actor.to_owned());
    let mut object = DynamicObject::new(&change.name, &api_resource(change.kind)).within(namespace);
    object.metadata.labels = Some(change.labels.clone());
    object.metadata.annotations = Some(annotations);
    object.data = json!({ "spec": change.spec });
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let answer = api.create(&params, &object).await;
    match answer.map_err(KubernetesError::api(format!("make {said}"))) {
        Ok(object) => Ok((Some(object), WrittenResource::Done)),
        Err(error) if error.is_conflict() => Ok((None, WrittenResource::Exists)),
        Err(error) => Err(error),
    }
}

async fn patch(
    api: &Api<DynamicObject>,
    change: &ResourceChange,
    former: &str,
    (actor, said): (&str, &str),
) -> Result<Stored, KubernetesError> {
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    for _ in 0..ATTEMPTS {
        let Some(found) = saying(api, change, former, said).await? else {
            break;
        };
        let body = difference(&found, change, actor);
        let answer = api
            .patch(&change.name, &params, &Patch::Merge(&body))
            .await
            .map_err(KubernetesError::api(format!("change {said}")));
        match answer {
            Ok(object) => return Ok((Some(object), WrittenResource::Done)),
            // A status is written in between, too: whether it is more than that, the next look tells.
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Ok((None, WrittenResource::Changed))
}

/// Whether a resource still says what it said when it was read.
fn says(found: &DynamicObject, change: &ResourceChange, former: &str) -> bool {
    let now = CustomResource {
        kind: change.kind,
        name: &change.name,
        project: &change.project,
        labels: found.labels(),
        annotations: found.annotations(),
        spec: &found.data["spec"],
    };
    now.to_yaml() == former
}

/// What makes an object so, and nothing else of it otherwise. By server-side apply, a field that
/// another manager has set could not be taken away.
fn difference(found: &DynamicObject, change: &ResourceChange, actor: &str) -> Value {
    let spec = merge(&found.data["spec"], &change.spec);
    let labels = marks(found.labels(), &change.labels);
    let mut annotations = marks(found.annotations(), &change.annotations);
    annotations.insert(CHANGED_BY.to_owned(), json!(actor));
    json!({
        "metadata": {
            // Another one than was looked at is not changed.
            "uid": found.metadata.uid,
            "resourceVersion": found.metadata.resource_version,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
    })
}

/// A person's own labels or annotations: what tools write beside them stays.
fn marks(
    found: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> Map<String, Value> {
    let gone = found
        .keys()
        .filter(|key| CustomResource::is_own_mark(key) && !wanted.contains_key(*key));
    let gone = gone.map(|key| (key.clone(), Value::Null));
    let set = wanted
        .iter()
        .map(|(key, value)| (key.clone(), json!(value)));
    gone.chain(set).collect()
}

/// The merge patch (RFC 7396) that makes one of the other.
fn merge(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return to.clone();
    };
    let keys: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let changed = keys.into_iter().filter_map(|key| {
        let patch = match (from.get(key), to.get(key)) {
            (Some(_), None) => Value::Null,
            (Some(before), Some(after)) if before == after => return None,
            (Some(before), Some(after)) => merge(before, after),
            (None, Some(new)) => new.clone(),
            (None, None) => return None,
        };
        Some((key.clone(), patch))
    });
    Value::Object(changed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(spec: Value) -> ResourceChange {
        ResourceChange {
            kind: Kind::Database,
            project: "o/u/e/shop".parse().unwrap(),
            name: "orders".to_owned(),
            labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
            annotations: BTreeMap::new(),
            spec,
        }
    }

    #[test]
    fn a_change_touches_what_changes_and_takes_away_what_others_have_set() {
        let mut found = DynamicObject::new("orders", &api_resource(Kind::Database));
        found.metadata.resource_version = Some("7".to_owned());
        let owned = |marks: &[(&str, &str)]| {
            let marks = marks.iter();
            marks
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        found.metadata.labels = Some(owned(&[("team", "b"), ("why", "x")]));
        found.metadata.annotations = Some(owned(&[
            ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
            ("note", "y"),
        ]));
        found.data = json!({"spec": {
            "storage": {"size": "1Gi"}, "suspended": true, "extensions": ["a", "b"],
            "parameters": {"jit": "off", "work_mem": "1MB"},
        }});
        let wanted = change(json!({
            "storage": {"size": "2Gi"}, "extensions": ["a"], "parameters": {"jit": "off"},
            "plan": "pro",
        }));
        let body = difference(&found, &wanted, "ana, in the dashboard");
        assert_eq!(
            body["spec"],
            json!({
                "storage": {"size": "2Gi"}, "extensions": ["a"], "suspended": null,
                "parameters": {"work_mem": null}, "plan": "pro",
            })
        );
        assert_eq!(body["metadata"]["resourceVersion"], "7");
        assert_eq!(
            body["metadata"]["labels"],
            json!({"team": "a", "why": null})
        );
        assert_eq!(
            body["metadata"]["annotations"],
            json!({"note": null, "lowops.manifests/changed-by": "ana, in the dashboard"})
        );
    }

    #[test]
    fn a_manifest_without_a_specification_has_an_empty_one() {
        let text = change(Value::Null).text();
        assert!(text.ends_with("spec: {}\n"), "{text}");
        assert!(text.contains("organization: o\n"), "{text}");
    }
}
