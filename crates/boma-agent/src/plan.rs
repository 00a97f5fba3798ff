//! Plans one server. Pure: no clock, no IO, no randomness.

pub mod access;
