//! Plans: names for sizes. The table is data; an operator may replace it.

use std::collections::BTreeMap;

use boma_problem::Problem;
use serde::{Deserialize, Serialize};

use crate::names::PlanName;
use crate::problems::{Code, error, nearest, one_of, quote};
use crate::quantity::{CpuCount, Quantity};

/// What a plan fills in where a manifest leaves it out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Plan {
    /// Number of CPUs.
    pub cpu_count: Option<CpuCount>,
    /// Memory.
    pub memory: Option<Quantity>,
    /// Size of the disk.
    pub storage: Option<Quantity>,
    /// Number of instances.
    pub cluster_size: Option<u8>,
    /// For how many days to keep what a restore needs.
    pub retention_days: Option<u16>,
    /// Whether any moment in that window can be restored.
    pub point_in_time_recovery: Option<bool>,
}

/// The plans of a platform, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanTable(pub BTreeMap<PlanName, Plan>);

impl PlanTable {
    /// The plan of a name.
    pub fn get(&self, name: &PlanName) -> Option<&Plan> {
        self.0.get(name)
    }

    /// The problem of a name that no plan has; it still needs its place.
    pub(crate) fn unknown(&self, name: &PlanName) -> Problem {
        let names = || self.0.keys().map(PlanName::as_str);
        let problem = error(
            Code::UnknownPlan,
            format!("there is no plan {}", quote(name.as_str())),
        );
        match nearest(name.as_str(), names()) {
            Some(meant) => problem.hint(format!("Did you mean `{meant}`?")),
            None if self.0.is_empty() => problem.hint("This platform has no plans: leave it out."),
            None => problem.hint(format!("Write {}.", one_of(names()))),
        }
    }
}

/// The four plans that Boma comes with.
impl Default for PlanTable {
    fn default() -> Self {
        let plan = |cpu_millis, memory, storage, cluster_size, retention_days, any_moment| Plan {
            cpu_count: Some(CpuCount::from_millis(cpu_millis)),
            memory: Some(memory),
            storage: Some(storage),
            cluster_size: Some(cluster_size),
            retention_days: Some(retention_days),
            point_in_time_recovery: Some(any_moment),
        };
        let (mib, gib) = (Quantity::from_mib, Quantity::from_gib);
        let plans = [
            ("free", plan(250, mib(256), gib(1), 1, 1, false)),
            ("starter", plan(500, gib(1), gib(10), 1, 3, false)),
            ("pro", plan(2_000, gib(4), gib(50), 1, 7, true)),
            ("enterprise", plan(8_000, gib(32), gib(200), 3, 30, true)),
        ];
        let named = plans.map(|(name, plan)| {
            (
                PlanName::new(name).expect("names of Boma's own plans should be labels"),
                plan,
            )
        });
        Self(named.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_can_be_written_down_and_read_again() {
        let table = PlanTable::default();
        let text = serde_json::to_string(&table).unwrap();
        assert!(
            text.contains(r#""free":{"cpuCount":0.25,"memory":"256Mi","storage":"1Gi""#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<PlanTable>(&text).unwrap(), table);
    }

    #[test]
    fn an_unknown_plan_gets_a_suggestion() {
        let table = PlanTable::default();
        let problem = table.unknown(&"enterprize".parse().unwrap());
        assert_eq!(problem.to_string(), "there is no plan `enterprize`");
        assert_eq!(problem.hints, ["Did you mean `enterprise`?"]);
        let problem = table.unknown(&"zebra".parse().unwrap());
        assert_eq!(
            problem.hints,
            ["Write `enterprise`, `free`, `pro` or `starter`."]
        );
    }
}
