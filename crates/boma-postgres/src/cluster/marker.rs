//! `boma.json`, the file in a data directory that says that Boma made it, and for whom.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use boma_instance::InstanceId;
use serde::{Deserialize, Serialize};

use crate::path_error::{At, PathError};

/// Name of the file.
pub(super) const FILE: &str = "boma.json";

/// How a cluster was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MadeFrom {
    /// A cluster made ahead.
    Spare,
    /// A copy of the template.
    Template,
    /// `initdb`.
    Initdb,
    /// A backup.
    Backup,
}

/// What the marker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marker {
    /// Whose data it is; none: a template, or a spare that waits for an instance.
    pub instance: Option<InstanceId>,
    /// System identifier of the cluster that the marker was written for.
    /// In the file it is text: JSON numbers are exact only up to 2^53 in many programs.
    #[serde(with = "as_text")]
    pub system_identifier: u64,
    /// Version of Boma that made it.
    pub made_by: String,
    /// How it was made.
    pub made_from: MadeFrom,
}

mod as_text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde calls it like this"
    )]
    pub(super) fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<u64, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl Marker {
    /// A marker for a cluster that this version of Boma makes.
    pub fn new(instance: Option<InstanceId>, system_identifier: u64, made_from: MadeFrom) -> Self {
        let made_by = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            instance,
            system_identifier,
            made_by,
            made_from,
        }
    }

    /// Reads the marker of a directory. None: there is no such file. An error inside: there is one,
    /// and it is not a marker.
    pub fn read(directory: &Path) -> Result<Option<serde_json::Result<Self>>, PathError> {
        let path = directory.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            failed => Ok(failed.at("read", &path).map(|_| None)?),
        }
    }

    /// Writes it into a directory, in place of another one: after a crash one of both is there.
    pub fn write(&self, directory: &Path) -> Result<(), PathError> {
        let (path, beside) = (directory.join(FILE), directory.join(".boma.json.new"));
        let bytes = serde_json::to_vec(self)
            .map_err(std::io::Error::from)
            .at("write", &path)?;
        let mut file = File::create(&beside).at("create", &beside)?;
        file.write_all(&bytes).at("write", &beside)?;
        file.sync_all().at("sync", &beside)?;
        std::fs::rename(&beside, &path).at("rename", &path)
    }
}
