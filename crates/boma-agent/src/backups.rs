//! Backups and restores of one server: long work, beside the agent's main task and never in its way.
//!
//! ```text
//!   main task ── Situation ──► Backups ── Report ──► main task ──► status
//!   API ─────── Order ────────►   │  one job at a time: back up, restore
//!                                 └── Carriers ──► archive_command, restore_command
//! ```
//!
//! Nothing here is remembered that the repository or the data directory does not tell, except how
//! often the last attempt failed. A job that is killed leaves what the next one clears.

mod idle;
mod left;
mod link;
mod prove;
mod restore;
mod statements;
mod take;

use std::path::PathBuf;
use std::time::Duration;

use boma_backup::meter::Meter;
use boma_backup::retention::schedule::{Attempts, Schedule};
use boma_backup::retention::window::{PointInTime, window};
use boma_backup::wal::outlook::Measured;
use boma_instance::Assignment;
use boma_instance::backup::{BackupStatus, BackupSummary, Drill, Progress, Work};
use boma_problem::{Class, IntoProblem as _, Problem};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use self::left::{Leaving, Left};
use self::link::{Link, Links};
pub(crate) use self::statements::add_to;
pub(crate) use self::take::read_manifest;
use crate::host::Failure;
use crate::wal::Carriers;

/// How often what waits to be archived is measured: a person is told within this time.
const MEASURED: Duration = Duration::from_secs(30);

/// How often progress is told.
const TOLD: Duration = Duration::from_secs(1);

/// How often the repository is listed although nothing was done: others may have deleted.
const LISTED: Duration = Duration::from_mins(10);

/// After a repository did not answer.
const AGAIN: Duration = Duration::from_secs(10);

/// How long a base backup or a restore may move no byte. Beginning a backup waits for a checkpoint,
/// ending it for the write-ahead log; both are given up sooner.
const STANDSTILL: Duration = Duration::from_hours(1);

/// Minutes between two measures from which growth is known.
const GROWTH_SEEN: SignedDuration = SignedDuration::from_mins(5);

/// Orders that may wait; people give one at a time.
pub(crate) const ORDERS: usize = 4;

/// What the main task sees, as far as backups depend on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Situation {
    pub(crate) want: Option<Assignment>,
    /// There is no data directory yet, and it comes from backups.
    pub(crate) restore: bool,
    /// Recovery is not over.
    pub(crate) recovering: bool,
    /// Full version of the server that answers, and is no one else's any more.
    pub(crate) serving: Option<String>,
    /// The server does not run, and is not to.
    pub(crate) stopped: bool,
}

/// What is told to the main task.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Report {
    pub(crate) status: Option<BackupStatus>,
    /// What waited to be archived some minutes ago.
    pub(crate) earlier: Option<Measured>,
    /// How far the last of the log of a stopped server is; none: it runs, or is not backed up.
    /// With the generation of the spec that stopped it.
    pub(crate) left: Option<(u64, Left)>,
    /// What keeps backups, or a restore, from being made.
    pub(crate) problem: Option<Problem>,
    /// Jobs that have ended; the main task looks again when it grows.
    pub(crate) ended: u64,
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Problem>>;

/// What a person asks for.
#[derive(Debug)]
pub(crate) enum Order {
    /// Take a base backup now.
    BackUp(Reply<BackupSummary>),
    /// Archive what was written until now.
    Archive(Reply<()>),
    /// Restore the newest backup, to prove it.
    Prove(Reply<Drill>),
    /// Delete the base backup of this name.
    Delete(String, Reply<()>),
}

/// What a job came to.
enum Done {
    BackedUp(Box<BackupSummary>),
    Restored,
    Drilled(Box<Drill>),
}

struct Job {
    meter: Meter,
    work: Work,
    started_at: Timestamp,
    /// Bytes that were done when it last got on, and when that was.
    pulse: (u64, Instant),
    task: JoinHandle<Result<Done, Failure>>,
    replies: Vec<Reply<BackupSummary>>,
    drills: Vec<Reply<Drill>>,
}

/// What is known of drills.
enum LastDrill {
    /// The repository was not asked yet.
    Unread,
    /// There was none.
    Never,
    /// What came of the last one.
    Made(Box<Drill>),
}

impl LastDrill {
    fn made(&self) -> Option<&Drill> {
        match self {
            Self::Unread | Self::Never => None,
            Self::Made(drill) => Some(drill),
        }
    }
}

/// Failures in a row.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Timestamp,
}

/// Where things of the instance are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The instance directory.
    pub(crate) dir: PathBuf,
    /// The data directory.
    pub(crate) data: PathBuf,
    /// Directory of PostgreSQL's socket and the agent's.
    pub(crate) sockets: PathBuf,
    /// What PostgreSQL runs to fetch a file of the write-ahead log.
    pub(crate) restore_command: String,
    /// Boma itself.
    pub(crate) program: PathBuf,
    /// PostgreSQL's programs.
    pub(crate) bin_dir: PathBuf,
}

/// The task.
pub(crate) struct Backups {
    places: Places,
    situation: watch::Receiver<Situation>,
    orders: mpsc::Receiver<Order>,
    report: watch::Sender<Report>,
    links: Links,
    listed_at: Option<Instant>,
    /// The last proof of an idle server: when it was begun, and whether it goes on.
    idle: (Option<Timestamp>, Option<JoinHandle<()>>),
    /// What a stopped server left.
    leaving: Leaving,
    job: Option<Job>,
    failures: Option<Failures>,
    problem: Option<Problem>,
    ended: u64,
    asked: Vec<Reply<BackupSummary>>,
    asked_drills: Vec<Reply<Drill>>,
    deletions: Vec<(String, Reply<()>)>,
    /// The last drill.
    drill: LastDrill,
    /// Measures of what waits to be archived: one that is some minutes old, and the next such.
    earlier: (Option<Measured>, Option<Measured>),
    /// Answers that are given once the status says the same.
    answers: Vec<Box<dyn FnOnce() + Send>>,
}

impl Backups {
    pub(crate) fn new(
        places: Places,
        (situation, orders): (watch::Receiver<Situation>, mpsc::Receiver<Order>),
        report: watch::Sender<Report>,
        carriers: watch::Sender<Carriers>,
    ) -> Self {
        Self {
            links: Links::new(carriers),
            places,
            situation,
            orders,
            report,
            listed_at: None,
            idle: (None, None),
            leaving: Leaving::default(),
            job: None,
            failures: None,
            problem: None,
            ended: 0,
            asked: Vec::new(),
            asked_drills: Vec::new(),
            deletions: Vec::new(),
            drill: LastDrill::Unread,
            earlier: (None, None),
            answers: Vec::new(),
        }
    }

    /// Works until the agent ends. What is going on then is given up and cleared by the next agent.
    pub(crate) async fn run(mut self) {
        loop {
            let wait = self.pass().await;
            tokio::select! {
                // Cancel-safe: says that there is something new, and goes on saying so.
                changed = self.situation.changed() => if changed.is_err() { break },
                // Cancel-safe: an order that is not received stays in the channel.
                order = self.orders.recv() => match order {
                    Some(Order::BackUp(reply)) => self.asked.push(reply),
                    Some(Order::Archive(reply)) => self.archive(reply),
                    Some(Order::Prove(reply)) => self.asked_drills.push(reply),
                    Some(Order::Delete(label, reply)) => self.deletions.push((label, reply)),
                    None => break,
                },
                // Cancel-safe: a task that has not ended is waited for again.
                result = ended(self.job.as_mut()) => self.reap(result),
                // Cancel-safe: a task that has not ended is waited for again.
                () = self.leaving.ended() => {}
                // Cancel-safe: a timer.
                () = tokio::time::sleep(wait) => {}
            }
        }
        if let Some(job) = &self.job {
            job.meter.cancel();
        }
    }

    /// Looks, decides, begins, reports; says when to look again.
    async fn pass(&mut self) -> Duration {
        let situation = self.situation.borrow_and_update().clone();
        self.end_what_stands_still();
        let Some(want) = &situation.want else {
            return MEASURED;
        };
        match self.links.follow(want, &situation, &self.places).await {
            Ok(()) => self.problem = self.failures.and(self.problem.take()),
            Err(problem) => {
                self.refuse(&problem);
                self.problem = Some(*problem);
                self.publish(want, &situation);
                return AGAIN;
            }
        }
        self.end_idle_proof();
        if let Err(problem) = self.list(want, &situation).await {
            self.problem = Some(*problem);
            self.publish(want, &situation);
            return AGAIN;
        }
        if self.job.is_none() {
            self.delete(want).await;
            self.begin(want, &situation);
        }
        self.prove_idle(want, &situation);
        self.publish(want, &situation);
        if self.job.is_some() || self.leaving.goes_on() {
            TOLD
        } else {
            MEASURED
        }
    }

    /// Ends a job that does not get on: a store or a file system that never answers would keep all
    /// later ones from being made. What it left is cleared by the next one.
    fn end_what_stands_still(&mut self) {
        let Some(job) = &mut self.job else { return };
        let done = job.meter.done();
        if done != job.pulse.0 {
            job.pulse = (done, Instant::now());
        }
        if stands_still(job.work, job.pulse.1.elapsed()) {
            job.meter.cancel();
            job.task.abort();
        }
    }

    /// Takes the result of a job that has ended.
    fn reap(&mut self, result: Result<Result<Done, Failure>, JoinError>) {
        let Some(job) = self.job.take() else { return };
        let result = result.unwrap_or_else(|error| Err(Box::new(cut_off(job.work, &error))));
        self.ended += 1;
        self.listed_at = None;
        match &result {
            Ok(_) => {
                tracing::info!(work = ?job.work, "done");
                (self.failures, self.problem) = (None, None);
                if let Ok(Done::Drilled(drill)) = &result {
                    self.drill = LastDrill::Made(drill.clone());
                }
            }
            Err(problem) => {
                tracing::warn!(work = ?job.work, %problem, "failed");
                let count = self.failures.map_or(0, |failures| failures.count) + 1;
                let last = Timestamp::now();
                self.failures = Some(Failures { count, last });
                self.problem = Some((**problem).clone());
            }
        }
        for reply in job.replies {
            let answer = match &result {
                Ok(Done::BackedUp(summary)) => Ok((**summary).clone()),
                Ok(Done::Restored | Done::Drilled(_)) => Err(busy()),
                Err(problem) => Err((**problem).clone()),
            };
            self.answer(reply, answer);
        }
        for reply in job.drills {
            let answer = match &result {
                Ok(Done::Drilled(drill)) => Ok((**drill).clone()),
                Ok(Done::Restored | Done::BackedUp(_)) => Err(busy()),
                Err(problem) => Err((**problem).clone()),
            };
            self.answer(reply, answer);
        }
    }

    /// Answers once the status says the same.
    fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, answer: Result<T, Problem>) {
        self.answers.push(Box::new(move || {
            // Whoever asked may have gone.
            let _gone = reply.send(answer);
        }));
    }

    /// Deletes what was named: between two jobs, so that nothing that runs compares with it.
    async fn delete(&mut self, want: &Assignment) {
        for (label, reply) in std::mem::take(&mut self.deletions) {
            let deleted = match &mut self.links.archive {
                Some(link) => link.delete(&label).await.map_err(|problem| *problem),
                None => Err(not_backed_up(want)),
            };
            self.answer(reply, deleted);
        }
    }

    /// Reads the repository, when something was done or it was not for long.
    async fn list(&mut self, want: &Assignment, situation: &Situation) -> Result<(), Failure> {
        let Some(link) = &mut self.links.archive else {
            return Ok(());
        };
        if self.listed_at.is_some_and(|at| at.elapsed() < LISTED) && link.catalog.is_some() {
            return Ok(());
        }
        link.list().await?;
        if situation.serving.is_some() {
            // One that does not answer is told of elsewhere; then only what is archived is known.
            let live = idle::ask(&self.places, want.placement.listen.port)
                .await
                .ok();
            link.catalog = link.catalog.take().map(|catalog| catalog.with_live(live));
        }
        if matches!(self.drill, LastDrill::Unread) {
            self.drill = match prove::last(link).await? {
                Some(drill) => LastDrill::Made(Box::new(drill)),
                None => LastDrill::Never,
            };
        }
        self.listed_at = Some(Instant::now());
        Ok(())
    }

    /// Ends and archives the present file of the write-ahead log where nobody has written for long.
    fn prove_idle(&mut self, want: &Assignment, situation: &Situation) {
        let (Some(link), Some(spec)) = (&self.links.archive, &want.spec.backup) else {
            return;
        };
        let Some((version, catalog)) = situation.serving.clone().zip(link.catalog.as_ref()) else {
            return;
        };
        // Before there is a backup there is no window.
        let reachable = catalog
            .newest_timeline()
            .and_then(|timeline| window(catalog, timeline, PointInTime::On));
        let archive = link.shipper.status();
        // Where a file waits already, one more would only fill the disk.
        let is_free = self.idle.1.is_none() && archive.waiting_files == 0;
        let Some(reachable) = reachable.filter(|_| is_free) else {
            return;
        };
        let (now, archived) = (Timestamp::now(), archive.last_archived_at);
        if !idle::is_due(spec, [reachable.until, archived, self.idle.0], now) {
            return;
        }
        let (taking, places) = (take::Taking::new(link, want, version), self.places.clone());
        let proof = tokio::spawn(async move {
            match take::archive_now(&places, &taking).await {
                Ok(()) => tracing::debug!("nobody writes, and the present moment is safe"),
                Err(problem) => tracing::warn!(%problem, "the present moment is not archived"),
            }
        });
        self.idle = (Some(now), Some(proof));
    }

    /// What was archived is to be seen.
    fn end_idle_proof(&mut self) {
        if self.idle.1.as_ref().is_some_and(JoinHandle::is_finished) {
            self.idle.1 = None;
            self.listed_at = None;
        }
    }

    /// Answers orders that cannot be carried out now.
    fn refuse(&mut self, problem: &Problem) {
        for reply in self.asked.drain(..) {
            let _gone = reply.send(Err(problem.clone()));
        }
        for reply in self.asked_drills.drain(..) {
            let _gone = reply.send(Err(problem.clone()));
        }
        for (_, reply) in self.deletions.drain(..) {
            let _gone = reply.send(Err(problem.clone()));
        }
    }

    /// Archives beside everything else; it is a matter of moments.
    fn archive(&self, reply: Reply<()>) {
        let situation = self.situation.borrow().clone();
        let Some(want) = situation.want else { return };
        let (Some(link), Some(version)) = (&self.links.archive, situation.serving) else {
            let _gone = reply.send(Err(not_backed_up(&want)));
            return;
        };
        let taking = take::Taking::new(link, &want, version);
        let places = self.places.clone();
        tokio::spawn(async move {
            let archived = take::archive_now(&places, &taking).await;
            let _gone = reply.send(archived.map_err(|problem| *problem));
        });
    }

    /// Begins what is due.
    fn begin(&mut self, want: &Assignment, situation: &Situation) {
        let now = Timestamp::now();
        if situation.restore {
            if self.may_try(now) {
                self.start(Work::Restore, now, |places, meter| {
                    restore::restore(places, want.clone(), meter)
                });
            }
            return;
        }
        let asked = !(self.asked.is_empty() && self.asked_drills.is_empty());
        let (Some(link), Some(version)) = (&self.links.archive, &situation.serving) else {
            if asked {
                self.refuse(&not_backed_up(want));
            }
            return;
        };
        if !self.asked.is_empty() || self.is_due(want, link, now) {
            let job = take::Taking::new(link, want, version.clone());
            let replies = std::mem::take(&mut self.asked);
            self.start(Work::Backup, now, |places, meter| {
                take::take(places, job, meter)
            });
            if let Some(job) = &mut self.job {
                job.replies = replies;
            }
            return;
        }
        let last = self.drill.made();
        let due = |catalog| prove::is_due(last, catalog, now);
        if self.asked_drills.is_empty() && !link.catalog.as_ref().is_some_and(due) {
            return;
        }
        if let Some(proving) = prove::Proving::new(link, &want.spec) {
            let drills = std::mem::take(&mut self.asked_drills);
            self.start(Work::Drill, now, |places, meter| {
                prove::prove(places, proving, meter)
            });
            if let Some(job) = &mut self.job {
                job.drills = drills;
            }
        }
    }

    fn start<F>(
        &mut self,
        work: Work,
        started_at: Timestamp,
        begin: impl FnOnce(Places, Meter) -> F,
    ) where
        F: Future<Output = Result<Done, Failure>> + Send + 'static,
    {
        let meter = Meter::new();
        let task = tokio::spawn(begin(self.places.clone(), meter.clone()));
        tracing::info!(?work, "begin");
        self.job = Some(Job {
            meter,
            work,
            started_at,
            pulse: (0, Instant::now()),
            task,
            replies: Vec::new(),
            drills: Vec::new(),
        });
    }

    /// Restores are tried again after a pause that grows to a minute.
    fn may_try(&self, now: Timestamp) -> bool {
        self.failures.is_none_or(|failures| {
            let pause = 2_i64.saturating_pow(failures.count).min(60);
            now.duration_since(failures.last).as_secs() >= pause
        })
    }

    fn is_due(&self, want: &Assignment, link: &Link, now: Timestamp) -> bool {
        let (Some(spec), Some(catalog)) = (&want.spec.backup, &link.catalog) else {
            return false;
        };
        let attempts = Attempts {
            newest: catalog.newest().map(|backup| backup.summary.started_at),
            failed: self
                .failures
                .map(|failures| (failures.count, failures.last)),
        };
        match Schedule::parse(&spec.schedule) {
            Ok(schedule) => schedule.due(attempts, now).is_some_and(|due| due <= now),
            Err(error) => {
                tracing::error!(problem = %error.problem(), "no backup is scheduled");
                false
            }
        }
    }

    fn publish(&mut self, want: &Assignment, situation: &Situation) {
        let shipper = self.links.archive.as_ref().map(|link| &link.shipper);
        let of = (self.places.data.as_path(), shipper);
        let left = self.leaving.look(want, situation, of);
        let status = self.status(want);
        let report = Report {
            earlier: self.earlier_than(status.as_ref(), Timestamp::now()),
            status,
            left: left.map(|left| (want.spec.generation, left)),
            problem: self.problem.clone(),
            ended: self.ended,
        };
        self.report.send_if_modified(|old| {
            let changed = *old != report;
            *old = report;
            changed
        });
        for answer in self.answers.drain(..) {
            answer();
        }
    }

    /// A measure of what waits to be archived that is old enough to show growth.
    fn earlier_than(&mut self, status: Option<&BackupStatus>, now: Timestamp) -> Option<Measured> {
        let waiting_bytes = status?.archive.waiting_bytes;
        let is_old = |one: Measured| now.duration_since(one.at) >= GROWTH_SEEN;
        if self.earlier.1.is_none_or(is_old) {
            let at = now;
            let measured = Some(Measured { at, waiting_bytes });
            self.earlier = (self.earlier.1, measured);
        }
        self.earlier.0
    }

    /// What is known; none: nothing was measured, or nothing is backed up and nothing goes on.
    fn status(&self, want: &Assignment) -> Option<BackupStatus> {
        let running = self.job.as_ref().map(|job| Progress {
            work: job.work,
            started_at: job.started_at,
            done_bytes: job.meter.done(),
            total_bytes: job.meter.total(),
        });
        let measured = self
            .links
            .archive
            .as_ref()
            .and_then(|link| Some((link, link.catalog.as_ref()?)));
        let Some((link, catalog)) = measured else {
            return running.map(|progress| BackupStatus {
                running: Some(progress),
                ..BackupStatus::default()
            });
        };
        let point_in_time = match &want.spec.backup {
            Some(spec) => PointInTime::from_spec(spec),
            None => PointInTime::Off,
        };
        let reachable = catalog
            .newest_timeline()
            .and_then(|timeline| window(catalog, timeline, point_in_time));
        Some(BackupStatus {
            backups: catalog.whole().map(|one| one.summary.clone()).collect(),
            recoverable_from: reachable.map(|window| window.from),
            recoverable_until: reachable.map(|window| window.until.unwrap_or(window.from)),
            archive: link.shipper.status(),
            last_verified_restore: self.drill.made().cloned(),
            running,
        })
    }
}

/// Waits until a job has ended; for ever, when there is none.
async fn ended(job: Option<&mut Job>) -> Result<Result<Done, Failure>, JoinError> {
    match job {
        Some(job) => (&mut job.task).await,
        None => std::future::pending().await,
    }
}

/// Whether work that has moved no byte for so long is given up. A drill replays the log meanwhile,
/// and has a patience of its own.
fn stands_still(work: Work, since: Duration) -> bool {
    match work {
        Work::Backup | Work::Restore => since >= STANDSTILL,
        Work::Drill | Work::Verify => false,
    }
}

/// A job that was ended from outside, or that broke.
fn cut_off(work: Work, error: &JoinError) -> Problem {
    if error.is_cancelled() {
        let what = match work {
            Work::Backup => "the base backup",
            Work::Restore => "the restore",
            Work::Verify => "the check of the repository",
            Work::Drill => "the drill",
        };
        let text = format!(
            "{what} moved no byte for {} minutes and was ended",
            STANDSTILL.as_secs() / 60
        );
        return Problem::new(Class::Transient, "backup-stalled", text).hint(
            "The repository or the disk does not answer; it is tried again. `boma logs --agent` says what was asked last.",
        );
    }
    Problem::from_error(Class::Internal, "backup-broken", error)
        .hint("Please report this, with the log of the agent: `boma logs --agent`.")
}

fn busy() -> Problem {
    Problem::new(
        Class::Transient,
        "backup-given-up",
        "the database is being restored",
    )
}

fn not_backed_up(want: &Assignment) -> Problem {
    if want.spec.backup.is_none() {
        return Problem::new(
            Class::User,
            "backups-off",
            "this database is not backed up, as its manifest says",
        )
        .hint("Write `backupConfig.enabled: true` in its manifest.");
    }
    Problem::new(
        Class::Transient,
        "backup-without-server",
        "the server does not answer, and a base backup needs it",
    )
    .hint("`boma describe` says what keeps it from answering.")
}

#[cfg(test)]
mod tests;
