//! Which repository an instance has written to. A disk that is not mounted, or a bucket that was
//! made anew, is an empty place like that of a new repository; what was archived there would be
//! missing where it belongs, and the server would not have it any more.
//!
//! Killed before the file is in its place nothing was archived yet, and the next agent may still
//! make the repository. Another place in the configuration is another repository.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use boma_instance::backup::RepositoryLocation;
use boma_problem::{Class, IntoProblem, Problem};
use serde::{Deserialize, Serialize};

use crate::store::RepositoryId;

/// Name of the file in the instance directory.
const FILE: &str = "backup-repository";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    place: String,
    id: RepositoryId,
}

/// Why it cannot be read or remembered.
#[derive(Debug, thiserror::Error)]
#[error("read or write `{}`", path.display())]
pub struct KnownError {
    path: PathBuf,
    source: io::Error,
}

impl IntoProblem for KnownError {
    fn problem(&self) -> Problem {
        Problem::from_error(Class::Config, "backup-repository-unknown", self)
            .hint("The directory must belong to the user that servers run as.")
    }
}

/// The repository that was used in this place; none: none yet.
pub fn read(
    instance_directory: &Path,
    location: &RepositoryLocation,
) -> Result<Option<RepositoryId>, KnownError> {
    let path = instance_directory.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(KnownError { path, source }),
    };
    let known: Known = serde_json::from_slice(&text).map_err(|error| KnownError {
        path,
        source: error.into(),
    })?;
    Ok((known.place == place(location)).then_some(known.id))
}

/// Remembers it, durably, before anything is written to it.
pub fn remember(
    instance_directory: &Path,
    location: &RepositoryLocation,
    id: RepositoryId,
) -> Result<(), KnownError> {
    let path = instance_directory.join(FILE);
    let known = Known {
        place: place(location),
        id,
    };
    let beside = path.with_extension("new");
    let written = File::create(&beside)
        .and_then(|mut file| {
            file.write_all(&serde_json::to_vec(&known)?)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, &path))
        .and_then(|()| File::open(instance_directory)?.sync_all());
    written.map_err(|source| KnownError { path, source })
}

/// A place in words, without what may change of how it is reached.
fn place(location: &RepositoryLocation) -> String {
    match location {
        RepositoryLocation::Directory { path } => format!("directory {path}"),
        RepositoryLocation::S3 {
            bucket,
            prefix,
            endpoint,
            ..
        } => format!(
            "s3 {} {bucket}/{prefix}",
            endpoint.as_deref().unwrap_or_default()
        ),
        RepositoryLocation::Gcs { bucket, prefix, .. } => format!("gcs {bucket}/{prefix}"),
        RepositoryLocation::Azure {
            account,
            container,
            prefix,
            ..
        } => format!("azure {account} {container}/{prefix}"),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_repository_is_known_in_its_place_and_in_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let here = RepositoryLocation::Directory { path: "/a".into() };
        let there = RepositoryLocation::Directory { path: "/b".into() };
        assert_eq!(read(dir.path(), &here).unwrap(), None);
        let id = RepositoryId(Uuid::from_u128(7));
        remember(dir.path(), &here, id).unwrap();
        assert_eq!(read(dir.path(), &here).unwrap(), Some(id));
        assert_eq!(read(dir.path(), &there).unwrap(), None);
        fs::write(dir.path().join(FILE), "?").unwrap();
        let problem = read(dir.path(), &here).unwrap_err().problem();
        assert_eq!(problem.code, "backup-repository-unknown");
        assert!(problem.message.contains("backup-repository"), "{problem}");
    }
}
