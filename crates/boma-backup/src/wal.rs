//! The write-ahead log: into the repository and out of it again.
//!
//! ```text
//!   PostgreSQL ─ archive_command ─► Shipper ─► Archive::push ─┐   also what is .ready behind it
//!                                                             ▼
//!   pg_wal ◄─ restore_command ◄─ Restorer ◄─ spool ◄── repository: wal/…/00000001000000A9000000FE
//! ```
//!
//! A file counts as archived when the repository has it durably, whole, and with this content; one
//! that is there with other content is never replaced. A file is "not there" only when the
//! repository answers, is the one that was opened, and does not have it.

pub mod archive;
pub mod backlog;
pub mod error;
pub(crate) mod header;
mod object;
pub mod outlook;
mod restore;
mod seal;
mod ship;
mod source;
pub use archive::{Archive, Cluster, Pushed};
pub use error::{GetError, PushError};
pub use object::{Head, read};
pub use restore::{Fetched, Restorer};
pub use ship::Shipper;
