//! From configuration to a store.

#[cfg(feature = "clouds")]
mod clouds;

use std::sync::Arc;

use boma_instance::backup::RepositoryLocation;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use super::error::OpenError;

/// Connects to a place. Nothing is read or written yet, except that a directory is made.
pub(super) fn connect(location: &RepositoryLocation) -> Result<Arc<dyn ObjectStore>, OpenError> {
    match location {
        RepositoryLocation::Directory { path } => directory(path),
        RepositoryLocation::S3 { .. }
        | RepositoryLocation::Gcs { .. }
        | RepositoryLocation::Azure { .. } => object_store(location),
    }
}

#[cfg(feature = "clouds")]
fn object_store(location: &RepositoryLocation) -> Result<Arc<dyn ObjectStore>, OpenError> {
    clouds::connect(location).map_err(|source| OpenError::Location {
        place: clouds::place(location),
        source: Box::new(source),
    })
}

#[cfg(not(feature = "clouds"))]
fn object_store(_location: &RepositoryLocation) -> Result<Arc<dyn ObjectStore>, OpenError> {
    Err(OpenError::Location {
        place: "an object store".into(),
        source: Box::new(object_store::Error::NotImplemented {
            operation: "connect".into(),
            implementer: "this build of Boma (feature `clouds`)".into(),
        }),
    })
}

fn directory(path: &str) -> Result<Arc<dyn ObjectStore>, OpenError> {
    std::fs::create_dir_all(path).map_err(|source| OpenError::MakeDirectory {
        path: path.to_owned(),
        source,
    })?;
    let store = LocalFileSystem::new_with_prefix(path)
        .map_err(|source| OpenError::Location {
            place: format!("`{path}`"),
            source: Box::new(source),
        })?
        .with_fsync(true);
    Ok(Arc::new(store))
}
