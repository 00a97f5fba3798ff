//! The platform of one machine: PostgreSQL servers and applications as processes.
mod config;
mod files;
mod key_file;
pub mod layout;
pub mod locks;
mod seal;
mod store;
mod user;
mod address;
mod hosts;
mod tls;
mod detach;
mod process;
mod agent;
mod limits;
mod applications;
mod wakes;
