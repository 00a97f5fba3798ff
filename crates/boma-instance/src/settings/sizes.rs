//! Parameters that do not go with what the server may use: each alone is right, and yet the server
//! would not start, or would fill its disk.

use std::collections::BTreeMap;

use super::parameters::{ParameterProblem, WhatIsWrong};
use crate::Resources;

/// Fewest connections: five are kept for the agent, and both logins of a grant hold some during a
/// rotation.
const FEWEST_CONNECTIONS: f64 = 10.0;

/// Looks for parameters that do not go with `resources`.
///
/// A value that cannot be read is passed over: the server judges those.
pub fn validate_sizes(
    parameters: &BTreeMap<String, String>,
    resources: &Resources,
) -> Vec<ParameterProblem> {
    let reserved = number(parameters, "reserved_connections", 1.0).unwrap_or_default();
    let too_much = |name, unit, limit: u64| {
        // Exact enough: limits are far below 2^52 bytes.
        #[expect(
            clippy::cast_precision_loss,
            reason = "sizes are compared, not counted"
        )]
        number(parameters, name, unit).is_some_and(|bytes| bytes > limit as f64)
    };
    let is_scarce = |name| {
        number(parameters, name, 1.0).is_some_and(|count| count < FEWEST_CONNECTIONS + reserved)
    };
    [
        (
            "shared_buffers",
            too_much("shared_buffers", 8192.0, resources.memory_bytes / 4 * 3),
            "it would take more than three quarters of the database's memory",
        ),
        (
            "max_wal_size",
            too_much("max_wal_size", MB, resources.storage_bytes / 2),
            "WAL would take more than half of the database's storage",
        ),
        (
            "min_wal_size",
            too_much("min_wal_size", MB, resources.storage_bytes / 2),
            "WAL would take more than half of the database's storage",
        ),
        (
            "max_connections",
            is_scarce("max_connections"),
            "less than 10 beside `reserved_connections` leave too few for applications",
        ),
    ]
    .into_iter()
    .filter(|(_, is_wrong, _)| *is_wrong)
    .filter_map(|(name, _, reason)| {
        let (spelled, value) = entry(parameters, name)?;
        let what = WhatIsWrong::Value {
            value: value.to_owned(),
            reason,
        };
        Some(ParameterProblem {
            name: spelled.to_owned(),
            what,
        })
    })
    .collect()
}

const MB: f64 = 1_048_576.0;

/// A parameter as the manifest spells it; PostgreSQL does not tell upper from lower case.
fn entry<'a>(parameters: &'a BTreeMap<String, String>, name: &str) -> Option<(&'a str, &'a str)> {
    parameters
        .iter()
        .find(|(spelled, _)| spelled.eq_ignore_ascii_case(name))
        .map(|(spelled, value)| (spelled.as_str(), value.as_str()))
}

/// The number that a parameter says, in bytes where it has a unit; `unit` is that of a bare number.
fn number(parameters: &BTreeMap<String, String>, name: &str, unit: f64) -> Option<f64> {
    let (_, value) = entry(parameters, name)?;
    let value = value.trim();
    let end = value
        .find(|letter: char| letter.is_ascii_alphabetic())
        .unwrap_or(value.len());
    let (digits, suffix) = value.split_at(end);
    let factor = match suffix.trim() {
        "" => unit,
        "B" => 1.0,
        "kB" => 1024.0,
        "MB" => MB,
        "GB" => MB * 1024.0,
        "TB" => MB * MB,
        _ => return None,
    };
    Some(digits.trim().parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(parameters: &[(&str, &str)]) -> Vec<String> {
        let parameters = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let resources = Resources {
            cpu_millis: 1000,
            memory_bytes: 1 << 30,
            storage_bytes: 10 << 30,
        };
        validate_sizes(&parameters, &resources)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn what_goes_with_the_server_is_accepted() {
        let fine = [
            ("shared_buffers", "768MB"),
            ("max_wal_size", "5GB"),
            ("max_connections", "10"),
            ("work_mem", "100GB"),
        ];
        assert_eq!(wrong(&fine), [""; 0]);
        assert_eq!(wrong(&[("shared_buffers", "98304")]), [""; 0]);
        assert_eq!(
            wrong(&[("shared_buffers", "a lot")]),
            [""; 0],
            "that is the server's to judge"
        );
    }

    #[test]
    fn what_would_keep_it_from_starting_is_told() {
        let text = "parameter `Shared_Buffers` cannot be `1GB`: it would take more than three \
                    quarters of the database's memory";
        assert_eq!(wrong(&[("Shared_Buffers", "1GB")]), [text]);
        for parameter in [
            ("shared_buffers", "98305"),
            ("max_wal_size", "5.1 GB"),
            ("min_wal_size", "6000"),
            ("max_connections", "5"),
        ] {
            assert_eq!(wrong(&[parameter]).len(), 1, "{parameter:?}");
        }
        let together = [("max_connections", "12"), ("reserved_connections", "3")];
        assert_eq!(wrong(&together).len(), 1);
    }
}
