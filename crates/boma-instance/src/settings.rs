//! Settings that follow from CPU, memory and version; settings that belong to the platform.

use std::collections::BTreeMap;

/// A setting as `postgres --describe-config` describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerParameter {
    /// When a change takes effect.
    pub context: ParameterContext,
    /// `BOOLEAN`, `INTEGER`, `REAL`, `STRING` or `ENUM`.
    pub vartype: String,
    /// Smallest value of a number, in the setting's own unit.
    pub min: Option<f64>,
    /// Largest value of a number, in the setting's own unit.
    pub max: Option<f64>,
}

/// When a change of a setting takes effect (`pg_settings.context`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterContext {
    /// Never: compiled in or decided by initdb.
    Internal,
    /// At a restart.
    Postmaster,
    /// At a reload.
    Reload,
    /// At a reload, for sessions that start later.
    Session,
}

/// All settings that a server knows, by name.
pub type ServerParameters = BTreeMap<String, ServerParameter>;
