//! Restoring a new data directory from somebody's backups.
//!
//! ```text
//!   repository ─► what can be restored ─► choice ─► files, beside the place of the data directory
//!     ─► boma.recovery.conf, recovery.signal ─► marker, everything durable ─► rename into place
//! ```
//!
//! Killed anywhere, there is nothing at the place of the data directory, or all of it. What lies
//! beside it is cleared by the next attempt. Then the main task starts the server, which replays
//! the log and is promoted.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use boma_backup::find::find;
use boma_backup::format::manifest::Manifest;
use boma_backup::format::names::Prefix;
use boma_backup::lease::Lease;
use boma_backup::meter::Meter;
use boma_backup::restore::{Layout, restore_files};
use boma_backup::store::Repository;
use boma_instance::{Assignment, InstanceId};
use boma_postgres::cluster::{self, Beside, DataDirectory};
use boma_problem::{Class, IntoProblem as _, Problem};
use nix::sys::statvfs::statvfs;

use super::link::access;
use super::take::read_manifest;
use super::{Done, Places};
use crate::host::{Failure, failure};
use crate::recovery::{FILE, Recovery};

/// Threads that fetch, open and write; about half of them wait for the disk at any time.
const WORKERS: usize = 4;

/// What a restored server may write before somebody looks: log that it replays, and some more.
const HEADROOM: u64 = 128 << 20;

/// Restores, and returns when the data directory is in its place.
pub(super) async fn restore(
    places: Places,
    want: Assignment,
    meter: Meter,
) -> Result<Done, Failure> {
    let Some(origin) = &want.spec.origin else {
        return Ok(Done::Restored);
    };
    // It was restored just now, and the main task has not looked since.
    if let Ok(DataDirectory::Ours(found)) = cluster::inspect(&places.data)
        && found.marker.instance == Some(want.spec.id)
    {
        return Ok(Done::Restored);
    }
    let access = access(&want, &origin.repository)?;
    let repository = Repository::open(access).await.map_err(failure)?;
    let found = find(
        &repository,
        origin.instance,
        &origin.target,
        origin.timeline,
    );
    let (prefix, choice) = found.await.map_err(failure)?;
    // Kept while files are read; recovery takes it over, under the same name.
    let lease = hold(&repository, prefix, want.spec.id).await;
    let manifest = read_manifest(&repository, &prefix, &choice.label).await?;
    check(&want, &manifest, &places.dir)?;

    let (data, id) = (places.data.clone(), want.spec.id);
    let beside = blocking(move || Beside::begin(&data, id).map_err(failure)).await?;
    let layout = Layout {
        data: beside.data(),
        tablespaces: beside.tablespaces(),
        workers: WORKERS,
    };
    let restored = restore_files(&repository, prefix, &manifest, &layout, &meter)
        .await
        .map_err(failure)?;
    for warning in restored.warnings {
        tracing::warn!(problem = %warning, "restored, with a warning");
    }
    drop(lease);
    let recovery = Recovery {
        // As it was called then; whoever wrote the manifest may know it by another name.
        database: manifest.server.database.clone(),
        target: origin.target.clone(),
        timeline: choice.timeline,
        ends_before: None,
    };
    let text = recovery.render(&places.restore_command);
    blocking(move || {
        prepare(&beside.data(), &text).map_err(|error| not_prepared(&error))?;
        beside.place().map_err(failure)
    })
    .await?;
    Ok(Done::Restored)
}

/// Keeps the backups that are restored from being deleted meanwhile, where that may be written.
pub(super) async fn hold(repository: &Repository, prefix: Prefix, by: InstanceId) -> Option<Lease> {
    match Lease::take(repository, prefix, by).await {
        Ok(lease) => Some(lease),
        Err(error) => {
            tracing::warn!(
                problem = %error.problem(),
                "restoring without holding the backups: one that expires meanwhile fails it"
            );
            None
        }
    }
}

/// Runs what waits for the disk or for programs where it keeps nothing else waiting.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(Problem::from_error(Class::Internal, "step-panicked", &error).into())
    })
}

/// Sees beforehand what would only show in the middle.
fn check(want: &Assignment, manifest: &Manifest, dir: &Path) -> Result<(), Failure> {
    let theirs = manifest
        .server
        .version
        .split('.')
        .next()
        .unwrap_or_default();
    if theirs != want.spec.version.to_string() {
        return Err(Problem::new(
            Class::User,
            "major-version-differs",
            format!(
                "the backup is of PostgreSQL {}, the manifest says {}",
                manifest.server.version, want.spec.version
            ),
        )
        .hint(format!("Set `version: \"{theirs}\"` in the manifest."))
        .into());
    }
    let needed = manifest.data_bytes() + HEADROOM;
    let free = statvfs(dir).map(|disk| {
        // The types differ between systems.
        #[expect(
            clippy::useless_conversion,
            reason = "the types differ between systems"
        )]
        u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size()))
    });
    match free {
        Ok(free) if free < needed => Err(Problem::new(
            Class::Config,
            "disk-full",
            format!(
                "a restore needs {} MiB, {} MiB are free below `{}`",
                needed >> 20,
                free >> 20,
                dir.display()
            ),
        )
        .hint("Free some space on that file system; it goes on by itself then.")
        .into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Tells PostgreSQL that it is to recover, and how far.
fn prepare(data: &Path, recovery: &str) -> io::Result<()> {
    let write = |name: &str, text: &str| {
        let mut file = File::create(data.join(name))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write(FILE, recovery)?;
    // Settings that somebody gave the source by hand are not in the new one's manifest.
    write("postgresql.auto.conf", "")?;
    match fs::remove_file(data.join("standby.signal")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    write("recovery.signal", "")
}

fn not_prepared(error: &io::Error) -> Failure {
    Problem::from_error(Class::Transient, "restore-cannot-write", error)
        .hint("The instance directory must belong to the user that servers run as.")
        .into()
}
