//! The whole product from its command line: real manifests, real processes, real PostgreSQL.

mod access;
mod applications;
mod installation;
mod life;
mod manifests;
mod trouble;
