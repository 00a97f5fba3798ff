//! Taking a base backup.

use std::sync::Arc;
use std::time::Duration;

use boma_backup::catalog::{Cache, Catalog};
use boma_backup::copy::{self, Archive, Job};
use boma_backup::expire;
use boma_backup::format::label::Label;
use boma_backup::format::manifest::Manifest;
use boma_backup::format::names::Prefix;
use boma_backup::meter::Meter;
use boma_backup::retention::expiry::Policy;
use boma_backup::retention::kind::{self, Next, Server};
use boma_backup::retention::window::PointInTime;
use boma_backup::store::Repository;
use boma_backup::wal::Shipper;
use boma_instance::Assignment;
use boma_instance::wal::{Segment, Timeline, WalFile};
use boma_postgres::control::ControlData;
use boma_postgres::sql::Socket;
use boma_postgres::sql::backup::switch_wal;
use boma_problem::{Class, IntoProblem as _, Problem};
use jiff::Timestamp;

use super::link::Link;
use super::{Done, Places};
use crate::host::{Failure, failure};

/// Threads that read, compress and seal: the database keeps what else the machine has.
const WORKERS: usize = 2;

/// How often, and with what pause, a segment of the write-ahead log is tried before the backup
/// that needs it is given up. PostgreSQL goes on trying by itself.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(5);

/// What is needed to take one.
pub(super) struct Taking {
    repository: Repository,
    prefix: Prefix,
    shipper: Shipper,
    catalog: Option<Catalog>,
    /// What was there is asked for by name when a listing leaves it out.
    cache: Cache,
    version: String,
    want: Assignment,
}

impl Taking {
    pub(super) fn new(link: &Link, want: &Assignment, version: String) -> Self {
        Self {
            repository: link.repository.clone(),
            prefix: link.prefix,
            shipper: link.shipper.clone(),
            catalog: link.catalog.clone(),
            cache: link.cache.clone(),
            version,
            want: want.clone(),
        }
    }

    /// The manifest of the backup to compare with; none: a full one is taken.
    async fn parent(&self, timeline: Timeline, now: Timestamp) -> Option<Arc<Manifest>> {
        let server = Server {
            version: self.version.clone(),
            timeline,
        };
        let label = match kind::next(self.catalog.as_ref()?, &server, now) {
            Next::Incremental(label) => label,
            Next::Full(why) => {
                tracing::info!(?why, "a full backup");
                return None;
            }
        };
        match read_manifest(&self.repository, &self.prefix, &label).await {
            Ok(manifest) => Some(Arc::new(manifest)),
            Err(problem) => {
                tracing::warn!(%label, %problem, "a full backup, since that one cannot be read");
                None
            }
        }
    }
}

/// Names say the second, and no two are the same.
async fn wait_for_name(taking: &Taking) {
    let newest = taking.catalog.as_ref().and_then(Catalog::newest);
    let Some(newest) = newest else { return };
    let since = Timestamp::now().duration_since(newest.summary.started_at);
    if since.as_secs() == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Takes one, and returns when it is whole.
pub(super) async fn take(places: Places, taking: Taking, meter: Meter) -> Result<Done, Failure> {
    wait_for_name(&taking).await;
    let now = Timestamp::now();
    let control = ControlData::read(&places.data).map_err(failure)?;
    let parent = taking.parent(Timeline(control.timeline), now).await;
    let spec = &taking.want.spec;
    let job = Job {
        data: places.data.clone(),
        socket: Socket {
            directory: places.sockets.clone(),
            port: taking.want.placement.listen.port,
        },
        prefix: taking.prefix,
        identity: spec.identity.clone(),
        database: spec.database.clone(),
        parent,
        workers: WORKERS,
        now,
    };
    let archive = Shipped {
        repository: &taking.repository,
        prefix: &taking.prefix,
        shipper: &taking.shipper,
    };
    let manifest = copy::back_up(&taking.repository, &job, &archive, &meter)
        .await
        .map_err(failure)?;
    expire(&taking, &mut taking.cache.clone()).await;
    Ok(Done::BackedUp(Box::new(manifest.summary())))
}

/// Lets go of what nothing needs any more. What cannot be deleted now goes after the next backup;
/// the one that was just taken is there in any case.
async fn expire(taking: &Taking, cache: &mut Cache) {
    let Some(spec) = &taking.want.spec.backup else {
        return;
    };
    let policy = Policy {
        days: spec.retention_days,
        point_in_time: PointInTime::from_spec(spec),
    };
    let asked = (policy, Timestamp::now());
    match expire::expire(&taking.repository, &taking.prefix, cache, asked, None).await {
        Ok(expired) => tracing::info!(
            backups = expired.backups.len(),
            log_files = expired.log_files,
            held = ?expired.held,
            "expired"
        ),
        Err(error) => tracing::warn!(problem = %error.problem(), "nothing more expires now"),
    }
}

/// Switches to another segment, and returns when the one before is archived.
pub(super) async fn archive_now(places: &Places, taking: &Taking) -> Result<(), Failure> {
    let socket = Socket {
        directory: places.sockets.clone(),
        port: taking.want.placement.listen.port,
    };
    let end = switch_wal(&socket).await.map_err(failure)?;
    let control = ControlData::read(&places.data).map_err(failure)?;
    let last = end.segment_before(Timeline(control.timeline), control.wal_segment_size);
    let archive = Shipped {
        repository: &taking.repository,
        prefix: &taking.prefix,
        shipper: &taking.shipper,
    };
    let awaited = archive.await_segment(last, control.wal_segment_size);
    awaited.await.map_err(Box::new)
}

/// Reads a manifest by the name of its backup.
pub(crate) async fn read_manifest(
    repository: &Repository,
    prefix: &Prefix,
    label: &Label,
) -> Result<Manifest, Failure> {
    let name = prefix.manifest(label);
    let damaged = |why: &str| -> Failure {
        Problem::new(
            Class::Config,
            "repository-damaged",
            format!("the manifest of backup {label} {why}"),
        )
        .hint("`boma backup verify` lists what is damaged and which backups are whole.")
        .into()
    };
    let found = repository.get(&name).await.map_err(failure)?;
    let bytes = found.ok_or_else(|| damaged("is gone"))?;
    Manifest::decode(&bytes).map_err(|error| damaged(&format!("cannot be read: {error}")))
}

/// Waits for segments, and ships those that PostgreSQL has not handed over yet.
struct Shipped<'a> {
    repository: &'a Repository,
    prefix: &'a Prefix,
    shipper: &'a Shipper,
}

impl Archive for Shipped<'_> {
    async fn await_segment(&self, segment: Segment, segment_size: u32) -> Result<(), Problem> {
        self.await_file(WalFile::Segment(segment), segment_size)
            .await
    }
}

impl Shipped<'_> {
    /// PostgreSQL may have handed it over, and recycled it since.
    async fn await_file(&self, file: WalFile, segment_size: u32) -> Result<(), Problem> {
        let name = self.prefix.wal(file, segment_size);
        let mut tried = 0;
        loop {
            let why = match self.repository.size(&name).await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => match self.shipper.ship(&file.file_name(segment_size)).await {
                    Ok(()) => return Ok(()),
                    Err(error) => error.problem(),
                },
                Err(error) => error.problem(),
            };
            tried += 1;
            if tried >= TRIES {
                return Err(why);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
