//! Storing one file of `pg_wal`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use boma_instance::wal::WalFile;
use boma_instance::{InstanceId, MajorVersion};
use boma_postgres::control::{self, ControlData};

use super::error::PushError;
use super::object::{self, Head, Stored};
use super::seal::{Sealed, Sealer};
use super::source::{Source, Stamp};
use crate::format::names::{ObjectName, Prefix};
use crate::owner::{Claim, WriterId};
use crate::store::{Put, Repository, StoreError};

/// Where PostgreSQL keeps its write-ahead log, in its data directory.
pub(super) const PG_WAL: &str = "pg_wal";

/// What is to be known of a cluster to archive its write-ahead log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its data directory.
    pub data: PathBuf,
    /// Its version.
    pub version: MajorVersion,
    /// Its identity.
    pub system_identifier: u64,
    /// Bytes of a segment.
    pub segment_size: u32,
}

impl Cluster {
    /// Reads it off a data directory, of a running server too.
    pub fn read(data: &Path) -> Result<Self, PushError> {
        let control = ControlData::read(data)?;
        let version = control::major_version(data)?.ok_or_else(|| PushError::UnknownVersion {
            data: data.to_owned(),
        })?;
        Ok(Self {
            data: data.to_owned(),
            version,
            system_identifier: control.system_identifier,
            segment_size: control.wal_segment_size,
        })
    }

    /// Its part of a repository.
    pub fn prefix(&self, instance: InstanceId) -> Prefix {
        Prefix {
            instance,
            system_identifier: self.system_identifier,
        }
    }

    /// Where its write-ahead log is.
    pub fn wal_directory(&self) -> PathBuf {
        self.data.join(PG_WAL)
    }
}

/// How a file came to be archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was stored just now.
    Stored(Head),
    /// It was there already, with this content.
    Found(Head),
}

impl Pushed {
    /// What is stored.
    pub fn head(&self) -> &Head {
        match self {
            Self::Stored(head) | Self::Found(head) => head,
        }
    }
}

/// Archives the write-ahead log of one cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Archive {
    repository: Repository,
    prefix: Prefix,
    cluster: Cluster,
    writer: WriterId,
    sealer: Arc<Sealer>,
}

impl Archive {
    /// Prepares; nothing is read or written yet.
    pub fn new(
        repository: &Repository,
        instance: InstanceId,
        cluster: Cluster,
        writer: WriterId,
    ) -> Self {
        Self {
            repository: repository.clone(),
            prefix: cluster.prefix(instance),
            cluster,
            writer,
            sealer: Arc::new(Sealer::new(repository.compression_level())),
        }
    }

    /// Whose log it archives.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Where to.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// Archives a file of `pg_wal`. When this has returned `Ok`, the repository has it: durably,
    /// whole, and with this content.
    ///
    /// # Idempotency
    /// A file that is there already with this content counts as archived, so that a call that was
    /// cut off at any point is simply made again. One with other content is left as it is, and the
    /// call fails.
    pub async fn push(&self, name: &str) -> Result<Pushed, PushError> {
        let file = WalFile::parse(name, self.cluster.segment_size)?;
        let source = self.open(file, name).await?;
        let object = self.prefix.wal(file, self.cluster.segment_size);
        let about = Head {
            file: name.to_owned(),
            system_identifier: self.cluster.system_identifier,
            digest: String::new(),
            length: source.length(),
            modified_at: source.modified_at(),
        };
        // Whose prefix this is takes a request to the store, and sealing takes the processors.
        let (_claim, sealed) = tokio::try_join!(
            async {
                let claim = Claim::take(&self.repository, &self.prefix, self.writer).await;
                claim.map_err(PushError::from)
            },
            self.sealer.seal(&self.repository, &object, (source, about)),
        )?;
        self.store(&object, sealed).await
    }

    /// Which file of this name is in `pg_wal` now; none: there is none.
    pub(super) fn stamp(&self, name: &str) -> Option<Stamp> {
        Stamp::of(&self.cluster.wal_directory().join(name))
    }

    async fn open(&self, file: WalFile, name: &str) -> Result<Source, PushError> {
        let cluster = self.cluster.clone();
        let path = cluster.wal_directory().join(name);
        let opened = move || {
            let now = ControlData::read(&cluster.data)?;
            if now.system_identifier != cluster.system_identifier {
                return Err(PushError::OtherCluster {
                    data: cluster.data,
                    found: now.system_identifier,
                    expected: cluster.system_identifier,
                });
            }
            Source::open(path, file, &cluster)
        };
        tokio::task::spawn_blocking(opened)
            .await
            .map_err(|_panicked| PushError::Interrupted)?
    }

    async fn store(&self, object: &ObjectName, sealed: Sealed) -> Result<Pushed, PushError> {
        let Sealed { payload, head } = sealed;
        let put = self
            .repository
            .put_sealed_new(object, payload.clone())
            .await?;
        match put {
            Put::Stored => Ok(Pushed::Stored(head)),
            Put::Exists => match self.compare(object, &head).await? {
                Found::Same(stored) => Ok(Pushed::Found(stored)),
                Found::Torn => {
                    self.repository.replace_sealed(object, payload).await?;
                    Ok(Pushed::Stored(head))
                }
            },
        }
    }

    /// Holds what is stored against what should be. All of it is read: a head alone does not say
    /// that what follows was written too.
    async fn compare(&self, object: &ObjectName, head: &Head) -> Result<Found, PushError> {
        let gone = || StoreError::Cut {
            name: object.to_string(),
        };
        let sealed = self.repository.get_sealed(object).await?.ok_or_else(gone)?;
        let stored = object::open(&self.repository, object, sealed).await?;
        match stored {
            Stored::Whole(stored, _content) if same(&stored, head) => {
                // It may have been linked by a process that ended before it was told that the
                // link is on disk.
                self.repository.settle(object).await?;
                Ok(Found::Same(stored))
            }
            Stored::Torn(stored) if same(&stored, head) => Ok(Found::Torn),
            // Nothing can be read of it, so nothing is lost with it.
            Stored::Stump => Ok(Found::Torn),
            Stored::Whole(stored, _) | Stored::Torn(stored) => Err(PushError::Differs {
                name: object.to_string(),
                stored: stored.digest,
                given: head.digest.clone(),
            }),
        }
    }
}

/// What was found in place of a file that was to be stored.
#[derive(Debug)]
enum Found {
    /// The file.
    Same(Head),
    /// The remains of an attempt to store it, which nobody can read.
    Torn,
}

fn same(stored: &Head, given: &Head) -> bool {
    (&stored.file, &stored.digest, stored.length) == (&given.file, &given.digest, given.length)
        && stored.system_identifier == given.system_identifier
}
