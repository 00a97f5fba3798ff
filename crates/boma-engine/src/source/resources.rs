//! Manifests that an API server holds: each for itself, without directories and commits.

use std::collections::BTreeMap;
use std::sync::Arc;

use boma_manifest::{SourceFile, parse_file};
use boma_problem::Problem;

use super::roots::labelled;
use super::{File, Former, Snapshot};

/// What the names of files begin with where there is no other source.
pub const CUSTOM_RESOURCES: &str = "custom-resources";

/// A manifest that an API server holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What names it among the others: `namespace/databases/name`.
    pub name: String,
    /// The manifest, as a file would have it.
    pub text: Arc<str>,
    /// Whether it was in force before.
    pub former: Former,
}

/// The manifests of an API server as a source.
#[derive(Debug)]
pub struct ResourceSource {
    label: String,
    files: BTreeMap<String, Arc<File>>,
}

impl ResourceSource {
    /// One of several sources, whose files' names begin with a label; empty: there are no others.
    pub fn labelled(label: &str) -> Self {
        let label = if label.is_empty() {
            CUSTOM_RESOURCES
        } else {
            label
        };
        Self {
            label: label.to_owned(),
            files: BTreeMap::new(),
        }
    }

    /// What the names of its files begin with.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The name of the file that a resource is.
    pub fn file_name(&self, resource: &str) -> String {
        labelled(&self.label, resource)
    }

    /// Takes what the API server holds now, with what is wrong beside the manifests.
    pub fn read(&mut self, resources: Vec<Resource>, held_back: Vec<Problem>) -> Snapshot {
        let mut files = BTreeMap::new();
        let mut alone = BTreeMap::new();
        let mut changes = 0;
        for resource in resources {
            let name = self.file_name(&resource.name);
            let same = self.files.get(&name);
            let same = same.filter(|file| *file.source.bytes == *resource.text.as_bytes());
            let file = same.cloned().unwrap_or_else(|| {
                changes += 1;
                let source = SourceFile::new(name.as_str(), resource.text.as_bytes());
                let parsed = Arc::new(parse_file(&source));
                Arc::new(File { source, parsed })
            });
            alone.insert(file.source.name.clone(), resource.former);
            files.insert(name, file);
        }
        changes += self
            .files
            .keys()
            .filter(|name| !files.contains_key(*name))
            .count();
        self.files.clone_from(&files);
        Snapshot {
            files: files.into_values().collect(),
            changes,
            held_back,
            alone,
            ..Snapshot::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str, text: &str) -> Resource {
        Resource {
            name: name.to_owned(),
            text: text.into(),
            former: Former::New,
        }
    }

    #[test]
    fn what_has_not_changed_is_the_same_file() {
        let mut source = ResourceSource::labelled("");
        let first = source.read(vec![resource("n/databases/a", "a: 1")], Vec::new());
        assert_eq!(
            &*first.files[0].source.name,
            "custom-resources/n/databases/a"
        );
        assert_eq!(first.changes, 1);
        let both = vec![
            resource("n/databases/a", "a: 1"),
            resource("n/databases/b", "b: 1"),
        ];
        let second = source.read(both.clone(), Vec::new());
        assert_eq!(second.changes, 1);
        assert!(Arc::ptr_eq(&first.files[0], &second.files[0]));
        assert_eq!(source.read(both, Vec::new()).changes, 0);
        let none = source.read(Vec::new(), Vec::new());
        assert_eq!((none.changes, none.files.len()), (2, 0));
    }
}
