//! The platform of one machine: PostgreSQL servers and applications as processes.
