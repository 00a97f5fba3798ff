//! Carries out one step.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use boma_instance::names::Turn;
use boma_instance::{InstanceId, InstanceSpec, InstanceStatus, Listen, Phase, Secret, Verifier};
use boma_problem::{Class, IntoProblem, Problem};

use super::{Progress, Surroundings};
use crate::catalog::Variables;
use crate::happened;
use crate::keys::{ApplicationKey, DatabaseKey, GrantKey};
use crate::observed::{DatabaseRecord, Life};
use crate::plan::{Action, Deployment, Fingerprints, PlannedBinding, Reach, StepId};
use crate::platform::{ActiveLogin, Binding, Environment, Platform, Program, Workload};

use super::drain::Draining;

/// How often a waiting step tells what it waits for, at first.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// The same of one that has waited for a minute: thousands may wait, and each telling is a look.
const TELL_LATER: Duration = Duration::from_secs(8);

/// How long to leave a platform alone that answers at once that nothing has changed.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// What earlier steps have brought to light.
#[derive(Default)]
pub(super) struct Learnt {
    verifiers: HashMap<(GrantKey, Turn), Verifier>,
    places: HashMap<DatabaseKey, Reach>,
}

/// What a step brought to light.
pub(super) enum Performed {
    /// Nothing that others need.
    Nothing,
    /// A password was made; this is its verifier.
    Issued(Verifier),
    /// An instance was placed.
    Placed(Listen),
}

/// A step with everything filled in that earlier steps have brought to light.
pub(super) enum Work {
    Wait(Wait),
    Deed(Deed),
}

/// What only waits. Thousands may at one time: its future is kept apart from the larger ones.
pub(super) enum Wait {
    Settled(DatabaseKey, InstanceId, u64),
    Drained(Draining),
}

/// What changes something.
pub(super) enum Deed {
    RecordSource(String),
    RecordDatabase(DatabaseKey, InstanceId, DatabaseRecord),
    SetLife(DatabaseKey, Life),
    Exchange {
        key: DatabaseKey,
        beside: DatabaseKey,
        id: InstanceId,
    },
    Issue {
        grant: GrantKey,
        turn: Turn,
        role: String,
        serial: u64,
    },
    Put(DatabaseKey, Box<InstanceSpec>),
    Deliver {
        application: ApplicationKey,
        fingerprint: String,
        environment: Box<Delivery>,
    },
    PreDeploy {
        application: ApplicationKey,
        deployment: String,
        program: Program,
        workload: Workload,
    },
    Restart {
        application: ApplicationKey,
        deployment: String,
        workload: Workload,
    },
    Stop(ApplicationKey),
    Activate {
        grant: GrantKey,
        turn: Turn,
        serial: u64,
    },
    Release(GrantKey),
    ForgetGrant(GrantKey),
    ForgetApplication(ApplicationKey),
}

/// An environment but for its passwords, which are read at the last moment.
pub(super) struct Delivery {
    variables: Arc<Variables>,
    bindings: Vec<(PlannedBinding, Reach)>,
}

/// A step whose needs did not bring what it needs: a defect of the plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a step ({step}) of the plan for {subject} came before what it needs")]
pub(super) struct OutOfOrder {
    /// What kind of step.
    step: &'static str,
    /// What it is about.
    subject: String,
}

impl IntoProblem for OutOfOrder {
    fn problem(&self) -> Problem {
        Problem::new(Class::Internal, "step-out-of-order", self.to_string())
            .hint("This is a defect of Boma; please report it with the output of `boma plan`.")
    }
}

impl Learnt {
    /// Keeps what a step brought to light.
    pub(super) fn add(&mut self, action: &Action, performed: Performed) {
        match (action, performed) {
            (Action::IssueCredential { grant, turn, .. }, Performed::Issued(verifier)) => {
                self.verifiers.insert((grant.clone(), *turn), verifier);
            }
            (Action::PutInstance(put), Performed::Placed(listen)) => {
                let reach = Reach {
                    host: listen.host(),
                    port: listen.port,
                };
                self.places.insert(put.key.clone(), reach);
            }
            _ => {}
        }
    }

    /// Fills a step in.
    pub(super) fn work(&self, action: &Action) -> Result<Work, Box<Problem>> {
        self.fill(action).ok_or_else(|| {
            let (step, subject) = (action.kind(), action.subject().to_string());
            Box::new(OutOfOrder { step, subject }.problem())
        })
    }

    fn fill(&self, action: &Action) -> Option<Work> {
        Some(Work::Deed(match action.clone() {
            Action::RecordSource { source, .. } => Deed::RecordSource(source.to_string()),
            Action::RecordDatabase {
                key, id, record, ..
            } => Deed::RecordDatabase(key, id, record),
            Action::SetLife { key, life } => Deed::SetLife(key, life),
            Action::Exchange {
                key, beside, id, ..
            } => Deed::Exchange { key, beside, id },
            Action::AwaitConverged {
                key,
                id,
                generation,
            } => return Some(Work::Wait(Wait::Settled(key, id, generation))),
            Action::IssueCredential {
                grant,
                turn,
                role,
                serial,
                ..
            } => Deed::Issue {
                grant,
                turn,
                role,
                serial,
            },
            Action::PutInstance(put) => {
                let issued =
                    |grant: &GrantKey, turn| self.verifiers.get(&(grant.clone(), turn)).cloned();
                Deed::Put(put.key.clone(), Box::new(put.spec(issued)?))
            }
            Action::DeliverEnvironment {
                application,
                deployment,
                ..
            } => Deed::Deliver {
                application,
                fingerprint: self.fingerprints(&deployment)?.environment.to_string(),
                environment: Box::new(self.delivery(&deployment)?),
            },
            Action::RunPreDeploy {
                application,
                deployment,
                program,
                workload,
            } => Deed::PreDeploy {
                application,
                deployment: self.fingerprints(&deployment)?.deployment.to_string(),
                program,
                workload,
            },
            Action::RestartApplication {
                application,
                deployment,
                workload,
                ..
            } => Deed::Restart {
                application,
                deployment: self.fingerprints(&deployment)?.deployment.to_string(),
                workload,
            },
            Action::StopApplication { application, .. } => Deed::Stop(application),
            Action::ActivateLogin {
                grant,
                turn,
                serial,
                ..
            } => Deed::Activate {
                grant,
                turn,
                serial,
            },
            Action::AwaitDrained {
                id, roles, until, ..
            } => return Some(Work::Wait(Wait::Drained(Draining { id, roles, until }))),
            Action::ReleaseLogin { grant, .. } => Deed::Release(grant),
            Action::ForgetGrant { grant } => Deed::ForgetGrant(grant),
            Action::ForgetApplication { application } => Deed::ForgetApplication(application),
        }))
    }

    fn placed(&self, database: &DatabaseKey) -> Option<Reach> {
        self.places.get(database).cloned()
    }

    fn fingerprints(&self, deployment: &Deployment) -> Option<Fingerprints> {
        deployment.fingerprints(|database| self.placed(database))
    }

    fn delivery(&self, deployment: &Deployment) -> Option<Delivery> {
        let reached = deployment.reached(|database| self.placed(database))?;
        let bindings = reached
            .into_iter()
            .map(|(binding, reach)| (binding.clone(), reach));
        let variables = deployment.variables.clone();
        Some(Delivery {
            variables,
            bindings: bindings.collect(),
        })
    }
}

/// Carries one step out.
pub(super) async fn perform<P: Platform>(
    id: StepId,
    work: Work,
    platform: &P,
    around: &Surroundings,
) -> Result<Performed, Box<Problem>> {
    match work {
        Work::Wait(Wait::Settled(key, instance, generation)) => {
            let of = (instance, generation);
            settled(id, key, of, (platform, around)).await?;
        }
        Work::Wait(Wait::Drained(draining)) => {
            Box::pin(draining.until_drained(id, platform, around)).await?;
        }
        Work::Deed(deed) => return Box::pin(act(deed, platform, around)).await,
    }
    Ok(Performed::Nothing)
}

async fn act<P: Platform>(
    deed: Deed,
    platform: &P,
    around: &Surroundings,
) -> Result<Performed, Box<Problem>> {
    match deed {
        Deed::RecordSource(source) => platform.record_source(&source).await?,
        Deed::RecordDatabase(key, instance, record) => {
            platform.record_database(&key, instance, &record).await?;
        }
        Deed::SetLife(key, life) => platform.set_life(&key, life).await?,
        Deed::Exchange { key, beside, id } => {
            let since = (around.clock)();
            platform.exchange(&key, id, &beside, since).await?;
        }
        Deed::Issue {
            grant,
            turn,
            role,
            serial,
        } => {
            let login = (turn, role.as_str(), serial);
            return issue(platform, around, &grant, login).await;
        }
        Deed::Put(key, spec) => {
            return Ok(Performed::Placed(platform.put_instance(&key, &spec).await?));
        }
        Deed::Deliver {
            application,
            fingerprint,
            environment,
        } => {
            let environment = environment.with_passwords(platform, fingerprint).await?;
            platform
                .deliver_environment(&application, &environment)
                .await?;
        }
        Deed::PreDeploy {
            application,
            deployment,
            program,
            workload,
        } => {
            let ran = platform.run_pre_deploy(&application, &deployment, &program, &workload);
            ran.await?
                .map_or(Ok(()), |problem| Err(Box::new(problem)))?;
        }
        Deed::Restart {
            application,
            deployment,
            workload,
        } => {
            platform
                .restart_application(&application, &deployment, &workload)
                .await?;
        }
        Deed::Stop(application) => platform.stop_application(&application).await?,
        Deed::Activate {
            grant,
            turn,
            serial,
        } => {
            let login = ActiveLogin {
                turn,
                serial,
                since: (around.clock)(),
            };
            platform.activate_login(&grant, login).await?;
        }
        Deed::Release(grant) => platform.release_login(&grant).await?,
        Deed::ForgetGrant(grant) => platform.forget_grant(&grant).await?,
        Deed::ForgetApplication(application) => platform.forget_application(&application).await?,
    }
    Ok(Performed::Nothing)
}

/// Waits until an instance is as its spec says, and tells what it keeps to itself when it stopped.
async fn settled<P: Platform>(
    step: StepId,
    key: DatabaseKey,
    of: (InstanceId, u64),
    (platform, around): (&P, &Surroundings),
) -> Result<(), Box<Problem>> {
    let waiting = Waiting::new(step, key.clone(), of);
    let status = waiting.until_settled(platform, around).await?;
    if let Some(event) = happened::left_behind(&key, &status)
        && let Err(error) = Box::pin(platform.event(&event)).await
    {
        tracing::warn!(%error, subject = %event.subject, "write an event");
    }
    Ok(())
}

/// Makes a password and stores it, before anybody is given it or its verifier.
async fn issue<P: Platform>(
    platform: &P,
    around: &Surroundings,
    grant: &GrantKey,
    (turn, role, serial): (Turn, &str, u64),
) -> Result<Performed, Box<Problem>> {
    let made = around.credentials.make(role, serial);
    let made = made.map_err(|error| error.problem())?;
    platform.store_credential(grant, turn, &made).await?;
    Ok(Performed::Issued(made.verifier))
}

impl Delivery {
    async fn with_passwords<P: Platform>(
        self,
        platform: &P,
        fingerprint: String,
    ) -> Result<Environment, Box<Problem>> {
        let mut bindings = Vec::with_capacity(self.bindings.len());
        for (binding, reach) in self.bindings {
            let credential = platform.credential(&binding.grant, binding.turn).await?;
            let Reach { host, port } = reach;
            let (role, database) = (&credential.role, &binding.database);
            let password = credential.password.expose();
            let uri = Secret::new(format!(
                "postgresql://{role}:{password}@{host}:{port}/{database}"
            ));
            bindings.push(Binding {
                env_var: binding.env_var,
                grant: binding.grant,
                host,
                port,
                database: binding.database,
                credential,
                uri,
            });
        }
        let Variables { plain, secrets } = Arc::unwrap_or_clone(self.variables);
        Ok(Environment {
            fingerprint,
            plain,
            secrets,
            bindings,
        })
    }
}

/// A wait for an instance.
struct Waiting {
    step: StepId,
    key: DatabaseKey,
    instance: InstanceId,
    generation: u64,
}

impl Waiting {
    fn new(step: StepId, key: DatabaseKey, (instance, generation): (InstanceId, u64)) -> Self {
        Self {
            step,
            key,
            instance,
            generation,
        }
    }

    async fn until_settled<P: Platform>(
        self,
        platform: &P,
        around: &Surroundings,
    ) -> Result<Box<InstanceStatus>, Box<Problem>> {
        let begun = tokio::time::Instant::now();
        loop {
            let left = around.patience.saturating_sub(begun.elapsed());
            let asked = tokio::time::Instant::now();
            let slice = left.min((begun.elapsed() / 8).clamp(TELL_EVERY, TELL_LATER));
            let status = platform
                .await_instance(self.instance, self.generation, slice)
                .await;
            // Not in the future itself, of which there may be thousands.
            let status = status.map(Box::new)?;
            if crate::is_settled(&status, self.generation) {
                return Ok(status);
            }
            let is_stuck = matches!(status.phase, Phase::Failed | Phase::Degraded);
            if is_stuck && !passes(&status) {
                return Err(Box::new(self.failed(&status)));
            }
            if left <= slice {
                return Err(Box::new(self.too_late(&status, around.patience)));
            }
            around.report.tell(Progress::Waiting {
                step: self.step,
                status,
            });
            if asked.elapsed() < ASK_AGAIN {
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }

    fn failed(&self, status: &InstanceStatus) -> Problem {
        match status.problems.first() {
            Some(problem) => problem.clone(),
            None => NotConverged::Failed {
                database: self.key.clone(),
            }
            .problem(),
        }
    }

    fn too_late(&self, status: &InstanceStatus, patience: Duration) -> Problem {
        let error = NotConverged::TooLate {
            database: self.key.clone(),
            phase: status.phase,
            seconds: patience.as_secs(),
        };
        let mut problem = error.problem();
        problem
            .causes
            .extend(status.problems.iter().map(Problem::to_string));
        // What is known to help comes before where to look.
        let mut hints: Vec<String> = Vec::new();
        for hint in status.problems.iter().flat_map(|problem| &problem.hints) {
            if !hints.contains(hint) {
                hints.push(hint.clone());
            }
        }
        hints.append(&mut problem.hints);
        problem.hints = hints;
        problem
    }
}

/// Whether this is a wait that was not over in time.
pub(super) fn is_late(problem: &Problem) -> bool {
    problem.code == "instance-not-ready"
}

/// Whether what is wrong is of the kind that ends by itself: the agent tries again.
fn passes(status: &InstanceStatus) -> bool {
    let mut problems = status
        .problems
        .iter()
        .filter(|one| one.is_error())
        .peekable();
    problems.peek().is_some() && problems.all(|problem| problem.class == Class::Transient)
}

/// An instance is not as its spec says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotConverged {
    /// It says so, and not why.
    #[error("Database {database} failed")]
    Failed {
        /// Which one.
        database: DatabaseKey,
    },
    /// It takes longer than anybody wants to wait.
    #[error("Database {database} is still {phase:?} after {seconds} s")]
    TooLate {
        /// Which one.
        database: DatabaseKey,
        /// What it says.
        phase: Phase,
        /// How long it was waited for.
        seconds: u64,
    },
}

impl IntoProblem for NotConverged {
    fn problem(&self) -> Problem {
        let (Self::Failed { database } | Self::TooLate { database, .. }) = self;
        let code = match self {
            Self::Failed { .. } => "instance-failed",
            Self::TooLate { .. } => "instance-not-ready",
        };
        Problem::new(Class::Transient, code, self.to_string())
            .hint(format!(
                "`boma logs {}` shows what the server says.",
                database.name
            ))
            .hint(format!(
                "`boma describe database {}` shows how far it is.",
                database.name
            ))
    }
}
