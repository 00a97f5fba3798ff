//! Opening the platform.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use boma_engine::observed::{Capabilities, Feature, Judgements};

use super::{Inner, LocalPlatform, OpenError};
use crate::applications::{self, Applications};
use crate::config::LocalConfig;
use crate::key_file;
use crate::layout::Layout;
use crate::limits::Limits;
use crate::locks;
use crate::seal::Sealer;
use crate::store::{self, Store};
use crate::user::SystemUser;
use crate::wakes::Waker;

impl LocalPlatform {
    /// Opens the platform below a state directory, making the directory when it is not there.
    ///
    /// # Errors
    /// Everything that would hinder it later and can be known now: a directory that cannot be
    /// written, entered by the system user or used for sockets, a missing or wrong key, a state
    /// of a newer version.
    pub async fn open(config: LocalConfig) -> Result<Self, OpenError> {
        let user = SystemUser::for_servers(config.system_user.as_deref())?;
        let layout = Layout::new(config.state_dir.clone());
        layout.prepare(&user)?;
        // Two that open a new directory at the same time must not make two keys.
        let init = locks::hold(&layout.lock("init"))?;
        let database = layout.database();
        key_file::settle(&layout.key(), |key| {
            Ok::<_, OpenError>(store::fits(&database, &Sealer::new(key)?)?)
        })?;
        let key = key_file::load_or_create(&layout.key(), database.exists())?;
        let store = Store::open(&layout.database(), Sealer::new(&key)?)?;
        super::certificates::authority(&layout, &store).await?;
        drop(init);

        let limits = Limits::probe(config.enforce_limits);
        let waker = Waker::default();
        let applications = Applications {
            store: store.clone(),
            layout: layout.clone(),
            servers: user.clone(),
            configured: config.application_user.clone(),
            waker: waker.clone(),
            grace: applications::GRACE,
        };
        let inner = Inner {
            capabilities: capabilities(&config, &limits),
            config,
            layout,
            user,
            store,
            limits,
            applications,
            waker,
            registry: Waker::default(),
            placing: tokio::sync::Mutex::default(),
            changing: Mutex::new(HashMap::new()),
            made: Mutex::new(BTreeSet::new()),
            templates: super::ahead::Tried::default(),
            judged: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }
}

fn capabilities(config: &LocalConfig, limits: &Limits) -> Capabilities {
    let cpus = std::thread::available_parallelism().ok();
    Capabilities {
        platform: "on this machine".to_owned(),
        servers: config
            .builds
            .servers
            .iter()
            .map(|build| build.server.clone())
            .collect(),
        searched: config.builds.searched.clone(),
        features: features(config),
        repositories: config.repositories.keys().cloned().collect(),
        cpu_millis: cpus.and_then(|cpus| u32::try_from(cpus.get() * 1000).ok()),
        memory_bytes: memory(),
        limits: Some(limits.capability()),
        judged: config.judge_settings.map(|_| Judgements::new()),
    }
}

/// Without keys nothing leaves the machine.
fn features(config: &LocalConfig) -> BTreeSet<Feature> {
    let backups =
        config
            .new_key
            .is_some()
            .then_some([Feature::Backups, Feature::Restore, Feature::Replace]);
    std::iter::once(Feature::Commands)
        .chain(backups.into_iter().flatten())
        .collect()
}

/// Memory of the machine, where the system tells.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
