//! What a running engine knows and does.

use std::collections::BTreeMap;
use std::sync::Arc;

use boma_problem::Problem;
use jiff::Timestamp;

use crate::act::Failure;
use crate::catalog::{Catalog, Subject};
use crate::observed::Observed;
use crate::plan::Plan;
use crate::source::Revision;

/// What a running engine knows and does. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct EngineState {
    /// The catalog in force: the last one without an error; none: there was none yet.
    pub catalog: Option<Arc<Catalog>>,
    /// The commits that this catalog was read from, by the labels of their sources.
    pub revisions: BTreeMap<String, Revision>,
    /// What is wrong with the source as it is now; with an error among it, the catalog is older, or
    /// that of several sources which the error is about.
    pub source_problems: Vec<Problem>,
    /// What was observed last.
    pub observed: Arc<Observed>,
    /// What is left to do, waited for and blocked.
    pub plan: Arc<Plan>,
    /// When that was planned.
    pub planned_at: Option<Timestamp>,
    /// The catalog that was planned for: for a moment after another one came, the one before.
    pub planned_for: Option<Arc<Catalog>>,
    /// Why the platform could not be observed.
    pub platform_problem: Option<Problem>,
    /// The last failure of each resource about which there is something left to do.
    pub failures: BTreeMap<Subject, Failure>,
}

impl EngineState {
    /// Adds failures, and forgets those of resources about which there is nothing left to do.
    pub(super) fn add_failures(&mut self, failures: Vec<Failure>, plan: &Plan) {
        let left: std::collections::HashSet<Subject> = plan
            .steps
            .iter()
            .map(|step| step.action.subject())
            .collect();
        self.failures.retain(|subject, _| left.contains(subject));
        self.failures
            .extend(failures.into_iter().map(|one| (one.subject.clone(), one)));
    }

    /// Whether everything was measured to be as the manifests say, those that are in force now.
    pub fn is_converged(&self) -> bool {
        let both = self.catalog.as_ref().zip(self.planned_for.as_ref());
        let is_known = both.is_some_and(|(now, planned)| Arc::ptr_eq(now, planned));
        let is_fine = self.platform_problem.is_none() && self.failures.is_empty();
        is_known && is_fine && self.plan.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_of_former_manifests_says_nothing_about_new_ones() {
        let former = Some(Arc::new(Catalog::default()));
        let mut state = EngineState {
            catalog: former.clone(),
            planned_for: former,
            ..EngineState::default()
        };
        assert!(state.is_converged());
        state.catalog = Some(Arc::new(Catalog::default()));
        assert!(!state.is_converged(), "nobody has planned for these yet");
        state.planned_for.clone_from(&state.catalog);
        assert!(state.is_converged());
    }
}
