//! The agent's one task: observe, plan, act, report, wait.
//!
//! Everything is level-triggered: requests, an ended server and timers only wake the task, and
//! each time the same code looks at what is and takes the next step. Nothing is remembered that
//! the next observation does not tell, except how often the last step failed.

use std::collections::BTreeMap;
use std::time::Duration;

use boma_instance::api::{Accepted, Reported};
use boma_instance::{Assignment, Correction, InstanceStatus, Power};
use boma_problem::{Class, IntoProblem, Problem};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::api::{Handle, QUEUE, Request};
use crate::backups::{self, ORDERS, Order, Report, Situation};
use crate::history::Record;
use crate::host::{Failure, Host, failure};
use crate::ledger::{Ledger, LedgerError};
use crate::plan::{self, Observed, Outcome, Paths, Plan, Reached, Server, Step, WaitingOn};

/// How often a server that is in sync is looked at: storage, drift. Each look costs one backend
/// start and a walk over the data directory, a few milliseconds.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// How often a server that is starting is asked whether it answers yet. Crash recovery can take
/// long; this is what a person would not notice.
const ASK_STARTING: Duration = Duration::from_millis(50);

/// The same for one that was restored: it replays what may be days of log.
const ASK_RECOVERING: Duration = Duration::from_millis(500);

/// The same plan, carried out without an error and found again, this often in a row: something
/// undoes it, and trying on would only burn CPU.
const SAME_PLAN_LIMIT: u32 = 5;

/// First and longest wait after a failed step, by who has to act.
fn backoff(class: Class, attempts: u32) -> Duration {
    let (first, longest) = match class {
        Class::Transient => (Duration::from_millis(200), Duration::from_secs(15)),
        Class::User | Class::Config | Class::Internal => {
            (Duration::from_secs(2), Duration::from_mins(1))
        }
    };
    first
        .saturating_mul(1 << attempts.saturating_sub(1).min(10))
        .min(longest)
}

/// The agent of one server.
#[derive(Debug)]
pub(crate) struct Agent {
    host: Host,
    paths: Paths,
    ledger: Ledger,
    requests: mpsc::Receiver<Request>,
    status: watch::Sender<Option<Reported>>,
    converged: u64,
    /// What was last found changed by hand and put right.
    failed: Option<Failed>,
    repeated: Repeated,
    situation: watch::Sender<Situation>,
    backups: watch::Receiver<Report>,
    /// Jobs of backups that had ended when it was last looked.
    jobs_ended: u64,
    /// What was measured last, without backups.
    measured: Option<(Assignment, InstanceStatus)>,
    /// When roles were last seen to be connected.
    used: Used,
    record: Record,
}

/// The other ends of the agent's channels to its backups.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) situation: watch::Receiver<Situation>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) report: watch::Sender<Report>,
}

#[derive(Debug)]
struct Failed {
    outcome: Outcome,
    not_before: Instant,
}

/// Plans that were carried out well and came again.
#[derive(Debug, Default)]
struct Repeated {
    text: String,
    times: u32,
}

/// When roles were last seen to be connected, since this agent began.
#[derive(Debug, Default)]
struct Used(BTreeMap<String, Timestamp>);

impl Used {
    /// Takes note of who is connected now, and says of the others when they were.
    fn note(&mut self, status: &mut InstanceStatus) {
        for login in &mut status.logins {
            if login.connections > 0 {
                self.0.insert(login.role.clone(), status.observed_at);
            } else {
                login.last_used = self.0.get(&login.role).copied();
            }
        }
    }
}

/// What ended a wait.
enum Woken {
    Again,
    Exit,
}

impl Agent {
    /// Makes the agent and the handle through which it is asked.
    pub(crate) fn new(host: Host, paths: Paths, ledger: Ledger) -> (Self, Handle, Ends) {
        let (sender, requests) = mpsc::channel(QUEUE);
        let (status, watched) = watch::channel(None);
        let (situation, situations) = watch::channel(Situation::default());
        let (report, backups) = watch::channel(Report::default());
        let (order, orders) = mpsc::channel(ORDERS);
        let record = Record::default();
        let agent = Self {
            host,
            paths,
            ledger,
            requests,
            status,
            converged: 0,
            failed: None,
            repeated: Repeated::default(),
            situation,
            backups,
            jobs_ended: 0,
            measured: None,
            used: Used::default(),
            record: record.clone(),
        };
        (
            agent,
            Handle {
                requests: sender,
                status: watched,
                orders: order,
                record,
            },
            Ends {
                situation: situations,
                orders,
                report,
            },
        )
    }

    /// Works until it is asked to end. The server is left running.
    pub(crate) async fn run(mut self) {
        loop {
            let wait = match self.ledger.current().cloned() {
                Some(want) => self.pass(&want).await,
                None => Some(LOOK_AGAIN),
            };
            let Some(wait) = wait else { continue };
            self.host.hang_up();
            if let Woken::Exit = self.wait(wait).await {
                return;
            }
        }
    }

    /// One pass; none: something was done, look again at once.
    async fn pass(&mut self, want: &Assignment) -> Option<Duration> {
        let seen = self.host.observe(want, &self.ledger).await;
        let plan = plan::plan(want, &seen, &self.paths);
        self.tell(want, &seen, &plan);
        if plan.steps.is_empty() {
            self.failed = None;
            self.repeated = Repeated::default();
            self.remember_reached(want, &seen, &plan);
            self.publish(want, &seen, &plan);
            return Some(match plan.waiting {
                Some(WaitingOn::ServerToAnswer) if seen.recovery.is_some() => ASK_RECOVERING,
                Some(WaitingOn::ServerToAnswer) => ASK_STARTING,
                Some(WaitingOn::Restore) | None => LOOK_AGAIN,
            });
        }
        self.publish(want, &seen, &plan);
        if let Some(failed) = &self.failed {
            let left = failed.not_before.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return Some(left);
            }
        }
        self.begin_correction(&plan);
        match self.act(want, &plan).await {
            Ok(()) => {
                warn_unremembered(self.ledger.end_correction());
                None
            }
            Err((step, problem)) => {
                let pause = self.remember_failure(step, problem);
                self.publish(want, &seen, &plan);
                Some(pause)
            }
        }
    }

    async fn act(&mut self, want: &Assignment, plan: &Plan) -> Result<(), (String, Failure)> {
        for step in &plan.steps {
            // It ends connections: who asks why finds it in the log.
            if let Step::Restart(_) = step {
                tracing::warn!(%step, "act");
            } else {
                tracing::info!(%step, "act");
            }
            self.host
                .act(want, step, &self.ledger)
                .await
                .map_err(|problem| (step.to_string(), problem))?;
        }
        self.failed = None;
        self.guard_against_repetition(plan)
    }

    /// Remembers what is about to be put right. Killed after it was, the next agent finds nothing
    /// to do and knows what was done; killed before, it begins again.
    fn begin_correction(&mut self, plan: &Plan) {
        if plan.corrects.is_empty() {
            return;
        }
        let what = plan.corrects.join("; ");
        tracing::warn!(%what, "put right what was changed by hand");
        let at = Timestamp::now();
        warn_unremembered(self.ledger.begin_correction(Correction { at, what }));
    }

    /// Remembers that the server is as its spec says. What cannot be remembered is found again.
    fn remember_reached(&mut self, want: &Assignment, seen: &Observed, plan: &Plan) {
        if plan.is_in_sync() && matches!(seen.server, Server::Up(_)) {
            warn_unremembered(self.ledger.end_correction());
            warn_unremembered(self.ledger.remember_reached(Reached::of(&want.spec)));
        }
    }

    fn guard_against_repetition(&mut self, plan: &Plan) -> Result<(), (String, Failure)> {
        let text = plan
            .steps
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        if self.repeated.text != text {
            self.repeated = Repeated { text, times: 1 };
            return Ok(());
        }
        self.repeated.times += 1;
        if self.repeated.times < SAME_PLAN_LIMIT {
            return Ok(());
        }
        let problem = Problem::new(
            Class::Internal,
            "does-not-converge",
            format!("the same steps are needed again and again: {text}"),
        )
        .hint("Something else may be changing this server. See its log: `boma logs`.");
        Err((text, problem.into()))
    }

    fn remember_failure(&mut self, step: String, problem: Failure) -> Duration {
        let attempts = match &self.failed {
            Some(failed) if failed.outcome.step == step => failed.outcome.attempts + 1,
            _ => 1,
        };
        tracing::warn!(%step, %problem, attempts, "a step failed");
        let wait = backoff(problem.class, attempts);
        self.failed = Some(Failed {
            outcome: Outcome {
                step,
                problem: *problem,
                attempts,
            },
            not_before: Instant::now() + wait,
        });
        wait
    }

    /// Tells the backups what there is.
    fn tell(&self, want: &Assignment, seen: &Observed, plan: &Plan) {
        let serving = match &seen.server {
            Server::Up(up) if seen.recovery.is_none() => Some(up.server.version.clone()),
            Server::Up(_) | Server::Down | Server::Starting | Server::Silent(_) => None,
        };
        let situation = Situation {
            want: Some(want.clone()),
            restore: plan.waiting == Some(WaitingOn::Restore),
            recovering: seen.recovery.is_some(),
            serving,
            stopped: want.spec.power == Power::Off && matches!(seen.server, Server::Down),
        };
        self.situation.send_if_modified(|old| {
            let changed = *old != situation;
            *old = situation;
            changed
        });
    }

    /// What was measured is of another assignment: whoever is told that this one was accepted must
    /// not take it for done, though the generation may be the same, as with another certificate.
    fn unsettle(&mut self, generation: u64) {
        let before = generation.saturating_sub(1);
        self.converged = self.converged.min(before);
        if let Some((_, status)) = &mut self.measured {
            status.converged_generation = status.converged_generation.min(before);
        }
        self.send();
    }

    fn publish(&mut self, want: &Assignment, seen: &Observed, plan: &Plan) {
        let failed = self.failed.as_ref().map(|failed| &failed.outcome);
        let mut status = plan::report(want, seen, plan, failed, self.converged, Timestamp::now());
        status.corrections = self.ledger.corrections().to_vec();
        self.used.note(&mut status);
        self.converged = status.converged_generation;
        self.measured = Some((want.clone(), status));
        self.send();
        let activity = match &seen.server {
            Server::Up(up) => up.activity,
            Server::Down | Server::Starting | Server::Silent(_) => None,
        };
        if let Some(reported) = &*self.status.borrow() {
            let own = self.host.own_transactions();
            self.record.note(&reported.status, activity, own);
        }
    }

    /// Says what was measured last, and what is known of backups.
    fn send(&mut self) {
        let Some((want, measured)) = &self.measured else {
            return;
        };
        let report = self.backups.borrow_and_update().clone();
        let status = backups::add_to(measured.clone(), want, &report, Timestamp::now());
        self.status.send_if_modified(|reported| {
            let (serial, changed) = match reported {
                Some(old) => (old.serial, differs(&old.status, &status)),
                None => (0, true),
            };
            *reported = Some(Reported {
                serial: serial + u64::from(changed),
                status,
            });
            changed
        });
    }

    /// Waits for a request, for the end of the server, for backups, or for `longest`.
    async fn wait(&mut self, longest: Duration) -> Woken {
        let until = Instant::now() + longest;
        loop {
            tokio::select! {
                // Cancel-safe: a request that is not received stays in the channel.
                request = self.requests.recv() => return match request {
                    Some(request) => self.answer(request).await,
                    None => Woken::Exit,
                },
                // Cancel-safe: only waits for a process to end.
                () = self.host.server_ended() => return Woken::Again,
                // Cancel-safe: says that there is something new, and goes on saying so.
                Ok(()) = self.backups.changed() => {
                    let ended = self.backups.borrow().ended;
                    if ended != self.jobs_ended {
                        self.jobs_ended = ended;
                        return Woken::Again;
                    }
                    self.send();
                }
                // Cancel-safe: a timer.
                () = tokio::time::sleep_until(until) => return Woken::Again,
            }
        }
    }

    async fn answer(&mut self, request: Request) -> Woken {
        match request {
            Request::Accept(assignment, reply) => {
                let (generation, measured) = (assignment.spec.generation, &self.measured);
                let is_other = measured.as_ref().is_some_and(|(of, _)| *of != *assignment);
                let answer = self.accept(*assignment).map_err(|problem| *problem);
                if is_other && answer.is_ok() {
                    self.unsettle(generation);
                }
                // Whoever asked may have gone; what was accepted stays accepted.
                let _gone = reply.send(answer);
            }
            Request::Restart(reply) => {
                let answer = match self.ledger.current().cloned() {
                    Some(want) => self.host.restart(&want).await.map_err(|problem| *problem),
                    None => Err(nothing_assigned()),
                };
                let _gone = reply.send(answer);
            }
            Request::Look => {}
            Request::Measure => return Woken::Again,
            Request::Statements(reply) => {
                let answer = match self.ledger.current().cloned() {
                    Some(want) => self
                        .host
                        .statements(&want)
                        .await
                        .map_err(|problem| *problem),
                    None => Err(nothing_assigned()),
                };
                let _gone = reply.send(answer);
                return Woken::Again;
            }
            Request::Exit => return Woken::Exit,
            Request::Shutdown => {
                self.shut_down().await;
                return Woken::Exit;
            }
        }
        // A person or the engine acted: a wait after a failure is over.
        self.failed = None;
        self.repeated = Repeated::default();
        Woken::Again
    }

    /// Stops the server, whatever its spec says. What it has not archived yet it hands over while
    /// it stops; a server that does not stop in time is killed with its pod, and replays its log
    /// at the next start.
    async fn shut_down(&mut self) {
        let Some(want) = self.ledger.current().cloned() else {
            return;
        };
        tracing::info!("the pod ends: stop the server");
        if let Err(problem) = self.host.shut_down(&want).await {
            tracing::error!(%problem, "the server was not stopped in order");
        }
    }

    fn accept(&mut self, assignment: Assignment) -> Result<Accepted, Failure> {
        let generation = assignment.spec.generation;
        self.ledger.accept(assignment).map_err(failure)?;
        Ok(Accepted { generation })
    }
}

/// Whether two statuses differ in more than their time.
/// What the ledger does not take is found again, or told less well: no reason to stop.
fn warn_unremembered(remembered: Result<(), LedgerError>) {
    if let Err(error) = remembered {
        tracing::warn!(problem = %error.problem(), "not remembered");
    }
}

fn differs(old: &InstanceStatus, new: &InstanceStatus) -> bool {
    let mut old = old.clone();
    old.observed_at = new.observed_at;
    old != *new
}

fn nothing_assigned() -> Problem {
    Problem::new(
        Class::Transient,
        "nothing-assigned",
        "the agent was not told what to run yet",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_somewhere() {
        assert_eq!(backoff(Class::Transient, 1), Duration::from_millis(200));
        assert_eq!(backoff(Class::Transient, 3), Duration::from_millis(800));
        assert_eq!(backoff(Class::Transient, 400), Duration::from_secs(15));
        assert_eq!(backoff(Class::Config, 400), Duration::from_mins(1));
    }
}
