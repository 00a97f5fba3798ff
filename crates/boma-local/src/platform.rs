//! The platform itself: what is asked of it, carried out.

mod ahead;
mod certificates;
mod error;
mod exchange;
mod insight;
mod instances;
mod judge;
mod keys;
mod observe;
mod open;
mod pass;
mod people;
mod place;
mod purge;
mod repositories;
mod said;
mod secrets;
mod serving;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey};
use boma_engine::observed::{
    Capabilities, DatabaseRecord, Judgements, Life, Observed, ProcessState, SettingValue,
};
use boma_engine::platform::{
    ActiveLogin, AskedRotation, AuditEntry, Credential, Environment, Event, Platform,
    PlatformError, Program, RecordedEvent, Workload,
};
use boma_engine::printed::ApplicationSecrets;
use boma_instance::names::Turn;
use boma_instance::{InstanceId, InstanceSpec, InstanceStatus, Listen, MajorVersion};
use boma_problem::Problem;
use jiff::Timestamp;
use tokio::sync::OwnedMutexGuard;

use crate::applications::{ApplicationError, Applications};
use crate::config::LocalConfig;
use crate::layout::Layout;
use crate::limits::Limits;
use crate::store::Store;
use crate::user::SystemUser;
use crate::wakes::Waker;

pub use certificates::{AuthorityError, Renewal};
pub use error::{NotPossible, OpenError};
pub use pass::Pass;
pub use serving::Serving;

use error::boxed;

/// The platform of one machine. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct LocalPlatform {
    inner: Arc<Inner>,
}

struct Inner {
    config: LocalConfig,
    layout: Layout,
    user: SystemUser,
    store: Store,
    limits: Limits,
    capabilities: Capabilities,
    applications: Applications,
    waker: Waker,
    /// Woken when a database or process came or went, for those who watch each of them.
    registry: Waker,
    /// One at a time chooses an address and writes the hosts file.
    placing: tokio::sync::Mutex<()>,
    /// One at a time changes an instance.
    changing: Mutex<HashMap<InstanceId, Arc<tokio::sync::Mutex<()>>>>,
    /// Versions that instances were made of since spares were last prepared.
    made: Mutex<BTreeSet<MajorVersion>>,
    /// One at a time makes a template.
    templates: ahead::Tried,
    /// What servers said about settings, since this process began.
    judged: Mutex<Judgements>,
}

impl LocalPlatform {
    /// Where everything is.
    pub fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// What this platform can do; part of what is observed, too.
    pub fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    /// The system user that servers run as.
    pub fn system_user(&self) -> &str {
        &self.inner.user.name
    }

    /// The programs of the PostgreSQL that an instance of this version runs with.
    pub fn bin_dir(&self, version: MajorVersion) -> Option<PathBuf> {
        let servers = &self.inner.config.builds.servers;
        servers
            .iter()
            .find(|build| build.server.major == version)
            .map(|build| build.bin_dir.clone())
    }

    /// A number that changes with everything that another process records.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn changes(&self) -> Result<i64, PlatformError> {
        let changes = self.inner.store.read(|state| state.changes());
        changes.await.map_err(boxed)
    }

    /// The delivered environment of an application, for `boma run` and `boma env`.
    pub async fn environment(
        &self,
        key: &ApplicationKey,
    ) -> Result<ApplicationSecrets, PlatformError> {
        let wanted = key.clone();
        let found = self
            .inner
            .store
            .read(move |state| state.environment(&wanted))
            .await
            .map_err(boxed)?;
        found.ok_or_else(|| boxed(NotPossible::NoEnvironment { key: key.clone() }))
    }

    /// Remembers that a person stopped a database; the next pass stops it.
    pub async fn hold_database(&self, key: &DatabaseKey) -> Result<(), PlatformError> {
        self.set_database_held(key, true).await
    }

    /// Takes `hold_database` back.
    pub async fn release_database(&self, key: &DatabaseKey) -> Result<(), PlatformError> {
        self.set_database_held(key, false).await
    }

    /// Remembers that a person stopped an application; the next pass stops it.
    pub async fn hold_application(&self, key: &ApplicationKey) -> Result<(), PlatformError> {
        self.set_application_held(key, true).await
    }

    /// Takes `hold_application` back.
    pub async fn release_application(&self, key: &ApplicationKey) -> Result<(), PlatformError> {
        self.set_application_held(key, false).await
    }

    /// Remembers that a person asks for another password of a grant; the next pass exchanges it.
    pub async fn ask_rotation(
        &self,
        grant: &GrantKey,
        now: Timestamp,
    ) -> Result<AskedRotation, PlatformError> {
        let grant = grant.clone();
        let at_least = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let asked = self
            .inner
            .store
            .write(move |state| state.ask_rotation(&grant, at_least))
            .await
            .map_err(boxed)?;
        self.inner.waker.wake();
        Ok(asked)
    }

    /// The newest events, oldest first; of one subject, or of all.
    pub async fn events(
        &self,
        subject: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, PlatformError> {
        let subject = subject.map(str::to_owned);
        self.inner
            .store
            .read(move |state| state.events(subject.as_deref(), limit))
            .await
            .map_err(boxed)
    }

    /// The newest entries of the audit trail, oldest first.
    pub async fn audit_trail(&self, limit: u32) -> Result<Vec<AuditEntry>, PlatformError> {
        self.inner
            .store
            .read(move |state| state.audit(limit))
            .await
            .map_err(boxed)
    }

    async fn set_database_held(&self, key: &DatabaseKey, held: bool) -> Result<(), PlatformError> {
        let wanted = key.clone();
        let known = self
            .inner
            .store
            .write(move |state| state.set_database_held(&wanted, held))
            .await;
        if known.map_err(boxed)? {
            self.inner.waker.wake();
            return Ok(());
        }
        Err(boxed(NotPossible::UnknownDatabase { key: key.clone() }))
    }

    async fn set_application_held(
        &self,
        key: &ApplicationKey,
        held: bool,
    ) -> Result<(), PlatformError> {
        let wanted = key.clone();
        let known = self
            .inner
            .store
            .write(move |state| state.set_application_held(&wanted, held))
            .await;
        if known.map_err(boxed)? {
            self.inner.waker.wake();
            return Ok(());
        }
        Err(boxed(NotPossible::UnknownApplication { key: key.clone() }))
    }

    /// Makes changes of one instance wait for each other.
    async fn one_at_a_time(&self, id: InstanceId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut changing = self
                .inner
                .changing
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(changing.entry(id).or_default())
        };
        lock.lock_owned().await
    }
}

impl Platform for LocalPlatform {
    async fn observe(&self) -> Result<Observed, PlatformError> {
        self.observe_all().await
    }

    async fn judge_settings(&self, settings: &BTreeSet<SettingValue>) -> Result<(), PlatformError> {
        self.ask_servers(settings).await
    }

    async fn record_source(&self, source: &str) -> Result<(), PlatformError> {
        let source = source.to_owned();
        self.inner
            .store
            .write(move |state| state.set_source(&source))
            .await
            .map_err(boxed)
    }

    async fn record_database(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
        record: &DatabaseRecord,
    ) -> Result<(), PlatformError> {
        let (wanted, record) = (key.clone(), record.clone());
        let write = self
            .inner
            .store
            .write(move |state| match state.like_named(id)? {
                Some(other) => Ok(Err(other)),
                None => state.record_database(&wanted, id, &record).map(Ok),
            });
        match write.await.map_err(boxed)? {
            Ok(given) if given == id => Ok(()),
            Ok(given) => Err(boxed(NotPossible::OtherId {
                key: key.clone(),
                id,
                given,
            })),
            Err(other) => Err(boxed(NotPossible::LikeNamed { id, other })),
        }
    }

    async fn put_instance(
        &self,
        key: &DatabaseKey,
        spec: &InstanceSpec,
    ) -> Result<Listen, PlatformError> {
        self.put(key, spec).await
    }

    async fn await_instance(
        &self,
        id: InstanceId,
        generation: u64,
        patience: Duration,
    ) -> Result<InstanceStatus, PlatformError> {
        self.await_generation(id, generation, patience).await
    }

    async fn set_life(&self, key: &DatabaseKey, life: Life) -> Result<(), PlatformError> {
        self.change_life(key, life).await
    }

    async fn exchange(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
        beside: &DatabaseKey,
        since: Timestamp,
    ) -> Result<(), PlatformError> {
        self.exchange_instances(key, id, beside, since).await
    }

    async fn purge(&self, key: &DatabaseKey, id: InstanceId) -> Result<(), PlatformError> {
        self.purge_instance(key, id).await
    }

    async fn store_credential(
        &self,
        grant: &GrantKey,
        turn: Turn,
        credential: &Credential,
    ) -> Result<(), PlatformError> {
        let (grant, credential) = (grant.clone(), credential.clone());
        let write = self.inner.store.write(move |state| {
            let is_stored = state.store_credential(&grant, turn, &credential)?;
            Ok(is_stored.then_some(()).ok_or(grant))
        });
        let stored = write.await.map_err(boxed)?;
        stored.map_err(|grant| boxed(NotPossible::PasswordInUse { grant }))
    }

    async fn look(&self, id: InstanceId) -> Result<InstanceStatus, PlatformError> {
        self.look_at(id).await
    }

    async fn activate_login(
        &self,
        grant: &GrantKey,
        login: ActiveLogin,
    ) -> Result<(), PlatformError> {
        let grant = grant.clone();
        let write = self.inner.store.write(move |state| {
            let is_it = state.activate_login(&grant, login)?;
            Ok(is_it.then_some(()).ok_or(grant))
        });
        let active = write.await.map_err(boxed)?;
        active.map_err(|grant| boxed(NotPossible::OtherPassword { grant }))
    }

    async fn release_login(&self, grant: &GrantKey) -> Result<(), PlatformError> {
        let grant = grant.clone();
        self.inner
            .store
            .write(move |state| state.release_login(&grant))
            .await
            .map_err(boxed)
    }

    async fn credential(&self, grant: &GrantKey, turn: Turn) -> Result<Credential, PlatformError> {
        let wanted = grant.clone();
        let found = self
            .inner
            .store
            .read(move |state| state.credential(&wanted, turn))
            .await
            .map_err(boxed)?;
        found.ok_or_else(|| {
            boxed(NotPossible::NoCredential {
                grant: grant.clone(),
            })
        })
    }

    async fn forget_grant(&self, grant: &GrantKey) -> Result<(), PlatformError> {
        let grant = grant.clone();
        self.inner
            .store
            .write(move |state| state.forget_grant(&grant))
            .await
            .map_err(boxed)
    }

    async fn deliver_environment(
        &self,
        application: &ApplicationKey,
        environment: &Environment,
    ) -> Result<(), PlatformError> {
        let (key, environment) = (application.clone(), environment.clone());
        self.inner
            .store
            .write(move |state| state.deliver(&key, &environment))
            .await
            .map_err(boxed)
    }

    async fn run_pre_deploy(
        &self,
        application: &ApplicationKey,
        deployment: &str,
        program: &Program,
        _workload: &Workload,
    ) -> Result<Option<Problem>, PlatformError> {
        self.inner
            .applications
            .run_pre_deploy(application, deployment, program)
            .await
            .map_err(boxed)
    }

    async fn restart_application(
        &self,
        application: &ApplicationKey,
        deployment: &str,
        workload: &Workload,
    ) -> Result<ProcessState, PlatformError> {
        // Nothing else is planned: this platform does not have the features.
        let Workload::Process(program) = workload else {
            let key = application.clone();
            return Err(boxed(ApplicationError::NoCommand { key }));
        };
        let state = self
            .inner
            .applications
            .restart(application, deployment, program)
            .await;
        state.map_err(boxed)
    }

    async fn stop_application(&self, application: &ApplicationKey) -> Result<(), PlatformError> {
        self.inner
            .applications
            .stop(application)
            .await
            .map_err(boxed)
    }

    async fn forget_application(&self, application: &ApplicationKey) -> Result<(), PlatformError> {
        self.forget(application).await
    }

    async fn event(&self, event: &Event) -> Result<(), PlatformError> {
        let event = event.clone();
        self.inner
            .store
            .write(move |state| state.add_event(&event))
            .await
            .map_err(boxed)
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<(), PlatformError> {
        let entry = entry.clone();
        self.inner
            .store
            .write(move |state| state.add_audit(&entry))
            .await
            .map_err(boxed)
    }
}

#[cfg(test)]
mod tests;
