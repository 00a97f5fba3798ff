//! Settings that carry the write-ahead log out of a server and back into one.
//!
//! `archive_mode` is always on: turning it on takes a restart, and backups may be asked for later.

use super::conf::Paths;
use crate::InstanceSpec;

/// What PostgreSQL runs for each WAL file; it keeps the file until this succeeds.
pub(super) fn archive_command(spec: &InstanceSpec, _paths: &Paths) -> String {
    match &spec.backup {
        // Without backups nobody asks for the file again. Status says that there are none.
        None => "true".to_owned(),
        // Nothing carries the file away yet, and it must not be said that something did.
        Some(_) => "false".to_owned(),
    }
}

/// After how long a segment that was begun is archived though it is not full.
pub(super) fn archive_timeout(spec: &InstanceSpec) -> String {
    match &spec.backup {
        Some(backup) => format!("{}s", backup.archive_interval_seconds),
        None => "0".to_owned(),
    }
}
