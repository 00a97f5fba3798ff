//! The engine of a server: it keeps everything as the manifests say, for as long as it runs.
//!
//! ```text
//!   source changed ─┐
//!   platform woke ──┼─► observe ─► plan ─► act ─► (observe …) ─► publish, wait
//!   a person asked ─┤                                              │
//!   a time has come ┘◄─────────────────────────────────────────────┘
//! ```
//!
//! Occasions carry no data but what a person asked for: each pass looks at everything, and does
//! the same whatever woke it. A source with an error changes nothing that runs: the last good
//! catalog stays in force and the problems are shown.

mod backoff;
mod state;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use boma_instance::InstanceId;
use boma_problem::Problem;
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tracing::Instrument as _;

pub use state::EngineState;

use crate::act::{Actor, Surroundings};
use crate::catalog::{Basis, Subject};
use crate::keys::ApplicationKey;
use crate::look::{Looked, look};
use crate::plan::{self, Asked, OtherSource, Plan};
use crate::platform::Platform;
use crate::source::Snapshot;
use crate::spans;
use backoff::Backoff;

/// How long a pass goes on undisturbed by what the platform reports. Its own steps make the
/// platform report most of what it reports; a pass for each report would be a pass too many.
const UNDISTURBED: Duration = Duration::from_secs(1);

/// How many times as long as looking took, steps go on before it is looked again: with thousands of
/// resources a look takes long, and the time is for what there is to do.
const LOOKS: u32 = 8;

/// How long steps may go on after the engine was asked to stop. Well below the 90 seconds after which
/// systemd kills (`TimeoutStopSec`).
const GRACE: Duration = Duration::from_secs(20);

/// Orders that may wait; each is one person's command.
const ORDERS: usize = 64;

/// What a person asks a running engine for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    /// Deploys an application again, even if nothing changed.
    Deploy(ApplicationKey),
    /// The other source is meant.
    OtherSource,
}

/// Talks to a running engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    orders: mpsc::Sender<Order>,
    wake: Arc<Notify>,
    state: watch::Receiver<Arc<EngineState>>,
}

impl EngineHandle {
    /// Lets the engine look now: something changed on the platform.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// What the engine is woken by; for a platform that is given it.
    pub fn waker(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    /// What the engine knows and does, now and from now on.
    pub fn state(&self) -> watch::Receiver<Arc<EngineState>> {
        self.state.clone()
    }

    /// Deploys an application again; answers whether there is an engine to do it.
    pub async fn deploy(&self, application: ApplicationKey) -> bool {
        self.orders.send(Order::Deploy(application)).await.is_ok()
    }

    /// Lets another source than before take resources away; answers whether there is an engine.
    pub async fn accept_other_source(&self) -> bool {
        self.orders.send(Order::OtherSource).await.is_ok()
    }
}

/// What an engine is made of.
pub struct Parts<P> {
    /// What exists, and what changes it.
    pub platform: Arc<P>,
    /// Clock, passwords, progress.
    pub around: Surroundings,
    /// Where new instances get their ids from.
    pub ids: Box<dyn FnMut() -> InstanceId + Send>,
    /// What manifests are read against.
    pub basis: Basis,
    /// Where manifests come from, as it is remembered.
    pub source_name: Arc<str>,
    /// What the source holds; none until it was read.
    pub source: watch::Receiver<Option<Arc<Snapshot>>>,
}

/// Keeps everything as the manifests say.
pub struct Engine<P> {
    platform: Arc<P>,
    actor: Actor<P>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ids: Box<dyn FnMut() -> InstanceId + Send>,
    basis: Arc<Basis>,
    asked: Asked,
    source: watch::Receiver<Option<Arc<Snapshot>>>,
    source_is_open: bool,
    orders: mpsc::Receiver<Order>,
    wake: Arc<Notify>,
    state: watch::Sender<Arc<EngineState>>,
    backoff: Backoff,
}

/// What woke the engine.
enum Wake {
    Source,
    SourceGone,
    Platform,
    Order(Order),
    Time,
    Stop,
}

impl<P: Platform> Engine<P> {
    /// An engine that does not run yet, and a way to talk to it.
    pub fn new(parts: Parts<P>) -> (Self, EngineHandle) {
        let Parts {
            platform,
            around,
            ids,
            basis,
            source_name,
            source,
        } = parts;
        let (order, orders) = mpsc::channel(ORDERS);
        let (state, states) = watch::channel(Arc::default());
        let wake = Arc::new(Notify::new());
        let handle = EngineHandle {
            orders: order,
            wake: wake.clone(),
            state: states,
        };
        let engine = Self {
            actor: Actor::new(platform.clone(), around.clone()),
            platform,
            clock: around.clock,
            ids,
            basis: Arc::new(basis),
            asked: Asked {
                source: Some(source_name),
                ..Asked::default()
            },
            source,
            source_is_open: true,
            orders,
            wake,
            state,
            backoff: Backoff::default(),
        };
        (engine, handle)
    }

    /// Runs until `stop` becomes true, or its sender is gone. Steps that were begun are carried
    /// to their end, if that does not take too long.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        self.load();
        let mut woken = None;
        loop {
            if woken.is_none() {
                woken = self.pass(&mut stop).await;
            }
            let wake = match woken.take() {
                Some(wake) => wake,
                None => self.sleep(&mut stop).await,
            };
            match wake {
                Wake::Stop => break,
                Wake::Source => {
                    self.load();
                    self.backoff.forget_all();
                }
                Wake::SourceGone => self.source_is_open = false,
                Wake::Order(order) => self.ordered(order),
                Wake::Platform | Wake::Time => {}
            }
        }
        // Most steps take less than a second; a migration may take an hour, and is ended in the
        // middle then, as by a crash. The next engine repairs what that leaves.
        if tokio::time::timeout(GRACE, self.actor.finish())
            .await
            .is_err()
        {
            tracing::warn!("steps that were going on are left unfinished");
        }
    }

    /// Takes over what the source holds, unless there is an error in it.
    fn load(&mut self) {
        let Some(snapshot) = self.source.borrow_and_update().clone() else {
            return;
        };
        let before = self.state.borrow().clone();
        let last = before.catalog.clone().unwrap_or_default();
        let (catalog, wrong) = last.rebuild(snapshot.parsed(), &self.basis);
        let problems: Vec<Problem> = snapshot.problems().cloned().chain(wrong).collect();
        let is_good = !problems.iter().any(Problem::is_error);
        let (catalog, revisions) = if is_good {
            (Some(Arc::new(catalog)), snapshot.revisions.clone())
        } else {
            (before.catalog.clone(), before.revisions.clone())
        };
        let held_back = snapshot.held_back.iter().cloned();
        self.publish(|state| {
            state.catalog = catalog;
            state.revisions = revisions;
            state.source_problems = problems.into_iter().chain(held_back).collect();
        });
    }

    fn ordered(&mut self, order: Order) {
        match order {
            Order::Deploy(application) => {
                self.backoff.forget(&(&application).into());
                self.asked.deploy.insert(application, (self.clock)());
            }
            Order::OtherSource => self.asked.other_source = OtherSource::Meant,
        }
    }

    /// Observes, plans and acts until there is nothing left to do, or something wakes it.
    async fn pass(&mut self, stop: &mut watch::Receiver<bool>) -> Option<Wake> {
        loop {
            let round = self.round(stop).instrument(spans::round());
            if let ControlFlow::Break(woken) = round.await {
                return woken;
            }
        }
    }

    /// Observes, plans and acts once. It breaks off when there is nothing left to do, or something
    /// wakes the engine.
    async fn round(&mut self, stop: &mut watch::Receiver<bool>) -> ControlFlow<Option<Wake>> {
        let catalog = self.state.borrow().catalog.clone();
        let (asked, ids) = (&self.asked, &mut self.ids);
        let begun = Instant::now();
        let looked = look(&*self.platform, &*self.clock, |seen, now| match &catalog {
            Some(catalog) => plan::plan(catalog, seen, asked, now, &mut **ids),
            None => plan::keep(seen, now),
        });
        let (seen, plan, now) = match looked.await {
            Ok(Looked { seen, plan, at }) => (seen, Arc::new(plan), at),
            Err(problem) => {
                self.backoff.platform_failed(&problem);
                self.publish(|state| state.platform_problem = Some(*problem));
                return ControlFlow::Break(None);
            }
        };
        self.backoff.platform_answered();
        self.publish(|state| {
            state.observed = Arc::new(seen);
            state.add_failures(Vec::new(), &plan);
            state.plan = plan.clone();
            state.planned_at = Some(now);
            state.planned_for = catalog;
            state.platform_problem = None;
        });
        self.backoff.keep_only(&plan);
        self.forget_orders(&plan);
        if plan.steps.is_empty() {
            return ControlFlow::Break(None);
        }
        match self.act(&plan, begun.elapsed() * LOOKS, stop).await {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(None),
            Err(wake) => ControlFlow::Break(Some(wake)),
        }
    }

    /// Forgets the orders about which there is nothing left to do.
    fn forget_orders(&mut self, plan: &Plan) {
        self.asked.deploy.retain(|application, _| {
            let subject = Subject::from(application);
            plan.steps
                .iter()
                .any(|step| step.action.subject() == subject)
                || plan
                    .waiting
                    .iter()
                    .any(|waiting| waiting.subject() == subject)
        });
    }

    /// Carries a plan out; answers whether anything was done, or what disturbed it.
    async fn act(
        &mut self,
        plan: &Plan,
        undisturbed: Duration,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<bool, Wake> {
        let begun = Instant::now();
        let withheld = self.backoff.withheld(begun);
        let Self {
            actor,
            source,
            source_is_open,
            orders,
            wake,
            ..
        } = self;
        let disturbed = async {
            let woken = wait(source, *source_is_open, orders, wake, stop).await;
            if !matches!(woken, Wake::Platform) {
                return woken;
            }
            // People are heard meanwhile, and whoever wants it to end.
            let deaf = Notify::new();
            tokio::select! {
                // Both are cancel-safe: they only wait.
                () = tokio::time::sleep_until(begun + undisturbed.max(UNDISTURBED)) => woken,
                heard = wait(source, *source_is_open, orders, &deaf, stop) => heard,
            }
        };
        let result = tokio::select! {
            // Cancel-safe: steps that were begun go on, and the next plan takes them up.
            outcome = actor.act(plan, &withheld) => Ok(!outcome.done.is_empty() || outcome.outdated),
            woken = disturbed => Err(woken),
        };
        let failures = self.actor.take_failures();
        self.backoff.failed(&failures, Instant::now());
        self.publish(|state| state.add_failures(failures, plan));
        result
    }

    /// Waits until something wakes it.
    async fn sleep(&mut self, stop: &mut watch::Receiver<bool>) -> Wake {
        let due = self.state.borrow().plan.look_again();
        let now = (self.clock)();
        let due = due.map(|due| Duration::try_from(due.duration_since(now)).unwrap_or_default());
        let due = due.map(|due| Instant::now() + due);
        let next = due
            .into_iter()
            .chain(self.backoff.next(Instant::now()))
            .min();
        let timer = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        let Self {
            actor,
            source,
            source_is_open,
            orders,
            wake,
            ..
        } = self;
        tokio::select! {
            // All are cancel-safe: they only wait for something to become so.
            woken = wait(source, *source_is_open, orders, wake, stop) => woken,
            () = actor.carried_on() => Wake::Platform,
            () = timer => Wake::Time,
        }
    }

    fn publish(&self, change: impl FnOnce(&mut EngineState)) {
        self.state.send_modify(|state| change(Arc::make_mut(state)));
    }
}

/// Waits for an occasion. Cancel-safe: every branch is.
async fn wait(
    source: &mut watch::Receiver<Option<Arc<Snapshot>>>,
    source_is_open: bool,
    orders: &mut mpsc::Receiver<Order>,
    wake: &Notify,
    stop: &mut watch::Receiver<bool>,
) -> Wake {
    loop {
        tokio::select! {
            changed = source.changed(), if source_is_open => {
                return if changed.is_ok() { Wake::Source } else { Wake::SourceGone };
            }
            () = wake.notified() => return Wake::Platform,
            // Without handles there is nobody left to give orders.
            Some(order) = orders.recv() => return Wake::Order(order),
            changed = stop.changed() => {
                if changed.is_err() || *stop.borrow() {
                    return Wake::Stop;
                }
            }
        }
    }
}
