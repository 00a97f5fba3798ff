//! What is told while a plan is carried out.

use std::sync::Arc;
use std::time::Duration;

use boma_instance::InstanceStatus;
use boma_problem::Problem;

use crate::plan::StepId;

/// Something that happened to a step.
#[derive(Clone, Debug)]
pub enum Progress {
    /// It was begun.
    Started {
        /// Which step.
        step: StepId,
    },
    /// It waits for an instance, of which this is the last that was heard.
    Waiting {
        /// Which step.
        step: StepId,
        /// What the instance says.
        status: Box<InstanceStatus>,
    },
    /// It was done.
    Done {
        /// Which step.
        step: StepId,
        /// How long it took.
        took: Duration,
    },
    /// It failed.
    Failed {
        /// Which step.
        step: StepId,
        /// Why.
        problem: Problem,
    },
}

/// Whom to tell. Cheap to clone; must not block.
#[derive(Clone)]
pub struct Report(Arc<dyn Fn(Progress) + Send + Sync>);

impl Report {
    /// Tells this function.
    pub fn to(told: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    /// Tells nobody.
    pub fn none() -> Self {
        Self::to(drop)
    }

    pub(crate) fn tell(&self, progress: Progress) {
        (self.0)(progress);
    }
}
