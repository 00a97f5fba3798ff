//! Tests of the whole engine over the simulated platform.

mod computed;
mod die_at_every_step;
mod engine;
mod growth;
mod properties;
mod replacement;
mod rotation;
mod scenarios;
mod texts;
mod world;
