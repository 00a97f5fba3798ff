//! The contract between engine, platforms and agent for one PostgreSQL server.
//!
//! ```text
//!   engine::plan ──► InstanceSpec ──► Platform ──► Assignment (spec + placement) ──► agent
//!   engine       ◄── InstanceStatus ◄── Platform ◄────────────────────────────────── agent
//! ```
//!
//! The spec says what one server should be; the status says what was measured. Both are plain
//! data, the same on one machine and on Kubernetes. What derives from a spec without looking at
//! the world (names of roles, settings from CPU and memory) is here as well.
//!
//! This crate is pure: it reads no clock, no file, no environment.

pub mod api;
pub mod backup;
pub mod history;
pub mod names;
pub mod settings;
mod spec;
pub mod statements;
mod status;
pub mod wal;

pub use history::{Activity, History, Sample};
pub use spec::{
    Access, Assignment, Drift, InstanceId, InstanceSpec, Listen, LoginSpec, MajorVersion,
    Placement, Power, Resources, Secret, TlsMaterial, UnknownMajorVersion, Verifier,
};
pub use status::{
    ARCHIVED, AS_MANIFEST, Condition, Correction, InstanceStatus, LEFT_BEHIND, LoginStatus,
    OBJECTS_AS_MANIFEST, OFF, Phase, ServerStatus, StorageStatus, Truth,
};
