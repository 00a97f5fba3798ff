//! What tests of several crates share: PostgreSQL builds, an ordinary user, scratch directories,
//! waiting for conditions, a browser for the dashboard, scenarios for every platform.
//!
//! Tests use real PostgreSQL servers, and those refuse root. A test that runs a server begins with
//! [`become_unprivileged`], after which everything in its process is as it is in an agent.

mod account;
mod browser;
mod builds;
mod ran;
pub mod scenario;
mod scratch;
mod wait;

pub use account::{Account, become_unprivileged, unprivileged};
pub use browser::{Answer, Browser};
pub use builds::{Build, postgres_builds};
pub use ran::Ran;
pub use scratch::{ScratchDir, put_back};
pub use wait::{eventually, free_loopback_address};
