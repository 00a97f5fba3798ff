//! Who a manifest is about.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{
    EnvironmentName, OrganizationName, OrganizationalUnitName, ProjectName, ResourceName,
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
