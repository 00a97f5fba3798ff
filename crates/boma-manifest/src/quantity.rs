//! Amounts: bytes as Kubernetes writes them, and CPUs.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use boma_problem::{IntoProblem, Problem};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::problems::{Code, error, quote};

/// Suffixes of Kubernetes quantities
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>), the
/// each with its factor.
const SUFFIXES: [(&str, u128); 12] = [
    ("Ei", 1 << 60),
    ("Pi", 1 << 50),
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("E", 1_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

/// Most digits that are read of a number: more say nothing about an amount below 2^64.
const MOST_DIGITS: usize = 24;

/// An amount of bytes: `512Mi`, `10Gi`, `1.5Gi`, `2G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Quantity(u64);

/// "quantity `10GB` cannot be read".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number with a suffix of bytes.
    #[error("quantity {} cannot be read", quote(.0))]
    Unreadable(String),
    /// More bytes than 64 bits hold.
    #[error("quantity {} is larger than any computer", quote(.0))]
    TooLarge(String),
}

impl IntoProblem for QuantityError {
    fn problem(&self) -> Problem {
        let problem = error(Code::InvalidQuantity, self.to_string());
        match self {
            Self::Unreadable(text) => match likely_meant(text) {
                Some(meant) => problem.hint(format!("Did you mean `{meant}`?")),
                None => problem.hint(
                    "Write a number with a suffix: `512Mi`, `10Gi` (binary) or `10G` (decimal).",
                ),
            },
            Self::TooLarge(_) => problem.hint("Write a smaller number, such as `10Gi`."),
        }
    }
}

impl Quantity {
    /// So many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many GiB.
    pub const fn from_gib(gib: u32) -> Self {
        Self((gib as u64) << 30)
    }

    /// So many MiB.
    pub const fn from_mib(mib: u32) -> Self {
        Self((mib as u64) << 20)
    }

    /// How many bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let unreadable = || QuantityError::Unreadable(text.to_owned());
        let end = text
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (digits, scale) = decimal(number).ok_or_else(unreadable)?;
        let unit = match suffix {
            "" => Some(1),
            _ => SUFFIXES
                .iter()
                .find(|(name, _)| *name == suffix)
                .map(|(_, unit)| *unit),
        }
        .ok_or_else(unreadable)?;
        // 24 digits and 2^60 can pass 128 bits; below that, rounding up is what Kubernetes does.
        digits
            .checked_mul(unit)
            .map(|amount| amount.div_ceil(scale))
            .and_then(|bytes| u64::try_from(bytes).ok())
            .map(Self)
            .ok_or_else(|| QuantityError::TooLarge(text.to_owned()))
    }
}

/// A decimal number as its digits and what to divide them by; none if it is not one.
fn decimal(number: &str) -> Option<(u128, u128)> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = whole.len() + fraction.len();
    if whole.is_empty() || digits > MOST_DIGITS || number.ends_with('.') {
        return None;
    }
    let joined = format!("{whole}{fraction}");
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    Some((joined.parse().ok()?, scale))
}

/// What a person who wrote a quantity some other way most likely meant: `10GB` is `10G`.
fn likely_meant(text: &str) -> Option<String> {
    let compact: String = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .collect();
    let end = compact.find(|character: char| character.is_ascii_alphabetic())?;
    let (number, suffix) = compact.split_at_checked(end)?;
    let suffix = suffix.to_ascii_lowercase();
    let suffix = suffix.strip_suffix("bytes").unwrap_or(&suffix);
    let suffix = suffix.strip_suffix('b').unwrap_or(suffix);
    let (name, _) = SUFFIXES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(suffix))?;
    let meant = format!("{number}{name}");
    Quantity::from_str(&meant).ok().map(|_| meant)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = u128::from(self.0);
        let shown = SUFFIXES
            .iter()
            .filter(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit))
            .map(|(name, unit)| (bytes / unit, name))
            .min()
            .map_or_else(
                || bytes.to_string(),
                |(number, name)| format!("{number}{name}"),
            );
        f.pad(&shown)
    }
}

impl Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": r"^[0-9]+(\.[0-9]+)?([KMGTPE]i|[kMGTPE])?$",
            "minimum": 0,
        })
    }
}

/// A number of CPUs, to a thousandth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CpuCount(u32);

/// "`0.0001` CPUs: at most three digits after the point".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuCountError {
    /// Not a number.
    #[error("{} is not a number of CPUs", quote(.0))]
    Unreadable(String),
    /// Finer than a thousandth.
    #[error("{} is finer than a thousandth of a CPU", quote(.0))]
    TooFine(String),
    /// Zero, or more than there can be.
    #[error("{} is not between 0.001 and {} CPUs", quote(.0), CpuCount::MOST)]
    OutOfRange(String),
}

impl IntoProblem for CpuCountError {
    fn problem(&self) -> Problem {
        match self {
            Self::Unreadable(text) => {
                let problem = error(Code::WrongType, self.to_string());
                let millis = text.strip_suffix('m').and_then(|text| text.parse().ok());
                match millis.map(CpuCount) {
                    Some(cpus) => problem.hint(format!(
                        "Write `{cpus}`: thousandths are written after the point."
                    )),
                    None => problem.hint("Write a number such as `2` or `0.5`."),
                }
            }
            Self::TooFine(_) => error(Code::OutOfRange, self.to_string())
                .hint("Write at most three digits after the point, such as `0.25`."),
            Self::OutOfRange(_) => error(Code::OutOfRange, self.to_string())
                .hint("Write a number such as `2` or `0.5`."),
        }
    }
}

impl CpuCount {
    /// The largest number: more than any machine has, small enough to compute with.
    pub const MOST: u32 = 1024;

    /// So many thousandths of a CPU.
    pub const fn from_millis(millis: u32) -> Self {
        Self(millis)
    }

    /// How many thousandths of a CPU.
    pub const fn millis(self) -> u32 {
        self.0
    }
}

impl FromStr for CpuCount {
    type Err = CpuCountError;

    fn from_str(text: &str) -> Result<Self, CpuCountError> {
        let (digits, scale) =
            decimal(text).ok_or_else(|| CpuCountError::Unreadable(text.to_owned()))?;
        let millis = digits
            .checked_mul(1000)
            .ok_or_else(|| CpuCountError::OutOfRange(text.to_owned()))?;
        if !millis.is_multiple_of(scale) {
            return Err(CpuCountError::TooFine(text.to_owned()));
        }
        u32::try_from(millis / scale)
            .ok()
            .filter(|millis| (1..=Self::MOST * 1000).contains(millis))
            .map(Self)
            .ok_or_else(|| CpuCountError::OutOfRange(text.to_owned()))
    }
}

impl fmt::Display for CpuCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        let shown = format!("{whole}.{rest:03}");
        f.pad(shown.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Serialize for CpuCount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1000) {
            serializer.serialize_u32(self.0 / 1000)
        } else {
            serializer.serialize_f64(f64::from(self.0) / 1000.0)
        }
    }
}

impl<'de> Deserialize<'de> for CpuCount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The shortest decimal that reads back as the same number is what was written.
        let number = f64::deserialize(deserializer)?;
        number.to_string().parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for CpuCount {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CpuCount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "exclusiveMinimum": 0, "maximum": Self::MOST })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("1Ki", 1024),
            ("512Mi", 512 << 20),
            ("1.5Gi", 3 << 29),
            ("2G", 2_000_000_000),
            ("2k", 2_000),
            ("0.1Ki", 103),
            ("15Ei", 15 << 60),
        ] {
            assert_eq!(text.parse::<Quantity>().unwrap().bytes(), bytes, "{text}");
        }
    }

    #[test]
    fn an_unreadable_quantity_says_what_was_meant() {
        for (text, hint) in [
            ("10GB", "Did you mean `10G`?"),
            ("10 GiB", "Did you mean `10Gi`?"),
            ("10gi", "Did you mean `10Gi`?"),
            (
                "much",
                "Write a number with a suffix: `512Mi`, `10Gi` (binary) or `10G` (decimal).",
            ),
            (
                "-1Gi",
                "Write a number with a suffix: `512Mi`, `10Gi` (binary) or `10G` (decimal).",
            ),
            ("99Ei", "Write a smaller number, such as `10Gi`."),
        ] {
            let problem = text.parse::<Quantity>().unwrap_err().problem();
            assert_eq!(problem.hints, [hint], "{text}");
        }
        for text in [
            "", ".", "1.", ".5Gi", "1..2", "1GiGi", "1e3", "1m", "٣Gi", "1_000",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
        assert!("9".repeat(400).parse::<Quantity>().is_err());
    }

    #[test]
    fn a_quantity_is_shown_with_the_smallest_whole_number() {
        for (bytes, text) in [
            (0, "0"),
            (1 << 30, "1Gi"),
            (3 << 29, "1536Mi"),
            (2_000_000_000, "2G"),
            (1_500, "1500"),
        ] {
            assert_eq!(Quantity::from_bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn cpus_are_read_to_a_thousandth() {
        for (text, millis, shown) in [
            ("4", 4000, "4"),
            ("0.25", 250, "0.25"),
            ("1.50", 1500, "1.5"),
            ("0.001", 1, "0.001"),
        ] {
            let cpus: CpuCount = text.parse().unwrap();
            assert_eq!((cpus.millis(), cpus.to_string().as_str()), (millis, shown));
        }
        for (text, error) in [
            ("0", "`0` is not between 0.001 and 1024 CPUs"),
            ("1025", "`1025` is not between 0.001 and 1024 CPUs"),
            ("0.0001", "`0.0001` is finer than a thousandth of a CPU"),
            ("500m", "`500m` is not a number of CPUs"),
        ] {
            assert_eq!(text.parse::<CpuCount>().unwrap_err().to_string(), error);
        }
        let problem = "500m".parse::<CpuCount>().unwrap_err().problem();
        assert_eq!(
            problem.hints,
            ["Write `0.5`: thousandths are written after the point."]
        );
    }
}
