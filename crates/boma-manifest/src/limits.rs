//! Numbers that manifests and plans must keep to.

use std::ops::RangeInclusive;

use boma_problem::Problem;

use crate::plans::Plan;
use crate::problems::{Code, error};
use crate::quantity::Quantity;

/// Largest file that is read: a thousand databases fit; more is not a manifest.
pub const LARGEST_FILE: usize = 1 << 20;

/// Deepest nesting of lists and mappings; manifests need eight.
pub(crate) const DEEPEST: usize = 64;

/// Most values that aliases may add to one document: enough to share settings, too few to make a
/// small file large.
pub(crate) const MOST_ALIASED: usize = 10_000;

/// Most problems shown of one file: nobody reads more before mending the first.
pub(crate) const MOST_PROBLEMS: usize = 100;

/// Least memory: a server with the smallest settings, its connections and the agent.
pub(crate) const LEAST_MEMORY: Quantity = Quantity::from_mib(128);

/// Memory of a database.
pub(crate) const MEMORY: RangeInclusive<Quantity> = LEAST_MEMORY..=Quantity::from_gib(16 << 10);

/// Size of a database's disk.
pub(crate) const STORAGE: RangeInclusive<Quantity> =
    Quantity::from_gib(1)..=Quantity::from_gib(500);

/// Number of instances of a database.
pub(crate) const CLUSTER_SIZE: RangeInclusive<u8> = 1..=9;

/// Days to keep backups.
pub(crate) const RETENTION_DAYS: RangeInclusive<u16> = 1..=365;

/// Seconds between two archived WAL segments.
pub(crate) const ARCHIVE_INTERVAL: RangeInclusive<u16> = 1..=3600;

/// Lines of history of a cluster (`TimeLineID`).
pub(crate) const TIMELINE: RangeInclusive<u32> = 1..=u32::MAX;

/// Days until a password is exchanged.
pub(crate) const ROTATION_DAYS: RangeInclusive<u16> = 1..=3650;

/// Number of replicas of an application.
pub(crate) const REPLICAS: RangeInclusive<u16> = 0..=1000;

/// TCP ports.
pub(crate) const PORTS: RangeInclusive<u16> = 1..=65535;

/// What a plan of the operator's says beyond the limits.
pub(crate) fn of_plan(plan: &Plan) -> Vec<Problem> {
    [
        beyond("memory", plan.memory, &MEMORY),
        beyond("storage", plan.storage, &STORAGE),
        beyond("clusterSize", plan.cluster_size, &CLUSTER_SIZE),
        beyond("retentionDays", plan.retention_days, &RETENTION_DAYS),
    ]
    .into_iter()
    .flatten()
    .map(|text| {
        error(Code::OutOfRange, format!("the plan's {text}"))
            .hint("Change the plan in the platform's configuration, or choose another.")
    })
    .collect()
}

fn beyond<T: PartialOrd + std::fmt::Display>(
    field: &str,
    value: Option<T>,
    range: &RangeInclusive<T>,
) -> Option<String> {
    let value = value.filter(|value| !range.contains(value))?;
    Some(format!(
        "{field} is {value}, not between {} and {}",
        range.start(),
        range.end()
    ))
}
