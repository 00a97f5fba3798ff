//! What users write: kinds, identity, parsing with positions, validation, schema.
//!
//! ```text
//!   (path, bytes) ──► syntax: trees with spans ──► decode: typed manifests ──► Parsed
//!                                                     └─► problems, all of a file at once
//!   Database ──► resolve(PlanTable) ──► ResolvedDatabase      Problem ──► render ──► String
//!   types ──► json_schema                                     Manifest ──► to_yaml
//! ```
//!
//! A file of any bytes gets an answer: manifests, problems with their places, or both; never a
//! panic. This crate is pure: it reads no clock, no file, no environment.

mod application;
mod database;
mod decode;
pub mod edit;
mod limits;
mod manifest;
mod metadata;
mod names;
mod origin;
mod parse;
mod plans;
mod problems;
mod quantity;
mod reference;
pub mod render;
mod resource;
mod schedule;
mod schema;
mod syntax;
mod target;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use application::{
    AccessControl, Application, ApplicationSpec, Command, DatabaseGrant, EnvValue, Source, Target,
    WorkloadKind, WorkloadReference,
};
pub use database::{
    AccessSpec, AllowedProject, BackupConfig, Bootstrap, Database, DatabaseSpec, Drift,
    ResolvedBackup, ResolvedDatabase, Restore, StorageSpec, Version,
};
pub use limits::LARGEST_FILE;
pub use manifest::{API_VERSIONS, Kind, Manifest};
pub use metadata::{ApplicationId, DatabaseId, Metadata, NotAnIdentity, ProjectIdentity};
pub use names::{
    EnvironmentName, ExtensionName, NameError, NameFault, OrganizationName, OrganizationalUnitName,
    ParameterName, PlanName, ProjectName, RepositoryName, ResourceName, SecretName,
    StorageClassName, VariableName, WorkloadName,
};
pub use origin::{Origin, SourceFile};
pub use parse::{Parsed, may_hold_manifest, parse, parse_all, parse_file};
pub use plans::{Plan, PlanTable};
pub use quantity::{CpuCount, CpuCountError, Quantity, QuantityError};
pub use reference::{DatabaseReference, ReferenceError, ReferencedProject};
pub use resource::CustomResource;
pub use schedule::{Schedule, ScheduleError};
pub use schema::{json_schema, plain_schema};
pub use target::{LogPosition, NotAPosition, RestoreTarget};

#[cfg(test)]
mod tests;
