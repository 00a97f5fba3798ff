//! Plans one server. Pure: no clock, no IO, no randomness.
//!
//! ```text
//!   data directory ─► files ─► server up ─► reload / restart ─► access
//!        each level is planned only when the one before it is in place
//! ```
//!
//! An empty plan with nothing to wait for is the only "in sync".

pub mod access;
pub mod files;
mod report;

use std::fmt;

use boma_instance::{Activity, Assignment, Drift, InstanceSpec, MajorVersion, Power};
use boma_postgres::sql::{AccessStep, SeenDatabase, SeenServer, UndoneBy};
use boma_problem::{Class, Problem};
use serde::{Deserialize, Serialize};

use crate::recovery::{AtEnd, Recovery};

pub use files::{ConfigFile, FileName, Files, Paths};
pub use report::{Outcome, report};

/// What there is, as far as it could be measured.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The data directory.
    pub data: Data,
    /// Whether a data directory was ever made here.
    pub made_before: bool,
    /// What the server was last seen to be in all of; none: it never was, or that is not known.
    pub reached: Option<Reached>,
    /// Full version of the programs that would be started now; none: they are missing or broken.
    pub programs: Result<String, Problem>,
    /// Configuration as it stands on disk.
    pub files: Files,
    /// The server.
    pub server: Server,
    /// What is to be recovered before the server is a database of its own; none: nothing.
    pub recovery: Option<Recovery>,
    /// The segment of which recovery was told that the archive ends before it; none: it was not.
    pub archive_ended: Option<String>,
    /// Storage; none: not measured.
    pub storage: Option<boma_instance::StorageStatus>,
}

/// What a server was once seen to be in all of: what differs from it since was changed by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reached {
    /// Generation of the spec.
    pub generation: u64,
    /// What the spec says of access, passwords and locks aside: [`access::outline`].
    pub access: String,
}

impl Reached {
    /// What is reached once a server is as its spec says.
    pub fn of(spec: &InstanceSpec) -> Self {
        Self {
            generation: spec.generation,
            access: access::outline(spec),
        }
    }
}

/// The data directory, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// There is none, or only what an interrupted attempt of ours left, which may be cleared.
    Missing,
    /// It is whole, and it is this instance's.
    Whole {
        /// Major version that made it.
        version: MajorVersion,
    },
    /// Something is there that is not this instance's: never touched.
    NotOurs {
        /// What was found.
        why: String,
    },
    /// It could not be looked at.
    Unknown(Problem),
}

/// The server, as it was found.
#[derive(Clone, Debug)]
pub enum Server {
    /// No process.
    Down,
    /// A process that does not answer queries yet: starting, or replaying WAL.
    Starting,
    /// It answers.
    Up(Box<Up>),
    /// There is a process, and it could not be asked.
    Silent(Problem),
}

/// A server that answers.
#[derive(Clone, Debug)]
pub struct Up {
    /// Process id of the postmaster.
    pub pid: u32,
    /// What it says of itself.
    pub server: SeenServer,
    /// Roles, privileges, extensions.
    pub database: SeenDatabase,
    /// How much it does; nothing is planned by it.
    pub activity: Option<Activity>,
}

/// One step. Each may be repeated: a crash in the middle is repaired by planning again.
#[derive(Clone, Debug)]
pub enum Step {
    /// Makes the data directory. Safe to repeat because it is made beside and renamed into place.
    MakeData,
    /// Lets recovery end where the archive does. Safe to repeat because the file is replaced whole.
    ReleaseTarget(Recovery),
    /// Makes a server that was recovered a database of its own: renames the database in it, and
    /// drops the recovery settings. Safe to repeat because each part is skipped when it is done.
    TakeOver(Recovery),
    /// Remembers that a data directory was made, so that a lost one is never replaced by an empty
    /// one. Safe to repeat because the mark has no content.
    RememberMade,
    /// Writes configuration. Safe to repeat because each file is replaced whole.
    WriteFiles(Vec<ConfigFile>),
    /// Starts the server. Safe to repeat because a running one is adopted instead.
    Start,
    /// Shuts the server down cleanly. Safe to repeat: stopping a stopped server does nothing.
    Stop,
    /// Lets the server read its configuration again. Safe to repeat.
    Reload,
    /// Checkpoint, shutdown, start: with the reasons. Safe to repeat: it ends with a running server.
    Restart(Vec<RestartReason>),
    /// Takes back what somebody has set by `ALTER SYSTEM`. Safe to repeat because resetting what is
    /// not set does nothing.
    ResetSettings(Vec<String>),
    /// Brings roles, privileges, database and extensions to the spec.
    Access(Vec<AccessStep>),
}

/// Why a running server must be restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartReason {
    /// A setting takes effect at a restart only.
    Setting(String),
    /// The programs on disk are newer or older than the running process.
    Programs {
        /// What runs.
        running: String,
        /// What is installed.
        installed: String,
    },
}

impl fmt::Display for RestartReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(name) => f.write_str(name),
            Self::Programs { running, installed } => {
                write!(f, "PostgreSQL {running} → {installed}")
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeData => f.write_str("make data directory"),
            Self::ReleaseTarget(_) => f.write_str("recover all that is archived"),
            Self::TakeOver(recovery) => write!(f, "take over database {}", recovery.database),
            Self::RememberMade => f.write_str("remember that the data directory was made"),
            Self::WriteFiles(files) => {
                let names: Vec<_> = files.iter().map(|file| file.name.file_name()).collect();
                write!(f, "write {}", names.join(", "))
            }
            Self::Start => f.write_str("start server"),
            Self::Stop => f.write_str("stop server"),
            Self::Reload => f.write_str("reload configuration"),
            Self::Restart(reasons) => {
                let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
                write!(f, "restart server: {}", reasons.join(", "))
            }
            Self::ResetSettings(names) => {
                write!(f, "take back settings by hand: {}", names.join(", "))
            }
            Self::Access(steps) => write!(f, "bring access up to date ({} steps)", steps.len()),
        }
    }
}

/// What is waited for; nobody has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingOn {
    /// The server is starting or replaying WAL.
    ServerToAnswer,
    /// The data directory is being restored from backups.
    Restore,
}

/// What to do now.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// What is waited for.
    pub waiting: Option<WaitingOn>,
    /// What a person must look at before it can go on.
    pub blocked: Vec<Problem>,
    /// What of the steps puts right what was changed by hand, in words.
    pub corrects: Vec<String>,
    /// What was changed by hand and is left so, as the spec says: what would put it right, in words.
    pub leaves: Vec<String>,
}

impl Plan {
    /// Whether the server is as its spec says.
    pub fn is_in_sync(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_none() && self.blocked.is_empty()
    }

    fn blocked(problem: Problem) -> Self {
        Self {
            blocked: vec![problem],
            ..Self::default()
        }
    }

    fn steps(steps: Vec<Step>) -> Self {
        Self {
            steps,
            ..Self::default()
        }
    }
}

/// Plans one server: what is to be done next to bring it to its assignment.
///
/// # Guarantees
/// - A data directory that is not this instance's is never touched, and a lost one is never
///   replaced: both are blocked, for a person to look at.
/// - Another major version is never started on the data.
/// - A server whose state is not known is neither started nor stopped.
pub fn plan(want: &Assignment, seen: &Observed, paths: &Paths) -> Plan {
    match &seen.data {
        Data::Unknown(problem) => return Plan::blocked(problem.clone()),
        Data::NotOurs { why } => return Plan::blocked(not_ours(why, paths)),
        Data::Missing if seen.made_before => return Plan::blocked(lost(paths)),
        Data::Whole { version } if *version != want.spec.version => {
            return Plan::blocked(other_major(*version, want.spec.version));
        }
        Data::Missing | Data::Whole { .. } => {}
    }
    match want.spec.power {
        Power::Off => plan_off(seen),
        Power::On => plan_on(want, seen, paths),
    }
}

fn plan_off(seen: &Observed) -> Plan {
    match &seen.server {
        Server::Down => Plan::default(),
        Server::Starting | Server::Up(_) | Server::Silent(_) => Plan::steps(vec![Step::Stop]),
    }
}

fn plan_on(want: &Assignment, seen: &Observed, paths: &Paths) -> Plan {
    let mut steps = Vec::new();
    if seen.data == Data::Missing && want.spec.origin.is_some() {
        return Plan {
            waiting: Some(WaitingOn::Restore),
            ..Plan::default()
        };
    }
    if seen.data == Data::Missing {
        steps.push(Step::MakeData);
    }
    if !seen.made_before {
        steps.push(Step::RememberMade);
    }
    let wanted = files::wanted(want, paths);
    let stale = wanted.stale(&seen.files);
    if !stale.is_empty() {
        steps.push(Step::WriteFiles(stale));
    }
    match &seen.server {
        Server::Down => match &seen.programs {
            Ok(_) => {
                match at_end_of_archive(seen) {
                    Ok(release) => steps.extend(release),
                    Err(problem) => return Plan::blocked(*problem),
                }
                steps.push(Step::Start);
                // What is in a new cluster is known without looking.
                if seen.data == Data::Missing {
                    steps.extend(access_step(want, &SeenDatabase::default()));
                }
            }
            Err(problem) => {
                return Plan {
                    steps,
                    blocked: vec![problem.clone()],
                    ..Plan::default()
                };
            }
        },
        Server::Starting => {
            return Plan {
                steps,
                waiting: Some(WaitingOn::ServerToAnswer),
                ..Plan::default()
            };
        }
        Server::Silent(problem) => {
            return Plan {
                steps,
                blocked: vec![problem.clone()],
                ..Plan::default()
            };
        }
        Server::Up(up) => return plan_up(want, seen, up, &wanted, steps),
    }
    Plan::steps(steps)
}

/// Plans a server that answers. Reloading comes before restarting, because only the server knows
/// which of its settings need more than a reload; access comes last, on the settled server.
fn plan_up(
    want: &Assignment,
    seen: &Observed,
    up: &Up,
    wanted: &Files,
    mut steps: Vec<Step>,
) -> Plan {
    let refused: Vec<_> = up.server.refused.iter().map(refused_setting).collect();
    if up.server.configuration.as_deref() != Some(wanted.fingerprint()) {
        // A file that is refused whole stays so until it changes; a reload would not help.
        if !refused.is_empty() && steps.is_empty() {
            return Plan {
                blocked: refused,
                ..Plan::default()
            };
        }
        steps.push(Step::Reload);
        return Plan::steps(steps);
    }
    if let Some(recovery) = &seen.recovery {
        steps.push(Step::TakeOver(recovery.clone()));
        return Plan::steps(steps);
    }
    // With a refused setting in its files the server would not start again, so it is not stopped;
    // what does not need a restart goes on.
    let mut plan = Plan::steps(steps);
    if !refused.is_empty() {
        plan.blocked = refused;
        plan_access(want, seen, up, &mut plan);
        return plan;
    }
    let undone = undone(want, &up.server);
    if !undone.is_empty() {
        plan.corrects = vec![format!("take back the settings {}", undone.join(", "))];
        plan.steps.push(Step::ResetSettings(undone));
        return plan;
    }
    let mut reasons = restart_reasons(&up.server);
    if let Ok(installed) = &seen.programs
        && *installed != up.server.version
    {
        reasons.push(RestartReason::Programs {
            running: up.server.version.clone(),
            installed: installed.clone(),
        });
    }
    if !reasons.is_empty() {
        plan.steps.push(Step::Restart(reasons));
        return plan;
    }
    plan_access(want, seen, up, &mut plan);
    plan
}

/// Settings that a restart brings into force; none is made for what somebody has set by hand.
fn restart_reasons(server: &SeenServer) -> Vec<RestartReason> {
    let is_by_hand = |name: &String| server.overridden.iter().any(|one| one.name == *name);
    let pending = server.pending_restart.iter();
    let pending = pending.filter(|name| !is_by_hand(name)).cloned();
    pending.map(RestartReason::Setting).collect()
}

/// Settings by hand that are taken back. What came into force at a restart would take another one,
/// which nobody has asked for.
fn undone(want: &Assignment, server: &SeenServer) -> Vec<String> {
    match want.spec.drift {
        Drift::Report => Vec::new(),
        Drift::Correct => {
            let overridden = server.overridden.iter();
            let undone = overridden.filter(|one| one.undone_by == UndoneBy::Reset);
            undone.map(|one| one.name.clone()).collect()
        }
    }
}

/// Plans access on a server that answers, and tells what of it was changed by hand.
fn plan_access(want: &Assignment, seen: &Observed, up: &Up, plan: &mut Plan) {
    let spec = &want.spec;
    let mut steps = access::plan(spec, &up.database);
    let reached = seen.reached.as_ref();
    let is_drift = reached.is_some_and(|reached| reached.access == access::outline(spec));
    if spec.drift == Drift::Report && is_drift {
        let enforced = access::enforced(spec, &up.database);
        let left = steps.iter().filter(|step| !enforced.contains(step));
        plan.leaves = left.map(ToString::to_string).collect();
        steps = enforced;
    }
    if reached.is_some_and(|reached| reached.generation == spec.generation) {
        let by_hand = steps.iter().filter(|step| !access::is_upkeep(step));
        plan.corrects = by_hand.map(ToString::to_string).collect();
    }
    if !steps.is_empty() {
        plan.steps.push(Step::Access(steps));
    }
}

/// What is to be done about a server that ended while it recovered.
fn at_end_of_archive(seen: &Observed) -> Result<Option<Step>, Box<Problem>> {
    let (Some(recovery), Some(end)) = (&seen.recovery, &seen.archive_ended) else {
        return Ok(None);
    };
    match recovery.at_end_of_archive() {
        AtEnd::Done => Ok(None),
        AtEnd::Release => Ok(Some(Step::ReleaseTarget(Recovery {
            ends_before: Some(end.clone()),
            ..recovery.clone()
        }))),
        AtEnd::NotReached => Err(Box::new(not_reached())),
    }
}

fn not_reached() -> Problem {
    Problem::new(
        Class::User,
        "restore-target-not-reached",
        "the archive ended before what was to be restored to",
    )
    .hint(
        "A restore point has to be named as it was given to `pg_create_restore_point`. Purge this \
         database and restore to another moment.",
    )
}

fn access_step(want: &Assignment, seen: &SeenDatabase) -> Option<Step> {
    let steps = access::plan(&want.spec, seen);
    (!steps.is_empty()).then_some(Step::Access(steps))
}

fn not_ours(why: &str, paths: &Paths) -> Problem {
    Problem::new(
        Class::Config,
        "data-not-ours",
        format!(
            "`{}` is not this instance's data directory: {why}",
            paths.conf.data
        ),
    )
    .hint("Boma touches no directory that it did not make. Move it away, or find out whose it is.")
}

fn lost(paths: &Paths) -> Problem {
    Problem::new(
        Class::Config,
        "data-lost",
        format!(
            "the data directory `{}` was made and is gone",
            paths.conf.data
        ),
    )
    .hint(
        "Mount or put back the volume that holds it. Boma makes no empty database in place of a \
         lost one; to give the data up, retire and purge the database.",
    )
}

fn other_major(found: MajorVersion, wanted: MajorVersion) -> Problem {
    Problem::new(
        Class::User,
        "major-version-differs",
        format!("the data directory is of PostgreSQL {found}, the manifest says {wanted}"),
    )
    .hint(format!("Set `version: \"{found}\"` in the manifest."))
}

fn refused_setting((name, why): &(String, String)) -> Problem {
    Problem::new(
        Class::User,
        "setting-refused",
        format!("PostgreSQL refuses the setting {name}: {why}"),
    )
    .hint(format!("Change `spec.parameters.{name}` in the manifest."))
}

#[cfg(test)]
mod tests;
