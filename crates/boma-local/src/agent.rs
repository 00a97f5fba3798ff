//! Agents of instances: how they are started, found again and spoken to.
//!
//! An agent is a process of its own, detached from this one: it outlives `boma apply` and a
//! restart of `boma serve`. It is found again by its socket. Two agents on one instance cannot
//! be: each locks `agent.lock` in its directory for its whole life, and one that does not get the
//! lock ends.

mod client;
mod command;
mod spawn;

pub use client::AgentError;
pub(crate) use client::{
    archive, ask_status, back_up, delete_backup, drill, exit, history, look, needs_a_person,
    put_assignment, statements, wait_for_status,
};
pub use command::{AgentCommand, PrepareCommand};
pub use spawn::SpawnError;
pub(crate) use spawn::{Agent, Launch, ensure, prepare, prepare_and_wait};
