//! Applications that have a manifest.

use std::sync::Arc;

use boma_problem::Problem;
use jiff::Timestamp;

use super::action::{Action, StartReason, StepId, StopReason};
use super::draft::{Draft, LoginDraft};
use super::fingerprint::{Deployment, Fingerprints, PlannedBinding};
use super::refusal;
use super::waiting::{Stopped, WaitingOn};
use crate::catalog::{Application, Grant, RunsAs};
use crate::keys::DatabaseKey;
use crate::observed::{ObservedApplication, PreDeployRun, ProcessState};
use crate::platform::Program;
use crate::retry;

/// Variable that tells a program the port it should listen on.
const PORT: &str = "PORT";

/// Plans one application of the catalog.
pub(super) fn plan<'a>(draft: &mut Draft<'a>, want: &'a Arc<Application>) {
    draft.notes.application(want);
    let refused = refusal::of_application(want, draft.seen);
    if !refused.is_empty() {
        for problem in refused {
            draft.block((&want.key).into(), problem);
        }
        return;
    }
    let Some(reached) = reached(draft, want) else {
        return;
    };
    let seen = draft.seen.applications.get(&want.key);
    let run = match &want.source {
        RunsAs::Command(program) => Some(program.clone()),
        RunsAs::Elsewhere | RunsAs::Image(_) => None,
    };
    let deployment = deployment(want, run, reached.bindings);
    let fingerprints = deployment.fingerprints(|_| None);
    let app = App {
        want,
        seen,
        deployment: Arc::new(deployment),
        fingerprints,
        asked: draft.asked.deploy.get(&want.key).copied(),
    };
    let delivered = deliver(draft, &app, reached.needs);
    run_it(draft, &app, delivered, reached.stopped);
}

/// An application, what is known of it and what it should become.
struct App<'a> {
    want: &'a Application,
    seen: Option<&'a ObservedApplication>,
    deployment: Arc<Deployment>,
    /// None while a database has no place yet.
    fingerprints: Option<Fingerprints>,
    /// Since when a person asks for it to be deployed.
    asked: Option<Timestamp>,
}

impl App<'_> {
    /// Whether this happened too early to be what a person asked for.
    fn is_too_early(&self, at: Timestamp) -> bool {
        self.asked.is_some_and(|asked| at < asked)
    }
}

/// How an application reaches its databases.
struct Reached {
    bindings: Vec<PlannedBinding>,
    /// Steps after which it can.
    needs: Vec<StepId>,
    /// A database of its that is kept stopped.
    stopped: Option<(DatabaseKey, Stopped)>,
}

/// Looks up each grant; nothing when one of them will not be there: half an environment is none.
fn reached(draft: &mut Draft<'_>, want: &Application) -> Option<Reached> {
    let mut reached = Reached {
        bindings: Vec::new(),
        needs: Vec::new(),
        stopped: None,
    };
    let mut missing = Vec::new();
    for grant in &want.grants {
        let key = want.grant_key(grant);
        let database = draft.databases.get(&grant.database);
        let Some((database, login)) = database.zip(draft.logins.get(&key)) else {
            missing.push(grant.database.clone());
            continue;
        };
        reached.needs.extend(database.settled_by);
        if let Some(stopped) = database.stopped {
            reached
                .stopped
                .get_or_insert((grant.database.clone(), stopped));
        }
        let LoginDraft { turn, role, serial } = login.clone();
        let Grant { env_var, .. } = grant;
        reached.bindings.push(PlannedBinding {
            env_var: env_var.clone(),
            grant: key,
            turn,
            role,
            serial,
            database: database.database.clone(),
            reach: database.reach.clone(),
        });
    }
    let is_whole = missing.is_empty();
    for database in missing {
        let application = want.key.clone();
        draft.wait(WaitingOn::BlockedDatabase {
            application,
            database,
        });
    }
    is_whole.then_some(reached)
}

fn deployment(
    want: &Application,
    run: Option<Program>,
    bindings: Vec<PlannedBinding>,
) -> Deployment {
    let mut plain = want.env.clone();
    let is_bound = bindings.iter().any(|binding| binding.env_var == PORT);
    if let Some(port) = want
        .port
        .filter(|_| !is_bound && !want.secret_env.contains_key(PORT))
    {
        plain
            .entry(PORT.to_owned())
            .or_insert_with(|| port.to_string());
    }
    // Without anything to run there is nothing for `preDeploy` to go before.
    let pre_deploy = want.pre_deploy.clone().filter(|_| run.is_some());
    Deployment {
        plain,
        secrets: want.secret_env.clone(),
        bindings,
        run,
        pre_deploy,
    }
}

/// Delivers the environment where it is not the one that was delivered.
fn deliver(draft: &mut Draft<'_>, app: &App<'_>, needs: Vec<StepId>) -> Vec<StepId> {
    let delivered = app.seen.and_then(|seen| seen.delivered.as_ref());
    let wanted = app.fingerprints.as_ref().map(|prints| &prints.environment);
    if wanted.is_some() && delivered.map(|delivered| &delivered.fingerprint) == wanted {
        return needs;
    }
    let action = Action::DeliverEnvironment {
        application: app.want.key.clone(),
        deployment: app.deployment.clone(),
        is_new: delivered.is_none(),
    };
    vec![draft.step(action, needs)]
}

/// Starts, restarts or stops the application's process.
fn run_it(
    draft: &mut Draft<'_>,
    app: &App<'_>,
    needs: Vec<StepId>,
    stopped: Option<(DatabaseKey, Stopped)>,
) {
    let key = &app.want.key;
    let is_held = app.seen.is_some_and(|seen| seen.held);
    let Some(program) = app.deployment.run.clone().filter(|_| !is_held) else {
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
            database,
            stopped,
        });
    }
    let Ok(needs) = pre_deploy(draft, app, needs) else {
        return;
    };
    let action = Action::RestartApplication {
        application: key.clone(),
        deployment: app.deployment.clone(),
        program,
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
    let wanted = app.fingerprints.as_ref().map(|prints| &prints.deployment);
    match app.seen.map(|seen| &seen.process) {
        None | Some(ProcessState::NotRunning) => Start::Now(StartReason::NotRunning),
        Some(ProcessState::Running {
            deployment, since, ..
        }) => {
            if Some(deployment) != wanted {
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
            if Some(deployment) != wanted {
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
    needs: Vec<StepId>,
) -> Result<Vec<StepId>, Refused> {
    let Some(program) = app.deployment.pre_deploy.clone() else {
        return Ok(needs);
    };
    let wanted = app.fingerprints.as_ref().map(|prints| &prints.deployment);
    let last = app.seen.and_then(|seen| seen.pre_deploy.as_ref());
    let last = last.filter(|last| Some(&last.deployment) == wanted && !app.is_too_early(last.at));
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
                deployment: app.deployment.clone(),
                program,
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
