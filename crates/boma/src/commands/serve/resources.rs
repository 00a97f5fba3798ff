//! Custom resources, read whenever the API server tells of a change, and changed for people.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use boma_engine::source::{Proposal, ResourceSource, WriteError};
use boma_kubernetes::{CustomResources, ResourceChange, WrittenResource};
use boma_manifest::{Manifest, SourceFile, parse_file};
use boma_problem::{Class, IntoProblem, Problem};
use boma_web::ResourceWriter;
use serde_json::Value;

use super::source::Loaded;

/// `kubectl apply` of a directory makes many changes; what comes within this is one.
const SETTLE: Duration = Duration::from_millis(20);

/// Reads them, now and whenever one changes.
pub(super) async fn follow((resources, label): (CustomResources, String), loaded: Loaded) {
    let mut source = ResourceSource::labelled(&label);
    let mut news = resources.news();
    let mut told: Option<Vec<Problem>> = None;
    loop {
        news.borrow_and_update();
        let held = resources.read();
        let mut snapshot = source.read(held.resources, held.held_back);
        snapshot.problems = held.problems;
        let problems = snapshot.problems.iter().chain(&snapshot.held_back);
        let problems: Vec<Problem> = problems.cloned().collect();
        // A status is written by this very program, and is no change of a manifest.
        if snapshot.changes > 0 || told.as_ref() != Some(&problems) {
            told = Some(problems);
            loaded.send_replace(Some(Arc::new(snapshot)));
        }
        if news.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// Custom resources as files that people change.
pub(super) struct ResourceFiles {
    resources: CustomResources,
    names: ResourceSource,
}

/// A text that becomes no custom resource.
#[derive(Debug, thiserror::Error)]
enum NotAResource {
    /// It is several, or none.
    #[error("a custom resource is one manifest, and this is {0}")]
    Several(usize),
    /// It would be another one.
    #[error("this would be another resource than `{0}`")]
    Another(String),
    /// The specification is no JSON.
    #[error("write the specification as JSON")]
    Spec(#[source] serde_json::Error),
}

impl IntoProblem for NotAResource {
    fn problem(&self) -> Problem {
        let hint = match self {
            Self::Several(_) => "Make each of them by itself.",
            Self::Another(_) => "Kind, name and project stay. Make a new one beside it.",
            Self::Spec(_) => "Write it as `kubectl apply` takes it.",
        };
        Problem::from_error(Class::User, "not-a-resource", self).hint(hint)
    }
}

impl ResourceFiles {
    pub(super) fn new(resources: CustomResources, label: &str) -> Self {
        Self {
            resources,
            names: ResourceSource::labelled(label),
        }
    }
}

/// What a text says; none: it has errors, which whoever judges it tells. Of one that goes, what it said.
fn change_of(proposal: &Proposal) -> Result<Option<ResourceChange>, NotAResource> {
    let former = proposal.former().filter(|_| proposal.is_removal());
    let text = former.unwrap_or(proposal.text().as_bytes());
    let file = SourceFile::new(proposal.name().clone(), text);
    let mut parsed = parse_file(&file);
    if parsed.problems.iter().any(Problem::is_error) {
        return Ok(None);
    }
    let count = parsed.documents.len();
    let (Some(manifest), 1) = (parsed.documents.pop(), count) else {
        return Err(NotAResource::Several(count));
    };
    let metadata = manifest.metadata();
    Ok(Some(ResourceChange {
        kind: manifest.kind(),
        project: metadata.project.clone(),
        name: metadata.name.to_string(),
        labels: metadata.labels.clone(),
        annotations: metadata.annotations.clone(),
        spec: spec_of(proposal, &manifest)?,
    }))
}

/// What a manifest says, in the types that the API server wants; what is not changed stays as it was
/// written.
fn spec_of(proposal: &Proposal, manifest: &Manifest) -> Result<Value, NotAResource> {
    let new = typed(manifest)?;
    let Some(former) = proposal.former() else {
        return Ok(new);
    };
    let mut parsed = parse_file(&SourceFile::new(proposal.name().clone(), former));
    let written: Result<Value, _> = serde_saphyr::from_slice(former);
    match (parsed.documents.pop(), written) {
        (Some(manifest), Ok(written)) => Ok(kept(&written["spec"], &typed(&manifest)?, new)),
        // What it said was wrong: all of it is new.
        (_, _) => Ok(new),
    }
}

fn typed(manifest: &Manifest) -> Result<Value, NotAResource> {
    let spec = match manifest {
        Manifest::Database(one) => serde_json::to_value(&one.spec),
        Manifest::Application(one) => serde_json::to_value(&one.spec),
    };
    spec.map_err(NotAResource::Spec)
}

/// What is to be, with those parts of it as they were written that say the same as before.
fn kept(written: &Value, before: &Value, new: Value) -> Value {
    if new == *before {
        return written.clone();
    }
    let Value::Object(new) = new else {
        return new;
    };
    let fields = new.into_iter().map(|(name, value)| {
        let same = written.get(&name).zip(before.get(&name));
        let value = match same {
            Some((written, before)) => kept(written, before, value),
            None => value,
        };
        (name, value)
    });
    Value::Object(fields.collect())
}

#[async_trait]
impl ResourceWriter for ResourceFiles {
    fn placed(&self, proposal: Proposal) -> Result<Proposal, Box<Problem>> {
        if proposal.is_removal() {
            return Ok(proposal);
        }
        let change = change_of(&proposal).map_err(|error| Box::new(error.problem()))?;
        let Some(change) = change else {
            return Ok(proposal);
        };
        let name = self.names.file_name(&self.resources.place(&change));
        if proposal.former().is_some() && *name != **proposal.name() {
            let another = NotAResource::Another(proposal.name().to_string());
            return Err(Box::new(another.problem()));
        }
        Ok(proposal.written_as(&name, change.text()))
    }

    async fn write(&self, proposal: &Proposal, actor: &str) -> Result<(), Box<Problem>> {
        let boxed = |error: &dyn IntoProblem| Box::new(error.problem());
        let change = change_of(proposal).map_err(|error| boxed(&error))?;
        let change = change.ok_or_else(|| boxed(&NotAResource::Several(0)))?;
        let former = proposal.former().map(String::from_utf8_lossy);
        let written = match &former {
            Some(former) if proposal.is_removal() => self.resources.remove(&change, former).await,
            Some(_) | None => {
                let former = former.as_deref();
                self.resources.write(&change, former, actor).await
            }
        };
        let name = proposal.name().clone();
        match written.map_err(|error| boxed(&error))? {
            WrittenResource::Done => Ok(()),
            WrittenResource::Changed => Err(boxed(&WriteError::Changed(name))),
            WrittenResource::Exists => Err(boxed(&WriteError::Exists(name))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "apiVersion: lowops.manifests/v1\nkind: Database\nmetadata: {name: orders, organization: o, organizational-unit: u, environment: e, project: shop, labels: {team: a}}\nspec: {cpuCount: 0.5, version: \"17\"}\n";

    fn proposal(text: &str) -> Proposal {
        Proposal::new_file("custom-resources/x.yaml", text.to_owned())
    }

    #[test]
    fn a_text_is_the_resource_that_it_says() {
        let change = change_of(&proposal(ONE)).unwrap().unwrap();
        assert_eq!(change.name, "orders");
        assert_eq!(change.project.to_string(), "o/u/e/shop");
        assert_eq!(
            change.spec,
            serde_json::json!({"cpuCount": 0.5, "version": "17"})
        );
        assert_eq!(change.labels["team"], "a");
        // What the API server holds is read as the same text again.
        let again = change_of(&proposal(&change.text())).unwrap().unwrap();
        assert_eq!(again.text(), change.text());
        // As the API server wants it, whatever a manifest may say; unless it says so already.
        let quoted = ONE.replace("0.5", "\"0.5\"");
        let change = change_of(&proposal(&quoted)).unwrap().unwrap();
        assert_eq!(change.spec["cpuCount"], serde_json::json!(0.5));
        let former = ONE.replace("cpuCount: 0.5", "storage: {size: 1024Mi}, memory: 512Mi");
        let new = former.replace("512Mi", "2048Mi");
        let former = SourceFile::new("x", former.as_bytes());
        let edited = Proposal::replacing((*former).clone(), new);
        let spec = change_of(&edited).unwrap().unwrap().spec;
        assert_eq!(spec["storage"], serde_json::json!({"size": "1024Mi"}));
        assert_eq!(spec["memory"], "2Gi");
        let wrong = ONE.replace("cpuCount", "cpuCont");
        assert!(change_of(&proposal(&wrong)).unwrap().is_none());
    }

    #[test]
    fn what_is_no_resource_is_said() {
        let two = format!("{ONE}---\n{}", ONE.replace("orders", "other"));
        let problem = change_of(&proposal(&two)).unwrap_err().problem();
        assert_eq!(problem.code, "not-a-resource");
        let text = "a custom resource is one manifest, and this is 2";
        assert_eq!(problem.to_string(), text);
        let another = NotAResource::Another("custom-resources/n/databases/orders".to_owned());
        assert!(another.problem().hints[0].contains("Make a new one"));
    }
}
