//! Applications that have a manifest.

mod drain;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use boma_instance::Listen;
use boma_problem::Problem;
use jiff::Timestamp;

use super::action::{Action, StartReason, StepId, StopReason};
use super::deployment::{Deployment, PlannedBinding, Reach};
use super::draft::{Draft, LoginDraft, role};
use super::refusal;
use super::waiting::{Stopped, WaitingOn};
use crate::catalog::{Application, Database, Grant};
use crate::fingerprint::{Connection, Digests, Fingerprints};
use crate::keys::DatabaseKey;
use crate::observed::{Observed, ObservedApplication, PreDeployRun, ProcessState};
use crate::platform::Workload;
use crate::retry;

/// Plans the application at a place of the catalog.
pub(super) fn plan(draft: &mut Draft<'_>, place: usize) {
    let catalog = draft.catalog;
    let want = &catalog.applications()[place];
    let refused = refusal::of_application(want, draft.seen);
    if !refused.is_empty() {
        for problem in refused {
            draft.block((&want.key).into(), problem);
        }
        return;
    }
    let Some(reached) = reached(draft, place) else {
        return;
    };
    let digests = digests(want, draft.seen);
    let app = App {
        want,
        seen: draft.join.applications[place],
        digests,
        fingerprints: reached.fingerprints(want, digests),
        asked: draft.asked.deploy.get(&want.key).copied(),
        deployment: OnceCell::new(),
        bindings: reached.bindings,
    };
    let before = draft.plan.steps.len();
    let delivered = deliver(draft, &app, reached.needs);
    run_it(draft, &app, delivered, reached.stopped);
    if draft.plan.steps.len() == before {
        drain::plan(draft, &app);
    }
}

/// An application, what is known of it and what it should become.
struct App<'a> {
    want: &'a Application,
    seen: Option<&'a ObservedApplication>,
    /// With the secrets that it names as they are now.
    digests: Digests,
    /// None while a database has no place yet.
    fingerprints: Option<Fingerprints>,
    /// Since when a person asks for it to be deployed.
    asked: Option<Timestamp>,
    bindings: Vec<Bound<'a>>,
    /// Made when a step needs it.
    deployment: OnceCell<Arc<Deployment>>,
}

impl App<'_> {
    /// Whether this happened too early to be what a person asked for.
    fn is_too_early(&self, at: Timestamp) -> bool {
        self.asked.is_some_and(|asked| at < asked)
    }

    /// Whether this is the fingerprint of what it should run with.
    fn is_wanted(&self, deployment: &str) -> bool {
        self.fingerprints
            .is_some_and(|prints| prints.deployment.is(deployment))
    }

    fn deployment(&self) -> Arc<Deployment> {
        let make = || {
            Arc::new(Deployment {
                variables: self.want.variables.clone(),
                commands: self.want.commands.clone(),
                bindings: self
                    .bindings
                    .iter()
                    .map(|bound| bound.planned(self.want))
                    .collect(),
                digests: self.digests,
            })
        };
        self.deployment.get_or_init(make).clone()
    }
}

/// A grant, its database and its login.
struct Bound<'a> {
    grant: &'a Grant,
    database: &'a Database,
    listen: Option<&'a Listen>,
    login: LoginDraft<'a>,
}

impl Bound<'_> {
    fn role(&self, want: &Application) -> Cow<'_, str> {
        match self.login.role {
            Some(role) => role.into(),
            None => role(&self.database.key, &want.key, self.login.turn).into(),
        }
    }

    fn planned(&self, want: &Application) -> PlannedBinding {
        PlannedBinding {
            env_var: self.grant.env_var.clone(),
            grant: want.grant_key(self.grant),
            turn: self.login.turn,
            role: self.role(want).into_owned(),
            serial: self.login.serial,
            database: self.database.name.clone(),
            reach: self.listen.map(Reach::from),
        }
    }
}

/// What follows from the manifest and from the secrets that it names, in the order of its variables.
fn digests(want: &Application, seen: &Observed) -> Digests {
    let secrets = want.variables.secrets.values();
    let revisions = secrets.filter_map(|name| seen.secrets.get(&want.secret(name)));
    want.digests.revised(revisions.map(String::as_str))
}

/// How an application reaches its databases.
struct Reached<'a> {
    bindings: Vec<Bound<'a>>,
    /// Steps after which it can.
    needs: Vec<StepId>,
    /// A database of its that is kept stopped.
    stopped: Option<(&'a DatabaseKey, Stopped)>,
}

impl Reached<'_> {
    fn fingerprints(&self, want: &Application, digests: Digests) -> Option<Fingerprints> {
        let known = self.bindings.iter().map(|bound| {
            let listen = bound.listen?;
            let host = match listen.names.first() {
                Some(name) => Cow::from(name),
                None => listen.host().into(),
            };
            Some((bound, bound.role(want), host, listen.port))
        });
        let known: Vec<_> = known.collect::<Option<_>>()?;
        Some(
            digests.with(known.iter().map(|(bound, role, host, port)| Connection {
                env_var: &bound.grant.env_var,
                role,
                serial: bound.login.serial,
                host,
                port: *port,
                database: &bound.database.name,
            })),
        )
    }
}

/// Looks up each grant; nothing when one of them will not be there: half an environment is none.
fn reached<'a>(draft: &mut Draft<'a>, place: usize) -> Option<Reached<'a>> {
    let catalog = draft.catalog;
    let want = &catalog.applications()[place];
    let mut reached = Reached {
        bindings: Vec::new(),
        needs: Vec::new(),
        stopped: None,
    };
    let mut is_whole = true;
    for ((link, target), grant) in catalog.links_of(place).zip(&want.grants) {
        let drafted = target.and_then(|target| draft.databases[target].map(|one| (target, one)));
        let Some(((target, drafted), login)) = drafted.zip(draft.logins[link]) else {
            is_whole = false;
            let (application, database) = (want.key.clone(), grant.database.clone());
            draft.wait(WaitingOn::BlockedDatabase {
                application,
                database,
            });
            continue;
        };
        let database = &catalog.databases()[target];
        reached.needs.extend(drafted.settled_by);
        reached.needs.extend(login.begins);
        if let Some(stopped) = drafted.stopped {
            reached.stopped.get_or_insert((&database.key, stopped));
        }
        reached.bindings.push(Bound {
            grant,
            database,
            listen: drafted.listen,
            login,
        });
    }
    is_whole.then_some(reached)
}

/// Delivers the environment where it is not the one that was delivered.
fn deliver(draft: &mut Draft<'_>, app: &App<'_>, needs: Vec<StepId>) -> Vec<StepId> {
    let delivered = app.seen.and_then(|seen| seen.delivered.as_ref());
    if let (Some(prints), Some(delivered)) = (app.fingerprints, delivered)
        && prints.environment.is(&delivered.fingerprint)
    {
        return needs;
    }
    let action = Action::DeliverEnvironment {
        application: app.want.key.clone(),
        deployment: app.deployment(),
        is_new: delivered.is_none(),
    };
    vec![draft.step(action, needs)]
}

/// Starts, restarts or stops the application's process.
fn run_it(
    draft: &mut Draft<'_>,
    app: &App<'_>,
    needs: Vec<StepId>,
    stopped: Option<(&DatabaseKey, Stopped)>,
) {
    let key = &app.want.key;
    let is_held = app.seen.is_some_and(|seen| seen.held);
    let Some(workload) = app.want.commands.run.as_ref().filter(|_| !is_held) else {
        return keep_stopped(draft, app, is_held);
    };
    let why = match start_reason(app, draft.now) {
        Start::Runs => return,
        Start::Later { failures, until } => {
            let application = key.clone();
            return draft.wait(WaitingOn::Backoff {
                application,
                failures,
                until,
            });
        }
        Start::Now(why) => why,
    };
    if let Some((database, stopped)) = stopped {
        let application = key.clone();
        return draft.wait(WaitingOn::StoppedDatabase {
            application,
            database: database.clone(),
            stopped,
        });
    }
    let Ok(needs) = pre_deploy(draft, app, workload, needs) else {
        return;
    };
    let action = Action::RestartApplication {
        application: key.clone(),
        deployment: app.deployment(),
        workload: workload.clone(),
        why,
    };
    draft.step(action, needs);
}

fn keep_stopped(draft: &mut Draft<'_>, app: &App<'_>, is_held: bool) {
    let key = &app.want.key;
    if is_held {
        draft.wait(WaitingOn::Held {
            subject: key.into(),
        });
    }
    if app
        .seen
        .is_some_and(|seen| matches!(seen.process, ProcessState::Running { .. }))
    {
        let why = if is_held {
            StopReason::Held
        } else {
            StopReason::NoCommand
        };
        draft.step(
            Action::StopApplication {
                application: key.clone(),
                why,
            },
            [],
        );
    }
}

/// Whether to start the process.
enum Start {
    /// It runs as it should.
    Runs,
    /// Now.
    Now(StartReason),
    /// It ended too often; not before this moment.
    Later { failures: u32, until: Timestamp },
}

fn start_reason(app: &App<'_>, now: Timestamp) -> Start {
    match app.seen.map(|seen| &seen.process) {
        None | Some(ProcessState::NotRunning) => Start::Now(StartReason::NotRunning),
        Some(ProcessState::Running {
            deployment, since, ..
        }) => {
            if !app.is_wanted(deployment) {
                Start::Now(StartReason::Changed)
            } else if app.is_too_early(*since) {
                Start::Now(StartReason::Asked)
            } else {
                Start::Runs
            }
        }
        Some(ProcessState::Exited {
            deployment,
            at,
            failures,
        }) => {
            let until = *at + retry::after_exit(*failures);
            if !app.is_wanted(deployment) {
                Start::Now(StartReason::Changed)
            } else if app.is_too_early(*at) {
                Start::Now(StartReason::Asked)
            } else if until > now {
                Start::Later {
                    failures: *failures,
                    until,
                }
            } else {
                Start::Now(StartReason::Exited(*at))
            }
        }
    }
}

/// Runs `preDeploy` before the start, once for each deployment. A failed one is not run again by
/// itself: it may have done half of its work, so a person has to look.
fn pre_deploy(
    draft: &mut Draft<'_>,
    app: &App<'_>,
    workload: &Workload,
    needs: Vec<StepId>,
) -> Result<Vec<StepId>, Refused> {
    let Some(program) = &app.want.commands.pre_deploy else {
        return Ok(needs);
    };
    let last = app.seen.and_then(|seen| seen.pre_deploy.as_ref());
    let last = last.filter(|last| app.is_wanted(&last.deployment) && !app.is_too_early(last.at));
    match last {
        Some(PreDeployRun { failure: None, .. }) => Ok(needs),
        Some(PreDeployRun {
            failure: Some(failure),
            ..
        }) => {
            let problem = pre_deploy_failed(app, failure);
            draft.block((&app.want.key).into(), problem);
            Err(Refused)
        }
        None => {
            let action = Action::RunPreDeploy {
                application: app.want.key.clone(),
                deployment: app.deployment(),
                program: program.clone(),
                workload: workload.clone(),
            };
            Ok(vec![draft.step(action, needs)])
        }
    }
}

/// It is blocked, and the draft says why.
struct Refused;

fn pre_deploy_failed(app: &App<'_>, failure: &Problem) -> Problem {
    let is_running = app
        .seen
        .is_some_and(|seen| matches!(seen.process, ProcessState::Running { .. }));
    refusal::pre_deploy_failed(app.want, failure, is_running)
}
