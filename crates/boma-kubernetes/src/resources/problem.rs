//! Why a namespace says no project.

use boma_manifest::NotAnIdentity;
use boma_problem::{Class, IntoProblem, Problem};

use crate::names;

/// Why the resources of a namespace are no project's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HomelessError {
    /// It says none.
    #[error("namespace {namespace} is no project's")]
    NoProject {
        /// Which.
        namespace: String,
        /// The installation's.
        home: String,
    },
    /// What it says is no identity.
    #[error("read the identity of namespace {namespace}")]
    Identity {
        /// Which.
        namespace: String,
        /// What is wrong.
        #[source]
        source: NotAnIdentity,
    },
    /// The project is at home elsewhere.
    #[error("namespace {namespace} says that it is of project {project}, which has {own}")]
    OtherNamespace {
        /// Which.
        namespace: String,
        /// Whole identity.
        project: String,
        /// Where it is at home.
        own: String,
    },
}

impl IntoProblem for HomelessError {
    fn problem(&self) -> Problem {
        let of = |code| Problem::from_error(Class::Config, code, self);
        match self {
            Self::NoProject { namespace, home } => of("namespace-without-project").hint(format!(
                "`kubectl label namespace {namespace} {}={home}` and `kubectl annotate namespace \
                 {namespace} {}=ORGANIZATION/UNIT/ENVIRONMENT/PROJECT` make it a project's.",
                names::INSTALLATION,
                names::IDENTITY,
            )),
            Self::Identity { .. } => of("namespace-identity-invalid").hint(format!(
                "Annotation `{}` has four names: ORGANIZATION/UNIT/ENVIRONMENT/PROJECT.",
                names::IDENTITY,
            )),
            Self::OtherNamespace { own, .. } => of("namespace-not-the-projects").hint(format!(
                "Make the resource in namespace {own}, or take the annotation away."
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_namespace_lacks_is_said_with_what_to_do() {
        let namespace = || "team-a".to_owned();
        for (error, code, text, hint) in [
            (
                HomelessError::NoProject {
                    namespace: namespace(),
                    home: "boma-system".to_owned(),
                },
                "namespace-without-project",
                "namespace team-a is no project's",
                "lowops.manifests/installation=boma-system",
            ),
            (
                HomelessError::Identity {
                    namespace: namespace(),
                    source: "a/b".parse::<boma_manifest::ProjectIdentity>().unwrap_err(),
                },
                "namespace-identity-invalid",
                "read the identity of namespace team-a: \"a/b\" has 2 parts, an identity has four",
                "four names",
            ),
            (
                HomelessError::OtherNamespace {
                    namespace: namespace(),
                    project: "o/u/e/p".to_owned(),
                    own: "p-e".to_owned(),
                },
                "namespace-not-the-projects",
                "namespace team-a says that it is of project o/u/e/p, which has p-e",
                "namespace p-e",
            ),
        ] {
            let problem = error.problem();
            assert_eq!(problem.code, code);
            assert_eq!(problem.to_string(), text);
            assert!(problem.hints[0].contains(hint), "{problem:?}");
        }
    }
}
