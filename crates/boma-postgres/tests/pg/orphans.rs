//! What a killed server, or a killed agent, leaves behind.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use boma_postgres::programs::Installation;
use boma_postgres::server::{StopMode, adopt};
use boma_testkit::{become_unprivileged, eventually};
use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::host::{Host, LONG, installation, installations, stop};

fn kill_hard(pid: u32) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    Ok(kill_process(
        pid.ok_or_else(|| anyhow::anyhow!("no pid"))?,
        Signal::KILL,
    )?)
}

/// Whether a process is there, and not only waits to be reaped.
fn lives(pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok()
}

#[tokio::test]
async fn after_kill_9_of_a_postmaster_the_next_server_starts_and_nothing_is_lost()
-> anyhow::Result<()> {
    become_unprivileged()?;
    for installation in installations()? {
        let host = Host::new(&installation)?;
        let running = host.start().await?;
        let client = host.connect().await?;
        client
            .batch_execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS x")
            .await?;
        let busy = host.connect().await?;
        let pid: i32 = busy.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        let pid = pid.unsigned_abs();
        // It computes, and so does not see that its postmaster is gone.
        let sql =
            "SELECT count(*) FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b";
        let query = tokio::spawn(async move { busy.batch_execute(sql).await });
        eventually(LONG, async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state = 'active'";
            let row = client.query_one(sql, &[&pid.cast_signed()]).await;
            let count: i64 = row.map_err(|error| error.to_string())?.get(0);
            if count == 1 {
                Ok(())
            } else {
                Err("not active yet".into())
            }
        })
        .await?;

        kill_hard(running.pid())?;
        let exit = running.exited().await;
        assert!(exit.status.is_some_and(|status| !status.success()));
        assert!(lives(pid), "{}: the backend goes on", installation.version);
        assert!(adopt(&host.data())?.is_none());

        let running = host.start().await?;
        assert!(!lives(pid));
        assert!(query.await?.is_err());
        let client = host.connect().await?;
        let count: i64 = client
            .query_one("SELECT count(*) FROM t", &[])
            .await?
            .get(0);
        assert_eq!(count, 1000);
        drop(client);
        stop(running).await?;
    }
    Ok(())
}

#[tokio::test]
async fn files_that_name_a_process_that_is_another_one_are_seen_through() -> anyhow::Result<()> {
    become_unprivileged()?;
    let host = Host::new(&installation()?)?;
    let running = host.start().await?;
    let (pid_file, socket_lock) = (
        host.data().join("postmaster.pid"),
        host.scratch
            .path()
            .join(format!(".s.PGSQL.{}.lock", host.listen.port())),
    );
    let texts = [
        std::fs::read_to_string(&pid_file)?,
        std::fs::read_to_string(&socket_lock)?,
    ];
    let pid = running.pid().to_string();
    kill_hard(running.pid())?;
    running.exited().await;

    // Its number is given to somebody else, as it happens after a restart of the machine.
    let mut other = Command::new("sleep").arg("1000").process_group(0).spawn()?;
    for (path, text) in [&pid_file, &socket_lock].into_iter().zip(&texts) {
        std::fs::write(path, text.replacen(&pid, &other.id().to_string(), 1))?;
    }
    assert!(adopt(&host.data())?.is_none());
    let running = host.start().await?;
    assert!(
        other.try_wait()?.is_none(),
        "the other process was not touched"
    );
    other.kill()?;
    other.wait()?;
    stop(running).await
}

#[tokio::test]
async fn a_half_written_or_empty_pid_file_is_no_server() -> anyhow::Result<()> {
    become_unprivileged()?;
    let host = Host::new(&installation()?)?;
    for text in ["", "garbage\n", "0\n", "-17\n", "99999999\n/nowhere\n"] {
        std::fs::write(host.data().join("postmaster.pid"), text)?;
        assert!(adopt(&host.data())?.is_none(), "{text:?}");
    }
    std::fs::write(host.data().join("postmaster.pid"), "99999999\n/nowhere\n")?;
    let running = host.start().await?;
    stop(running).await
}

#[tokio::test]
async fn a_server_outlives_its_agent_and_is_adopted_by_the_next() -> anyhow::Result<()> {
    become_unprivileged()?;
    let host = Host::new(&installation()?)?;
    let mut agent = Command::new("/proc/self/exe")
        .args(["orphans::agent", "--exact", "--ignored"])
        .env("ORPHANS_BIN", &host.place.installation.bin)
        .env("ORPHANS_PARENT", &host.place.parent)
        .env("ORPHANS_SOCKETS", host.scratch.path())
        .env("ORPHANS_LISTEN", host.listen.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    agent.wait()?;
    let adopted = adopt(&host.data())?.expect("it runs");
    assert!(adopted.ready(LONG).await?);
    let client = host.connect().await?;
    client.query_one("SELECT 1", &[]).await?;
    drop(client);
    adopted.stop(StopMode::Fast, LONG).await?;
    assert!(adopt(&host.data())?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_server_whose_programs_were_upgraded_underneath_is_adopted_and_replaced()
-> anyhow::Result<()> {
    become_unprivileged()?;
    // A build of its own, whose programs can be replaced: everything but `postgres` is a link.
    let scratch = boma_testkit::ScratchDir::new()?;
    let newest = installations()?
        .pop()
        .ok_or_else(|| anyhow::anyhow!("no PostgreSQL"))?;
    let prefix = scratch.path().join("pg");
    std::fs::create_dir_all(prefix.join("bin"))?;
    let real = newest
        .bin
        .parent()
        .ok_or_else(|| anyhow::anyhow!("no prefix"))?;
    for name in ["lib", "share"] {
        std::os::unix::fs::symlink(real.join(name), prefix.join(name))?;
    }
    for name in ["postgres", "initdb"] {
        std::fs::copy(newest.program(name), prefix.join("bin").join(name))?;
    }
    let installation = Installation {
        bin: prefix.join("bin"),
        ..newest.clone()
    };
    let host = Host::new(&installation)?;
    let first = host.start().await?;

    // As package managers do: a new file under the old name.
    let beside = prefix.join("bin/postgres.new");
    std::fs::copy(newest.program("postgres"), &beside)?;
    std::fs::rename(&beside, prefix.join("bin/postgres"))?;
    let adopted = adopt(&host.data())?.expect("it runs");
    assert_eq!(adopted.pid(), first.pid());
    stop(adopted).await?;
    stop(host.start().await?).await
}

/// Starts the server as an agent does, and is killed as soon as it has.
#[tokio::test]
#[ignore = "is run by another test, to be killed"]
async fn agent() -> anyhow::Result<()> {
    use boma_postgres::programs::{Installations, SearchPaths};
    use boma_postgres::server::{Launch, Lease, start};
    let value = |name| std::env::var(name);
    let parent = Path::new(&value("ORPHANS_PARENT")?).to_owned();
    let found = Installations::discover(&SearchPaths::only([value("ORPHANS_BIN")?.into()]));
    let installation = found
        .newest()
        .ok_or_else(|| anyhow::anyhow!("no PostgreSQL"))?;
    let data = parent.join("data");
    let _lease = Lease::acquire(&data)?;
    let sockets = value("ORPHANS_SOCKETS")?;
    let launch = Launch {
        installation,
        data: &data,
        log: &parent.join("postgres.log"),
        socket_directory: Path::new(&sockets),
        listen: value("ORPHANS_LISTEN")?.parse()?,
    };
    start(&launch, LONG).await?;
    Ok(kill_process(getpid(), Signal::KILL)?)
}
