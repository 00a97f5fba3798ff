//! Settings that carry the write-ahead log out of a server.
//!
//! `archive_mode` is always on: turning it on takes a restart, and backups may be asked for later.

use super::conf::Paths;
use crate::wal::command;
use crate::{InstanceSpec, api};

/// What PostgreSQL runs for each WAL file; it keeps the file until this succeeds.
pub(super) fn archive_command(spec: &InstanceSpec, paths: &Paths) -> String {
    match &spec.backup {
        // Without backups nobody asks for the file again. Status says that there are none.
        None => "true".to_owned(),
        Some(_) => command::archive(&paths.boma, &agent_socket(paths)),
    }
}

/// What PostgreSQL runs when it recovers and needs a WAL file.
pub fn restore_command(paths: &Paths) -> String {
    command::restore(&paths.boma, &agent_socket(paths))
}

/// After how long a segment that was begun is archived though it is not full.
pub(super) fn archive_timeout(spec: &InstanceSpec) -> String {
    match &spec.backup {
        Some(backup) => format!("{}s", backup.archive_interval_seconds),
        None => "0".to_owned(),
    }
}

fn agent_socket(paths: &Paths) -> String {
    format!("{}/{}", paths.sockets, api::SOCKET)
}
