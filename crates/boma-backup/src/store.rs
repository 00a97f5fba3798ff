//! A repository that is open: puts sealed objects into a store and opens what comes out of it.

mod error;
mod location;
mod marker;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use boma_instance::backup::{RepositoryAccess, RepositoryLocation};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::format::envelope::{Envelope, SALT_BYTES};
use crate::format::frame::{open_object, seal_object};
use crate::format::key::{KEY_BYTES, RepositoryKey};
use crate::format::names::ObjectName;

pub use error::{OpenError, Operation, StoreError};
pub use marker::RepositoryId;

/// An open repository. Cheap to clone.
///
/// When a method that writes has returned `Ok`, what it wrote is durable. What is not there is
/// `None`; an error never means "not there".
#[derive(Clone, Debug)]
pub struct Repository {
    store: Arc<dyn ObjectStore>,
    /// Where it is, when it is a directory.
    directory: Option<PathBuf>,
    key: RepositoryKey,
    level: u8,
    id: RepositoryId,
}

/// What became of an object that must not replace another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    Stored,
    /// There is one of this name already, and it is untouched.
    Exists,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its whole name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// When it was written, by the store's clock.
    pub written_at: Timestamp,
}

/// 256 random bits from the operating system.
pub fn random() -> Result<[u8; KEY_BYTES], StoreError> {
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_unspecified| StoreError::NoRandomness)?;
    Ok(bytes)
}

impl Repository {
    /// Opens a repository; makes it when there is none.
    pub async fn open(access: &RepositoryAccess) -> Result<Self, OpenError> {
        let store = location::connect(&access.location)?;
        let key = RepositoryKey::parse(access.key.expose()).map_err(OpenError::Key)?;
        let mut repository = Self::open_store(store, key, access.compression_level).await?;
        if let RepositoryLocation::Directory { path } = &access.location {
            repository.directory = Some(path.into());
        }
        Ok(repository)
    }

    /// Opens a repository that is known to have been in this place. What is missing is never made
    /// anew: nothing is written to an empty place, or to another repository.
    pub async fn open_known(
        access: &RepositoryAccess,
        id: RepositoryId,
    ) -> Result<Self, OpenError> {
        let gone = || StoreError::Gone { id };
        if let RepositoryLocation::Directory { path } = &access.location
            && !std::path::Path::new(path).is_dir()
        {
            return Err(gone().into());
        }
        let key = RepositoryKey::parse(access.key.expose()).map_err(OpenError::Key)?;
        let store = location::connect(&access.location)?;
        if marker::read(store.as_ref(), &key).await? != Some(id) {
            return Err(gone().into());
        }
        Self::open(access).await
    }

    /// Opens a repository in a store.
    pub async fn open_store(
        store: Arc<dyn ObjectStore>,
        key: RepositoryKey,
        level: u8,
    ) -> Result<Self, OpenError> {
        let id = marker::claim(store.as_ref(), &key).await?;
        Ok(Self {
            store,
            directory: None,
            key,
            level,
            id,
        })
    }

    /// Which repository it is.
    pub fn id(&self) -> RepositoryId {
        self.id
    }

    /// zstd's level for what is written here.
    pub fn compression_level(&self) -> u8 {
        self.level
    }

    /// Begins an object that is sealed frame by frame.
    pub fn seal(&self, name: &ObjectName) -> Result<Envelope, StoreError> {
        let salt: [u8; SALT_BYTES] = random()?;
        Ok(Envelope::seal(&self.key, name, salt))
    }

    /// Opens the envelope of an object by its header.
    pub fn unseal(&self, name: &ObjectName, header: &[u8]) -> Result<Envelope, StoreError> {
        Envelope::open(&self.key, name, header).map_err(|source| StoreError::Damaged {
            name: name.to_string(),
            source: source.into(),
        })
    }

    /// Seals `plain` and stores it, unless there is an object of this name already.
    pub async fn put_new(&self, name: &ObjectName, plain: &[u8]) -> Result<Put, StoreError> {
        let sealed = self.sealed(name, plain)?;
        self.put_sealed_new(name, sealed).await
    }

    /// Stores an object that is sealed already, unless there is one of this name.
    pub async fn put_sealed_new(
        &self,
        name: &ObjectName,
        sealed: impl Into<PutPayload>,
    ) -> Result<Put, StoreError> {
        let options = PutOptions::from(PutMode::Create);
        let put = self
            .store
            .put_opts(&path(name.as_str()), sealed.into(), options)
            .await;
        match put {
            Ok(_) => self.confirm_directory().await.map(|()| Put::Stored),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Exists),
            Err(source) => Err(StoreError::failed(Operation::Write, name.as_str(), source)),
        }
    }

    /// Seals `plain` and stores it in place of what may be there.
    pub async fn replace(&self, name: &ObjectName, plain: &[u8]) -> Result<(), StoreError> {
        let sealed = self.sealed(name, plain)?;
        self.replace_sealed(name, sealed).await
    }

    /// Stores an object that is sealed already in place of what may be there.
    pub async fn replace_sealed(
        &self,
        name: &ObjectName,
        sealed: impl Into<PutPayload>,
    ) -> Result<(), StoreError> {
        self.store
            .put(&path(name.as_str()), sealed.into())
            .await
            .map_err(|source| StoreError::failed(Operation::Write, name.as_str(), source))?;
        self.confirm_directory().await
    }

    /// A directory whose disk is not mounted any more takes what is written to it, and makes
    /// folders for it in the place where the disk was.
    async fn confirm_directory(&self) -> Result<(), StoreError> {
        match &self.directory {
            Some(_) => self.confirm().await,
            None => Ok(()),
        }
    }

    /// Makes sure that the repository is there and is the one that was opened. A bucket that was
    /// deleted, or a network file system that is not mounted, has no objects either; only after
    /// this has returned `Ok` does "not there" mean that.
    pub async fn confirm(&self) -> Result<(), StoreError> {
        if marker::is_there(self.store.as_ref(), self.id, &self.key).await? {
            Ok(())
        } else {
            Err(StoreError::Gone { id: self.id })
        }
    }

    /// Makes sure that an object that was found is on disk. Object stores answer only with what
    /// is durable; a directory also shows what was linked by a process that has ended since.
    pub async fn settle(&self, name: &ObjectName) -> Result<(), StoreError> {
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        let file = directory.join(name.as_str());
        let synced = tokio::task::spawn_blocking(move || settle_file(&file));
        synced
            .await
            .unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
            .map_err(|source| StoreError::NotSettled {
                name: name.to_string(),
                source,
            })
    }

    fn sealed(&self, name: &ObjectName, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let salt: [u8; SALT_BYTES] = random()?;
        seal_object((&self.key, name), salt, self.level, plain).map_err(|source| {
            StoreError::Damaged {
                name: name.to_string(),
                source,
            }
        })
    }

    /// Begins an object of many parts; it is there when it is completed, and not before.
    pub async fn upload(&self, name: &ObjectName) -> Result<Box<dyn MultipartUpload>, StoreError> {
        self.store
            .put_multipart(&path(name.as_str()))
            .await
            .map_err(|source| StoreError::failed(Operation::Write, name.as_str(), source))
    }

    /// Reads and opens an object.
    pub async fn get(&self, name: &ObjectName) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(sealed) = self.get_sealed(name).await? else {
            return Ok(None);
        };
        open_object(&self.key, name, sealed.into())
            .map(Some)
            .map_err(|source| StoreError::Damaged {
                name: name.to_string(),
                source,
            })
    }

    /// Reads an object as it is stored.
    pub async fn get_sealed(&self, name: &ObjectName) -> Result<Option<Bytes>, StoreError> {
        let failed = |source| StoreError::failed(Operation::Read, name.as_str(), source);
        match self.store.get(&path(name.as_str())).await {
            Ok(found) => found.bytes().await.map(Some).map_err(failed),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// Reads a part of an object as it is stored. One that is not there is an error here: what is
    /// read in parts is named by a manifest.
    pub async fn get_range(
        &self,
        name: &ObjectName,
        range: Range<u64>,
    ) -> Result<Bytes, StoreError> {
        let wanted = range.end.saturating_sub(range.start);
        let bytes = match self.store.get_range(&path(name.as_str()), range).await {
            Ok(bytes) => bytes,
            Err(object_store::Error::NotFound { .. }) => {
                self.confirm().await?;
                let name = name.to_string();
                return Err(StoreError::Missing { name });
            }
            Err(source) => return Err(StoreError::failed(Operation::Read, name.as_str(), source)),
        };
        // Stores answer a range that begins in the object and ends behind it with what there is.
        if bytes.len() as u64 == wanted {
            Ok(bytes)
        } else {
            Err(StoreError::Cut {
                name: name.to_string(),
            })
        }
    }

    /// Bytes of an object; none: it is not there.
    pub async fn size(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
        match self.store.head(&path(name.as_str())).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(StoreError::failed(Operation::Read, name.as_str(), source)),
        }
    }

    /// When an object was written, by the store's clock, in whole seconds; none: it is not there.
    pub async fn written_at(&self, name: &ObjectName) -> Result<Option<Timestamp>, StoreError> {
        match self.store.head(&path(name.as_str())).await {
            Ok(meta) => Ok(Some(written_at(&meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(StoreError::failed(Operation::Read, name.as_str(), source)),
        }
    }

    /// Lists all objects in a folder and the folders in it, sorted by name.
    pub async fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError> {
        let mut listed: Vec<_> = self
            .store
            .list(Some(&path(folder)))
            .map_ok(|meta| Listed {
                written_at: written_at(&meta),
                name: meta.location.to_string(),
                bytes: meta.size,
            })
            .try_collect()
            .await
            .map_err(|source| StoreError::failed(Operation::List, folder, source))?;
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listed)
    }

    /// Names of the folders right in a folder, sorted.
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let listing = self
            .store
            .list_with_delimiter(Some(&path(folder)))
            .await
            .map_err(|source| StoreError::failed(Operation::List, folder, source))?;
        let mut names: Vec<_> = listing
            .common_prefixes
            .iter()
            .filter_map(|prefix| prefix.filename().map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Deletes an object by its whole name; one that is not there is deleted already.
    pub async fn delete(&self, name: &str) -> Result<(), StoreError> {
        match self.store.delete(&path(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(StoreError::failed(Operation::Delete, name, source)),
        }
    }

    /// Deletes everything in a folder.
    pub async fn delete_folder(&self, folder: &str) -> Result<(), StoreError> {
        let listed = self.list(folder).await?;
        futures_util::stream::iter(listed.iter().map(Ok))
            .try_for_each_concurrent(8, |object| self.delete(&object.name))
            .await
    }
}

fn settle_file(file: &std::path::Path) -> io::Result<()> {
    File::open(file)?.sync_all()?;
    file.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn written_at(meta: &ObjectMeta) -> Timestamp {
    Timestamp::from_second(meta.last_modified.timestamp()).unwrap_or(Timestamp::MIN)
}

fn path(name: &str) -> Path {
    Path::from(name)
}
