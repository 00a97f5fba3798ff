//! References from one manifest to a database of another.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use boma_problem::{IntoProblem, Problem};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::metadata::{DatabaseId, ProjectIdentity};
use crate::names::{NameError, ProjectName, ResourceName};
use crate::problems::{Code, error, quote};

/// Which project a reference leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReferencedProject {
    /// The project of the manifest itself.
    Own,
    /// Another project of the same organization, unit and environment.
    Sibling(ProjectName),
    /// Any project, by its full identity.
    Other(Box<ProjectIdentity>),
}

/// A database, as another manifest names it: `accounts-db`, `login-svc/accounts-db` or
/// `fincorp/retail-banking/development/login-svc/accounts-db`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatabaseReference {
    /// The project that it is in.
    pub project: ReferencedProject,
    /// Its name there.
    pub name: ResourceName,
}

/// Why a text is no reference to a database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// One of its names breaks its rules.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Neither one name, nor two, nor five.
    #[error("reference {} has {parts} names, a database is named by one, two or five", quote(.text))]
    Parts {
        /// The reference.
        text: String,
        /// How many names it has.
        parts: usize,
    },
}

impl IntoProblem for ReferenceError {
    fn problem(&self) -> Problem {
        match self {
            Self::Name(name) => name.problem(),
            Self::Parts { .. } => error(Code::InvalidName, self.to_string()).hint(
                "Write the database's name; for one of another project `project/name`, or \
                 `organization/organizational-unit/environment/project/name`.",
            ),
        }
    }
}

impl DatabaseReference {
    /// The identity that it leads to, seen from a manifest of project `own`.
    pub fn resolve(&self, own: &ProjectIdentity) -> DatabaseId {
        let project = match &self.project {
            ReferencedProject::Own => own.clone(),
            ReferencedProject::Sibling(project) => ProjectIdentity {
                project: project.clone(),
                ..own.clone()
            },
            ReferencedProject::Other(project) => (**project).clone(),
        };
        DatabaseId {
            project,
            name: self.name.clone(),
        }
    }
}

impl FromStr for DatabaseReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let mut parts = text.split('/');
        let named = [
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ];
        match (named, parts.next()) {
            ([Some(name), None, ..], None) => Ok(Self {
                project: ReferencedProject::Own,
                name: name.parse()?,
            }),
            ([Some(project), Some(name), None, ..], None) => Ok(Self {
                project: ReferencedProject::Sibling(project.parse()?),
                name: name.parse()?,
            }),
            (
                [
                    Some(organization),
                    Some(unit),
                    Some(environment),
                    Some(project),
                    Some(name),
                ],
                None,
            ) => {
                let identity = ProjectIdentity {
                    organization: organization.parse()?,
                    organizational_unit: unit.parse()?,
                    environment: environment.parse()?,
                    project: project.parse()?,
                };
                let project = ReferencedProject::Other(Box::new(identity));
                Ok(Self {
                    project,
                    name: name.parse()?,
                })
            }
            _ => Err(ReferenceError::Parts {
                text: text.to_owned(),
                parts: text.split('/').count(),
            }),
        }
    }
}

impl fmt::Display for DatabaseReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.project {
            ReferencedProject::Own => write!(f, "{}", self.name),
            ReferencedProject::Sibling(project) => write!(f, "{project}/{}", self.name),
            ReferencedProject::Other(project) => write!(f, "{project}/{}", self.name),
        }
    }
}

impl Serialize for DatabaseReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for DatabaseReference {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DatabaseReference".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        const NAME: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
        json_schema!({
            "type": "string",
            "pattern": format!("^({NAME}/|({NAME}/){{4}})?{NAME}$"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> ProjectIdentity {
        ProjectIdentity {
            organization: "fincorp".parse().unwrap(),
            organizational_unit: "retail-banking".parse().unwrap(),
            environment: "development".parse().unwrap(),
            project: "login-svc".parse().unwrap(),
        }
    }

    #[test]
    fn one_database_can_be_named_in_three_ways() {
        let whole = "fincorp/retail-banking/development/login-svc/accounts-db";
        for text in ["accounts-db", "login-svc/accounts-db", whole] {
            let reference: DatabaseReference = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
            assert_eq!(reference.resolve(&own()).to_string(), whole);
        }
    }

    #[test]
    fn a_bad_reference_says_how_to_write_it() {
        let problem = "a/b/c".parse::<DatabaseReference>().unwrap_err().problem();
        assert_eq!(
            problem.to_string(),
            "reference `a/b/c` has 3 names, a database is named by one, two or five"
        );
        assert!(problem.hints[0].contains("`project/name`"));
        let problem = "Login/db"
            .parse::<DatabaseReference>()
            .unwrap_err()
            .problem();
        assert_eq!(
            problem.to_string(),
            "project `Login` has 'L' at character 1"
        );
        for bad in ["", "/", "a/", "/a", "a//b", "a/b/c/d/e/f", "../x"] {
            assert!(bad.parse::<DatabaseReference>().is_err(), "{bad}");
        }
    }
}
