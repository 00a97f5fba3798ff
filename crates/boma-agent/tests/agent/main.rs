//! The agent on real servers: from an assignment to a server that answers, through every kind of
//! death in between.

mod agent;
mod killed;
mod life;
