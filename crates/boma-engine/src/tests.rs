//! Tests of the whole engine over the simulated platform.

mod scenarios;
mod world;
