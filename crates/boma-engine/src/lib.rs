//! From manifests to servers: catalog and observed state make a plan; the plan is run.
//!
//! ```text
//!   Source ─► manifests ─► Catalog ─┐
//!                                   ├─► plan (pure) ─► act ─► Platform (only carries out)
//!   Platform ─► Observed ───────────┘
//! ```
//!
//! Which instances exist, who may use them and in what order things happen is decided in `plan`,
//! nowhere else. This crate never destroys data on its own: purging is an act of its own, asked
//! for by a person.

pub mod act;
pub mod authority;
pub mod backups;
pub mod catalog;
pub mod computed;
pub mod converge;
pub mod engine;
mod fingerprint;
pub mod happened;
pub mod keys;
pub mod look;
pub mod observed;
pub mod plan;
pub mod platform;
pub mod printed;
pub mod retry;
pub mod review;
pub mod source;
pub mod spans;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod words;

use boma_instance::{InstanceStatus, Phase};

/// Whether an instance was measured to be as generation `generation` of its spec says, and still
/// is so: a server that converged once and then fell is not.
pub fn is_settled(status: &InstanceStatus, generation: u64) -> bool {
    status.is_converged(generation) && matches!(status.phase, Phase::Ready | Phase::Suspended)
}
