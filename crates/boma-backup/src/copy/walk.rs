//! What of a data directory belongs into a backup.
//!
//! Left out is what a server makes anew when it starts, what belongs to its present process, and
//! what is empty after a crash: the list of `basebackup.c`, with pgBackRest's for 15 to 18.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::format::manifest::{Directory, Tablespace};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Directories, parents first.
    pub(super) directories: Vec<Directory>,
    /// Files, sorted by path.
    pub(super) files: Vec<FoundFile>,
    /// Tablespaces.
    pub(super) tablespaces: Vec<Tablespace>,
}

/// A file as it was when it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// Relative to the data directory.
    pub(super) path: String,
    /// Bytes; what comes later is in the write-ahead log.
    pub(super) size: u64,
    /// Permission bits.
    pub(super) mode: u32,
    /// When it was last changed.
    pub(super) modified_at: Timestamp,
}

/// Why a data directory could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The system does not let it be read.
    #[error("look at `{}`", path.display())]
    Look {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A tablespace lies in the data directory: its files would be there twice.
    #[error("tablespace {oid} lies in the data directory, at `{location}`")]
    TablespaceInside {
        /// Its number.
        oid: String,
        /// Where it is.
        location: String,
    },
}

/// Directories whose content is made anew.
const EMPTIED: &[&str] = &[
    "pg_wal",
    "pg_dynshmem",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
];

/// Files of the present process, of an earlier restore, and Boma's own mark, which a restored
/// directory gets for itself.
const LEFT_OUT: &[&str] = &[
    "postmaster.pid",
    "postmaster.opts",
    "backup_label",
    "backup_label.old",
    "tablespace_map",
    "tablespace_map.old",
    "backup_manifest",
    "recovery.signal",
    "standby.signal",
    "boma.json",
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
];

/// Lists a data directory. Files that vanish meanwhile are left out; the write-ahead log has what
/// became of them.
pub(super) fn walk(data: &Path) -> Result<Listing, WalkError> {
    let mut listing = Listing::default();
    visit(data, "", &mut listing)?;
    for directory in ["pg_wal/archive_status", "pg_wal/summaries"] {
        if let Ok(meta) = fs::metadata(data.join(directory)) {
            listing.directories.push(found_directory(directory, &meta));
        }
    }
    listing
        .files
        .sort_by(|one, other| one.path.cmp(&other.path));
    listing
        .directories
        .sort_by(|one, other| one.path.cmp(&other.path));
    Ok(listing)
}

fn visit(data: &Path, relative: &str, listing: &mut Listing) -> Result<(), WalkError> {
    let directory = data.join(relative);
    let look = |source| WalkError::Look {
        path: directory.clone(),
        source,
    };
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        // A database can be dropped at any moment.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !relative.is_empty() => {
            return Ok(());
        }
        Err(error) => return Err(look(error)),
    };
    let entries: Vec<_> = entries.collect::<io::Result<_>>().map_err(look)?;
    let skipped = skipped_relations(relative, &entries);
    for entry in entries {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            tracing::warn!(path = ?entry.path(), "not PostgreSQL's, and not backed up: its name is no text");
            continue;
        };
        let path = if relative.is_empty() {
            name.clone()
        } else {
            format!("{relative}/{name}")
        };
        if is_left_out(relative, &name) || skipped.contains(&name) {
            continue;
        }
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(WalkError::Look {
                    path: entry.path(),
                    source,
                });
            }
        };
        take(data, (path, &name), &meta, listing)?;
    }
    Ok(())
}

/// `meta` is that of a link itself where there is one.
fn take(
    data: &Path,
    (path, name): (String, &str),
    meta: &Metadata,
    listing: &mut Listing,
) -> Result<(), WalkError> {
    let emptied = EMPTIED.contains(&path.as_str());
    if meta.is_dir() || (emptied && meta.is_symlink()) {
        listing.directories.push(found_directory(&path, meta));
        if emptied {
            return Ok(());
        }
        return visit(data, &path, listing);
    }
    if meta.is_symlink() && path.strip_prefix("pg_tblspc/") == Some(name) {
        return tablespace(data, (&path, name), listing);
    }
    if meta.is_file() {
        listing.files.push(FoundFile {
            size: meta.size(),
            mode: meta.permissions().mode() & 0o777,
            modified_at: Timestamp::new(meta.mtime(), 0).unwrap_or(Timestamp::UNIX_EPOCH),
            path,
        });
    } else {
        tracing::warn!(%path, "not PostgreSQL's, and not backed up: neither a file nor a directory");
    }
    Ok(())
}

fn found_directory(path: &str, meta: &Metadata) -> Directory {
    Directory {
        path: path.to_owned(),
        mode: if meta.is_dir() {
            meta.permissions().mode() & 0o777
        } else {
            0o700
        },
    }
}

fn tablespace(
    data: &Path,
    (path, name): (&str, &str),
    listing: &mut Listing,
) -> Result<(), WalkError> {
    let link = data.join(path);
    let look = |source| WalkError::Look {
        path: link.clone(),
        source,
    };
    let location = fs::read_link(&link).map_err(look)?;
    let real = fs::canonicalize(&link).map_err(look)?;
    if fs::canonicalize(data).is_ok_and(|data| real.starts_with(data)) {
        return Err(WalkError::TablespaceInside {
            oid: name.to_owned(),
            location: location.display().to_string(),
        });
    }
    let Ok(oid) = name.parse() else {
        tracing::warn!(
            path,
            "not PostgreSQL's, and not backed up: no number of a tablespace"
        );
        return Ok(());
    };
    listing.tablespaces.push(Tablespace {
        oid,
        location: location.display().to_string(),
    });
    let meta = fs::metadata(&link).map_err(look)?;
    listing.directories.push(found_directory(path, &meta));
    visit(data, path, listing)
}

fn is_left_out(relative: &str, name: &str) -> bool {
    (relative.is_empty() && LEFT_OUT.contains(&name))
        || name.starts_with("pgsql_tmp")
        || name.starts_with("pg_internal.init")
        || (is_database(relative) && is_temporary(name))
}

/// Whether a directory holds relations of a database.
fn is_database(relative: &str) -> bool {
    let mut parts = relative.split('/');
    let digits = |part: Option<&str>| {
        part.is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match parts.next() {
        Some("base") => digits(parts.next()) && parts.next().is_none(),
        Some("pg_tblspc") => {
            digits(parts.next())
                && parts.next().is_some_and(|part| part.starts_with("PG_"))
                && digits(parts.next())
                && parts.next().is_none()
        }
        Some(_) | None => false,
    }
}

/// Relations of sessions: `t3_16384`.
fn is_temporary(name: &str) -> bool {
    name.strip_prefix('t')
        .and_then(|rest| rest.split_once('_'))
        .is_some_and(|(backend, relation)| {
            !backend.is_empty()
                && backend.bytes().all(|byte| byte.is_ascii_digit())
                && relation.starts_with(|letter: char| letter.is_ascii_digit())
        })
}

/// Files of unlogged relations, but for the `_init` forks that they are made anew from.
fn skipped_relations(relative: &str, entries: &[DirEntry]) -> BTreeSet<String> {
    if !is_database(relative) {
        return BTreeSet::new();
    }
    let names: Vec<_> = entries
        .iter()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let unlogged: BTreeSet<_> = names
        .iter()
        .filter_map(|name| name.strip_suffix("_init"))
        .map(str::to_owned)
        .collect();
    names
        .into_iter()
        .filter(|name| {
            let number = name.split(['.', '_']).next().unwrap_or_default();
            !name.ends_with("_init") && unlogged.contains(number)
        })
        .collect()
}

/// Which file of its relation this is, from 0; none: it is no relation, and has no pages with check
/// sums.
pub(super) fn relation_file(path: &str) -> Option<u32> {
    let (directory, name) = path.rsplit_once('/')?;
    if directory != "global" && !is_database(directory) {
        return None;
    }
    let (stem, part) = match name.split_once('.') {
        Some((stem, part)) => (stem, part.parse().ok()?),
        None => (name, 0),
    };
    let (number, fork) = stem.split_once('_').unwrap_or((stem, "main"));
    let relation = !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(fork, "main" | "fsm" | "vm" | "init");
    relation.then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_known_by_their_names() {
        for (path, part) in [
            ("base/5/16384", Some(0)),
            ("base/5/16384.3", Some(3)),
            ("base/5/16384_fsm", Some(0)),
            ("global/1262", Some(0)),
            ("pg_tblspc/16390/PG_15_202209061/5/16391_init", Some(0)),
            ("global/pg_control", None),
            ("base/5/PG_VERSION", None),
            ("base/5/pg_filenode.map", None),
            ("pg_xact/0000", None),
            ("base/5/16384_other", None),
        ] {
            assert_eq!(relation_file(path), part, "{path}");
        }
    }

    #[test]
    fn what_a_server_makes_anew_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        for directory in [
            "pg_wal/archive_status",
            "base/5/pgsql_tmp",
            "pg_notify",
            "global",
        ] {
            fs::create_dir_all(data.join(directory)).unwrap();
        }
        for file in [
            "PG_VERSION",
            "postmaster.pid",
            "backup_label.old",
            "boma.json",
            "pg_wal/000000010000000000000001",
            "pg_wal/archive_status/000000010000000000000001.ready",
            "pg_notify/0000",
            "base/5/16384",
            "base/5/16384_init",
            "base/5/16384_fsm",
            "base/5/16384.1",
            "base/5/16385",
            "base/5/t3_16390",
            "base/5/pg_internal.init",
            "base/5/pgsql_tmp/x",
            "global/pg_control",
        ] {
            fs::write(data.join(file), "x").unwrap();
        }
        let listing = walk(data).unwrap();
        let files: Vec<_> = listing
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        assert_eq!(
            files,
            [
                "PG_VERSION",
                "base/5/16384_init",
                "base/5/16385",
                "global/pg_control"
            ]
        );
        let directories: Vec<_> = listing
            .directories
            .iter()
            .map(|one| one.path.as_str())
            .collect();
        assert_eq!(
            directories,
            [
                "base",
                "base/5",
                "global",
                "pg_notify",
                "pg_wal",
                "pg_wal/archive_status"
            ]
        );
    }

    #[test]
    fn a_tablespace_in_the_data_directory_is_refused_and_one_outside_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let outside = dir.path().join("outside");
        fs::create_dir_all(data.join("pg_tblspc")).unwrap();
        fs::create_dir_all(outside.join("PG_15_202209061/5")).unwrap();
        fs::write(outside.join("PG_15_202209061/5/16390"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, data.join("pg_tblspc/16388")).unwrap();
        let listing = walk(&data).unwrap();
        assert_eq!(listing.tablespaces[0].oid, 16388);
        assert_eq!(
            listing.files[0].path,
            "pg_tblspc/16388/PG_15_202209061/5/16390"
        );
        fs::create_dir(data.join("inside")).unwrap();
        std::os::unix::fs::symlink(data.join("inside"), data.join("pg_tblspc/16389")).unwrap();
        let error = walk(&data).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("tablespace 16389 lies in the data directory")
        );
    }

    #[test]
    fn a_data_directory_that_is_not_there_is_an_error() {
        let error = walk(Path::new("/nonexistent/data")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/data"), "{error}");
    }
}
