//! `kill -9` while a data directory, or the store, is being made. The making runs in a process of
//! its own, which is this test binary again.

use std::cell::OnceCell;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use boma_instance::{InstanceId, MajorVersion};
use boma_postgres::cluster::{
    DataDirectory, MadeFrom, Milestone, NewCluster, Replenished, Store, inspect, make,
};
use boma_postgres::programs::{Installation, Installations, SearchPaths};
use boma_testkit::{ScratchDir, become_unprivileged, eventually};
use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::host::{LONG, Place, installation, installation_of, names};

/// What the other process shall do.
#[derive(Clone, Copy)]
struct Work<'a> {
    bin: &'a Path,
    store: Option<&'a Path>,
    /// The data directory; none: replenish the store.
    data: Option<&'a Path>,
    instance: Option<InstanceId>,
    /// When to kill itself.
    at: Option<Milestone>,
}

impl Work<'_> {
    fn spawn(&self) -> anyhow::Result<Child> {
        // Not by its path, which may lead through directories that are closed to this user.
        let mut command = Command::new("/proc/self/exe");
        command.args([
            "killed::other_process",
            "--exact",
            "--ignored",
            "--nocapture",
        ]);
        command.env("KILLED_BIN", self.bin);
        for (name, value) in [("KILLED_STORE", self.store), ("KILLED_DATA", self.data)] {
            value.map(|value| command.env(name, value));
        }
        self.instance
            .map(|instance| command.env("KILLED_INSTANCE", instance.to_string()));
        self.at
            .map(|at| command.env("KILLED_AT", format!("{at:?}")));
        Ok(command
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?)
    }
}

#[test]
#[ignore = "is run by the other tests, to be killed"]
fn other_process() -> anyhow::Result<()> {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    let bin = path("KILLED_BIN").ok_or_else(|| anyhow::anyhow!("only for the other tests"))?;
    let found = Installations::discover(&SearchPaths::only([bin]));
    let installation = found
        .newest()
        .ok_or_else(|| anyhow::anyhow!("no PostgreSQL"))?;
    let store = path("KILLED_STORE").map(Store::new);
    let (Some(directory), Ok(instance)) = (path("KILLED_DATA"), std::env::var("KILLED_INSTANCE"))
    else {
        store
            .ok_or_else(|| anyhow::anyhow!("no store"))?
            .replenish(installation, 3)?;
        return Ok(());
    };
    let instance = InstanceId(instance.parse()?);
    let at = std::env::var("KILLED_AT").ok();
    let new = NewCluster {
        installation,
        directory: &directory,
        instance,
    };
    make(&new, store.as_ref(), &mut |milestone| {
        if at.as_deref() == Some(&format!("{milestone:?}")) {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    })?;
    Ok(())
}

/// Makes a cluster in another process that is killed at a milestone, then makes it again.
fn killed_at(
    at: Milestone,
    installation: &Installation,
    store: Option<&Path>,
    scratch: &Path,
) -> anyhow::Result<MadeFrom> {
    let mut place = Place::new(installation, scratch)?;
    let data = place.data();
    let work = Work {
        bin: &installation.bin,
        store,
        data: Some(&data),
        instance: Some(place.instance),
        at: Some(at),
    };
    let status = work.spawn()?.wait()?;
    anyhow::ensure!(status.signal() == Some(9), "at {at:?}: {status}");
    let found = inspect(&data)?;
    let made_from = match (&found, at) {
        (DataDirectory::Ours(ours), Milestone::Placed) => {
            anyhow::ensure!(ours.marker.instance == Some(place.instance));
            // The next attempt never happens; what is left beside is removed with the instance.
            ours.marker.made_from
        }
        (DataDirectory::Missing, _) => {
            let left = names(&place.parent)?;
            anyhow::ensure!(
                left.len() == 1 && left[0].starts_with(".boma-making-"),
                "{left:?}"
            );
            place.make(store.map(Store::new).as_ref())?.marker.made_from
        }
        _ => anyhow::bail!("at {at:?}: {found:?}"),
    };
    let DataDirectory::Ours(ours) = inspect(&data)? else {
        anyhow::bail!("at {at:?}: it is not made");
    };
    anyhow::ensure!(ours.control.state.is_clean());
    if at != Milestone::Placed {
        assert_eq!(names(&place.parent)?, ["data"]);
    }
    Ok(made_from)
}

/// Killed at each milestone, once with a template, once with spares, it is made by the next attempt.
fn killed_at_each_milestone(major: MajorVersion) -> anyhow::Result<()> {
    use Milestone::{Begun, Claimed, Copied, Marked, Placed};
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let root = scratch.path().join("store");
    let store = Store::new(&root);
    let installation = installation_of(major)?;
    store.replenish(&installation, 0)?;
    for at in [Begun, Copied, Marked, Placed] {
        let made_from = killed_at(at, &installation, Some(&root), scratch.path())?;
        assert_eq!(made_from, MadeFrom::Template);
    }
    for at in [Begun, Claimed, Marked, Placed] {
        // One for the attempt that is killed, one for the next.
        store.replenish(&installation, 2)?;
        let made_from = killed_at(at, &installation, Some(&root), scratch.path())?;
        assert_eq!(made_from, MadeFrom::Spare);
    }
    Ok(())
}

#[test]
fn killed_at_each_milestone_15_is_made_by_the_next_attempt() -> anyhow::Result<()> {
    killed_at_each_milestone(MajorVersion::V15)
}

#[test]
fn killed_at_each_milestone_16_is_made_by_the_next_attempt() -> anyhow::Result<()> {
    killed_at_each_milestone(MajorVersion::V16)
}

#[test]
fn killed_at_each_milestone_17_is_made_by_the_next_attempt() -> anyhow::Result<()> {
    killed_at_each_milestone(MajorVersion::V17)
}

#[test]
fn killed_at_each_milestone_18_is_made_by_the_next_attempt() -> anyhow::Result<()> {
    killed_at_each_milestone(MajorVersion::V18)
}

#[test]
fn killed_at_each_milestone_without_a_store_it_is_made_by_the_next_attempt() -> anyhow::Result<()> {
    use Milestone::{Begun, Initialised, Marked, Placed};
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    for at in [Begun, Initialised, Marked, Placed] {
        let made_from = killed_at(at, &installation()?, None, scratch.path())?;
        assert_eq!(made_from, MadeFrom::Initdb);
    }
    Ok(())
}

/// Processes at work below a directory.
fn processes_below(directory: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        if std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory)) {
            let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
            found.push(format!("{} {}", path.display(), name.trim()));
        }
    }
    Ok(found)
}

/// Kills a process as soon as something is there, or lets it end if it was quicker.
async fn kill_when(
    mut child: Child,
    there: impl Fn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    eventually(LONG, async || match (there(), child.try_wait()) {
        (Ok(true), _) | (_, Ok(Some(_))) => Ok(()),
        (seen, state) => Err(format!("{seen:?}, {state:?}")),
    })
    .await?;
    if child.try_wait()?.is_none() {
        kill_process(Pid::from_child(&child), Signal::KILL)?;
    }
    child.wait()?;
    Ok(())
}

/// Whether in a directory is one whose name begins so, with something in it.
fn has(directory: &Path, prefix: &str, inside: &str) -> anyhow::Result<bool> {
    if !directory.exists() {
        return Ok(false);
    }
    let names = names(directory)?;
    let mut found = names.iter().filter(|name| name.starts_with(prefix));
    Ok(found.any(|name| directory.join(name).join(inside).exists()))
}

#[tokio::test]
async fn an_initdb_that_outlives_its_agent_does_no_harm() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let installation = installation()?;
    // On a busy machine it may be done before it is killed.
    for _ in 0..10 {
        let mut place = Place::new(&installation, scratch.path())?;
        let (parent, data) = (place.parent.clone(), place.data());
        let work = Work {
            bin: &installation.bin,
            store: None,
            data: Some(&data),
            instance: Some(place.instance),
            at: None,
        };
        let there = || has(&parent, ".boma-making-", "data/PG_VERSION");
        kill_when(work.spawn()?, there).await?;
        if !processes_below(&parent)?
            .iter()
            .any(|name| name.ends_with("initdb"))
        {
            continue;
        }
        place.make(None)?;
        assert_eq!(processes_below(&parent)?, [""; 0]);
        assert_eq!(names(&parent)?, ["data"]);
        return Ok(());
    }
    anyhow::bail!("`initdb` never outlived its agent")
}

#[tokio::test]
async fn a_store_whose_maker_is_killed_is_made_whole_by_the_next() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let root = scratch.path().join("store");
    let store = Store::new(&root);
    let installation = installation()?;
    let work = Work {
        bin: &installation.bin,
        store: Some(&root),
        data: None,
        instance: None,
        at: None,
    };
    let version = || -> anyhow::Result<PathBuf> {
        let mut names = if root.exists() {
            names(&root)?
        } else {
            Vec::new()
        };
        names.retain(|name| name != "lock");
        Ok(root.join(names.pop().unwrap_or_default()))
    };
    let making_template = || has(&version()?, "making-", "data/PG_VERSION");
    let making_spare =
        || Ok(has(&version()?, "template", "boma.json")? && has(&version()?, "making-", "data")?);
    for there in [
        &making_template as &dyn Fn() -> anyhow::Result<bool>,
        &making_spare,
    ] {
        kill_when(work.spawn()?, there).await?;

        // Who takes meanwhile gets a whole cluster.
        Place::new(&installation, scratch.path())?.make(Some(&store))?;
        store.replenish(&installation, 1)?;
        let names = names(&version()?)?;
        assert!(
            !names.iter().any(|name| name.starts_with("making-")),
            "{names:?}"
        );
        assert_eq!(processes_below(&root)?, [""; 0]);
        let mut place = Place::new(&installation, scratch.path())?;
        assert_eq!(place.make(Some(&store))?.marker.made_from, MadeFrom::Spare);
    }
    Ok(())
}

#[tokio::test]
async fn who_waits_for_a_template_whose_maker_is_killed_makes_it() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let root = scratch.path().join("store");
    let store = Store::new(&root);
    let installation = installation()?;
    let work = Work {
        bin: &installation.bin,
        store: Some(&root),
        data: None,
        instance: None,
        at: None,
    };
    let waiting = OnceCell::new();
    let there = || {
        let begun = !processes_below(&root)?.is_empty();
        if begun && waiting.get().is_none() {
            let (store, installation) = (store.clone(), installation.clone());
            let wait = move || store.ensure_template(&installation);
            drop(waiting.set(tokio::task::spawn_blocking(wait)));
        }
        Ok(begun)
    };
    kill_when(work.spawn()?, there).await?;
    let waiting = waiting.into_inner().context("nobody waited")?;
    waiting.await??;
    assert!(store.stock(&installation).template);
    let mut place = Place::new(&installation, scratch.path())?;
    assert_eq!(
        place.make(Some(&store))?.marker.made_from,
        MadeFrom::Template
    );
    Ok(())
}

#[test]
fn only_one_at_a_time_makes_clusters_ahead() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let installation = installation()?;
    let store = Store::new(scratch.path());
    let lock = std::fs::File::create(scratch.path().join("lock"))?;
    lock.try_lock()?;
    assert_eq!(store.replenish(&installation, 1)?, Replenished::Busy);
    drop(lock);
    assert_eq!(store.replenish(&installation, 1)?, Replenished::Made(1));
    Ok(())
}

#[test]
fn what_only_looks_like_a_leftover_is_left_alone() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let mut place = Place::new(&installation()?, scratch.path())?;
    let prefix = format!(".boma-making-{}-", place.instance);
    let foreign = [
        // Something besides what we put there.
        place.parent.join(format!("{prefix}01234567")),
        // Not our name.
        place.parent.join(format!("{prefix}0123456789")),
        place.parent.join(".boma-making-other"),
    ];
    for path in &foreign {
        std::fs::create_dir_all(path.join("data"))?;
        std::fs::write(path.join("boma.json"), "")?;
        std::fs::write(path.join("notes.txt"), "mine")?;
    }
    let unmarked = place.parent.join(format!("{prefix}89abcdef"));
    std::fs::create_dir_all(unmarked.join("data"))?;
    std::os::unix::fs::symlink("/tmp", place.parent.join(format!("{prefix}aaaaaaaa")))?;
    let empty = place.parent.join(format!("{prefix}bbbbbbbb"));
    std::fs::create_dir(&empty)?;

    place.make(None)?;
    for path in foreign {
        assert_eq!(std::fs::read_to_string(path.join("notes.txt"))?, "mine");
    }
    assert!(unmarked.is_dir());
    assert!(
        !empty.exists(),
        "an empty one is ours, killed before it was marked"
    );
    Ok(())
}
