//! Observe, plan, act for one PostgreSQL server.

pub mod plan;
