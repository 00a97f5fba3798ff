//! Which steps are ready.

use std::collections::VecDeque;

use crate::plan::{Plan, StepId};

/// The steps of a plan by what they still need.
pub(super) struct Graph {
    /// How many needed steps are not done yet, for each step.
    missing: Vec<usize>,
    /// Steps that need this one, for each step.
    dependants: Vec<Vec<StepId>>,
    /// Ready steps that do something.
    ready: VecDeque<StepId>,
    /// Ready steps that only wait.
    ready_waits: VecDeque<StepId>,
    passive: Vec<bool>,
}

impl Graph {
    pub(super) fn new(plan: &Plan) -> Self {
        let count = plan.steps.len();
        let mut graph = Self {
            missing: vec![0; count],
            dependants: vec![Vec::new(); count],
            ready: VecDeque::new(),
            ready_waits: VecDeque::new(),
            passive: plan
                .steps
                .iter()
                .map(|step| step.action.is_passive())
                .collect(),
        };
        for step in &plan.steps {
            graph.missing[step.id.index()] = step.needs.len();
            for needed in &step.needs {
                graph.dependants[needed.index()].push(step.id);
            }
            if step.needs.is_empty() {
                graph.make_ready(step.id);
            }
        }
        graph
    }

    fn make_ready(&mut self, id: StepId) {
        if self.passive[id.index()] {
            self.ready_waits.push_back(id);
        } else {
            self.ready.push_back(id);
        }
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty() || !self.ready_waits.is_empty()
    }

    /// The next ready step; one that does something only if there is room.
    pub(super) fn next_ready(&mut self, room: bool) -> Option<StepId> {
        self.ready_waits
            .pop_front()
            .or_else(|| room.then(|| self.ready.pop_front()).flatten())
    }

    /// Makes ready what needed nothing else.
    pub(super) fn done(&mut self, id: StepId) {
        for dependant in std::mem::take(&mut self.dependants[id.index()]) {
            let missing = &mut self.missing[dependant.index()];
            *missing -= 1;
            if *missing == 0 {
                self.make_ready(dependant);
            }
        }
    }

    /// What needs a failed step never becomes ready.
    pub(super) fn failed(&mut self, id: StepId) {
        self.dependants[id.index()].clear();
    }
}
