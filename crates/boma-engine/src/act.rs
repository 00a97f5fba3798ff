//! Carries a plan out: every step as soon as the steps that it needs are done, side by side.
//!
//! No decision is made here. A step that fails takes with it only those that need it; what was
//! done stays done, and the next plan starts from there.

mod audit;
mod credential;
mod drain;
mod graph;
mod perform;
mod progress;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use boma_problem::Problem;
use jiff::Timestamp;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tracing::Instrument as _;

pub use credential::{CredentialError, Credentials, RandomCredentials};
pub use progress::{Progress, Report};

use crate::catalog::Subject;
use crate::plan::{Action, Plan, StepId};
use crate::platform::Platform;
use crate::spans;
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
    /// Steps that were not tried: one that they need failed, or their turn has not come.
    pub skipped: Vec<StepId>,
    /// Whether a step of an earlier plan ended meanwhile, so that there may be more to do.
    pub outdated: bool,
}

impl Outcome {
    /// Whether every step was done.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty() && !self.outdated
    }
}

/// Carries plans out, one after the other.
///
/// Steps live longer than the plan that began them: when [`Actor::act`] is dropped, or another
/// plan takes over, what was begun is carried to its end, and nothing else is begun meanwhile on
/// the same resource. When the actor is dropped, steps end in the middle, as after a crash.
pub struct Actor<P> {
    platform: Arc<P>,
    around: Surroundings,
    tasks: JoinSet<Ended>,
    /// What is going on, by number of the task.
    begun: HashMap<u64, Begun>,
    /// Tasks from this number on belong to the plan that is carried out now.
    current_from: u64,
    next_task: u64,
    audit: Audit<P>,
    /// What failed since it was last asked for.
    failures: Vec<Failure>,
}

/// A step that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What it was about.
    pub subject: Subject,
    /// What it was to do, in words.
    pub action: String,
    /// Why it failed.
    pub problem: Problem,
}

/// A step that is going on.
struct Begun {
    step: StepId,
    action: Action,
    abort: AbortHandle,
}

/// How a step ended.
struct Ended {
    task: u64,
    result: Result<Performed, Box<Problem>>,
    took: Duration,
}

impl<P: Platform> Actor<P> {
    /// Nothing is going on yet.
    pub fn new(platform: Arc<P>, around: Surroundings) -> Self {
        Self {
            audit: Audit::new(&platform, &around),
            platform,
            around,
            tasks: JoinSet::new(),
            begun: HashMap::new(),
            current_from: 0,
            next_task: 0,
            failures: Vec::new(),
        }
    }

    /// Carries a plan out until no step is ready any more. Steps about `withheld` resources are
    /// not begun, nor is anything that needs them.
    ///
    /// Cancel-safe: what was begun goes on and is taken up by the next call.
    pub async fn act(&mut self, plan: &Plan, withheld: &HashSet<Subject>) -> Outcome {
        self.current_from = self.next_task;
        let given_up = self.give_up_waiting();
        let mut run = Run {
            plan,
            busy: withheld
                .iter()
                .chain(self.going_on().iter())
                .cloned()
                .collect(),
            graph: Graph::new(plan),
            learnt: Learnt::default(),
            working: self.begun.len(),
            outcome: Outcome::default(),
        };
        // Each that was given up holds its memory until it is taken up: so these are, before as many
        // are begun. They only wait, and end at once.
        for _ in 0..given_up {
            if let Some(ended) = self.tasks.join_next().await {
                self.ended(ended, Some(&mut run));
            }
        }
        self.begin_ready(&mut run);
        while run.is_going_on(self) {
            // Cancel-safe: a task that has not been joined is joined by the next call.
            let Some(ended) = self.tasks.join_next().await else {
                break;
            };
            self.ended(ended, Some(&mut run));
            self.begin_ready(&mut run);
            // Of what an earlier plan began, each end may leave more to do. What this plan says of
            // others goes on meanwhile: a look for each end would be most of what is done.
            if run.outcome.outdated && !self.is_doing() {
                break;
            }
        }
        self.audit.written().await;
        run.finish()
    }

    /// Waits until a step of an earlier plan ends; for ever, if there is none. Cancel-safe.
    pub async fn carried_on(&mut self) {
        loop {
            match self.tasks.join_next().await {
                Some(ended) => {
                    if self.ended(ended, None) {
                        return;
                    }
                }
                None => std::future::pending().await,
            }
        }
    }

    /// Carries what was begun to its end, and begins nothing more.
    pub async fn finish(&mut self) {
        self.give_up_waiting();
        while let Some(ended) = self.tasks.join_next().await {
            self.ended(ended, None);
        }
        self.audit.written().await;
    }

    /// What failed since this was last called.
    pub fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }

    /// The resources on which steps of earlier plans are going on.
    fn going_on(&self) -> HashSet<Subject> {
        self.begun
            .values()
            .map(|begun| begun.action.subject())
            .collect()
    }

    /// Whether a step of the plan at hand is going on that does more than wait.
    fn is_doing(&self) -> bool {
        let mut begun = self.begun.iter();
        begun.any(|(task, begun)| *task >= self.current_from && !begun.action.is_passive())
    }

    /// Ends every step that only waits; answers how many.
    fn give_up_waiting(&mut self) -> usize {
        let before = self.begun.len();
        self.begun.retain(|_, begun| {
            if begun.action.is_passive() {
                begun.abort.abort();
            }
            !begun.action.is_passive()
        });
        before - self.begun.len()
    }

    /// Begins every step that is ready, as far as there is room.
    fn begin_ready(&mut self, run: &mut Run<'_>) {
        while let Some(id) = run.graph.next_ready(run.working < SIDE_BY_SIDE) {
            let action = &run.plan.steps[id.index()].action;
            if run.busy.contains(&action.subject()) {
                run.graph.failed(id);
                continue;
            }
            self.around.report.tell(Progress::Started { step: id });
            match run.learnt.work(action) {
                Ok(work) => {
                    run.working += usize::from(!action.is_passive());
                    self.begin(id, action.clone(), work);
                }
                Err(problem) => self.failed(id, action, *problem, Some(run)),
            }
        }
    }

    fn begin(&mut self, step: StepId, action: Action, work: Work) {
        let task = self.next_task;
        self.next_task += 1;
        let (platform, around) = (self.platform.clone(), self.around.clone());
        let span = spans::step(&action);
        let abort = self.tasks.spawn(async move {
            let begun = tokio::time::Instant::now();
            let performed = perform::perform(step, work, &*platform, &around);
            let result = performed.instrument(span.clone()).await;
            let result = result.inspect_err(|problem| spans::failed(&span, problem));
            Ended {
                task,
                result,
                took: begun.elapsed(),
            }
        });
        self.begun.insert(
            task,
            Begun {
                step,
                action,
                abort,
            },
        );
    }

    /// Takes up the end of a step; answers whether there was one.
    fn ended(&mut self, ended: Result<Ended, JoinError>, run: Option<&mut Run<'_>>) -> bool {
        // A wait that was given up is undone, and nobody asks for it any more. A panic is a
        // defect, and goes on here rather than being taken for a step that failed.
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) if error.is_cancelled() => return false,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let Some(Begun { step, action, .. }) = self.begun.remove(&ended.task) else {
            return false;
        };
        let is_current = ended.task >= self.current_from;
        let mut run = run;
        if let Some(run) = run.as_deref_mut() {
            run.working -= usize::from(!action.is_passive());
            run.outcome.outdated |= !is_current;
        }
        let run = run.filter(|_| is_current);
        match ended.result {
            Ok(performed) => {
                let kind = action.kind();
                tracing::debug!(kind, subject = %action.subject(), took = ?ended.took, "step done");
                self.audit.done(&action);
                if let Some(run) = run {
                    run.learnt.add(&action, performed);
                    run.graph.done(step);
                    run.outcome.done.push(step);
                    self.around.report.tell(Progress::Done {
                        step,
                        took: ended.took,
                    });
                }
            }
            Err(problem) => self.failed(step, &action, *problem, run),
        }
        true
    }

    fn failed(
        &mut self,
        step: StepId,
        action: &Action,
        problem: Problem,
        run: Option<&mut Run<'_>>,
    ) {
        self.audit.failed(action, &problem);
        self.failures.push(Failure {
            subject: action.subject(),
            action: crate::plan::words_of(action),
            problem: problem.clone(),
        });
        if let Some(run) = run {
            run.graph.failed(step);
            self.around.report.tell(Progress::Failed {
                step,
                problem: problem.clone(),
            });
            run.outcome.failed.push((step, problem));
        }
    }
}

/// A plan while it is carried out.
struct Run<'p> {
    plan: &'p Plan,
    /// Resources that are not to be touched.
    busy: HashSet<Subject>,
    graph: Graph,
    learnt: Learnt,
    /// How many steps are going on that do something.
    working: usize,
    outcome: Outcome,
}

impl Run<'_> {
    /// Whether a step of this plan is going on or can be begun.
    fn is_going_on<P>(&self, actor: &Actor<P>) -> bool {
        self.graph.has_ready() || actor.begun.keys().any(|task| *task >= actor.current_from)
    }

    fn finish(mut self) -> Outcome {
        let mut tried: HashSet<StepId> = self.outcome.done.iter().copied().collect();
        tried.extend(self.outcome.failed.iter().map(|(id, _)| *id));
        let steps = self.plan.steps.iter().map(|step| step.id);
        self.outcome.skipped = steps.filter(|id| !tried.contains(id)).collect();
        self.outcome
    }
}

/// Carries one plan out, to its end.
pub async fn act<P: Platform>(
    plan: &Plan,
    platform: &Arc<P>,
    around: &Surroundings,
) -> (Outcome, Vec<Failure>) {
    let mut actor = Actor::new(platform.clone(), around.clone());
    let outcome = actor.act(plan, &HashSet::new()).await;
    (outcome, actor.take_failures())
}
