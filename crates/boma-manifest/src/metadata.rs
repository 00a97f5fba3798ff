//! Who a manifest is about.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{
    EnvironmentName, NameError, OrganizationName, OrganizationalUnitName, ProjectName, ResourceName,
};

/// Identity of a project, and with a name that of everything in it.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProjectIdentity {
    /// The organization that the project belongs to.
    pub organization: OrganizationName,
    /// The unit of the organization that the project belongs to.
    pub organizational_unit: OrganizationalUnitName,
    /// The environment: development, production, ….
    pub environment: EnvironmentName,
    /// The project.
    pub project: ProjectName,
}

/// `fincorp/retail-banking/development/login-svc`.
impl fmt::Display for ProjectIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            organization,
            organizational_unit,
            environment,
            project,
        } = self;
        write!(
            f,
            "{organization}/{organizational_unit}/{environment}/{project}"
        )
    }
}

/// Text that is not four names with a `/` between them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnIdentity {
    /// Not four.
    #[error("{text:?} has {count} parts, an identity has four")]
    Parts {
        /// The text.
        text: String,
        /// How many it has.
        count: usize,
    },
    /// One that is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// As it is displayed.
impl FromStr for ProjectIdentity {
    type Err = NotAnIdentity;

    fn from_str(text: &str) -> Result<Self, NotAnIdentity> {
        let parts: Vec<&str> = text.split('/').collect();
        let [organization, unit, environment, project] = parts[..] else {
            return Err(NotAnIdentity::Parts {
                text: text.to_owned(),
                count: parts.len(),
            });
        };
        Ok(Self {
            organization: organization.parse()?,
            organizational_unit: unit.parse()?,
            environment: environment.parse()?,
            project: project.parse()?,
        })
    }
}

/// The metadata of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Metadata {
    /// Name of what the manifest describes, unique in its project and kind.
    pub name: ResourceName,
    /// The project that it belongs to.
    #[serde(flatten)]
    pub project: ProjectIdentity,
    /// Labels of your own; Boma passes them on and reads nothing into them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of your own; Boma reads nothing into them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

macro_rules! identities {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name {
            /// The project that it belongs to.
            pub project: ProjectIdentity,
            /// Its name there.
            pub name: ResourceName,
        }

        /// `fincorp/retail-banking/development/login-svc/name`.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.project, self.name)
            }
        }
    )*};
}

identities! {
    /// Identity of a database.
    DatabaseId;
    /// Identity of an application.
    ApplicationId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_is_shown() {
        let text = "fincorp/retail-banking/development/login-svc";
        assert_eq!(text.parse::<ProjectIdentity>().unwrap().to_string(), text);
        let said = |text: &str| text.parse::<ProjectIdentity>().unwrap_err().to_string();
        assert_eq!(said("a/b/c"), "\"a/b/c\" has 3 parts, an identity has four");
        assert!(said("a/b/c/D").contains("`D`"), "{}", said("a/b/c/D"));
    }
}
