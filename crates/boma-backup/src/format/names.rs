//! Names of objects, relative to the root of their repository.

use std::fmt;

use boma_instance::InstanceId;
use boma_instance::wal::{Timeline, WalFile};

use super::envelope::Kind;
use super::label::Label;

/// The one object that is not sealed: which repository this is.
pub const REPOSITORY: &str = "boma-repository.json";

/// Folder of all instances.
pub const INSTANCES: &str = "instances";

/// The name of a sealed object, with what it is for. Only this module makes them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectName {
    name: String,
    kind: Kind,
}

impl ObjectName {
    /// The whole name, relative to the root of the repository.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// What it is for.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// One instance's part of a repository: never shared, never used again. A cluster that is made
/// anew under an old name has another instance id, and one that is restored over another keeps
/// its id and begins a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// Whose.
    pub instance: InstanceId,
    /// `system_identifier` of its cluster.
    pub system_identifier: u64,
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{INSTANCES}/{}/{}",
            self.instance, self.system_identifier
        )
    }
}

impl Prefix {
    fn object(&self, rest: fmt::Arguments<'_>, kind: Kind) -> ObjectName {
        ObjectName {
            name: format!("{self}/{rest}"),
            kind,
        }
    }

    /// Who writes here.
    pub fn owner(&self) -> ObjectName {
        self.object(format_args!("owner"), Kind::Owner)
    }

    /// Result of the newest drill.
    pub fn drill(&self) -> ObjectName {
        self.object(format_args!("drill"), Kind::Drill)
    }

    /// A file of the write-ahead log. History files of all timelines are side by side, so that
    /// the newest timeline is found by one listing.
    pub fn wal(&self, file: WalFile, segment_size: u32) -> ObjectName {
        let name = file.file_name(segment_size);
        match file {
            WalFile::History(_) => self.object(format_args!("wal/{name}"), Kind::Wal),
            WalFile::Segment(_) | WalFile::Partial(_) | WalFile::Label(..) => self.object(
                format_args!("wal/{:08X}/{name}", file.timeline().0),
                Kind::Wal,
            ),
        }
    }

    /// What a restore for this instance holds the backups with.
    pub fn lease(&self, by: InstanceId) -> ObjectName {
        self.object(format_args!("lease/{by}"), Kind::Lease)
    }

    /// Written to learn what time it is by the store's clock.
    pub fn clock(&self) -> ObjectName {
        self.object(format_args!("lease/clock"), Kind::Lease)
    }

    /// Folder of the leases.
    pub fn leases_folder(&self) -> String {
        format!("{self}/lease")
    }

    /// Folder of the write-ahead log.
    pub fn wal_folder(&self) -> String {
        format!("{self}/wal")
    }

    /// Folder of one timeline of it.
    pub fn timeline_folder(&self, timeline: Timeline) -> String {
        format!("{self}/wal/{:08X}", timeline.0)
    }

    /// Folder of all base backups.
    pub fn backups_folder(&self) -> String {
        format!("{self}/backup")
    }

    /// Folder of one base backup.
    pub fn backup_folder(&self, label: &Label) -> String {
        format!("{self}/backup/{label}")
    }

    /// What a base backup consists of; written last.
    pub fn manifest(&self, label: &Label) -> ObjectName {
        self.object(format_args!("backup/{label}/manifest"), Kind::Manifest)
    }

    /// Hashes of its blocks.
    pub fn map(&self, label: &Label) -> ObjectName {
        self.object(format_args!("backup/{label}/map"), Kind::Map)
    }

    /// Contents of its files, one of several.
    pub fn pack(&self, label: &Label, number: u32) -> ObjectName {
        self.object(format_args!("backup/{label}/pack-{number:05}"), Kind::Pack)
    }
}
