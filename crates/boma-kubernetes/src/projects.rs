//! Which namespace is which project's. Pure.
//!
//! A namespace belongs to the project that its annotation names, if it bears the label of the
//! installation. Both are written by Boma into namespaces that it makes, and by those who may
//! change namespaces into others: whoever may only make resources in a namespace has no say in it.

use std::sync::Arc;

use kube::ResourceExt;
use kube::core::DynamicObject;

use crate::names;

/// The namespace of a project, among those that bear the label of an installation: the one that
/// Boma has taken into use, else the first by name that says it is this project's.
pub(crate) fn namespace_of<'n>(
    project: &str,
    namespaces: &'n [Arc<DynamicObject>],
) -> Option<&'n Arc<DynamicObject>> {
    let mut namespaces = namespaces.iter();
    let digest = names::project_digest(project);
    let is_in_use = |one: &&Arc<DynamicObject>| one.labels().get(names::PROJECT) == Some(&digest);
    let in_use = namespaces.clone().find(is_in_use);
    in_use.or_else(|| {
        namespaces.find(|one| {
            one.annotations()
                .get(names::IDENTITY)
                .is_some_and(|own| own == project)
        })
    })
}

/// Whether Boma has taken a namespace into use for a project.
pub(crate) fn is_in_use(project: &str, namespace: &DynamicObject) -> bool {
    namespace.labels().get(names::PROJECT) == Some(&names::project_digest(project))
}

/// Whose a namespace is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A project's, by its identity as it is written.
    Project(String),
    /// Another installation's.
    OtherInstallation,
    /// No project's.
    Nobody,
}

/// Whose a namespace is, to the installation that is at home in `home`.
pub(crate) fn owner(home: &str, namespace: &DynamicObject) -> Owner {
    match namespace.labels().get(names::INSTALLATION) {
        Some(own) if own == home => namespace
            .annotations()
            .get(names::IDENTITY)
            .map_or(Owner::Nobody, |identity| Owner::Project(identity.clone())),
        Some(_other) => Owner::OtherInstallation,
        None => Owner::Nobody,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Kind;

    const PROJECT: &str = "o/u/e/p";

    fn namespace(
        name: &str,
        labels: &[(&str, &str)],
        identity: Option<&str>,
    ) -> Arc<DynamicObject> {
        let mut made = DynamicObject::new(name, &Kind::Namespace.resource());
        let marks = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        made.metadata.labels = Some(marks.collect());
        let identity = identity.map(|text| (names::IDENTITY.to_owned(), text.to_owned()));
        made.metadata.annotations = Some(identity.into_iter().collect());
        Arc::new(made)
    }

    #[test]
    fn a_namespace_is_the_projects_that_it_names() {
        let ours = (names::INSTALLATION, "boma-system");
        for (labels, identity, wanted) in [
            (&[ours][..], Some(PROJECT), Owner::Project(PROJECT.into())),
            (&[ours], None, Owner::Nobody),
            (&[], Some(PROJECT), Owner::Nobody),
            (
                &[(names::INSTALLATION, "x")],
                Some(PROJECT),
                Owner::OtherInstallation,
            ),
        ] {
            let one = namespace("n", labels, identity);
            assert_eq!(owner("boma-system", &one), wanted);
        }
    }

    #[test]
    fn the_one_in_use_comes_before_others_of_the_same_project() {
        let digest = names::project_digest(PROJECT);
        let all = [
            namespace("a", &[], Some("o/u/e/q")),
            namespace("b", &[], Some(PROJECT)),
            namespace("c", &[(names::PROJECT, &digest)], Some(PROJECT)),
        ];
        let name = |found: Option<&Arc<DynamicObject>>| found.map(|one| one.name_any());
        assert_eq!(name(namespace_of(PROJECT, &all)).as_deref(), Some("c"));
        assert_eq!(name(namespace_of(PROJECT, &all[..2])).as_deref(), Some("b"));
        assert_eq!(name(namespace_of("o/u/e/r", &all)), None);
    }
}
