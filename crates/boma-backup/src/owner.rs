//! Who writes to an instance's part of a repository: one server, and no copy of it.
//!
//! A copied data directory has the same system identifier, so it would archive to the same place,
//! and two histories would become one that nobody can restore. What tells them apart is a random
//! id beside the data directory, where copying the data does not copy it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use boma_problem::{Class, IntoProblem, Problem};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::format::names::Prefix;
use crate::store::{Put, Repository, StoreError};

/// Name of the file in the instance directory.
const FILE: &str = "backup-writer";

/// Tells one server from a copy of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WriterId(pub Uuid);

/// Proof that a prefix is this writer's; only asking the repository makes one.
#[derive(Debug)]
pub struct Claim(());

/// What the `owner` object says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    writer: WriterId,
}

/// Why the writer id cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum WriterIdError {
    /// It cannot be read or written.
    #[error("read or write `{}`", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error("`{}` does not hold the id of a writer of backups", path.display())]
    NotAnId {
        /// Which file.
        path: PathBuf,
    },
}

impl IntoProblem for WriterIdError {
    fn problem(&self) -> Problem {
        let problem = Problem::from_error(Class::Config, "backup-writer-unknown", self);
        match self {
            Self::File { .. } => problem.hint("The directory must belong to the user that servers run as."),
            Self::NotAnId { .. } => problem.hint(
                "Bring the file back; without it this server cannot prove that the backups are its own.",
            ),
        }
    }
}

/// Why a prefix is not this writer's.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another server writes there.
    #[error("another server ({}) writes to `{prefix}` in the backup repository", owner.0)]
    Taken {
        /// Where.
        prefix: Prefix,
        /// Who.
        owner: WriterId,
    },
    /// The object says something that it never does.
    #[error("`{name}` in the backup repository is not what Boma writes there")]
    NotAnOwner {
        /// Which object.
        name: String,
    },
    /// The repository does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IntoProblem for ClaimError {
    fn problem(&self) -> Problem {
        match self {
            Self::Taken { prefix, .. } => Problem::from_error(Class::Config, "backup-owned-by-another", self)
                .hint("This server is a copy of another, or the other way round: stop the one that is not wanted.")
                .hint(format!(
                    "If the other is gone for good, delete the object `{}` of the repository.",
                    prefix.owner()
                )),
            Self::NotAnOwner { .. } => Problem::from_error(Class::Config, "repository-damaged", self)
                .hint("`boma backup verify` lists what is damaged and which backups are whole."),
            Self::Store(error) => error.problem(),
        }
    }
}

impl WriterId {
    /// The id of the server in an instance directory; given when it is first asked for.
    ///
    /// # Idempotency
    /// The file is linked into place whole, so that a call that was cut off has either made it or
    /// has left nothing that counts.
    pub fn of(instance_directory: &Path) -> Result<Self, WriterIdError> {
        let path = instance_directory.join(FILE);
        let failed = |source| WriterIdError::File {
            path: path.clone(),
            source,
        };
        if let Some(id) = Self::read(&path)? {
            return Ok(id);
        }
        let id = Self(Uuid::new_v4());
        let temporary = instance_directory.join(format!("{FILE}.{}", id.0));
        let mut file = File::create_new(&temporary).map_err(failed)?;
        file.write_all(id.0.to_string().as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        // A link does not replace a file that is there, as a rename would.
        let linked = std::fs::hard_link(&temporary, &path);
        std::fs::remove_file(&temporary).map_err(failed)?;
        File::open(instance_directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)?;
        match linked {
            Ok(()) => Ok(id),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::read(&path)?.ok_or(WriterIdError::NotAnId { path })
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn read(path: &Path) -> Result<Option<Self>, WriterIdError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(WriterIdError::File {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        Uuid::parse_str(text.trim())
            .map(|id| Some(Self(id)))
            .map_err(|_not_an_id| WriterIdError::NotAnId {
                path: path.to_owned(),
            })
    }
}

impl Claim {
    /// Finds that a prefix is this writer's, or makes it so when it is nobody's.
    pub async fn take(
        repository: &Repository,
        prefix: &Prefix,
        writer: WriterId,
    ) -> Result<Self, ClaimError> {
        let name = prefix.owner();
        if let Some(found) = repository.get(&name).await? {
            return Self::compare(prefix, writer, &found);
        }
        // What is missing may be the whole repository: a directory whose disk is not mounted.
        repository.confirm().await?;
        let text = serde_json::to_vec(&Owner { writer }).expect("should be: its keys are text");
        match repository.put_new(&name, &text).await? {
            Put::Stored => Ok(Self(())),
            // Another one was first, or this one was and was not told so.
            Put::Exists => {
                let found = repository.get(&name).await?;
                Self::compare(prefix, writer, &found.unwrap_or_default())
            }
        }
    }

    fn compare(prefix: &Prefix, writer: WriterId, found: &[u8]) -> Result<Self, ClaimError> {
        let owner: Owner =
            serde_json::from_slice(found).map_err(|_not_json| ClaimError::NotAnOwner {
                name: prefix.owner().to_string(),
            })?;
        if owner.writer == writer {
            Ok(Self(()))
        } else {
            Err(ClaimError::Taken {
                prefix: *prefix,
                owner: owner.writer,
            })
        }
    }
}
