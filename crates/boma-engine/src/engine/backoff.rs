//! What failed is left alone for a while.

use std::collections::{HashMap, HashSet};

use boma_problem::{Class, Problem};
use tokio::time::Instant;

use crate::act::Failure;
use crate::catalog::Subject;
use crate::plan::Plan;
use crate::retry;

/// What failed, and until when it is left alone.
#[derive(Default)]
pub(super) struct Backoff {
    subjects: HashMap<Subject, Retry>,
    platform: Option<Retry>,
}

#[derive(Clone, Copy)]
struct Retry {
    failures: u32,
    until: Instant,
}

impl Retry {
    fn after(before: Option<Self>, class: Class, now: Instant) -> Self {
        let failures = before.map_or(0, |before| before.failures);
        // What only a person can mend is looked at again as well, though rarely: they may have
        // mended it without telling.
        let delay = retry::delay(class, failures, retry::random())
            .or_else(|| retry::delay(Class::Config, failures, retry::random()));
        Self {
            failures: failures + 1,
            until: now + delay.unwrap_or_default(),
        }
    }
}

impl Backoff {
    pub(super) fn failed(&mut self, failures: &[Failure], now: Instant) {
        // Several steps of one resource fail together; that is one failure of it.
        let classes: HashMap<&Subject, Class> = failures
            .iter()
            .map(|failure| (&failure.subject, failure.problem.class))
            .collect();
        for (subject, class) in classes {
            let before = self.subjects.get(subject).copied();
            self.subjects
                .insert(subject.clone(), Retry::after(before, class, now));
        }
    }

    pub(super) fn platform_failed(&mut self, problem: &Problem) {
        self.platform = Some(Retry::after(self.platform, problem.class, Instant::now()));
    }

    pub(super) fn platform_answered(&mut self) {
        self.platform = None;
    }

    /// Resources that are left alone now.
    pub(super) fn withheld(&self, now: Instant) -> HashSet<Subject> {
        let held = self.subjects.iter().filter(|(_, retry)| retry.until > now);
        held.map(|(subject, _)| subject.clone()).collect()
    }

    /// When the next one may be tried again.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let all = self.subjects.values().chain(&self.platform);
        all.map(|retry| retry.until)
            .filter(|until| *until > now)
            .min()
    }

    /// Forgets what there is nothing left to do about.
    pub(super) fn keep_only(&mut self, plan: &Plan) {
        if self.subjects.is_empty() {
            return;
        }
        let left: HashSet<Subject> = plan
            .steps
            .iter()
            .map(|step| step.action.subject())
            .collect();
        self.subjects.retain(|subject, _| left.contains(subject));
    }

    pub(super) fn forget(&mut self, subject: &Subject) {
        self.subjects.remove(subject);
    }

    /// Forgets everything: somebody changed something, and it may work now.
    pub(super) fn forget_all(&mut self) {
        self.subjects.clear();
    }
}
