//! Backups of real PostgreSQL servers of every major version.

mod backup;
mod faults;
mod flipped;
mod server;
mod verified;
