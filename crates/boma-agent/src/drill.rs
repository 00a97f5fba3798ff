//! The proof that a backup can be restored: it is restored.
//!
//! ```text
//!   newest backup ─► files beside the instance ─► pg_verifybackup ─► server on a Unix socket only,
//!   which replays all that is archived ─► every index checked, every row counted ─► all of it gone
//! ```
//!
//! The instance's own server goes on meanwhile. A drill that is killed leaves a directory and maybe
//! a server in it; [`clear`] ends and removes both, before the next drill and when an agent starts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use boma_backup::catalog::Catalog;
use boma_backup::format::manifest::Manifest;
use boma_backup::meter::Meter;
use boma_backup::restore::{Layout, restore_files};
use boma_backup::retention::choose::{Choice, choose};
use boma_backup::store::Repository;
use boma_backup::wal::Restorer;
use boma_instance::backup::{Drill, RecoveryTarget};
use boma_instance::wal::command;
use boma_instance::{InstanceSpec, settings};
use boma_postgres::programs::Installation;
use boma_postgres::server::{self, Launch, Running, StopMode};
use boma_postgres::sql::Socket;
use boma_postgres::sql::proof::{Proof, prove};
use boma_problem::{Class, IntoProblem, Problem};
use jiff::Timestamp;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::backups::read_manifest;
use crate::host::{Failure, failure, system_user};
use crate::wal::{Carriers, router};

/// Name of the scratch directory, in the instance's directory and in that of its sockets.
const NAME: &str = "drill";

/// Port in the name of the Unix socket; nothing listens on it.
const PORT: u16 = 5432;

/// How long replay may take before the drill gives up.
const REPLAY_PATIENCE: Duration = Duration::from_hours(12);

/// How long the scratch server may take to end; it is told to do so at once.
const STOP_PATIENCE: Duration = Duration::from_mins(1);

/// Room that is left on the disk beside the copy: a server's first segments of the write-ahead
/// log, and a tenth for what replay adds.
const MARGIN_BYTES: u64 = 256 << 20;

/// Settings that a recovering server must share with the one that wrote the log.
const SHARED: [&str; 5] = [
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_worker_processes",
    "shared_preload_libraries",
];

/// What to prove, and where there is room for it.
#[derive(Debug)]
pub struct DrillJob<'a> {
    /// The programs of the instance's version.
    pub installation: &'a Installation,
    /// What the server should be.
    pub spec: &'a InstanceSpec,
    /// The instance's directory.
    pub dir: &'a Path,
    /// The directory of its sockets.
    pub run_dir: &'a Path,
    /// Boma itself, which the scratch server calls for its write-ahead log.
    pub program: &'a Path,
    /// Where the backups are.
    pub repository: &'a Repository,
    /// What is there.
    pub catalog: &'a Catalog,
}

/// Restores the newest backup with all that is archived behind it, and looks at every index and
/// row of it. What was wrong is in the result; nothing is left behind either way.
pub async fn drill(job: &DrillJob<'_>, meter: &Meter) -> Drill {
    let begin = Instant::now();
    let mut result = Drill {
        label: String::new(),
        at: Timestamp::now(),
        took_ms: 0,
        recovered_until: None,
        tables: 0,
        rows: 0,
        indexes: 0,
        problem: None,
    };
    match choose(job.catalog, &RecoveryTarget::Latest, None) {
        Ok(choice) => {
            result.label = choice.label.to_string();
            match attempt(job, &choice, meter).await {
                Ok(proof) => {
                    result.recovered_until = proof
                        .replayed_until_micros
                        .and_then(|micros| Timestamp::from_microsecond(micros).ok());
                    result.tables = proof.tables;
                    result.rows = proof.rows;
                    result.indexes = proof.indexes.unwrap_or_default();
                }
                Err(problem) => result.problem = Some(*problem),
            }
        }
        Err(refusal) => result.problem = Some(refusal.problem()),
    }
    if let Err(problem) = clear(job.dir, job.run_dir).await {
        result.problem.get_or_insert(*problem);
    }
    result.at = Timestamp::now();
    result.took_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    result
}

/// Ends and removes what a drill left behind. Does nothing when there is nothing.
pub async fn clear(dir: &Path, run_dir: &Path) -> Result<(), Box<Problem>> {
    let data = dir.join(NAME).join("data");
    if data.exists()
        && let Some(running) = server::adopt(&data).map_err(failure)?
    {
        running
            .stop(StopMode::Immediate, STOP_PATIENCE)
            .await
            .map_err(failure)?;
    }
    for path in [dir.join(NAME), run_dir.join(NAME)] {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(scratch_failed(&path, &error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

async fn attempt(job: &DrillJob<'_>, choice: &Choice, meter: &Meter) -> Result<Proof, Failure> {
    clear(job.dir, job.run_dir).await?;
    let manifest = read_manifest(job.repository, &job.catalog.prefix, &choice.label).await?;
    check_room(job.dir, manifest.data_bytes())?;
    let (scratch, sockets) = (job.dir.join(NAME), job.run_dir.join(NAME));
    for path in [&scratch, &sockets] {
        fs::create_dir(path).map_err(|error| scratch_failed(path, &error))?;
    }
    let layout = Layout {
        data: scratch.join("data"),
        tablespaces: scratch.join("tablespaces"),
        workers: 1,
    };
    let restored = restore_files(
        job.repository,
        job.catalog.prefix,
        &manifest,
        &layout,
        meter,
    )
    .await
    .map_err(failure)?;
    verify(job.installation, &layout.data).await?;
    let log = Log::serve(job, &manifest, &sockets)?;
    configure(job, choice, &layout.data, &log.socket)?;
    let running = start(job, &layout.data, &scratch, &sockets).await?;
    let proof = prove(&Socket {
        directory: sockets,
        port: PORT,
    })
    .await
    .map_err(failure);
    running
        .stop(StopMode::Immediate, STOP_PATIENCE)
        .await
        .map_err(failure)?;
    match restored.warnings.into_iter().next() {
        Some(warning) => Err(Box::new(warning)),
        None => proof,
    }
}

fn check_room(dir: &Path, data_bytes: u64) -> Result<(), Failure> {
    let free = rustix::fs::statvfs(dir)
        .map(|found| found.f_bavail * found.f_frsize)
        .map_err(|error| scratch_failed(dir, &error.into()))?;
    let needed = data_bytes + data_bytes / 10 + MARGIN_BYTES;
    if free >= needed {
        return Ok(());
    }
    let text = format!(
        "a drill needs {} MiB beside the database, and {} MiB are free",
        needed >> 20,
        free >> 20
    );
    Err(Box::new(
        Problem::new(Class::Config, "drill-no-room", text).hint(
            "Free space on this disk. Until then nothing proves that the backups can be restored.",
        ),
    ))
}

/// PostgreSQL's own word on the files, where its program is installed.
async fn verify(installation: &Installation, data: &Path) -> Result<(), Failure> {
    let program = installation.program("pg_verifybackup");
    if !program.is_file() {
        return Ok(());
    }
    let output = tokio::process::Command::new(&program)
        .args(["--no-parse-wal", "--exit-on-error", "--quiet"])
        .arg(data)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| scratch_failed(&program, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let text = format!("pg_verifybackup refuses what was restored: {}", said.trim());
    Err(Box::new(
        Problem::new(Class::Internal, "drill-not-verified", text)
            .hint("`boma backup verify` says whether the repository is whole; take a full backup with `boma backup create --full`."),
    ))
}

/// The write-ahead log for the scratch server, on a socket of its own.
struct Log {
    socket: PathBuf,
    serving: JoinHandle<()>,
    /// What is served; dropped with it.
    _carriers: watch::Sender<Carriers>,
}

impl Log {
    fn serve(job: &DrillJob<'_>, manifest: &Manifest, sockets: &Path) -> Result<Self, Failure> {
        let spool = job.dir.join(NAME).join("wal");
        let restorer = Restorer::new(
            job.repository,
            job.catalog.prefix,
            manifest.server.segment_size,
            &spool,
        )
        .map_err(failure)?;
        let socket = sockets.join("wal.sock");
        let listener =
            UnixListener::bind(&socket).map_err(|error| scratch_failed(&socket, &error))?;
        let (carriers, desk) = watch::channel(Carriers {
            shipper: None,
            restorer: Some(restorer),
            restored: Some(job.dir.join(NAME).join("data")),
            ..Carriers::default()
        });
        let serving = tokio::spawn(async move {
            // It ends when it is aborted.
            let _ended = axum::serve(listener, router(desk)).await;
        });
        Ok(Self {
            socket,
            serving,
            _carriers: carriers,
        })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Settings of a server that nobody but the drill reaches, and that need not survive a crash.
fn configure(
    job: &DrillJob<'_>,
    choice: &Choice,
    data: &Path,
    wal_socket: &Path,
) -> Result<(), Failure> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut values: BTreeMap<&str, String> = settings::effective(job.spec)
        .into_iter()
        .filter_map(|(name, value)| Some((*SHARED.iter().find(|one| **one == name)?, value)))
        .collect();
    values.extend([
        ("listen_addresses", String::new()),
        ("port", PORT.to_string()),
        (
            "unix_socket_directories",
            format!("\"{}\"", text(&job.run_dir.join(NAME)).replace('"', "\"\"")),
        ),
        ("archive_mode", "off".into()),
        ("autovacuum", "off".into()),
        ("fsync", "off".into()),
        ("full_page_writes", "off".into()),
        ("hot_standby", "off".into()),
        ("shared_buffers", "32MB".into()),
        ("recovery_target_action", "promote".into()),
        ("recovery_target_timeline", choice.timeline.to_string()),
        (
            "restore_command",
            command::restore(&text(job.program), &text(wal_socket)),
        ),
    ]);
    let mut conf = String::new();
    for (name, value) in values {
        // Writing to a string does not fail.
        let _infallible = writeln!(conf, "{name} = {}", settings::quoted(&value));
    }
    let ident = format!("boma {} postgres\n", system_user());
    for (name, content) in [
        ("postgresql.conf", conf.as_str()),
        ("postgresql.auto.conf", ""),
        ("pg_hba.conf", "local all postgres peer map=boma\n"),
        ("pg_ident.conf", &ident),
        ("recovery.signal", ""),
    ] {
        let path = data.join(name);
        fs::write(&path, content).map_err(|error| scratch_failed(&path, &error))?;
    }
    Ok(())
}

/// Without hot standby a server answers when all of the log is replayed, and not before.
async fn start(
    job: &DrillJob<'_>,
    data: &Path,
    scratch: &Path,
    sockets: &Path,
) -> Result<Running, Failure> {
    let launch = Launch {
        installation: job.installation,
        data,
        log: &scratch.join("postgresql.log"),
        socket_directory: sockets,
        // Port 0 is always free: nothing listens on TCP here.
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    };
    let running = server::start(&launch, REPLAY_PATIENCE)
        .await
        .map_err(failure)?;
    if running.open(REPLAY_PATIENCE).await.map_err(failure)? {
        return Ok(running);
    }
    Err(not_recovered(&server::log::tail(launch.log, 0)))
}

fn not_recovered(said: &[String]) -> Failure {
    let text = format!(
        "the restored server did not come to the end of its log: {}",
        said.join(" | ")
    );
    Box::new(Problem::new(Class::Config, "drill-not-recovered", text).hint(
        "The text above is what the server said last. `boma backup verify` says whether the repository is whole.",
    ))
}

fn scratch_failed(path: &Path, error: &io::Error) -> Failure {
    let text = format!("use `{}` for a drill: {error}", path.display());
    Box::new(
        Problem::new(Class::Transient, "drill-failed", text)
            .hint("The instance directory must belong to the user that servers run as; the drill is tried again by its schedule."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_without_room_does_not_begin() {
        let problem = check_room(Path::new("/tmp"), 1 << 60).unwrap_err();
        assert_eq!(problem.code, "drill-no-room");
        assert!(problem.message.contains("MiB are free"), "{problem}");
        assert!(check_room(Path::new("/tmp"), 0).is_ok());
    }

    #[test]
    fn a_server_that_gave_up_is_quoted() {
        let problem = not_recovered(&["FATAL: no".into()]);
        assert_eq!(problem.code, "drill-not-recovered");
        assert!(
            problem.message.ends_with("end of its log: FATAL: no"),
            "{problem}"
        );
    }

    #[test]
    fn a_scratch_directory_that_cannot_be_used_is_named() {
        let problem = check_room(Path::new("/nonexistent"), 0).unwrap_err();
        assert_eq!(problem.code, "drill-failed");
        assert!(problem.message.contains("/nonexistent"), "{problem}");
    }
}
