//! One PostgreSQL on this host: programs, data directory, start, stop, SQL.

pub mod programs;
