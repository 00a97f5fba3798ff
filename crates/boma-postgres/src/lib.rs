//! One PostgreSQL on this host: programs, data directory, start, stop, SQL.
//!
//! | module | what for | blocks |
//! |---|---|---|
//! | [`programs`] | [`Installations::discover`](programs::Installations::discover), its settings and extensions | yes |
//! | [`control`] | what `pg_control` says of a cluster; an identity for a copy | yes |
//! | [`cluster`] | [`inspect`](cluster::inspect) a data directory, [`make`](cluster::make) one, [`Store`](cluster::Store) of clusters made ahead | yes |
//! | [`server`] | [`Lease`](server::Lease), [`adopt`](server::adopt), [`start`](server::start()), [`Running`](server::Running), its [`log`](server::log) | no |
//! | [`sql`] | [`Controls`](sql::Controls): look at a server that answers, and do access steps | no |
//!
//! What an agent does with it, as the unprivileged user that owns the files:
//!
//! ```no_run
//! use std::path::Path;
//! use std::time::Duration;
//!
//! use boma_instance::{InstanceId, MajorVersion};
//! use boma_postgres::cluster::{self, DataDirectory, NewCluster, Store};
//! use boma_postgres::programs::{Installations, SearchPaths};
//! use boma_postgres::server::{self, Launch, Lease, StopMode};
//!
//! # async fn agent(instance: InstanceId) -> Result<(), Box<dyn std::error::Error>> {
//! let found = Installations::discover(&SearchPaths::from_environment());
//! let installation = found.require(MajorVersion::V17)?;
//! let data = Path::new("/var/lib/boma/instances/1/data");
//! let _lease = Lease::acquire(data)?;
//!
//! if matches!(cluster::inspect(data)?, DataDirectory::Missing | DataDirectory::Empty) {
//!     let new = NewCluster { installation, directory: data, instance };
//!     let store = Store::new("/var/lib/boma/spare");
//!     // Blocks: call it from `spawn_blocking`. Then write settings, pg_hba.conf and pg_ident.conf.
//!     cluster::make(&new, Some(&store), &mut |milestone| println!("{milestone:?}"))?;
//! }
//! let running = match server::adopt(data)? {
//!     Some(running) => running,
//!     None => {
//!         let launch = Launch {
//!             installation,
//!             data,
//!             log: Path::new("/var/lib/boma/instances/1/postgres.log"),
//!             socket_directory: Path::new("/var/lib/boma/instances/1"),
//!             listen: "127.1.2.3:5432".parse()?,
//!         };
//!         server::start(&launch, Duration::from_secs(60)).await?
//!     }
//! };
//! running.reload()?;
//! let exit = running.stop(StopMode::Fast, Duration::from_secs(60)).await?;
//! println!("{:?}", exit.status);
//! # Ok(())
//! # }
//! ```
//!
//! `Store::replenish` is for a process in the background: it makes the template and the spares. A
//! cluster from either has an empty database [`cluster::SPARE_DATABASE`] to be renamed; one made by
//! `initdb` itself has none.

pub mod cluster;
pub mod control;
mod path_error;
mod process;
pub mod programs;
pub mod server;
pub mod sql;

pub use path_error::PathError;
