//! A manifest that nobody has written yet.

use std::path::Path;

use boma_manifest::edit::{Change, EditError, Written, edit};
use boma_manifest::{Kind, Manifest};

use super::{Proposal, Snapshot};

/// What a new manifest is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewManifest<'n> {
    /// Of what.
    pub kind: Kind,
    /// `organization/organizational-unit/environment/project`.
    pub project: &'n str,
    /// Its name.
    pub name: &'n str,
    /// What its `spec` gets.
    pub spec: Vec<Change>,
    /// The label of the source that it is for, where nothing of its project is in any; empty: there
    /// is one source.
    pub label: &'n str,
}

impl NewManifest<'_> {
    /// A file of its own, beside the others of its project. What is wrong with the names in it, the
    /// reader of manifests says.
    ///
    /// # Errors
    /// When two of the changes exclude each other.
    pub fn propose(&self, snapshot: &Snapshot) -> Result<Proposal, EditError> {
        let mut text = self.without_spec();
        if self.spec.is_empty() {
            text.push_str("spec: {}\n");
        }
        for change in &self.spec {
            text = edit(&text, 0, change)?;
        }
        Ok(Proposal::new_file(self.place(snapshot), text))
    }

    fn without_spec(&self) -> String {
        let text = |value: &str| Written::Text(value.to_owned());
        let mut parts = self.project.splitn(4, '/');
        let mut part = || text(parts.next().unwrap_or_default());
        let metadata = Written::fields([
            ("name", text(self.name)),
            ("organization", part()),
            ("organizational-unit", part()),
            ("environment", part()),
            ("project", part()),
        ]);
        Written::fields([
            ("apiVersion", text("lowops.manifests.v1")),
            ("kind", text(self.kind.as_str())),
            ("metadata", metadata),
        ])
        .document()
    }

    /// Beside the first of its kind in its project, or whatever else that has, or in a directory of the
    /// project's name.
    fn place(&self, snapshot: &Snapshot) -> String {
        let of_project =
            |manifest: &&Manifest| manifest.metadata().project.to_string() == self.project;
        let all: Vec<&Manifest> = snapshot.manifests().filter(of_project).collect();
        let mut same = all.iter().filter(|one| one.kind() == self.kind);
        let directory = match same.next().or(all.first()) {
            Some(manifest) => {
                let file = Path::new(&*manifest.origin().file().name);
                file.parent().unwrap_or(Path::new(""))
            }
            None => {
                &Path::new(self.label).join(self.project.rsplit('/').next().unwrap_or_default())
            }
        };
        let path = directory.join(format!("{}.yaml", self.name));
        path.to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use boma_manifest::edit::Step;

    use super::*;

    fn set(field: &str, value: &str) -> Change {
        Change::Set(Step::fields(["spec", field]), Written::typed(value))
    }

    fn new(name: &str, spec: Vec<Change>) -> NewManifest<'_> {
        NewManifest {
            kind: Kind::Database,
            project: "o/u/e/shop",
            name,
            spec,
            label: "",
        }
    }

    #[test]
    fn a_new_manifest_can_be_read_and_is_in_block_style() {
        let spec = vec![set("plan", "starter"), set("cpuCount", "2")];
        let proposal = new("orders", spec).propose(&Snapshot::default()).unwrap();
        assert_eq!(&**proposal.name(), "shop/orders.yaml");
        assert_eq!(
            proposal.text(),
            "apiVersion: lowops.manifests.v1\nkind: Database\nmetadata:\n  name: orders\n  \
             organization: o\n  organizational-unit: u\n  environment: e\n  project: shop\nspec:\n  \
             plan: starter\n  cpuCount: 2\n"
        );
        let bare = new("orders", Vec::new());
        let bare = bare.propose(&Snapshot::default()).unwrap();
        for text in [proposal.text(), bare.text()] {
            let read = boma_manifest::parse("orders.yaml", text.as_bytes());
            assert!(read.problems.is_empty(), "{:?}", read.problems);
        }
    }

    #[test]
    fn what_somebody_types_stays_one_value() {
        let proposal = new("x\nkind: Application\n#", Vec::new());
        let proposal = proposal.propose(&Snapshot::default()).unwrap();
        let read = boma_manifest::parse("x.yaml", proposal.text().as_bytes());
        assert!(read.documents.is_empty(), "{:?}", read.documents);
        assert!(read.problems[0].to_string().contains("kind: Application"));
    }
}
