//! A platform in memory, for tests of what the engine decides. It is not PostgreSQL, and no test
//! with it says anything about PostgreSQL.
//!
//! It keeps to the contract of [`Platform`](crate::platform::Platform) and refuses what breaks it.
//! What a method changes is divided into *effects*, each of which a crash may come before; with
//! [`SimulatedPlatform::dies_before`] a test walks through all of them.

mod methods;
mod state;

use std::sync::{Mutex, MutexGuard, PoisonError};

use boma_instance::{Secret, Verifier};
use boma_problem::{Class, Problem};
use jiff::{SignedDuration, Timestamp};

pub use state::{Agent, SimulatedApplication, SimulatedDatabase, SimulatedRotation, State};

use crate::act::{CredentialError, Credentials};
use crate::keys::{ApplicationKey, DatabaseKey, SecretKey};
use crate::observed::{Capabilities, Feature, Judgements, ServerBuild};
use crate::platform::{Credential, PlatformError};

/// When simulated time begins.
fn beginning() -> Timestamp {
    "2026-11-21T10:00:00Z"
        .parse()
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A platform in memory.
pub struct SimulatedPlatform {
    state: Mutex<State>,
}

impl SimulatedPlatform {
    /// One with nothing on it, and these capabilities.
    pub fn new(capabilities: Capabilities) -> Self {
        Self {
            state: Mutex::new(State::new(capabilities, beginning())),
        }
    }

    /// Looks at everything, or changes it behind the engine's back.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked has failed already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The simulated time.
    pub fn now(&self) -> Timestamp {
        self.state().now
    }

    /// Lets time pass.
    pub fn advance(&self, by: SignedDuration) {
        let mut state = self.state();
        state.now = state.now.checked_add(by).unwrap_or(Timestamp::MAX);
    }

    /// Dies before effect number `effect`, counted from now on; all that follows fails until
    /// [`SimulatedPlatform::revive`].
    pub fn dies_before(&self, effect: u64) {
        let mut state = self.state();
        state.effects = 0;
        state.dies_before = Some(effect);
    }

    /// Lives again, with all that was done before; answers whether it had died.
    pub fn revive(&self) -> bool {
        let mut state = self.state();
        state.dies_before = None;
        std::mem::take(&mut state.dead)
    }

    /// Lets a method fail from now on, for a resource or, with an empty name, for all.
    pub fn fail(&self, method: &str, name: &str, problem: Problem) {
        self.state()
            .failures
            .insert((method.to_owned(), name.to_owned()), problem);
    }

    /// Lets nothing fail any more.
    pub fn mend(&self) {
        self.state().failures.clear();
    }

    /// One effect: dies before it if its turn has come.
    fn effect<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, PlatformError>,
    ) -> Result<T, PlatformError> {
        let mut state = self.state();
        if state.dies_before == Some(state.effects) {
            state.dead = true;
        }
        if state.dead {
            return Err(died());
        }
        state.effects += 1;
        change(&mut state)
    }

    /// Fails if a test said so.
    fn may(&self, method: &str, name: &str) -> Result<(), PlatformError> {
        let state = self.state();
        let failure = |name: &str| state.failures.get(&(method.to_owned(), name.to_owned()));
        match failure(name).or_else(|| failure("")) {
            Some(problem) => Err(Box::new(problem.clone())),
            None => Ok(()),
        }
    }
}

/// What all methods of a dead platform answer.
fn died() -> PlatformError {
    // Not transient: a test does not want to wait for what is dead.
    Box::new(Problem::new(Class::Config, "died", "the platform died"))
}

/// A call that breaks the contract: a defect of the engine.
fn refused(what: impl Into<String>) -> PlatformError {
    Box::new(Problem::new(Class::Internal, "contract-broken", what))
}

/// A machine with everything that the first version of the local platform has.
pub fn machine() -> Capabilities {
    let builds = boma_instance::MajorVersion::ALL.map(|major| ServerBuild {
        major,
        version: format!("{major}.4"),
        parameters: state::parameters(),
        extensions: ["pg_trgm", "pgcrypto", "pg_stat_statements"]
            .map(str::to_owned)
            .into(),
    });
    Capabilities {
        platform: "on this machine".to_owned(),
        servers: builds.into(),
        searched: vec!["/usr/lib/postgresql".to_owned()],
        features: [
            Feature::Commands,
            Feature::Backups,
            Feature::Restore,
            Feature::Replace,
        ]
        .into(),
        repositories: ["default".to_owned()].into(),
        cpu_millis: None,
        memory_bytes: None,
        limits: None,
        judged: Some(Judgements::new()),
    }
}

/// Passwords that a test can foresee, made without the cost of real verifiers.
pub struct ForeseenCredentials;

impl Credentials for ForeseenCredentials {
    fn make(&self, role: &str, serial: u64) -> Result<Credential, CredentialError> {
        // Serials are moments; since the beginning they are short enough to read.
        let beginning = beginning().as_millisecond().unsigned_abs();
        let since = serial.saturating_sub(beginning);
        let verifier: Verifier = Secret::new(format!("SCRAM-SHA-256$verifier-of-{role}-{since}"));
        Ok(Credential {
            role: role.to_owned(),
            password: Secret::new(format!("password-of-{role}-{since}")),
            verifier,
            serial,
        })
    }
}

/// The key of a database in a project that tests use.
pub fn database_key(name: &str) -> DatabaseKey {
    DatabaseKey::new(PROJECT, name)
}

/// The key of a secret in a project that tests use.
pub fn secret_key(name: &str) -> SecretKey {
    SecretKey::new(PROJECT, name)
}

/// The key of an application in a project that tests use.
pub fn application_key(name: &str) -> ApplicationKey {
    ApplicationKey::new(PROJECT, name)
}

/// The project that tests use.
pub const PROJECT: &str = "fincorp/retail-banking/development/login-svc";
