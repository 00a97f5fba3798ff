//! What waits to be archived, as PostgreSQL notes it: `pg_wal/archive_status/NAME.ready`.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use jiff::Timestamp;

/// A file that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Its name in `pg_wal`.
    pub name: String,
    /// Since when.
    pub since: Timestamp,
}

/// What waits, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many files.
    pub files: u64,
    /// Their bytes; small ones are not counted.
    pub bytes: u64,
    /// Since when the oldest of them waits.
    pub since: Option<Timestamp>,
}

impl Backlog {
    /// Adds up files.
    pub fn of(ready: impl IntoIterator<Item = Ready>, segment_size: u32) -> Self {
        let mut backlog = Self::default();
        for one in ready {
            backlog.files += 1;
            if !one.name.ends_with(".history") && !one.name.ends_with(".backup") {
                backlog.bytes += u64::from(segment_size);
            }
            backlog.since = Some(
                backlog
                    .since
                    .map_or(one.since, |since| since.min(one.since)),
            );
        }
        backlog
    }
}

/// Notes that a file is archived, as PostgreSQL does. Only for a server that does not run.
///
/// # Idempotency
/// Killed before it is durable, the file waits still, is found to be archived, and noted again.
pub fn note_archived(pg_wal: &Path, name: &str) -> io::Result<()> {
    let status = pg_wal.join("archive_status");
    let (ready, done) = (format!("{name}.ready"), format!("{name}.done"));
    fs::rename(status.join(ready), status.join(done))?;
    File::open(&status)?.sync_all()
}

/// The files that wait, in the order in which PostgreSQL asks for them: histories first, since
/// nobody else may begin a timeline of that number, then by name.
pub fn ready(pg_wal: &Path) -> io::Result<Vec<Ready>> {
    let mut ready = Vec::new();
    for entry in fs::read_dir(pg_wal.join("archive_status"))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".ready")) else {
            continue;
        };
        // PostgreSQL may have renamed it since.
        let Ok(since) = entry.metadata().and_then(|meta| meta.modified()) else {
            continue;
        };
        ready.push(Ready {
            name: name.to_owned(),
            since: Timestamp::try_from(since).unwrap_or(Timestamp::UNIX_EPOCH),
        });
    }
    ready.sort_by_cached_key(|one| (!one.name.ends_with(".history"), one.name.clone()));
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ready_is_listed_in_the_order_in_which_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let status = dir.path().join("archive_status");
        fs::create_dir(&status).unwrap();
        let segment = "000000020000000000000004";
        for name in [
            "000000010000000000000003.done".to_owned(),
            format!("{segment}.ready"),
            "000000010000000000000003.partial.ready".to_owned(),
            format!("{segment}.00000028.backup.ready"),
            "00000002.history.ready".to_owned(),
        ] {
            fs::write(status.join(name), "").unwrap();
        }
        let ready = ready(dir.path()).unwrap();
        let names: Vec<_> = ready.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "00000002.history",
                "000000010000000000000003.partial",
                segment,
                &format!("{segment}.00000028.backup"),
            ]
        );
        let backlog = Backlog::of(ready.clone(), 16 << 20);
        assert_eq!((backlog.files, backlog.bytes), (4, 2 * (16 << 20)));
        assert_eq!(backlog.since, ready.iter().map(|one| one.since).min());
        assert_eq!(Backlog::of([], 1).since, None);
    }
}
