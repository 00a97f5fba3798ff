//! Agents as processes of their own, with real servers and a repository, without an engine: what
//! backups and restores are worth under load, through deaths and failing storage.

mod branches;
mod idle;
mod killed;
mod load;
mod moments;
mod node;
mod numbered;
mod trouble;
