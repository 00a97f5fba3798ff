//! Plans of sizes, as people choose them.

use boma_manifest::{Plan, PlanTable};

/// Plans with their names, the smallest first.
pub(crate) fn sorted(table: &PlanTable) -> Vec<(&str, &Plan)> {
    let mut plans: Vec<(&str, &Plan)> = table
        .0
        .iter()
        .map(|(name, plan)| (name.as_str(), plan))
        .collect();
    plans.sort_by_key(|(_, plan)| plan.memory);
    plans
}

/// What a plan gives, a line each.
pub(crate) fn words(plan: &Plan) -> Vec<String> {
    let cpu = plan.cpu_count.map(|count| format!("{count} CPU"));
    let memory = plan.memory.map(|memory| format!("{memory} memory"));
    let storage = plan.storage.map(|storage| format!("{storage} storage"));
    let servers = plan.cluster_size.map(|count| match count {
        1 => "1 server".to_owned(),
        many => format!("{many} servers"),
    });
    let backups = plan.retention_days.map(|days| {
        let days = if days == 1 {
            "1 day".to_owned()
        } else {
            format!("{days} days")
        };
        match plan.point_in_time_recovery {
            Some(true) => format!("any moment of {days} can be restored"),
            Some(false) | None => format!("daily backups, kept for {days}"),
        }
    });
    [cpu, memory, storage, servers, backups]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_in_words_smallest_first() {
        let table = PlanTable::default();
        let plans = sorted(&table);
        let names: Vec<&str> = plans.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["free", "starter", "pro", "enterprise"]);
        assert_eq!(
            words(plans[2].1),
            [
                "2 CPU",
                "4Gi memory",
                "50Gi storage",
                "1 server",
                "any moment of 7 days can be restored"
            ]
        );
    }
}
