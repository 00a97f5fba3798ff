//! The one object that anybody may read: which repository this is, and under which key.

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
    /// For people who find it.
    about: String,
    format: u32,
    id: RepositoryId,
    key_id: String,
}

/// Reads the marker and holds it against the key; writes one when there is none.
pub(super) async fn claim(
    store: &dyn ObjectStore,
    key: &RepositoryKey,
) -> Result<RepositoryId, OpenError> {
    if let Some(id) = read(store, key).await? {
        return Ok(id);
    }
    let marker = Marker {
        about: "a backup repository of Boma; what is in it can be read with its key only".into(),
        format: FORMAT,
        id: RepositoryId(Uuid::new_v4()),
        key_id: key.id().to_string(),
    };
    let text = serde_json::to_vec_pretty(&marker)
        .expect("should be: its keys are text and its numbers finite");
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

/// Which repository is there; none: none, or nothing of Boma's.
pub(super) async fn id(store: &dyn ObjectStore) -> Result<Option<RepositoryId>, StoreError> {
    let bytes = bytes(store).await?;
    let marker = bytes.and_then(|bytes| serde_json::from_slice::<Marker>(&bytes).ok());
    Ok(marker.map(|marker| marker.id))
}

async fn bytes(store: &dyn ObjectStore) -> Result<Option<Bytes>, StoreError> {
    let failed = |source| StoreError::failed(Operation::Read, REPOSITORY, source);
    match store.get(&Path::from(REPOSITORY)).await {
        Ok(found) => found.bytes().await.map(Some).map_err(failed),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(source) => Err(failed(source)),
    }
}

async fn read(
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
    if found == key.id() {
        Ok(Some(marker.id))
    } else {
        Err(OpenError::OtherKey {
            found,
            given: key.id(),
        })
    }
}

fn parse_id(text: &str) -> Option<KeyId> {
    (text.len() == 16)
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
        .map(|id| KeyId(id.to_be_bytes()))
}
