//! Tests against real PostgreSQL servers of every major version.

mod cluster;
mod control;
mod host;
mod killed;
mod orphans;
mod server;
mod start_errors;
