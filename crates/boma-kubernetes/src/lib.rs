//! The platform of a Kubernetes cluster: PostgreSQL servers as StatefulSets.
//!
//! ```text
//!   engine ─► KubernetesPlatform ─┬─► records        Secrets: identity, credentials, what was delivered
//!                                 ├─► build (pure)   the objects of a database, as they should be
//!                                 ├─► apply          server-side, one field manager, nothing unchanged
//!                                 ├─► caches         fed by watches; what was written is in at once
//!                                 └─► agents         in the pods, over TLS with a token
//!
//!   custom resources ─► CustomResources ─► a source of manifests, beside others
//! ```
//!
//! This crate decides nothing: which instances exist and in what order things happen comes from
//! the engine. It is the only one that knows Kubernetes. It never deletes a volume unless
//! [`Platform::purge`](boma_engine::platform::Platform::purge) is called for a retired database.

mod admission;
mod agent;
mod build;
mod builds;
mod cache;
mod cluster;
mod compare;
mod config;
mod credentials;
mod definitions;
mod desired;
mod error;
mod install;
mod journal;
mod kinds;
mod lease;
mod names;
mod platform;
mod projects;
mod records;
mod resources;
mod watches;

pub use admission::Admission;
pub use agent::AgentError;
pub use builds::known as known_builds;
pub use config::{Identity, KubernetesConfig, NewKey, RepositoryConfig, Road};
pub use credentials::RepositoryError;
pub use definitions::definitions;
pub use error::KubernetesError;
pub use install::{
    InstallOptions, Installed, InstalledDashboard, InstalledSource, Uninstalled, chart, install,
    uninstall,
};
pub use lease::Leadership;
pub use platform::{KubernetesPlatform, Leader, Printed, SecretError, road};
pub use resources::{CustomResources, Held, ResourceChange, WrittenResource};
