//! Restores and expiries killed at every step, by agents that are let run a moment at a time: what
//! they do within a millisecond is seen, and ended, in the middle.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use boma_instance::MajorVersion;
use boma_instance::backup::RecoveryTarget;
use boma_postgres::server::PidFile;
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::node::{LONG, Node, World, wait};
use crate::numbered::{Writers, expect_rows};
use crate::trouble::{catalog, expect_cleared_up, files};

/// How long a process runs before somebody looks again.
const MOMENT: Duration = Duration::from_micros(300);

/// Lets a process run for a moment at a time until something is so, and kills it there.
struct SlowMotion {
    /// Nobody waits for it any more: the process may run as it likes.
    over: Arc<AtomicBool>,
    task: JoinHandle<Result<()>>,
}

impl SlowMotion {
    fn start(pid: Pid, what: String, is_so: impl Fn() -> bool + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let task = spawn_blocking(move || {
            let begin = Instant::now();
            while !is_over.load(Ordering::Relaxed) {
                kill(pid, Signal::SIGSTOP)?;
                if is_so() {
                    return Ok(kill(pid, Signal::SIGKILL)?);
                }
                kill(pid, Signal::SIGCONT)?;
                ensure!(begin.elapsed() < LONG, "never: {what}");
                std::thread::park_timeout(MOMENT);
            }
            Ok(())
        });
        Self { over, task }
    }

    /// Returns when the process was killed.
    async fn killed(&mut self) -> Result<()> {
        (&mut self.task).await?
    }

    /// Lets it run as it likes. After this its number may be another's.
    async fn end(self) -> Result<()> {
        self.over.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

/// Kills the server of a data directory, as the kernel does when memory runs out.
pub(crate) fn kill_server(data: &Path) -> Result<()> {
    let file = PidFile::read(data)?.context("a server")?;
    let pid = Pid::from_raw(i32::try_from(file.pid)?);
    kill(pid, Signal::SIGKILL)?;
    let process = PathBuf::from(format!("/proc/{pid}"));
    let ended =
        || fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z"));
    while !ended() {
        std::thread::park_timeout(MOMENT);
    }
    Ok(())
}

/// Where a restore is.
#[derive(Clone, Debug)]
enum Step {
    /// So many files are there, beside the place of the data directory.
    Files(usize),
    /// This file is there, beside or in place.
    Has(&'static str),
    /// The data directory is in its place.
    Placed,
    /// The server was started.
    Started,
    /// Something was fetched to be replayed.
    Fetched,
    /// Recovery is over.
    TakenOver,
}

impl Step {
    /// Whether a restore into an instance directory has come so far.
    fn is_reached(&self, dir: &Path) -> bool {
        let data = dir.join("data");
        match self {
            Self::Files(count) => data.exists() || files(dir).len() >= *count,
            Self::Has(name) => {
                data.exists() || beside(dir).is_some_and(|at| at.join(name).exists())
            }
            Self::Placed => data.exists(),
            Self::Started => data.join("postmaster.pid").exists(),
            Self::Fetched => data.exists() && !files(&dir.join("wal-spool")).is_empty(),
            Self::TakenOver => data.exists() && !data.join("boma.recovery.conf").exists(),
        }
    }
}

/// Where a restore writes before all is there.
fn beside(dir: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    let mut made = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(".boma-making-")
    });
    Some(made.next()?.path().join("data"))
}

/// Each step, of a data directory of so many files.
fn steps(files: usize) -> Vec<Step> {
    let mut steps: Vec<_> = [1, files / 3, files * 2 / 3].map(Step::Files).into();
    steps.extend(
        [
            "backup_label",
            "backup_manifest",
            "global/pg_control",
            "boma.recovery.conf",
            "recovery.signal",
        ]
        .map(Step::Has),
    );
    steps.extend([Step::Placed, Step::Started, Step::Fetched, Step::TakenOver]);
    steps
}

/// Begins to restore, and kills the agent when something is so of its instance directory.
async fn restore_until(
    node: &mut Node,
    what: String,
    is_so: impl Fn(&Path) -> bool + Send + 'static,
) -> Result<()> {
    node.start()?;
    let dir = node.dir();
    let mut slow = SlowMotion::start(node.agent_pid()?, what, move || is_so(&dir));
    tokio::select! {
        // Cancel-safe: an agent that was told goes on by itself.
        told = node.assign() => {
            told?;
            slow.killed().await?;
        }
        // Cancel-safe: whoever kills goes on in a thread of its own.
        killed = slow.killed() => killed?,
    }
    node.kill_agent()
}

#[tokio::test]
async fn an_agent_killed_at_every_step_of_a_restore_takes_nothing_half_for_whole() -> Result<()> {
    let world = World::new(MajorVersion::V17)?;
    let source = world.backed_up("orders").await?;
    let mut writers = Writers::start(&source, 1).await?;
    writers.more(90).await?;
    source.back_up().await?;
    writers.more(90).await?;
    let rows: i64 = writers.stop(&source).await?.len().try_into()?;
    source.archive().await?;
    let whole = files(&source.data()).len();
    for (number, step) in steps(whole).iter().enumerate() {
        let name = format!("copy-{number}");
        let mut node = world.restored(&name, &source, RecoveryTarget::Latest)?;
        let seen = step.clone();
        restore_until(&mut node, format!("{step:?}"), move |dir| {
            seen.is_reached(dir)
        })
        .await
        .with_context(|| node.said())?;
        // What is in place is all of it, and what is not all of it is in no place.
        if node.data().exists() {
            for name in ["global/pg_control", "PG_VERSION", "backup_manifest"] {
                ensure!(node.data().join(name).exists(), "{step:?}: {name}");
            }
        }
        // Every second time the server dies as well.
        if number % 2 == 1 && matches!(step, Step::Started | Step::TakenOver) {
            kill_server(&node.data())?;
        }
        node.bring_up().await.with_context(|| format!("{step:?}"))?;
        expect_rows(&node, rows)
            .await
            .with_context(|| format!("{step:?}"))?;
        let left = beside(&node.dir()).filter(|data| data.exists());
        ensure!(left.is_none(), "{step:?} left {left:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_source_archives_after_a_target_was_let_go_is_not_replayed() -> Result<()> {
    let world = World::new(MajorVersion::V17)?;
    let source = world.backed_up("orders").await?;
    let mut writers = Writers::start(&source, 1).await?;
    writers.more(30).await?;
    let last = writers.stop_unseen().await?;
    // Nothing ends any more, neither by a commit nor otherwise, before this is archived.
    let now = RecoveryTarget::Time(Timestamp::now());
    source.archive().await?;
    let mut node = world.restored("copy", &source, now)?;
    let is_let_go = |dir: &Path| {
        let recovery = fs::read_to_string(dir.join("data/boma.recovery.conf"));
        recovery.is_ok_and(|text| text.contains("\"endsBefore\":\""))
    };
    restore_until(&mut node, "the target is let go".to_owned(), is_let_go).await?;
    let mut writers = Writers::start(&source, last + 1).await?;
    writers.more(30).await?;
    writers.stop(&source).await?;
    source.archive().await?;
    node.bring_up().await?;
    expect_rows(&node, last).await
}

/// A server with a table in a tablespace, and the place of that table in the data directory.
async fn with_tablespace(world: &World) -> Result<(Node, String)> {
    let node = world.backed_up("orders").await?;
    let outside = node.dir().join("outside");
    fs::create_dir(&outside)?;
    let client = node.connect().await?;
    let make = format!("CREATE TABLESPACE far LOCATION '{}'", outside.display());
    client.batch_execute(&make).await?;
    client
        .batch_execute("CREATE TABLE old TABLESPACE far AS SELECT generate_series(1, 1000) AS n")
        .await?;
    let path = "SELECT pg_relation_filepath('old')";
    let path = client.query_one(path, &[]).await?.get(0);
    node.back_up().await?;
    Ok((node, path))
}

/// A server whose restore was killed when this file was there, and others were not.
async fn half_restored(world: &World, source: &Node, path: &str) -> Result<Node> {
    for turn in 0..20 {
        let name = format!("copy-{turn}");
        let mut node = world.restored(&name, source, RecoveryTarget::Latest)?;
        let file = path.to_owned();
        let is_there = move |dir: &Path| {
            dir.join("data").exists() || beside(dir).is_some_and(|at| at.join(&file).exists())
        };
        restore_until(&mut node, path.to_owned(), is_there).await?;
        if !node.data().exists() {
            return Ok(node);
        }
    }
    anyhow::bail!("each restore ended before it was killed")
}

#[tokio::test]
async fn what_a_killed_restore_left_of_a_tablespace_is_no_part_of_the_next_one() -> Result<()> {
    let world = World::new(MajorVersion::V17)?;
    let (source, path) = with_tablespace(&world).await?;
    let mut node = half_restored(&world, &source, &path).await?;
    source
        .connect()
        .await?
        .batch_execute(
            "CREATE TABLE new TABLESPACE far AS SELECT 7 AS n; DROP TABLE old; CHECKPOINT",
        )
        .await?;
    source.back_up().await?;
    node.bring_up().await?;
    let found = node.connect().await?;
    let found: i32 = found.query_one("SELECT n FROM new", &[]).await?.get(0);
    ensure!(found == 7, "{found}");
    ensure!(!node.data().join(&path).exists(), "{path} was dropped");
    let places = fs::read_dir(node.dir().join("tablespaces"))?.count();
    ensure!(places == 1, "{places} places of tablespaces");
    Ok(())
}

/// Adds more than half of what a full backup holds, so that one that follows is a full one.
async fn grow(node: &Node) -> Result<()> {
    node.connect()
        .await?
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS big (text text);
             TRUNCATE big;
             INSERT INTO big SELECT md5(random()::text) || md5(random()::text)
             FROM generate_series(1, 150000)",
        )
        .await?;
    Ok(())
}

/// Takes a backup, and kills the agent when so many of the files that were there before are gone;
/// whether it all ended first.
async fn expire_until(node: &mut Node, repository: &Path, gone: usize) -> Result<bool> {
    let before = files(repository);
    let what = format!("{gone} of {} files are gone", before.len());
    let mut slow = SlowMotion::start(node.agent_pid()?, what, move || {
        before.iter().filter(|file| !file.exists()).count() >= gone
    });
    let ended = tokio::select! {
        // Cancel-safe: the agent goes on when nobody listens any more, until it is killed.
        done = node.back_up() => {
            let ended = done.is_ok();
            if ended {
                slow.end().await?;
            } else {
                slow.killed().await?;
            }
            ended
        }
        // Cancel-safe: whoever kills goes on in a thread of its own.
        killed = slow.killed() => {
            killed?;
            false
        }
    };
    node.kill_agent()?;
    Ok(ended)
}

#[tokio::test]
async fn an_agent_killed_at_every_deletion_of_an_expiry_keeps_what_is_needed() -> Result<()> {
    let world = World::new(MajorVersion::V17)?;
    let mut node = world.node("orders")?;
    // The newest is kept, what it needs, and one that goes back further.
    if let Some(backup) = &mut node.assignment.spec.backup {
        backup.retention_days = 0;
    }
    node.bring_up().await?;
    node.first_backup().await?;
    let mut writers = Writers::start(&node, 1).await?;
    for _ in 0..2 {
        grow(&node).await?;
        node.back_up().await?;
        node.back_up().await?;
    }
    let (_, prefix, _) = catalog(&world, &node).await?;
    let repository = world.repository().join(prefix.to_string());
    let mut gone = 1;
    // What a round has to delete depends on which of its two backups the former ones were kept for:
    // sometimes it is nothing.
    let mut rounds_without = 0;
    loop {
        writers.more(5).await?;
        grow(&node).await?;
        node.back_up().await?;
        let ended = expire_until(&mut node, &repository, gone).await?;
        let (_, _, after) = catalog(&world, &node).await?;
        ensure!(after.unreadable.is_empty(), "{:?}", after.unreadable);
        for backup in &after.backups {
            ensure!(after.is_whole(backup), "{} after {gone}", backup.label);
        }
        node.start()?;
        node.ready().await?;
        if !ended {
            rounds_without = 0;
            gone += gone.div_ceil(2);
            continue;
        }
        rounds_without += 1;
        if gone > 3 || rounds_without > 4 {
            break;
        }
    }
    ensure!(gone > 3, "it ended before {gone} files were gone");
    writers.more(5).await?;
    expect_cleared_up(&world, &node, writers).await
}

/// When an object was written, as a directory says it.
fn age(path: &Path, by: Duration) -> Result<()> {
    let file = fs::File::options().write(true).open(path)?;
    let then = std::time::SystemTime::now()
        .checked_sub(by)
        .context("a time before now")?;
    Ok(file.set_modified(then)?)
}

#[tokio::test]
async fn what_a_restore_reads_stays_until_it_is_done_or_an_hour_after_it_was_killed() -> Result<()>
{
    let world = World::new(MajorVersion::V17)?;
    let mut node = world.node("orders")?;
    if let Some(backup) = &mut node.assignment.spec.backup {
        backup.retention_days = 0;
    }
    node.bring_up().await?;
    let oldest = node.first_backup().await?.label;
    let has_oldest = async || -> Result<bool> {
        let (_, _, catalog) = catalog(&world, &node).await?;
        Ok(catalog
            .backups
            .iter()
            .any(|one| one.label.as_str() == oldest))
    };
    let mut copy = half_restored(&world, &node, "PG_VERSION").await?;
    let (_, prefix, _) = catalog(&world, &node).await?;
    let leases = world.repository().join(prefix.leases_folder());
    let lease = leases.join(copy.assignment.spec.id.to_string());
    ensure!(lease.exists(), "{:?}", files(&leases));
    for _ in 0..2 {
        grow(&node).await?;
        node.back_up().await?;
        node.back_up().await?;
    }
    ensure!(has_oldest().await?, "it expired from under a restore");
    // Nobody renews it, and by the clock of the repository an hour has passed.
    age(&lease, Duration::from_hours(2))?;
    grow(&node).await?;
    node.back_up().await?;
    ensure!(!has_oldest().await?, "it is held for ever");
    ensure!(!lease.exists(), "it lapsed and is still there");
    // The restore begins again with what there is now, and holds nothing when it is done.
    copy.bring_up().await?;
    wait(async || {
        ensure!(!lease.exists(), "it is held still");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_may_only_read_restores_without_holding() -> Result<()> {
    let world = World::new(MajorVersion::V17)?;
    let source = world.backed_up("orders").await?;
    let mut writers = Writers::start(&source, 1).await?;
    writers.more(10).await?;
    let last = writers.stop_unseen().await?;
    source.archive().await?;
    let (_, prefix, _) = catalog(&world, &source).await?;
    let leases = world.repository().join(prefix.leases_folder());
    fs::create_dir(&leases)?;
    fs::set_permissions(&leases, fs::Permissions::from_mode(0o555))?;
    let mut node = world.restored("copy", &source, RecoveryTarget::Latest)?;
    node.bring_up().await?;
    expect_rows(&node, last).await?;
    ensure!(files(&leases).is_empty(), "{:?}", files(&leases));
    let said = node.said();
    ensure!(said.contains("without holding the backups"), "{said}");
    Ok(())
}
