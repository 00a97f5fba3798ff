//! The write-ahead log of real PostgreSQL clusters, archived and fetched.

mod cluster;
mod push;
mod ship;
