//! What there is, as pages show it.

use std::collections::BTreeSet;
use std::sync::Arc;

use boma_engine::computed::{
    self, ApplicationComputed, ApplicationPhase, DatabaseComputed, DatabasePhase,
};
use boma_engine::engine::EngineState;
use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::observed::Life;
use boma_instance::Phase;
use boma_manifest::{Manifest, ProjectIdentity};
use jiff::Timestamp;

use crate::access::Who;
use crate::people::{Rights, Role};

/// How something is, at a glance. What is not known is not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Well,
    Busy,
    Bad,
    Unknown,
    Off,
}

impl Health {
    /// The name of its style.
    pub(crate) fn style(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Busy => "busy",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
            Self::Off => "off",
        }
    }

    pub(crate) fn of_database(one: &DatabaseComputed) -> Self {
        match one.phase {
            DatabasePhase::Instance(Phase::Ready) if one.problems.is_empty() => Self::Well,
            DatabasePhase::Instance(Phase::Ready | Phase::Degraded | Phase::Failed) => Self::Bad,
            DatabasePhase::Instance(Phase::Unknown) => Self::Unknown,
            DatabasePhase::Pending
            | DatabasePhase::Instance(
                Phase::Creating | Phase::Starting | Phase::Converging | Phase::Stopping,
            ) => Self::Busy,
            DatabasePhase::Held
            | DatabasePhase::Retired
            | DatabasePhase::Instance(Phase::Suspended) => Self::Off,
        }
    }

    pub(crate) fn of_application(one: &ApplicationComputed) -> Self {
        match one.phase {
            ApplicationPhase::Running | ApplicationPhase::Delivered => Self::Well,
            ApplicationPhase::Pending => Self::Busy,
            ApplicationPhase::Unavailable
            | ApplicationPhase::NotRunning
            | ApplicationPhase::Exited => Self::Bad,
            ApplicationPhase::Held => Self::Off,
        }
    }
}

/// What there is, at one moment, as far as somebody may know of it.
pub(crate) struct World {
    pub(crate) state: Arc<EngineState>,
    pub(crate) now: Timestamp,
    rights: Rights,
}

impl World {
    /// What somebody may see.
    pub(crate) fn of(state: Arc<EngineState>, who: &Who) -> Self {
        Self {
            state,
            now: Timestamp::now(),
            rights: who.rights.clone(),
        }
    }

    /// Everything, to be counted.
    pub(crate) fn whole(state: Arc<EngineState>) -> Self {
        Self {
            state,
            now: Timestamp::now(),
            rights: Rights::of_owner(),
        }
    }

    /// Every database that has a manifest or a server, less what restores in place have replaced.
    pub(crate) fn databases(&self) -> BTreeSet<DatabaseKey> {
        let seen = self.state.observed.databases.iter();
        let seen = seen.filter(|(_, one)| one.record.beside.is_none() || one.life == Life::Active);
        let catalog = self.state.catalog.iter();
        let wanted = catalog.flat_map(|catalog| catalog.databases());
        seen.map(|(key, _)| key)
            .chain(wanted.map(|one| &one.key))
            .filter(|key| self.rights.has(Role::Viewer, &key.project))
            .cloned()
            .collect()
    }

    /// Every application that has a manifest or was registered.
    pub(crate) fn applications(&self) -> BTreeSet<ApplicationKey> {
        let seen = self.state.observed.applications.keys();
        let catalog = self.state.catalog.iter();
        let wanted = catalog.flat_map(|catalog| catalog.applications());
        seen.chain(wanted.map(|one| &one.key))
            .filter(|key| self.rights.has(Role::Viewer, &key.project))
            .cloned()
            .collect()
    }

    /// Whether [`Self::databases`] has it.
    pub(crate) fn has_database(&self, key: &DatabaseKey) -> bool {
        let seen = self.state.observed.databases.get(key);
        let is_seen =
            seen.is_some_and(|one| one.record.beside.is_none() || one.life == Life::Active);
        let catalog = self.state.catalog.as_ref();
        let is_there = is_seen || catalog.is_some_and(|catalog| catalog.database(key).is_some());
        is_there && self.rights.has(Role::Viewer, &key.project)
    }

    /// Whether [`Self::applications`] has it.
    pub(crate) fn has_application(&self, key: &ApplicationKey) -> bool {
        let catalog = self.state.catalog.as_ref();
        let is_there = self.state.observed.applications.contains_key(key)
            || catalog.is_some_and(|catalog| catalog.application(key).is_some());
        is_there && self.rights.has(Role::Viewer, &key.project)
    }

    pub(crate) fn database(&self, key: &DatabaseKey) -> DatabaseComputed {
        let state = &self.state;
        let plan = state.planned_at.map(|_| &*state.plan);
        computed::database(key, state.catalog.as_deref(), &state.observed, plan)
    }

    pub(crate) fn application(&self, key: &ApplicationKey) -> ApplicationComputed {
        let state = &self.state;
        let plan = state.planned_at.map(|_| &*state.plan);
        let catalog = state.catalog.as_deref();
        let want = catalog.and_then(|catalog| catalog.application(key));
        let want = want.map(AsRef::as_ref);
        computed::application(key, want, &state.observed, plan, self.now)
    }
}

/// The manifest of a database.
pub(crate) fn is_database(manifest: &Manifest, key: &DatabaseKey) -> bool {
    let metadata = manifest.metadata();
    matches!(manifest, Manifest::Database(_))
        && *key.name == *metadata.name.as_str()
        && *key.project == *metadata.project.to_string()
}

/// The manifest of an application.
pub(crate) fn is_application(manifest: &Manifest, key: &ApplicationKey) -> bool {
    let metadata = manifest.metadata();
    matches!(manifest, Manifest::Application(_))
        && *key.name == *metadata.name.as_str()
        && *key.project == *metadata.project.to_string()
}

/// The four names of a project, from its identity in words.
pub(crate) fn parts_of(project: &str) -> [&str; 4] {
    let mut parts = project.splitn(4, '/');
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// Projects that manifests name.
pub(crate) fn projects<'m>(
    manifests: impl Iterator<Item = &'m Manifest>,
) -> BTreeSet<&'m ProjectIdentity> {
    manifests
        .map(|manifest| &manifest.metadata().project)
        .collect()
}
