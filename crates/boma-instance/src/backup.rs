//! What is to be backed up, where to, and what was measured of it.

use std::collections::BTreeMap;

use boma_problem::Problem;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wal::{Lsn, Timeline};
use crate::{InstanceId, Secret};

/// How one server is backed up. Part of the spec; the engine makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupSpec {
    /// Which repository of the platform.
    pub repository: String,
    /// When base backups are taken: five fields of cron, UTC.
    pub schedule: String,
    /// Days that can be gone back; 1 to 365.
    pub retention_days: u16,
    /// Whether every moment of the window can be restored, or only the ends of base backups.
    pub point_in_time: bool,
    /// A server that writes little still archives this often, in seconds; 1 to 3600.
    pub archive_interval_seconds: u32,
}

/// A repository, with what is needed to use it. Part of the placement: the platform fills it in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryAccess {
    /// Where it is.
    pub location: RepositoryLocation,
    /// Its key in the form that it is exported in; what is stored is unreadable without it.
    pub key: Secret<String>,
    /// zstd level, 1 to 19.
    pub compression_level: u8,
}

/// By name, as [`BackupSpec::repository`] and [`Origin::repository`] say it.
pub type Repositories = BTreeMap<String, RepositoryAccess>;

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
#[serde(deny_unknown_fields)]
pub enum RepositoryLocation {
    /// A directory, absolute: another disk, or a network file system.
    Directory {
        /// Which.
        path: String,
    },
    /// S3, or anything that speaks its protocol.
    S3 {
        /// Bucket.
        bucket: String,
        /// Folder in the bucket; none: its root.
        #[serde(default)]
        prefix: String,
        /// Region; none: `us-east-1`.
        region: Option<String>,
        /// Address of a server that is not Amazon's; `http://` only where it is allowed in words.
        endpoint: Option<String>,
        /// Allows an endpoint without TLS.
        #[serde(default)]
        allow_http: bool,
        /// Whether the bucket is part of the host name; else it is part of the path.
        #[serde(default)]
        virtual_hosted: bool,
        /// Certificates, PEM, of the authority that vouches for the server, where no system knows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate_authority: Option<String>,
        /// Access key; none: from the machine's or the pod's identity.
        access_key_id: Option<String>,
        /// Secret of the access key.
        secret_access_key: Option<Secret<String>>,
    },
    /// Google Cloud Storage.
    Gcs {
        /// Bucket.
        bucket: String,
        /// Folder in the bucket; none: its root.
        #[serde(default)]
        prefix: String,
        /// Service account key, JSON; none: from the machine's or the pod's identity.
        service_account_key: Option<Secret<String>>,
    },
    /// Azure Blob Storage.
    Azure {
        /// Storage account.
        account: String,
        /// Container.
        container: String,
        /// Folder in the container; none: its root.
        #[serde(default)]
        prefix: String,
        /// Access key; none: from the machine's or the pod's identity.
        access_key: Option<Secret<String>>,
        /// Address of a server that is not Microsoft's.
        endpoint: Option<String>,
        /// Certificates, PEM, of the authority that vouches for the server, where no system knows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate_authority: Option<String>,
    },
}

/// Where the data of a new server comes from. Read only while it has no data directory and never
/// had one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// Which repository of the platform.
    pub repository: String,
    /// Whose backups.
    pub instance: InstanceId,
    /// Name of that database inside PostgreSQL: roles of its grants are taken away, since the new
    /// server has those of its own manifest.
    pub database: String,
    /// The moment.
    pub target: RecoveryTarget,
    /// The line of history that the moment is on; none: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
}

/// A moment to restore to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", content = "value", rename_all = "kebab-case")]
pub enum RecoveryTarget {
    /// All that is archived.
    Latest,
    /// Just what was committed at or before this time.
    Time(Timestamp),
    /// Up to and with the record at this position.
    Lsn(Lsn),
    /// A restore point that was named with `pg_create_restore_point`.
    Name(String),
    /// The end of this base backup.
    Backup(String),
}

/// What was measured of a server's backups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// Whole base backups, oldest first.
    pub backups: Vec<BackupSummary>,
    /// Oldest moment that can be restored; none: none, or unknown.
    pub recoverable_from: Option<Timestamp>,
    /// Newest moment that can be restored; none: none, or unknown.
    pub recoverable_until: Option<Timestamp>,
    /// The archive of the write-ahead log.
    pub archive: ArchiveStatus,
    /// The newest proof that a backup can be restored.
    pub last_verified_restore: Option<Drill>,
    /// What is going on now.
    pub running: Option<Progress>,
}

/// One base backup, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupSummary {
    /// Its name; sorts by time.
    pub label: String,
    /// Whether it needs others.
    pub kind: BackupKind,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended: the oldest moment that it can be restored to.
    pub stopped_at: Timestamp,
    /// Where replay starts.
    pub start_lsn: Lsn,
    /// From where on the data is consistent.
    pub stop_lsn: Lsn,
    /// On which line of history.
    pub timeline: Timeline,
    /// Bytes of the data directory.
    pub data_bytes: u64,
    /// Bytes that it added to the repository.
    pub stored_bytes: u64,
    /// Full version of the server: `15.18`.
    pub server_version: String,
    /// Pages whose checksum was wrong in the data directory itself.
    pub damaged_pages: u64,
}

/// Whether a base backup needs others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BackupKind {
    /// It stands alone.
    Full,
    /// Unchanged blocks are those of earlier ones.
    Incremental,
}

/// The archive of the write-ahead log, measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveStatus {
    /// Files that wait to be archived.
    pub waiting_files: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Since when the oldest of them waits.
    pub waiting_since: Option<Timestamp>,
    /// The newest archived file.
    pub last_file: Option<String>,
    /// When it was stored.
    pub last_archived_at: Option<Timestamp>,
    /// Why the last attempt failed; none: it did not.
    pub failure: Option<Problem>,
}

/// A restore that was made to prove a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drill {
    /// Which backup.
    pub label: String,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Up to when its write-ahead log was replayed.
    pub recovered_until: Option<Timestamp>,
    /// Tables found and rows counted in them.
    pub tables: u64,
    /// Rows counted.
    pub rows: u64,
    /// B-tree indexes that `amcheck` found in order.
    pub indexes: u64,
    /// What was wrong; none: it is proved.
    pub problem: Option<Problem>,
}

/// Long work that is going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What.
    pub work: Work,
    /// Since when.
    pub started_at: Timestamp,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all; none: not known yet.
    pub total_bytes: Option<u64>,
}

/// Kinds of long work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// A base backup.
    Backup,
    /// A restore into a new data directory.
    Restore,
    /// Everything in the repository read and compared.
    Verify,
    /// A restore to prove a backup.
    Drill,
}
