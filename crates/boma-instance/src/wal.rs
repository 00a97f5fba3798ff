//! Positions in the write-ahead log and the names of its files, as PostgreSQL writes them
//! (`xlog_internal.h`, `xlogdefs.h`).

pub mod command;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A position in the write-ahead log: bytes since the cluster was made. Shown as `0/1A2B3C4D`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct Lsn(pub u64);

impl Lsn {
    /// The file that this position is in.
    pub fn segment(self, timeline: Timeline, segment_size: u32) -> Segment {
        Segment {
            timeline,
            number: self.0 / u64::from(segment_size),
        }
    }

    /// The file that holds the byte before this position: the last one that is needed to replay
    /// up to it.
    pub fn segment_before(self, timeline: Timeline, segment_size: u32) -> Segment {
        Self(self.0.saturating_sub(1)).segment(timeline, segment_size)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// Text that is not a position in the write-ahead log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a position in the write-ahead log such as 0/1A2B3C4D")]
pub struct NotAnLsn(pub String);

impl FromStr for Lsn {
    type Err = NotAnLsn;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let half = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            plain
                .then(|| u32::from_str_radix(digits, 16).ok())
                .flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some((half(high)?, half(low)?)))
            .map(|(high, low)| Self(u64::from(high) << 32 | u64::from(low)))
            .ok_or_else(|| NotAnLsn(text.to_owned()))
    }
}

impl TryFrom<String> for Lsn {
    type Error = NotAnLsn;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> Self {
        lsn.to_string()
    }
}

/// One line of history of a cluster; a promotion or the end of a restore to a moment begins a new
/// one. The first is 1.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Timeline(pub u32);

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One file of the write-ahead log: a whole number of segments into a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Segment {
    /// Which line of history.
    pub timeline: Timeline,
    /// How many segments come before it.
    pub number: u64,
}

impl Segment {
    /// Where it begins.
    pub fn start(self, segment_size: u32) -> Lsn {
        Lsn(self.number * u64::from(segment_size))
    }

    /// The next one of its timeline.
    #[must_use]
    pub fn next(self) -> Self {
        Self {
            number: self.number + 1,
            ..self
        }
    }

    /// Its file name: 24 hexadecimal digits.
    pub fn file_name(self, segment_size: u32) -> String {
        let per_log = (1_u64 << 32) / u64::from(segment_size);
        format!(
            "{:08X}{:08X}{:08X}",
            self.timeline.0,
            self.number / per_log,
            self.number % per_log
        )
    }
}

/// A file that PostgreSQL asks to archive, or asks for when it recovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WalFile {
    /// A whole segment.
    Segment(Segment),
    /// The last, incomplete segment of a timeline that was left.
    Partial(Segment),
    /// Where a timeline came from.
    History(Timeline),
    /// What PostgreSQL notes when a base backup ends; the offset is where it began in its segment.
    Label(Segment, u32),
}

/// Text that is not the name of a file of the write-ahead log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a file of the write-ahead log")]
pub struct NotAWalFile(pub String);

impl WalFile {
    /// Reads a file name. `segment_size` is a power of two from 1 MiB to 1 GiB.
    pub fn parse(name: &str, segment_size: u32) -> Result<Self, NotAWalFile> {
        Self::read(name, segment_size).ok_or_else(|| NotAWalFile(name.to_owned()))
    }

    fn read(name: &str, segment_size: u32) -> Option<Self> {
        // Digits and points only: whatever else is in the name never becomes part of a path.
        let (digits, rest) = name.split_once('.').unwrap_or((name, ""));
        let has_rest = name.len() > digits.len();
        if digits.len() == 8 {
            let timeline = Timeline(hexadecimal(digits)?);
            return (rest == "history" && timeline.0 > 0).then_some(Self::History(timeline));
        }
        if digits.len() != 24 {
            return None;
        }
        let per_log = (1_u64 << 32) / u64::from(segment_size);
        let (timeline, log, part) = (
            hexadecimal(digits.get(..8)?)?,
            hexadecimal(digits.get(8..16)?)?,
            hexadecimal(digits.get(16..)?)?,
        );
        if timeline == 0 || u64::from(part) >= per_log {
            return None;
        }
        let segment = Segment {
            timeline: Timeline(timeline),
            number: u64::from(log) * per_log + u64::from(part),
        };
        match rest {
            "" if !has_rest => Some(Self::Segment(segment)),
            "partial" => Some(Self::Partial(segment)),
            _ => {
                let offset = rest.strip_suffix(".backup")?;
                (offset.len() == 8)
                    .then(|| hexadecimal(offset))
                    .flatten()
                    .map(|offset| Self::Label(segment, offset))
            }
        }
    }

    /// Its file name.
    pub fn file_name(self, segment_size: u32) -> String {
        match self {
            Self::Segment(segment) => segment.file_name(segment_size),
            Self::Partial(segment) => format!("{}.partial", segment.file_name(segment_size)),
            Self::History(timeline) => format!("{:08X}.history", timeline.0),
            Self::Label(segment, offset) => {
                format!("{}.{offset:08X}.backup", segment.file_name(segment_size))
            }
        }
    }

    /// The timeline that it belongs to.
    pub fn timeline(self) -> Timeline {
        match self {
            Self::Segment(segment) | Self::Partial(segment) | Self::Label(segment, _) => {
                segment.timeline
            }
            Self::History(timeline) => timeline,
        }
    }
}

/// PostgreSQL writes upper case only; another case would be another file.
fn hexadecimal(digits: &str) -> Option<u32> {
    let plain = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte));
    plain
        .then(|| u32::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB_16: u32 = 16 << 20;

    #[test]
    fn names_are_those_that_postgresql_writes() {
        let name = "00000001000000A9000000FE";
        let file = WalFile::parse(name, MIB_16).unwrap();
        assert_eq!(file.file_name(MIB_16), name);
        let WalFile::Segment(segment) = file else {
            panic!("{file:?} is not a segment");
        };
        assert_eq!(segment.start(MIB_16).to_string(), "A9/FE000000");
        assert_eq!(
            segment.next().next().file_name(MIB_16),
            "00000001000000AA00000000"
        );
        assert_eq!(
            WalFile::parse("0000000A.history", MIB_16),
            Ok(WalFile::History(Timeline(10)))
        );
        for name in [
            "000000010000000000000002.partial",
            "000000010000000000000002.00000028.backup",
        ] {
            assert_eq!(
                WalFile::parse(name, MIB_16).unwrap().file_name(MIB_16),
                name
            );
        }
    }

    #[test]
    fn a_segment_ends_where_the_next_begins() {
        let timeline = Timeline(1);
        let edge = Lsn(u64::from(MIB_16) * 3);
        assert_eq!(edge.segment(timeline, MIB_16).number, 3);
        assert_eq!(edge.segment_before(timeline, MIB_16).number, 2);
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        for name in [
            "",
            "../../etc/passwd",
            "0000000100000000000000",
            "00000001000000000000010000",
            "000000010000000000000100",
            "000000000000000000000001",
            "00000001000000000000000a",
            "000000010000000000000001.",
            "000000010000000000000001.part",
            "00000000.history",
            "RECOVERYHISTORY",
        ] {
            let error = WalFile::parse(name, MIB_16).unwrap_err();
            assert!(error.to_string().contains("is not the name"), "{name}");
        }
    }

    #[test]
    fn positions_are_written_as_postgresql_does() {
        assert_eq!(
            "16/B374D848".parse::<Lsn>().unwrap().to_string(),
            "16/B374D848"
        );
        for text in ["", "/", "16", "16/", "+1/2", "1/2/3", "1FFFFFFFF/0"] {
            let error = text.parse::<Lsn>().unwrap_err();
            assert!(error.to_string().contains("such as 0/1A2B3C4D"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_refused(text in "[0-9A-F.a-z/]{0,40}", power in 20_u32..=30) {
            let size = 1 << power;
            if let Ok(file) = WalFile::parse(&text, size) {
                prop_assert_eq!(file.file_name(size), text);
            }
        }
    }
}
