//! Names of base backups.

use std::fmt;
use std::str::FromStr;

use boma_instance::backup::BackupKind;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// Name of a base backup: when it began, to the second, in UTC, and its kind, such as
/// `20261121T021406Z-full`. Names sort by time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// Text that is not the name of a base backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a base backup such as 20261121T021406Z-full")]
pub struct NotALabel(pub String);

const FORM: &str = "%Y%m%dT%H%M%SZ";

impl Label {
    /// Names a backup that begins at `start`.
    pub fn new(start: Timestamp, kind: BackupKind) -> Self {
        let time = start.to_zoned(TimeZone::UTC).strftime(FORM).to_string();
        let kind = match kind {
            BackupKind::Full => "full",
            BackupKind::Incremental => "incr",
        };
        Self(format!("{time}-{kind}"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it needs others.
    pub fn kind(&self) -> BackupKind {
        if self.0.ends_with("-full") {
            BackupKind::Full
        } else {
            BackupKind::Incremental
        }
    }

    /// Its moment without its kind; two backups of one instance never have the same.
    pub fn moment(&self) -> &str {
        self.0
            .split_once('-')
            .map_or(self.as_str(), |(time, _kind)| time)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Label {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shaped = text
            .strip_suffix("-full")
            .or_else(|| text.strip_suffix("-incr"))
            .is_some_and(|time| {
                time.len() == 16 && jiff::civil::DateTime::strptime(FORM, time).is_ok()
            });
        shaped
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| NotALabel(text.to_owned()))
    }
}

impl TryFrom<String> for Label {
    type Error = NotALabel;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_back_and_sorts_by_time() {
        let time: Timestamp = "2026-11-21T02:14:06.9Z".parse().unwrap();
        let label = Label::new(time, BackupKind::Full);
        assert_eq!(label.as_str(), "20261121T021406Z-full");
        assert_eq!(label.as_str().parse::<Label>().unwrap(), label);
        assert_eq!(label.kind(), BackupKind::Full);
        assert_eq!(label.moment(), "20261121T021406Z");
        let later = Label::new(
            "2026-11-21T02:14:07Z".parse().unwrap(),
            BackupKind::Incremental,
        );
        assert!(label < later);
    }

    #[test]
    fn what_is_not_a_label_is_refused() {
        for text in [
            "",
            "../x",
            "20261121T021406Z",
            "20261321T021406Z-full",
            "20261121T021406Z-full/..",
        ] {
            let error = text.parse::<Label>().unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("is not the name of a base backup"),
                "{text}"
            );
        }
    }
}
