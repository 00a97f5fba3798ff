//! Settings of one server: what follows from CPU, memory, storage and version; what belongs to the
//! platform; and the configuration files made of both.
//!
//! ```text
//!   derive(spec) ──► what the user's `parameters` change ──► what the platform owns ──► postgresql.conf
//!   grants ──────────────────────────────────────────────────────────────────────────► pg_hba.conf
//! ```
//!
//! - [`derive()`]: a value and its reason for each setting that the size of a server decides.
//! - [`owned()`]: whether a setting is the platform's alone, and why.
//! - [`validate_parameters`], [`validate_sizes`]: what is wrong with a manifest's `parameters`, known
//!   at plan time.
//! - [`render_conf`], [`render_hba`], [`render_ident`]: the files, byte for byte the same for the
//!   same input.
//!
//! The tables of all of this, for people, are in `docs/settings.md`; a test keeps them complete.

mod archive;
mod conf;
mod derive;
mod hba;
mod owned;
mod parameters;
mod preload;
mod sizes;

pub use archive::restore_command;
pub use conf::{Paths, RECOVERY_FILE, effective, quoted, render_conf};
pub use derive::{Derived, derive};
pub use hba::{render_hba, render_ident};
pub use owned::owned;
pub use parameters::{
    ParameterContext, ParameterProblem, ServerParameter, ServerParameters, WhatIsWrong,
    validate_parameters,
};
pub use preload::preload_libraries;
pub use sizes::validate_sizes;

#[cfg(test)]
mod tests;
