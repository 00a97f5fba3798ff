//! Backups, in words.

use std::fmt;

use boma_instance::backup::{BackupSpec, Origin, RecoveryTarget};

/// Where the data of a new database comes from.
pub(super) fn words_of(origin: &Origin) -> String {
    let from = format!("from the backups of {}", origin.database);
    let until = match &origin.target {
        RecoveryTarget::Latest => "all that is archived".to_owned(),
        RecoveryTarget::Time(time) => format!("as of {time}"),
        RecoveryTarget::Lsn(lsn) => format!("up to {lsn}"),
        RecoveryTarget::Name(name) => format!("up to the restore point {name}"),
        RecoveryTarget::Backup(label) => format!("as backup {label} ended"),
    };
    match origin.timeline {
        None => format!("{from}, {until}"),
        Some(timeline) => format!("{from}, {until} on timeline {timeline}"),
    }
}

/// What changes in how a database is backed up.
pub(super) fn change(
    f: &mut fmt::Formatter<'_>,
    from: Option<&BackupSpec>,
    to: Option<&BackupSpec>,
) -> fmt::Result {
    match (from, to) {
        (_, None) => f.write_str("no backups from now on; those that are there are kept"),
        (None, Some(to)) => write!(f, "backups: {}", Words(to)),
        (Some(from), Some(to)) => write!(f, "backups: {} → {}", Words(from), Words(to)),
    }
}

/// How a database is backed up, in a few words.
struct Words<'a>(&'a BackupSpec);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = self.0;
        let what = if spec.point_in_time {
            "any moment"
        } else {
            "ends of backups"
        };
        write!(
            f,
            "{what} of {} days, at `{}`, into repository {}",
            spec.retention_days, spec.schedule, spec.repository
        )
    }
}
