//! A place beside a data directory, for one that is restored.

use std::path::{Path, PathBuf};

use boma_instance::InstanceId;

use super::copy::{sync_file_system, sync_names};
use super::make::{Made, MakeError, refuse_occupied};
use super::making::{Making, remove_leftovers};
use super::marker::{MadeFrom, Marker};
use crate::control::ControlData;
use crate::path_error::At;

/// A place beside a data directory. What is in it is removed when it is dropped, and by the next
/// attempt when this one is killed; [`place`](Self::place) makes it the data directory.
#[derive(Debug)]
pub struct Beside {
    making: Making,
    directory: PathBuf,
    instance: InstanceId,
}

impl Beside {
    /// Begins, and removes what earlier attempts left. The caller makes sure that no two run for
    /// one instance at a time (see [`crate::server::Lease`]).
    pub fn begin(directory: &Path, instance: InstanceId) -> Result<Self, MakeError> {
        let file = |source| MakeError::File {
            directory: directory.to_owned(),
            source,
        };
        refuse_occupied(directory)?;
        let parent = directory.parent().unwrap_or(Path::new("/"));
        let prefix = format!(".boma-making-{instance}-");
        remove_leftovers(parent, &prefix).map_err(file)?;
        Ok(Self {
            making: Making::begin(parent, &prefix).map_err(file)?,
            directory: directory.to_owned(),
            instance,
        })
    }

    /// Where the cluster is to be put; nothing is there yet.
    pub fn data(&self) -> PathBuf {
        self.making.data()
    }

    /// Where its tablespaces are to be put; nothing is there yet, and they stay there.
    pub fn tablespaces(&self) -> PathBuf {
        self.making.tablespaces()
    }

    /// Marks the cluster, makes it durable and puts it in its place, all of it or nothing.
    pub fn place(self) -> Result<Made, MakeError> {
        let data = self.making.data();
        let directory = &self.directory;
        let file = |source| MakeError::File {
            directory: directory.clone(),
            source,
        };
        let control = ControlData::read(&data).map_err(|source| MakeError::Control {
            directory: directory.clone(),
            source,
        })?;
        let marker = Marker::new(
            Some(self.instance),
            control.system_identifier,
            MadeFrom::Backup,
        );
        marker.write(&data).map_err(file)?;
        sync_file_system(&data).map_err(file)?;
        // Replaces an empty directory; anything else makes it fail.
        std::fs::rename(&data, directory)
            .at("put in place", directory)
            .map_err(file)?;
        let parent = directory.parent().unwrap_or(Path::new("/"));
        sync_names(parent).map_err(file)?;
        Ok(Made { marker })
    }
}
