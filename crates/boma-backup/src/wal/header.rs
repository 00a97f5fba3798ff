//! The first page of a segment says whose it is: `XLogLongPageHeaderData` of `xlog_internal.h`.
//! Pure.

use boma_instance::MajorVersion;
use boma_instance::wal::{Lsn, Timeline};

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 40;

/// `XLP_LONG_HEADER`: the page begins a segment, and the long header is there.
const LONG: u16 = 2;

/// What the first page of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    magic: u16,
    info: u16,
    pub(crate) timeline: Timeline,
    pub(crate) start: Lsn,
    pub(crate) system_identifier: u64,
    pub(crate) segment_size: u32,
}

/// How a segment is not what its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongHeader {
    /// Another version of PostgreSQL wrote it, or it is no segment at all.
    #[error("its first page is not of PostgreSQL {expected}: its magic number is {found:#06X}")]
    Magic {
        /// What it says.
        found: u16,
        /// The version that it should be of.
        expected: MajorVersion,
    },
    /// Another cluster wrote it.
    #[error("it is of the cluster with system identifier {found}, and not of {expected}")]
    SystemIdentifier {
        /// Whose it is.
        found: u64,
        /// Whose it should be.
        expected: u64,
    },
    /// Its pages are of another size than the cluster's.
    #[error("it says that segments have {found} bytes where its cluster has {expected}")]
    SegmentSize {
        /// What it says.
        found: u32,
        /// What the cluster has.
        expected: u32,
    },
    /// It is another segment: one that was used again before it was written.
    #[error("it begins at {found}, and by its name at {expected}")]
    Start {
        /// What it says.
        found: Lsn,
        /// What its name says.
        expected: Lsn,
    },
    /// It is of a later timeline than its name says.
    #[error("it is of timeline {found}, and by its name of {expected}")]
    Timeline {
        /// What it says.
        found: Timeline,
        /// What its name says.
        expected: Timeline,
    },
}

/// What the header of a segment should say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) version: MajorVersion,
    pub(crate) system_identifier: u64,
    pub(crate) segment_size: u32,
    pub(crate) timeline: Timeline,
    pub(crate) start: Lsn,
}

impl SegmentHeader {
    /// Reads it off the beginning of a segment; none: there are too few bytes.
    pub(crate) fn read(page: &[u8]) -> Option<Self> {
        let page = page.first_chunk::<HEADER_BYTES>()?;
        let short = |at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
        let long =
            |at: usize| u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
        let wide = |at: usize| u64::from(long(at)) | u64::from(long(at + 4)) << 32;
        Some(Self {
            magic: short(0),
            info: short(2),
            timeline: Timeline(long(4)),
            start: Lsn(wide(8)),
            system_identifier: wide(24),
            segment_size: long(32),
        })
    }

    /// Holds it against what it should be. Its timeline may be an earlier one: the first segment
    /// of a timeline begins as a copy of the one that it left.
    pub(crate) fn check(&self, expected: &Expected) -> Result<(), WrongHeader> {
        if self.magic != magic(expected.version) || self.info & LONG == 0 {
            return Err(WrongHeader::Magic {
                found: self.magic,
                expected: expected.version,
            });
        }
        if self.system_identifier != expected.system_identifier {
            return Err(WrongHeader::SystemIdentifier {
                found: self.system_identifier,
                expected: expected.system_identifier,
            });
        }
        if self.segment_size != expected.segment_size {
            return Err(WrongHeader::SegmentSize {
                found: self.segment_size,
                expected: expected.segment_size,
            });
        }
        if self.start != expected.start {
            return Err(WrongHeader::Start {
                found: self.start,
                expected: expected.start,
            });
        }
        if self.timeline > expected.timeline || self.timeline == Timeline(0) {
            return Err(WrongHeader::Timeline {
                found: self.timeline,
                expected: expected.timeline,
            });
        }
        Ok(())
    }
}

/// `XLOG_PAGE_MAGIC`; it is fixed once a major version is out.
fn magic(version: MajorVersion) -> u16 {
    match version {
        MajorVersion::V15 => 0xD110,
        MajorVersion::V16 => 0xD113,
        MajorVersion::V17 => 0xD116,
        MajorVersion::V18 => 0xD118,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: SegmentHeader = SegmentHeader {
        magic: 0xD116,
        info: 6,
        timeline: Timeline(2),
        start: Lsn(0x300_0000),
        system_identifier: 42,
        segment_size: 16 << 20,
    };

    const EXPECTED: Expected = Expected {
        version: MajorVersion::V17,
        system_identifier: 42,
        segment_size: 16 << 20,
        timeline: Timeline(2),
        start: Lsn(0x300_0000),
    };

    #[test]
    fn a_segment_is_what_its_name_says() {
        GOOD.check(&EXPECTED).unwrap();
        // It began on the timeline before.
        let began_before = SegmentHeader {
            timeline: Timeline(1),
            ..GOOD
        };
        began_before.check(&EXPECTED).unwrap();
    }

    #[test]
    fn each_thing_that_is_not_so_is_named() {
        let say = |header: SegmentHeader| header.check(&EXPECTED).unwrap_err().to_string();
        let said = [
            say(SegmentHeader {
                magic: 0xD110,
                ..GOOD
            }),
            say(SegmentHeader { info: 0, ..GOOD }),
            say(SegmentHeader {
                system_identifier: 7,
                ..GOOD
            }),
            say(SegmentHeader {
                segment_size: 1 << 20,
                ..GOOD
            }),
            say(SegmentHeader {
                start: Lsn(0x400_0000),
                ..GOOD
            }),
            say(SegmentHeader {
                timeline: Timeline(3),
                ..GOOD
            }),
            say(SegmentHeader {
                timeline: Timeline(0),
                ..GOOD
            }),
        ];
        assert_eq!(
            said,
            [
                "its first page is not of PostgreSQL 17: its magic number is 0xD110",
                "its first page is not of PostgreSQL 17: its magic number is 0xD116",
                "it is of the cluster with system identifier 7, and not of 42",
                "it says that segments have 1048576 bytes where its cluster has 16777216",
                "it begins at 0/4000000, and by its name at 0/3000000",
                "it is of timeline 3, and by its name of 2",
                "it is of timeline 0, and by its name of 2",
            ]
        );
        assert_eq!(SegmentHeader::read(&[0; HEADER_BYTES - 1]), None);
    }
}
