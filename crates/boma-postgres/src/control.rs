//! `global/pg_control`: what a cluster is and how it was left, read without a server; and giving a
//! copied cluster an identity of its own.
//!
//! Two clusters with one system identifier would take each other's WAL for their own, so a copy
//! gets a new one before it is ever started. The identifier is in two places: in `pg_control`,
//! under a CRC-32C, and in the long header on the first page of each WAL segment. The nonce that
//! answers logins of unknown users (so that they look like known ones) is in `pg_control` as well.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use boma_instance::MajorVersion;
use boma_problem::{Class, IntoProblem, Problem};

use crate::path_error::{At, PathError};

/// Where the fields are; they are the same in all versions that Boma runs, but for the last two.
mod offset {
    pub(super) const SYSTEM_IDENTIFIER: usize = 0;
    pub(super) const CONTROL_VERSION: usize = 8;
    pub(super) const CATALOG_VERSION: usize = 12;
    pub(super) const STATE: usize = 16;
    pub(super) const CHECKPOINT: usize = 32;
    pub(super) const REDO: usize = 40;
    pub(super) const TIMELINE: usize = 48;
    pub(super) const WAL_SEGMENT_SIZE: usize = 228;
    pub(super) const CHECKSUM_VERSION: usize = 252;
}

/// All that is ever read: the file is 8192 bytes, the rest of it zeros.
const READ: usize = 512;

/// `pg_control_version`, and where the nonce and the CRC are.
const LAYOUTS: [Layout; 3] = [
    Layout {
        control_version: 1300,
        nonce: 256,
        crc: 288,
    }, // 15 and 16
    Layout {
        control_version: 1700,
        nonce: 256,
        crc: 288,
    },
    Layout {
        control_version: 1800,
        nonce: 257,
        crc: 292,
    },
];

#[derive(Clone, Copy, Debug)]
struct Layout {
    control_version: u32,
    nonce: usize,
    crc: usize,
}

/// How a cluster was left, or what it does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClusterState {
    /// It is starting.
    Starting,
    /// Shut down cleanly.
    ShutDown,
    /// Shut down cleanly while it was a standby.
    ShutDownInRecovery,
    /// It is shutting down.
    ShuttingDown,
    /// It replays WAL after a crash.
    InCrashRecovery,
    /// It is a standby, or is being restored.
    InArchiveRecovery,
    /// It serves; or it crashed while it did.
    InProduction,
}

impl ClusterState {
    fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Starting,
            1 => Self::ShutDown,
            2 => Self::ShutDownInRecovery,
            3 => Self::ShuttingDown,
            4 => Self::InCrashRecovery,
            5 => Self::InArchiveRecovery,
            6 => Self::InProduction,
            _ => return None,
        })
    }

    /// Whether nothing has to be replayed at the next start.
    pub fn is_clean(self) -> bool {
        matches!(self, Self::ShutDown | Self::ShutDownInRecovery)
    }
}

/// What `pg_control` says of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlData {
    /// Identity of the cluster; a base backup, a standby and their primary share it.
    pub system_identifier: u64,
    /// Version of the format of the catalogs; changes with the major version.
    pub catalog_version: u32,
    /// How it was left.
    pub state: ClusterState,
    /// Position of the last checkpoint record.
    pub checkpoint: u64,
    /// Position from which WAL is replayed after a crash.
    pub redo: u64,
    /// Timeline of the last checkpoint.
    pub timeline: u32,
    /// Bytes per WAL segment.
    pub wal_segment_size: u32,
    /// Whether data pages carry checksums.
    pub data_checksums: bool,
}

/// Why `pg_control` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] PathError),
    /// It is shorter than it ever is.
    #[error("`{}` is cut short", .0.display())]
    Short(PathBuf),
    /// Another version of PostgreSQL, or another machine.
    #[error("`{}` has format {found}, which is none of PostgreSQL 15 to 18 on this machine", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// The format that it names.
        found: u32,
    },
    /// The CRC does not match.
    #[error("`{}` is damaged: its checksum does not match", .0.display())]
    Damaged(PathBuf),
    /// A cluster that runs, or crashed, cannot be given a new identity.
    #[error("the cluster was not shut down cleanly: it is {0:?}")]
    NotClean(ClusterState),
}

impl IntoProblem for ControlError {
    fn problem(&self) -> Problem {
        let problem = Problem::from_error(Class::Config, "pg-control-unusable", self);
        match self {
            Self::File(error) => error.explain(problem),
            Self::Short(_) | Self::Damaged(_) => problem.hint(
                "Do not start or change this cluster; keep a copy of it and restore from a backup.",
            ),
            Self::Format { .. } => {
                problem.hint("See `PG_VERSION` beside it for the version that it belongs to.")
            }
            Self::NotClean(_) => {
                problem.hint("Start it once and shut it down with `pg_ctl -m fast`.")
            }
        }
    }
}

impl ControlData {
    /// Reads the control file of a data directory, of a running server too.
    pub fn read(data: &Path) -> Result<Self, ControlError> {
        let path = data.join("global/pg_control");
        let (bytes, _) = read_checked(&path)?;
        let state = get_u32(&bytes, offset::STATE);
        Ok(Self {
            system_identifier: get_u64(&bytes, offset::SYSTEM_IDENTIFIER),
            catalog_version: get_u32(&bytes, offset::CATALOG_VERSION),
            state: ClusterState::from_number(state).ok_or(ControlError::Damaged(path))?,
            checkpoint: get_u64(&bytes, offset::CHECKPOINT),
            redo: get_u64(&bytes, offset::REDO),
            timeline: get_u32(&bytes, offset::TIMELINE),
            wal_segment_size: get_u32(&bytes, offset::WAL_SEGMENT_SIZE),
            data_checksums: get_u32(&bytes, offset::CHECKSUM_VERSION) != 0,
        })
    }
}

/// The major version that a data directory belongs to, from its `PG_VERSION`; none: it is not one
/// that Boma runs.
pub fn major_version(data: &Path) -> Result<Option<MajorVersion>, PathError> {
    let path = data.join("PG_VERSION");
    let text = std::fs::read_to_string(&path).at("read", &path)?;
    Ok(text.trim().parse().ok())
}

/// What makes a cluster another one than that it was copied from.
#[derive(Clone)]
pub struct Identity {
    /// The system identifier.
    pub system_identifier: u64,
    /// What logins of unknown users are answered with.
    nonce: [u8; 32],
}

impl Identity {
    /// A new one, as `initdb` would make it: the second in the upper half, so that identifiers
    /// sort by age; random bits below.
    pub fn new() -> Result<Self, PathError> {
        let mut random = [0_u8; 36];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .at("get random bytes from", Path::new("/dev/urandom"))?;
        let (low, nonce) = random.split_at(4);
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let low = low
            .iter()
            .fold(0_u64, |low, byte| low << 8 | u64::from(*byte));
        let mut identity = Self {
            system_identifier: seconds << 32 | low,
            nonce: [0; 32],
        };
        identity.nonce.copy_from_slice(nonce);
        Ok(identity)
    }
}

/// Gives a copied cluster an identity of its own. It must have been shut down cleanly, and nothing
/// may run on it.
///
/// # Idempotency
/// After a crash in the middle the copy has pages of both identities: throw it away.
pub fn give_identity(data: &Path, identity: &Identity) -> Result<(), ControlError> {
    let before = ControlData::read(data)?;
    if !before.state.is_clean() {
        return Err(ControlError::NotClean(before.state));
    }
    let path = data.join("global/pg_control");
    let (mut bytes, layout) = read_checked(&path)?;
    put(
        &mut bytes,
        offset::SYSTEM_IDENTIFIER,
        &identity.system_identifier.to_ne_bytes(),
    );
    put(&mut bytes, layout.nonce, &identity.nonce);
    let crc = crc32c(&bytes[..layout.crc]);
    put(&mut bytes, layout.crc, &crc.to_ne_bytes());
    let file = OpenOptions::new()
        .write(true)
        .open(&path)
        .at("open", &path)?;
    file.write_all_at(&bytes, 0).at("write", &path)?;
    identify_wal(&data.join("pg_wal"), before.system_identifier, identity)
}

/// Writes the new identifier into each segment that carries the old one. Segments made ahead are
/// empty or carry what they were before; what is not a segment's first page is left alone.
fn identify_wal(wal: &Path, old: u64, identity: &Identity) -> Result<(), ControlError> {
    /// Bit of `xlp_info` that says that the header is the long one.
    const LONG_HEADER: u16 = 0x0002;
    /// Where the long header has the system identifier.
    const SYSTEM_IDENTIFIER: usize = 24;
    for entry in std::fs::read_dir(wal).at("read", wal)? {
        let path = entry.at("read", wal)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.len() != 24 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            continue;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .at("open", &path)?;
        let mut header = [0_u8; 32];
        file.read_exact_at(&mut header, 0).at("read", &path)?;
        let info = u16::from_ne_bytes([header[2], header[3]]);
        if info & LONG_HEADER != 0 && get_u64(&header, SYSTEM_IDENTIFIER) == old {
            file.write_all_at(
                &identity.system_identifier.to_ne_bytes(),
                SYSTEM_IDENTIFIER as u64,
            )
            .at("write", &path)?;
        }
    }
    Ok(())
}

/// Bytes of `global/pg_control` on disk; what is used of them fits one disk sector.
const FILE_BYTES: usize = 8192;

/// A copy of `global/pg_control` that is whole, also while a server runs.
pub fn copy(data: &Path) -> Result<Vec<u8>, ControlError> {
    let (bytes, _) = read_checked(&data.join("global/pg_control"))?;
    let mut copy = bytes.to_vec();
    copy.resize(FILE_BYTES, 0);
    Ok(copy)
}

/// Reads and checks the file. A running server overwrites it in place, so a reader can see half of
/// the old and half of the new: then the CRC is wrong, once.
fn read_checked(path: &Path) -> Result<([u8; READ], Layout), ControlError> {
    const TRIES: usize = 8;
    let file = File::open(path).at("open", path)?;
    let mut bytes = [0_u8; READ];
    let mut last = ControlError::Damaged(path.to_owned());
    for _ in 0..TRIES {
        let read = file.read_exact_at(&mut bytes, 0);
        if read
            .as_ref()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof)
        {
            return Err(ControlError::Short(path.to_owned()));
        }
        read.at("read", path)?;
        let found = get_u32(&bytes, offset::CONTROL_VERSION);
        match LAYOUTS
            .iter()
            .find(|layout| layout.control_version == found)
        {
            Some(layout) if get_u32(&bytes, layout.crc) == crc32c(&bytes[..layout.crc]) => {
                return Ok((bytes, *layout));
            }
            Some(_) => last = ControlError::Damaged(path.to_owned()),
            None => {
                last = ControlError::Format {
                    path: path.to_owned(),
                    found,
                }
            }
        }
    }
    Err(last)
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_ne_bytes)
}

fn get_u64(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].try_into().map_or(0, u64::from_ne_bytes)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// CRC-32C (Castagnoli), bit by bit: it is only ever taken over 292 bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // Test vectors of RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn identities_differ_and_sort_by_age() -> anyhow::Result<()> {
        let (one, other) = (Identity::new()?, Identity::new()?);
        assert_ne!(one.system_identifier, other.system_identifier);
        assert_ne!(one.nonce, other.nonce);
        assert!(one.system_identifier >> 32 > 1_700_000_000);
        Ok(())
    }
}
