//! The write-ahead log of real PostgreSQL clusters, archived and fetched.

mod cluster;
mod faults;
mod push;
mod restore;
mod ship;
