//! The one object that anybody may read: which repository this is, and under which key. It is
//! signed with that key, so that nobody else can make it say something different.

use std::fmt;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::{OpenError, Operation, StoreError};
use crate::format::key::{KeyId, RepositoryKey};
use crate::format::names::REPOSITORY;

/// Version of the layout.
const FORMAT: u32 = 1;

/// For people who find it.
const ABOUT: &str = "a backup repository of Boma; what is in it can be read with its key only";

/// Identity of a repository; given when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RepositoryId(pub Uuid);

impl fmt::Display for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    about: String,
    format: u32,
    id: RepositoryId,
    key_id: String,
    seal: String,
}

impl Marker {
    fn new(id: RepositoryId, key: &RepositoryKey) -> Self {
        let key_id = key.id();
        Self {
            about: ABOUT.into(),
            format: FORMAT,
            id,
            key_id: key_id.to_string(),
            seal: key.sign(&format!("{FORMAT} {id} {key_id}")),
        }
    }

    /// The object, byte by byte: there is one way only to write it.
    fn render(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self)
            .expect("should be: its keys are text and its numbers finite")
    }
}

/// Reads the marker and holds it against the key; writes one when there is none.
pub(super) async fn claim(
    store: &dyn ObjectStore,
    key: &RepositoryKey,
) -> Result<RepositoryId, OpenError> {
    if let Some(id) = read(store, key).await? {
        return Ok(id);
    }
    let marker = Marker::new(RepositoryId(Uuid::new_v4()), key);
    let text = marker.render();
    let options = PutOptions::from(PutMode::Create);
    let path = Path::from(REPOSITORY);
    match store.put_opts(&path, PutPayload::from(text), options).await {
        Ok(_) => Ok(marker.id),
        // Another server of this installation was first.
        Err(object_store::Error::AlreadyExists { .. }) => {
            read(store, key).await?.ok_or_else(|| OpenError::NotOurs {
                name: REPOSITORY.into(),
            })
        }
        Err(source) => Err(StoreError::failed(Operation::Write, REPOSITORY, source).into()),
    }
}

/// Whether this repository is there.
pub(super) async fn is_there(
    store: &dyn ObjectStore,
    id: RepositoryId,
    key: &RepositoryKey,
) -> Result<bool, StoreError> {
    let found = bytes(store).await?;
    // It stays signed with the key under which the repository was made.
    Ok(found.is_some_and(|found| {
        key.each()
            .any(|key| found == Marker::new(id, &key).render())
    }))
}

async fn bytes(store: &dyn ObjectStore) -> Result<Option<Bytes>, StoreError> {
    let failed = |source| StoreError::failed(Operation::Read, REPOSITORY, source);
    match store.get(&Path::from(REPOSITORY)).await {
        Ok(found) => found.bytes().await.map(Some).map_err(failed),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(source) => Err(failed(source)),
    }
}

/// Reads the marker and holds it against the key; none: there is none.
pub(super) async fn read(
    store: &dyn ObjectStore,
    key: &RepositoryKey,
) -> Result<Option<RepositoryId>, OpenError> {
    let Some(bytes) = bytes(store).await? else {
        return Ok(None);
    };
    let marker: Marker =
        serde_json::from_slice(&bytes).map_err(|_not_json| OpenError::NotOurs {
            name: REPOSITORY.into(),
        })?;
    if marker.format != FORMAT {
        return Err(OpenError::Newer {
            found: marker.format,
            known: FORMAT,
        });
    }
    let found = parse_id(&marker.key_id).ok_or_else(|| OpenError::NotOurs {
        name: REPOSITORY.into(),
    })?;
    let Some(signed_with) = key.with_id(found) else {
        return Err(OpenError::OtherKey {
            found,
            given: key.id(),
        });
    };
    if bytes == Marker::new(marker.id, &signed_with).render() {
        Ok(Some(marker.id))
    } else {
        Err(OpenError::Changed {
            name: REPOSITORY.into(),
        })
    }
}

fn parse_id(text: &str) -> Option<KeyId> {
    (text.len() == 16)
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
        .map(|id| KeyId(id.to_be_bytes()))
}
