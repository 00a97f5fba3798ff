//! Observe, plan, act, and again, until there is nothing left that can be done.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use boma_instance::InstanceId;
use boma_problem::{Class, IntoProblem, Problem};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::act::{self, Failure, Surroundings};
use crate::catalog::{Catalog, Subject};
use crate::look::{Looked, look};
use crate::observed::Observed;
use crate::plan::{self, Asked, Plan};
use crate::platform::Platform;
use crate::retry;
use crate::spans;

/// How often in a row one and the same plan may be carried out without an error before it is
/// taken for a defect: whatever it did, it did not change what is observed.
const SAME_PLAN: u32 = 3;

/// What became of everything that was to be done.
#[derive(Clone, Debug, Default)]
pub struct Convergence {
    /// What is left: empty, if everything is as it should be.
    pub left: Plan,
    /// How many steps were done.
    pub done: usize,
    /// What failed in the last pass, as far as there is something left to do about it; what is
    /// blocked because of it, the plan says.
    pub failed: Vec<Failure>,
    /// What was observed last.
    pub seen: Observed,
}

impl Convergence {
    /// Whether everything is as it should be.
    pub fn is_converged(&self) -> bool {
        self.left.is_empty() && self.failed.is_empty()
    }

    fn keep_what_is_left(&mut self) {
        let left: HashSet<Subject> = self
            .left
            .steps
            .iter()
            .map(|step| step.action.subject())
            .collect();
        self.failed
            .retain(|failure| left.contains(&failure.subject));
    }
}

/// The same plan, again and again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the plan was carried out {SAME_PLAN} times and is the same as before")]
struct DoesNotSettle;

impl IntoProblem for DoesNotSettle {
    fn problem(&self) -> Problem {
        Problem::new(Class::Internal, "plan-does-not-settle", self.to_string())
            .hint("This is a defect of Boma; please report it with the output of `boma plan`.")
    }
}

/// A one-off: what to bring about, and for how long to try.
pub struct Converge<'c, P> {
    /// What should be.
    pub catalog: &'c Catalog,
    /// What exists, and what changes it.
    pub platform: &'c Arc<P>,
    /// Clock, passwords, progress.
    pub around: &'c Surroundings,
    /// Where new instances get their ids from.
    pub ids: &'c mut (dyn FnMut() -> InstanceId + Send),
    /// For how long failures are tried again that may pass by themselves.
    pub patience: Duration,
    /// Told each plan before it is carried out.
    pub planned: &'c mut (dyn FnMut(&Plan) + Send),
}

impl<P: Platform> Converge<'_, P> {
    /// Brings it about, as far as it can be.
    ///
    /// # Errors
    /// When the platform cannot even be observed.
    pub async fn run(mut self, asked: &Asked) -> Result<Convergence, Box<Problem>> {
        let until = Instant::now() + self.patience;
        let mut attempts: HashMap<Subject, u32> = HashMap::new();
        let mut result = Convergence::default();
        let mut same = Same::default();
        loop {
            let round = spans::round();
            let looked = self.look(asked, until).instrument(round.clone());
            (result.seen, result.left) = looked.await?;
            if result.left.steps.is_empty() {
                return Ok(result);
            }
            if same.is_again(&result.left) {
                let problem = DoesNotSettle.problem();
                result.failed.push(Failure {
                    subject: Subject::Installation,
                    action: "converge".to_owned(),
                    problem,
                });
                return Ok(result);
            }
            (self.planned)(&result.left);
            let acted = act::act(&result.left, self.platform, self.around);
            let (outcome, failed) = acted.instrument(round).await;
            result.done += outcome.done.len();
            result.failed = failed;
            if result.failed.is_empty() {
                continue;
            }
            same = Same::default();
            if let Some(delay) = soonest(&result.failed, &mut attempts, until) {
                tokio::time::sleep(delay).await;
                continue;
            }
            let looked = self.look(asked, until).instrument(spans::round());
            (result.seen, result.left) = looked.await?;
            result.keep_what_is_left();
            return Ok(result);
        }
    }

    async fn look(
        &mut self,
        asked: &Asked,
        until: Instant,
    ) -> Result<(Observed, Plan), Box<Problem>> {
        let mut attempt = 0;
        loop {
            let (catalog, ids) = (self.catalog, &mut self.ids);
            let planned = |seen: &Observed, now| plan::plan(catalog, seen, asked, now, ids);
            let problem = match look(&**self.platform, &*self.around.clock, planned).await {
                Ok(Looked { seen, plan, .. }) => return Ok((seen, plan)),
                Err(problem) => problem,
            };
            match delay(problem.class, attempt, until) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(problem),
            }
            attempt += 1;
        }
    }
}

/// Notices a plan that comes again and again.
#[derive(Default)]
struct Same {
    text: String,
    times: u32,
}

impl Same {
    fn is_again(&mut self, plan: &Plan) -> bool {
        let text = plan.to_string();
        if text == self.text {
            self.times += 1;
        } else {
            *self = Self { text, times: 1 };
        }
        self.times > SAME_PLAN
    }
}

/// How long to wait before the next attempt, if one can help while there is time.
fn soonest(
    failed: &[Failure],
    attempts: &mut HashMap<Subject, u32>,
    until: Instant,
) -> Option<Duration> {
    let delays = failed.iter().filter_map(|failure| {
        let attempt = attempts.entry(failure.subject.clone()).or_default();
        let delay = delay(failure.problem.class, *attempt, until);
        *attempt += 1;
        delay
    });
    delays.min()
}

/// A person waits for a one-off: only what may pass by itself is worth their time.
fn delay(class: Class, attempt: u32, until: Instant) -> Option<Duration> {
    let delay = retry::delay(class, attempt, retry::random()).filter(|_| class == Class::Transient);
    delay.filter(|delay| Instant::now() + *delay < until)
}
