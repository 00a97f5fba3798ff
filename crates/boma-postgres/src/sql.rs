//! SQL for one server: looking at roles, privileges, the database and settings, and bringing them
//! to what an [`InstanceSpec`](boma_instance::InstanceSpec) says.
//!
//! ```text
//!   Controls::open ──► look(&spec) ─► SeenServer     version, settings that wait or are refused
//!                 │              └──► SeenDatabase   roles, privileges, objects, extensions
//!                 │                        │  boma-agent plans (pure)
//!                 │                        ▼
//!                 └──► act_all(&[AccessStep]) ◄── Vec<AccessStep>
//! ```
//!
//! Nothing here decides: [`Controls::look`] only reads, [`Controls::act`] is one match over
//! steps that can each be repeated, and [`Controls::act_all`] puts steps into fewer transactions.
//!
//! # Guarantees
//! - Applications cannot take control sessions over. These work over the Unix socket as the
//!   superuser, with `search_path` pinned to `pg_catalog, pg_temp`: names and operators resolve to
//!   PostgreSQL's own, whatever an application makes in `public`, and a temporary object can
//!   never stand in front of them. All settings an owner of a database may change for its sessions
//!   are pinned when the connection is made, before anything runs ([`Control::connect`]).
//! - No verifier reaches the server's log, its views of activity or `pg_stat_statements`.
//! - No control session hangs for good: statements, locks and the client side have their limits.
//! - Identifiers and literals are quoted by [`quote::identifier`] and [`quote::literal`] only.

mod act;
mod activity;
pub mod backup;
mod control;
mod error;
mod objects;
mod observe;
pub mod proof;
pub mod quote;
mod roles;
mod seen;
mod server;
mod statements;
mod step;
mod takeover;
mod together;

use boma_instance::names::SUPERUSER;

pub use control::{ConnectError, Control, Controls, Socket};
pub use error::{Refusal, SqlError};
pub use seen::{
    DefaultPrivileges, ObjectKind, Override, Password, Privilege, SeenDatabase, SeenMembership,
    SeenObject, SeenObjects, SeenRole, SeenServer, TheDatabase, UndoneBy,
};
pub use step::{AccessStep, Groups, login_comment};
pub use takeover::rename_database;

/// What the comment of a role of Boma's begins with. Only a superuser can comment on a role, so an
/// application cannot make a role look like one of these.
pub const MARK: &str = "boma: ";
