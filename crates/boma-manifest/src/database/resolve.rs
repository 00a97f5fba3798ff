//! Filling in what a database's manifest leaves out: first from its plan, then from the defaults.

use std::collections::{BTreeMap, BTreeSet};

use boma_problem::Problem;

use crate::database::{BackupConfig, Database, Drift, Restore, Version};
use crate::limits;
use crate::metadata::{DatabaseId, ProjectIdentity};
use crate::names::{ExtensionName, ParameterName, StorageClassName};
use crate::plans::{Plan, PlanTable};
use crate::quantity::{CpuCount, Quantity};
use crate::schedule::Schedule;

/// Memory for each CPU where neither manifest nor plan says it.
const MEMORY_PER_CPU: u64 = 2 << 30;

/// The repository that every platform has.
const DEFAULT_REPOSITORY: &str = "default";

/// The hours in which backups are taken where the manifest names no schedule: from 02:00 UTC on,
/// for 120 minutes, spread so that the databases of one machine do not all start at once.
const BACKUPS_FROM: u32 = 2 * 60;
const BACKUPS_WITHIN: u32 = 120;

/// A database with everything filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedDatabase {
    /// PostgreSQL major version; none: the platform's choice.
    pub version: Option<Version>,
    /// CPU.
    pub cpu_count: CpuCount,
    /// Memory.
    pub memory: Quantity,
    /// Size of the disk.
    pub storage: Quantity,
    /// Kubernetes StorageClass; none: the cluster's default.
    pub storage_class: Option<StorageClassName>,
    /// Number of instances, at least 1.
    pub cluster_size: u8,
    /// Backups.
    pub backup: ResolvedBackup,
    /// PostgreSQL settings of the user.
    pub parameters: BTreeMap<ParameterName, String>,
    /// Extensions to be created.
    pub extensions: BTreeSet<ExtensionName>,
    /// Whether the servers should be stopped.
    pub suspended: bool,
    /// Whether taking the manifest away is an error.
    pub deletion_protection: bool,
    /// The backups that it is first made from.
    pub restore: Option<Restore>,
    /// Other projects whose applications may ask for access.
    pub allowed_projects: BTreeSet<ProjectIdentity>,
    /// What becomes of changes by hand.
    pub drift: Drift,
}

/// Backups with everything filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedBackup {
    /// Whether base backups are taken and WAL is archived.
    pub enabled: bool,
    /// When base backups are taken.
    pub schedule: Schedule,
    /// For how many days to keep what a restore needs.
    pub retention_days: u16,
    /// Whether any moment in that window can be restored.
    pub point_in_time_recovery: bool,
    /// How many seconds at most pass between two archived WAL segments while there is writing.
    pub archive_interval_seconds: u16,
    /// Which of the platform's repositories they go to.
    pub repository: String,
}

impl Database {
    /// Fills in what the manifest leaves out.
    ///
    /// # Errors
    /// Problems with their places: a plan that is not in the table, and what a plan of the
    /// operator's fills in beyond the limits.
    pub fn resolve(&self, plans: &PlanTable) -> Result<ResolvedDatabase, Vec<Problem>> {
        let spec = &self.spec;
        let at_plan = |problem: Problem| problem.at(self.origin.place("spec.plan"));
        let none = Plan::default();
        let plan = match &spec.plan {
            Some(name) => plans
                .get(name)
                .ok_or_else(|| vec![at_plan(plans.unknown(name))])?,
            None => &none,
        };
        let beyond = limits::of_plan(plan);
        if !beyond.is_empty() {
            return Err(beyond.into_iter().map(at_plan).collect());
        }
        let cpu_count = spec
            .cpu_count
            .or(plan.cpu_count)
            .unwrap_or(CpuCount::from_millis(1000));
        let memory = spec
            .memory
            .or(plan.memory)
            .unwrap_or_else(|| memory_for(cpu_count));
        let storage = spec.storage.clone().unwrap_or_default();
        let allowed = spec.access.iter().flat_map(|access| &access.projects);
        Ok(ResolvedDatabase {
            version: spec.version,
            cpu_count,
            memory,
            storage: storage
                .size
                .or(plan.storage)
                .unwrap_or(Quantity::from_gib(10)),
            storage_class: storage.class,
            cluster_size: spec.cluster_size.or(plan.cluster_size).unwrap_or(1),
            backup: self.resolve_backup(plan),
            parameters: spec.parameters.clone(),
            extensions: spec.extensions.clone(),
            drift: spec.drift.unwrap_or_default(),
            suspended: spec.suspended.unwrap_or(false),
            deletion_protection: spec.deletion_protection.unwrap_or(true),
            restore: spec
                .bootstrap
                .as_ref()
                .and_then(|bootstrap| bootstrap.restore.clone()),
            allowed_projects: allowed
                .map(|one| one.identity(&self.metadata.project))
                .collect(),
        })
    }

    fn resolve_backup(&self, plan: &Plan) -> ResolvedBackup {
        let none = BackupConfig::default();
        let config = self.spec.backup_config.as_ref().unwrap_or(&none);
        let any_moment = config
            .point_in_time_recovery
            .or(plan.point_in_time_recovery);
        ResolvedBackup {
            enabled: config.enabled.unwrap_or(true),
            schedule: config
                .schedule
                .clone()
                .unwrap_or_else(|| spread_schedule(&self.id())),
            retention_days: config.retention_days.or(plan.retention_days).unwrap_or(7),
            point_in_time_recovery: any_moment.unwrap_or(true),
            archive_interval_seconds: config.archive_interval_seconds.unwrap_or(300),
            repository: config
                .repository
                .as_ref()
                .map_or_else(|| DEFAULT_REPOSITORY.to_owned(), ToString::to_string),
        }
    }
}

fn memory_for(cpus: CpuCount) -> Quantity {
    let bytes = MEMORY_PER_CPU * u64::from(cpus.millis()) / 1000;
    // A hundredth of a CPU is allowed; a server with 20 MiB is not.
    Quantity::from_bytes(bytes).max(limits::LEAST_MEMORY)
}

/// A daily schedule at a minute that follows from the database's identity, the same for ever.
fn spread_schedule(id: &DatabaseId) -> Schedule {
    // FNV-1a, 32 bits (http://www.isthe.com/chongo/tech/comp/fnv/): stable across releases, which
    // the standard library's hasher is not.
    let hash = id.to_string().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    Schedule::daily(BACKUPS_FROM + hash % BACKUPS_WITHIN)
}
