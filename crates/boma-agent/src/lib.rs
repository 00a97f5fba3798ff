//! Observe, plan, act for one PostgreSQL server.
