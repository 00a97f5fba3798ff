//! What a plan is made of. Every choice is data in here; `act` only carries it out.

use std::sync::Arc;

use boma_instance::names::Turn;
use boma_instance::{Access, InstanceId, InstanceSpec, LoginSpec, Verifier};
use jiff::Timestamp;

use super::Deployment;
use super::change::Change;
use crate::catalog::Subject;
use crate::keys::{ApplicationKey, DatabaseKey, GrantKey};
use crate::observed::{DatabaseRecord, Life};
use crate::platform::{Program, Workload};

/// Names a step within its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId(pub u32);

impl StepId {
    /// Its place in the plan's list of steps.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One thing to do, and what must be done before.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name within the plan.
    pub id: StepId,
    /// What to do.
    pub action: Action,
    /// Steps that must have succeeded before; each comes earlier in the plan.
    pub needs: Vec<StepId>,
}

/// What a step does. Each is safe to repeat, as the platform's methods are.
#[derive(Clone, Debug)]
pub enum Action {
    /// Remembers where manifests come from. Safe to repeat: writes one value.
    RecordSource {
        /// Where.
        source: Arc<str>,
        /// Where they came from before.
        former: Option<String>,
    },
    /// Registers a database or updates its record. Safe to repeat: an id, once given, stays.
    RecordDatabase {
        /// Which one.
        key: DatabaseKey,
        /// Its instance.
        id: InstanceId,
        /// What to remember.
        record: DatabaseRecord,
        /// What was remembered before; none: it is new.
        former: Option<DatabaseRecord>,
    },
    /// Sets a database in use or retired. Safe to repeat: writes one value.
    SetLife {
        /// Which one.
        key: DatabaseKey,
        /// What it is from now on.
        life: Life,
    },
    /// Lets two stopped instances change places: one becomes the database's, and the one that it has
    /// had is kept, retired, under another name. Safe to repeat: it says which is which.
    Exchange {
        /// The database.
        key: DatabaseKey,
        /// The name that the former instance is kept under.
        beside: DatabaseKey,
        /// The instance that becomes the database's.
        id: InstanceId,
        /// The one that it has had.
        former: InstanceId,
    },
    /// Makes a password and stores it. Safe to repeat: nobody was given the former one, because
    /// what gives it out needs this step.
    IssueCredential {
        /// For which grant.
        grant: GrantKey,
        /// Which of its two logins.
        turn: Turn,
        /// The login's role name.
        role: String,
        /// The password's number.
        serial: u64,
        /// Whether it is to replace the password of the grant's other login.
        replaces: bool,
    },
    /// Hands a spec to the platform. Safe to repeat: the spec carries its generation.
    PutInstance(Box<PutInstance>),
    /// Waits until an instance is as its spec says. Changes nothing.
    AwaitConverged {
        /// Which database.
        key: DatabaseKey,
        /// Its instance.
        id: InstanceId,
        /// The spec's generation.
        generation: u64,
    },
    /// Stores an application's environment. Safe to repeat: the fingerprint says what it holds.
    DeliverEnvironment {
        /// To whom.
        application: ApplicationKey,
        /// What.
        deployment: Arc<Deployment>,
        /// Whether it is the first one.
        is_new: bool,
    },
    /// Runs `preDeploy` to its end. Repeated after a crash: migrations keep a record of their own.
    RunPreDeploy {
        /// Whose.
        application: ApplicationKey,
        /// For what.
        deployment: Arc<Deployment>,
        /// The command.
        program: Program,
        /// Where it runs.
        workload: Workload,
    },
    /// Makes the application run with its environment. Safe to repeat: it says what for.
    RestartApplication {
        /// Which one.
        application: ApplicationKey,
        /// With what.
        deployment: Arc<Deployment>,
        /// As what.
        workload: Workload,
        /// Why, for people.
        why: StartReason,
    },
    /// Ends the application's process. Safe to repeat.
    StopApplication {
        /// Which one.
        application: ApplicationKey,
        /// Why, for people.
        why: StopReason,
    },
    /// Makes a login whose password the server knows the active one; the former one stays open.
    /// Safe to repeat: it names the password.
    ActivateLogin {
        /// Of which grant.
        grant: GrantKey,
        /// Which of its two logins.
        turn: Turn,
        /// Its password's number.
        serial: u64,
        /// Its role, and the role whose turn is over.
        roles: Roles,
        /// Who restarts the application.
        restarts: RestartedBy,
    },
    /// Waits until an application has sessions on its new login and none on its former one.
    /// Changes nothing.
    AwaitDrained {
        /// Of which grant.
        grant: GrantKey,
        /// The database's instance.
        id: InstanceId,
        /// Its role, and the role whose turn is over.
        roles: Roles,
        /// When the wait is over.
        until: Timestamp,
    },
    /// Notes that nobody needs the former login any more, so that it is locked. Safe to repeat:
    /// it writes one value.
    ReleaseLogin {
        /// Of which grant.
        grant: GrantKey,
        /// Its role, and the role whose turn is over.
        roles: Roles,
        /// When it is let go at the latest; none: it is not in use.
        until: Option<Timestamp>,
    },
    /// Forgets credentials whose logins are gone from the server. Safe to repeat.
    ForgetGrant {
        /// Which grant.
        grant: GrantKey,
    },
    /// Forgets an application that is stopped and has no grants left. Safe to repeat.
    ForgetApplication {
        /// Which one.
        application: ApplicationKey,
    },
}

/// A spec to hand over, and what it changes.
#[derive(Clone, Debug)]
pub struct PutInstance {
    /// Which database.
    pub key: DatabaseKey,
    /// The spec, all but its logins.
    pub spec: InstanceSpec,
    /// Its logins, sorted by role.
    pub logins: Vec<PlannedLogin>,
    /// What differs from the spec before.
    pub changes: Vec<Change>,
}

/// A login of a spec whose password may not be made yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedLogin {
    /// Role name.
    pub role: String,
    /// What it may do.
    pub access: Access,
    /// For people who read `pg_roles`.
    pub comment: String,
    /// What its password is checked against.
    pub verifier: PlannedVerifier,
}

/// Where a login's verifier comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlannedVerifier {
    /// The role is locked.
    Locked,
    /// Made earlier.
    Stored(Verifier),
    /// Made by the step that issues this credential, earlier in the plan.
    Issued(GrantKey, Turn),
}

/// The roles of a grant's two logins during a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Whose turn begins.
    pub next: String,
    /// Whose turn is over.
    pub former: String,
}

/// Who restarts an application so that it uses its new environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartedBy {
    /// Boma, which runs it.
    Boma,
    /// Whoever runs it elsewhere.
    Owner,
}

/// Why an application's process is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartReason {
    /// It does not run.
    NotRunning,
    /// It runs with another environment or command.
    Changed,
    /// It ended by itself at this moment.
    Exited(Timestamp),
    /// A person asked for it.
    Asked,
}

/// Why an application's process is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Its manifest is gone.
    Removed,
    /// Its manifest no longer says what to run.
    NoCommand,
    /// A person stopped it.
    Held,
}

impl PutInstance {
    /// The whole spec, once all verifiers are at hand; none while one is not.
    pub fn spec(
        &self,
        issued: impl Fn(&GrantKey, Turn) -> Option<Verifier>,
    ) -> Option<InstanceSpec> {
        let mut spec = self.spec.clone();
        for login in &self.logins {
            let verifier = match &login.verifier {
                PlannedVerifier::Locked => None,
                PlannedVerifier::Stored(verifier) => Some(verifier.clone()),
                PlannedVerifier::Issued(grant, turn) => Some(issued(grant, *turn)?),
            };
            spec.logins.push(LoginSpec {
                role: login.role.clone(),
                access: login.access,
                verifier,
                comment: login.comment.clone(),
            });
        }
        Some(spec)
    }
}

impl Action {
    /// The resource that it is about, as a person sees it.
    pub fn subject(&self) -> Subject {
        match self {
            Self::RecordSource { .. } => Subject::Installation,
            Self::RecordDatabase { key, .. }
            | Self::SetLife { key, .. }
            | Self::Exchange { key, .. }
            | Self::AwaitConverged { key, .. } => key.into(),
            Self::PutInstance(put) => (&put.key).into(),
            Self::IssueCredential { grant, .. }
            | Self::ActivateLogin { grant, .. }
            | Self::AwaitDrained { grant, .. }
            | Self::ReleaseLogin { grant, .. }
            | Self::ForgetGrant { grant } => (&grant.application).into(),
            Self::DeliverEnvironment { application, .. }
            | Self::RunPreDeploy { application, .. }
            | Self::RestartApplication { application, .. }
            | Self::StopApplication { application, .. }
            | Self::ForgetApplication { application } => application.into(),
        }
    }

    /// The spec that it hands over, if that is what it does.
    pub fn as_put(&self) -> Option<&PutInstance> {
        if let Self::PutInstance(put) = self {
            Some(put)
        } else {
            None
        }
    }

    /// Stable kebab-case name of the kind of action.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RecordSource { .. } => "record-source",
            Self::RecordDatabase { .. } => "record-database",
            Self::SetLife { .. } => "set-life",
            Self::Exchange { .. } => "exchange",
            Self::IssueCredential { .. } => "issue-credential",
            Self::PutInstance(_) => "put-instance",
            Self::AwaitConverged { .. } => "await-converged",
            Self::DeliverEnvironment { .. } => "deliver-environment",
            Self::RunPreDeploy { .. } => "run-pre-deploy",
            Self::RestartApplication { .. } => "restart-application",
            Self::StopApplication { .. } => "stop-application",
            Self::ActivateLogin { .. } => "activate-login",
            Self::AwaitDrained { .. } => "await-drained",
            Self::ReleaseLogin { .. } => "release-login",
            Self::ForgetGrant { .. } => "forget-grant",
            Self::ForgetApplication { .. } => "forget-application",
        }
    }

    /// Whether it only waits for something to become so.
    pub fn is_passive(&self) -> bool {
        matches!(
            self,
            Self::AwaitConverged { .. } | Self::AwaitDrained { .. }
        )
    }
}
