//! Access on real servers of all versions: plan, act, and plan again until there is nothing to do.

mod activity;
mod converge;
mod errors;
mod repair;
mod server;
mod settings;
mod statements;
mod trespass;
