//! The backup repository: what stands in it, and how it gets there and back.
//!
//! ```text
//!   data directory ──► copy ──► frames (zstd, AES-256-GCM) ──► Repository ──► directory, S3, …
//!   pg_wal ─────────► wal ───┘                                     │
//!   new data directory ◄── restore ◄────────────────────────────────┘
//!                                     retention (pure): what may go
//! ```
//!
//! Nothing leaves this process unsealed, and nothing that was changed, cut or swapped in the
//! repository is ever read as if it were whole. A base backup exists when its manifest does;
//! objects are never overwritten with other content.

pub mod catalog;
pub mod copy;
pub mod expire;
pub mod find;
pub mod format;
pub mod frames;
pub mod holdings;
pub mod known;
pub mod lease;
pub mod meter;
pub mod owner;
pub mod restore;
pub mod retention;
pub mod store;
pub mod timeline;
pub mod verify;
pub mod wal;

#[cfg(test)]
pub(crate) mod fixture;
