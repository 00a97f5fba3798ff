//! The platform of one machine: PostgreSQL servers and applications as processes.
//!
//! ```text
//!   engine ─► LocalPlatform ─┬─► boma.sqlite   what is recorded; secrets sealed under `key`
//!                            ├─► hosts file    <database>.internal
//!                            ├─► cgroups       CPU and memory
//!                            ├─► boma agent    one detached process per instance, asked over a Unix socket
//!                            └─► applications  detached processes with their environment
//! ```
//!
//! Agents, servers and applications outlive the process that started them; the next one finds
//! them again. [`layout`] says where everything is.
//!
//! This crate decides nothing: which instances exist and in what order things happen comes from
//! the engine. It never shows a secret, never passes one in arguments, and never removes data
//! unless [`Platform::purge`](boma_engine::platform::Platform::purge) is called for a retired
//! database.

mod address;
mod agent;
mod applications;
pub mod config;
mod detach;
mod files;
mod hosts;
mod key_file;
pub mod layout;
mod limits;
mod locks;
mod logs;
mod platform;
mod process;
mod seal;
mod store;
mod tls;
mod user;
mod wakes;

pub use address::AddressError;
pub use agent::{AgentCommand, AgentError, PrepareCommand, SpawnError};
pub use applications::ApplicationError;
pub use hosts::HostsError;
pub use key_file::KeyFileError;
pub use limits::LimitsError;
pub use locks::{Holder, LockError};
pub use logs::{Printed, end_of};
pub use platform::{AuthorityError, LocalPlatform, NotPossible, OpenError, Pass, Renewal, Serving};
pub use seal::SealError;
pub use store::StoreError;
pub use user::UserError;
