//! The whole product from its command line: real manifests, real processes, real PostgreSQL.

mod access;
mod applications;
mod backups;
mod certificates;
mod command_line;
mod credentials;
mod dashboard;
mod drift;
mod drill;
#[path = "../scenarios/each.rs"]
mod each;
mod edit;
mod full_disk;
mod git;
mod in_place;
mod installation;
mod keys;
mod known;
mod life;
mod log;
mod manifests;
mod record;
mod remote;
mod retired;
mod review;
mod rotation;
mod scenarios;
mod several;
mod smallest;
mod traces;
mod trouble;
mod webhook;
