//! Drills, by schedule and on demand.

use boma_backup::catalog::Catalog;
use boma_backup::format::names::Prefix;
use boma_backup::meter::Meter;
use boma_backup::store::Repository;
use boma_instance::InstanceSpec;
use boma_instance::backup::Drill;
use jiff::{SignedDuration, Timestamp};

use super::link::Link;
use super::restore::blocking;
use super::{Done, Places};
use crate::drill::{DrillJob, drill};
use crate::host::{Failure, discover, failure};

/// How long the proof of one drill is good for. Reading and replaying everything costs as much as
/// a restore, and nothing in a repository changes by itself from one day to the next.
const GOOD_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How old the first backup gets before it is proved.
const FIRST_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Whether a drill is due. One that failed is tried again the next day.
pub(super) fn is_due(last: Option<&Drill>, catalog: &Catalog, now: Timestamp) -> bool {
    let Some(oldest) = catalog.whole().map(|one| one.summary.stopped_at).min() else {
        return false;
    };
    match last {
        Some(drill) if drill.problem.is_none() => now.duration_since(drill.at) >= GOOD_FOR,
        Some(drill) => now.duration_since(drill.at) >= FIRST_AFTER,
        None => now.duration_since(oldest) >= FIRST_AFTER,
    }
}

/// The result of the last drill, as the repository has it; an earlier agent may have made it.
pub(super) async fn last(link: &Link) -> Result<Option<Drill>, Failure> {
    let stored = link.repository.get(&link.prefix.drill()).await;
    Ok(stored
        .map_err(failure)?
        .and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// What is needed for one.
pub(super) struct Proving {
    repository: Repository,
    prefix: Prefix,
    catalog: Catalog,
    spec: InstanceSpec,
}

impl Proving {
    /// None: nothing is known of what is in the repository yet.
    pub(super) fn new(link: &Link, spec: &InstanceSpec) -> Option<Self> {
        Some(Self {
            repository: link.repository.clone(),
            prefix: link.prefix,
            catalog: link.catalog.clone()?,
            spec: spec.clone(),
        })
    }
}

/// Makes a drill, and stores what came of it beside the backups.
pub(super) async fn prove(places: Places, proving: Proving, meter: Meter) -> Result<Done, Failure> {
    let bin = places.bin_dir.clone();
    let installation = blocking(move || discover(&bin)).await?;
    let job = DrillJob {
        installation: &installation,
        spec: &proving.spec,
        dir: &places.dir,
        run_dir: &places.sockets,
        program: &places.program,
        repository: &proving.repository,
        catalog: &proving.catalog,
    };
    let result = drill(&job, &meter).await;
    let bytes = serde_json::to_vec(&result).expect("should be: its keys are text");
    let name = proving.prefix.drill();
    proving
        .repository
        .replace(&name, &bytes)
        .await
        .map_err(failure)?;
    Ok(Done::Drilled(Box::new(result)))
}
