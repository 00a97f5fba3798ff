//! Carries a plan out: every step as soon as the steps that it needs are done, side by side.
//!
//! No decision is made here. A step that fails takes with it only those that need it; what was
//! done stays done, and the next plan starts from there.

mod audit;
mod credential;
mod graph;
mod perform;
mod progress;

use std::sync::Arc;
use std::time::Duration;

use boma_problem::Problem;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use credential::{CredentialError, Credentials, RandomCredentials};
pub use progress::{Progress, Report};

use crate::plan::{Plan, StepId};
use crate::platform::Platform;
use audit::Audit;
use graph::Graph;
use perform::{Learnt, Performed, Work};

/// Steps that do something at one time. Enough to keep disk and network busy, few enough that a
/// plan of thousands does not open thousands of files at once; waiting steps do not count.
const SIDE_BY_SIDE: usize = 16;

/// What acting needs besides plan and platform.
#[derive(Clone)]
pub struct Surroundings {
    /// Who acts: system user and command, for the audit trail.
    pub actor: String,
    /// How long to wait for one instance to become as its spec says.
    pub patience: Duration,
    /// Tells the time.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Makes passwords.
    pub credentials: Arc<dyn Credentials>,
    /// Is told what happens.
    pub report: Report,
}

impl Surroundings {
    /// The system's clock and random numbers, and nobody who is told.
    pub fn new(actor: impl Into<String>) -> Self {
        Self {
            actor: actor.into(),
            patience: Duration::from_mins(5),
            clock: Arc::new(Timestamp::now),
            credentials: Arc::new(RandomCredentials::new()),
            report: Report::none(),
        }
    }
}

/// What became of the steps of a plan.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Steps that were done.
    pub done: Vec<StepId>,
    /// Steps that failed, and why.
    pub failed: Vec<(StepId, Problem)>,
    /// Steps that were not tried, because one that they need failed or acting was interrupted.
    pub skipped: Vec<StepId>,
}

impl Outcome {
    /// Whether every step was done.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty()
    }
}

/// Carries a plan out until no step is ready any more, or `interrupt` becomes true.
///
/// # Guarantees
/// When it is interrupted, no further step is begun, waiting ones are given up, and the others
/// are carried to their end. When it is dropped, steps end in the middle, as after a crash; the
/// next plan repairs that.
pub async fn act<P: Platform>(
    plan: &Plan,
    platform: &Arc<P>,
    around: &Surroundings,
    interrupt: &mut watch::Receiver<bool>,
) -> Outcome {
    let mut run = Run::new(plan, platform, around);
    run.begin_ready();
    let mut interrupted = *interrupt.borrow();
    while !run.is_idle(interrupted) {
        tokio::select! {
            // Cancel-safe: a task that has not been joined is joined by the next call.
            Some(ended) = run.tasks.join_next() => run.ended(ended, interrupted),
            // Cancel-safe per its documentation; a closed channel never interrupts.
            Ok(()) = interrupt.changed(), if !interrupted => {
                interrupted = *interrupt.borrow();
                if interrupted {
                    run.give_up_waiting();
                }
            }
        }
    }
    run.finish().await
}

/// A plan while it is carried out.
struct Run<'p, P> {
    plan: &'p Plan,
    platform: &'p Arc<P>,
    around: &'p Surroundings,
    graph: Graph,
    learnt: Learnt,
    tasks: JoinSet<Ended>,
    waits: Vec<tokio::task::AbortHandle>,
    working: usize,
    audit: Audit<P>,
    outcome: Outcome,
}

/// How a step ended.
struct Ended {
    id: StepId,
    result: Result<Performed, Box<Problem>>,
    took: Duration,
}

impl<'p, P: Platform> Run<'p, P> {
    fn new(plan: &'p Plan, platform: &'p Arc<P>, around: &'p Surroundings) -> Self {
        Self {
            plan,
            platform,
            around,
            graph: Graph::new(plan),
            learnt: Learnt::default(),
            tasks: JoinSet::new(),
            waits: Vec::new(),
            working: 0,
            audit: Audit::new(platform, around),
            outcome: Outcome::default(),
        }
    }

    /// Whether nothing runs and nothing more is going to.
    fn is_idle(&self, interrupted: bool) -> bool {
        self.tasks.is_empty() && (interrupted || !self.graph.has_ready())
    }

    /// Begins every step that is ready, as far as there is room.
    fn begin_ready(&mut self) {
        let room = |working: usize| working < SIDE_BY_SIDE;
        while let Some(id) = self.graph.next_ready(room(self.working)) {
            self.begin(id);
        }
    }

    fn begin(&mut self, id: StepId) {
        let step = &self.plan.steps[id.index()];
        self.around.report.tell(Progress::Started { step: id });
        let work = match self.learnt.work(&step.action) {
            Ok(work) => work,
            Err(problem) => return self.failed(id, *problem),
        };
        let is_passive = step.action.is_passive();
        let task = run_step(id, work, self.platform.clone(), self.around.clone());
        let handle = self.tasks.spawn(task);
        if is_passive {
            self.waits.push(handle);
        } else {
            self.working += 1;
        }
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>, interrupted: bool) {
        // A waiting step that was given up: its step stays undone. A panic is a defect, and
        // resumes here rather than being taken for a step that is still undone.
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) if error.is_cancelled() => return,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let id = ended.id;
        let action = &self.plan.steps[id.index()].action;
        if !action.is_passive() {
            self.working -= 1;
        }
        match ended.result {
            Ok(performed) => {
                self.learnt.add(action, performed);
                self.audit.done(action);
                self.graph.done(id);
                self.outcome.done.push(id);
                self.around.report.tell(Progress::Done {
                    step: id,
                    took: ended.took,
                });
            }
            Err(problem) => self.failed(id, *problem),
        }
        if !interrupted {
            self.begin_ready();
        }
    }

    fn failed(&mut self, id: StepId, problem: Problem) {
        self.audit
            .failed(&self.plan.steps[id.index()].action, &problem);
        self.graph.failed(id);
        self.around.report.tell(Progress::Failed {
            step: id,
            problem: problem.clone(),
        });
        self.outcome.failed.push((id, problem));
    }

    fn give_up_waiting(&mut self) {
        for wait in self.waits.drain(..) {
            wait.abort();
        }
    }

    async fn finish(mut self) -> Outcome {
        self.audit.written().await;
        let mut tried: Vec<StepId> = self.outcome.done.clone();
        tried.extend(self.outcome.failed.iter().map(|(id, _)| *id));
        tried.sort_unstable();
        let steps = self.plan.steps.iter().map(|step| step.id);
        self.outcome.skipped = steps
            .filter(|id| tried.binary_search(id).is_err())
            .collect();
        self.outcome
    }
}

async fn run_step<P: Platform>(
    id: StepId,
    work: Work,
    platform: Arc<P>,
    around: Surroundings,
) -> Ended {
    let begun = tokio::time::Instant::now();
    let result = perform::perform(id, work, &*platform, &around).await;
    Ended {
        id,
        result,
        took: begun.elapsed(),
    }
}
