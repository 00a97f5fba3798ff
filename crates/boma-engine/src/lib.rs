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

pub mod keys;
pub mod observed;
pub mod platform;
