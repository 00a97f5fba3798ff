//! Trouble: sources with errors, things killed, a second server, passwords in the wrong place.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::installation::{Installation, kill_9, wait};
use crate::manifests::{application, database, reads, writes};

fn shop() -> Result<Installation> {
    let boma = Installation::new()?;
    boma.write("db.yaml", &database("orders", ""))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    Ok(boma)
}

/// A `boma serve` that is killed at the end.
pub(crate) struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// `boma serve` of the manifests.
pub(crate) fn serve(boma: &Installation) -> Result<Serving> {
    serve_with(boma, &["m"])
}

/// `boma serve` with these arguments; what it says is in `serve.log`.
pub(crate) fn serve_with(boma: &Installation, arguments: &[&str]) -> Result<Serving> {
    let log = fs::File::create(boma.path("serve.log"))?;
    let mut command = boma.command();
    command
        .arg("serve")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(log);
    Ok(Serving(command.spawn()?))
}

/// Begins a command, and kills it, all agents and all servers after a while.
pub(crate) fn killed_after(boma: &Installation, arguments: &[&str], delay: Duration) -> Result<()> {
    let mut command = boma.command();
    let mut begun = command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::park_timeout(delay);
    for pid in boma.processes() {
        kill_9(pid);
    }
    drop(begun.kill());
    begun.wait()?;
    Ok(())
}

#[test]
fn a_source_with_an_error_changes_nothing_that_runs() -> Result<()> {
    let boma = shop()?;
    boma.apply()?;
    boma.write(
        "web.yaml",
        "apiVersion: lowops.manifests.v1\nkind: Aplication\n",
    )?;
    boma.write("new.yaml", &database("second", ""))?;
    let said = boma.boma(["apply", "m"])?.code(1)?;
    ensure!(
        said.contains("web.yaml:2") && said.contains("Application"),
        "{said}"
    );
    assert_eq!(
        boma.boma(["get", "databases", "-o", "name"])?.ok()?,
        "database/orders\n"
    );
    boma.sql("web", "select 1")?.ok()?;
    Ok(())
}

#[test]
fn a_server_follows_its_manifests_and_a_second_one_is_told_of_the_first() -> Result<()> {
    let boma = shop()?;
    let serving = serve(&boma)?;
    wait(|| boma.sql("web", "select 1")?.ok())?;
    let said = boma.boma(["serve", "m"])?.code(1)?;
    ensure!(
        said.contains(&serving.0.id().to_string()),
        "the first one is not named: {said}"
    );
    boma.write(
        "report.yaml",
        &application("report", &[reads("orders")], ""),
    )?;
    wait(|| boma.sql("report", "select 1")?.ok())?;
    boma.write("broken.yaml", "apiVersion: lowops.manifests.v1\nkind: [")?;
    wait(|| {
        let log = fs::read_to_string(boma.path("serve.log"))?;
        ensure!(log.contains("broken.yaml:2"), "{log}");
        Ok(())
    })?;
    boma.sql("report", "select 1")?.ok()?;
    Ok(())
}

#[test]
fn everything_killed_at_once_comes_back_with_everything_acknowledged() -> Result<()> {
    let boma = shop()?;
    boma.apply()?;
    boma.sql("web", "create table t as select 42 as x")?.ok()?;
    for pid in boma.processes() {
        kill_9(pid);
    }
    wait(|| {
        ensure!(boma.processes().is_empty(), "some are still there");
        Ok(())
    })?;
    boma.apply()?;
    assert_eq!(boma.sql("web", "select x from t")?.ok()?, "42\n");
    let said = boma.boma(["apply", "m"])?.code(0)?;
    ensure!(said.contains("Nothing to do"), "{said}");
    Ok(())
}

#[test]
fn an_apply_killed_again_and_again_gets_there_in_the_end() -> Result<()> {
    let boma = shop()?;
    // Each life is longer than the one before: together they end in the middle of every step.
    for life in 1..25_u64 {
        let mut apply = boma
            .command()
            .args(["apply", "m"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let limit = std::time::Duration::from_millis(life * 17);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        drop(
            runtime.block_on(async {
                tokio::time::timeout(limit, std::future::pending::<()>()).await
            }),
        );
        drop(apply.kill());
        apply.wait()?;
    }
    boma.apply()?;
    boma.sql("web", "create table t as select 1 as x")?.ok()?;
    let instances = fs::read_dir(boma.state().join("instances"))?.count();
    assert_eq!(instances, 1, "an instance too many was made");
    let said = boma.boma(["apply", "m"])?.code(0)?;
    ensure!(said.contains("Nothing to do"), "{said}");
    Ok(())
}

/// Who is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Victim {
    Engine,
    Agents,
    Servers,
    Everything,
}

/// Applies, and kills the victim when the `moment`th step begins or ends; says whether there was
/// such a moment.
fn kill_at(boma: &Installation, moment: usize, victim: Victim) -> Result<bool> {
    kill_during(boma, &["apply", "m"], moment, victim)
}

/// Runs a command, and kills the victim when the `moment`th step begins or ends; says whether
/// there was such a moment.
pub(crate) fn kill_during(
    boma: &Installation,
    args: &[&str],
    moment: usize,
    victim: Victim,
) -> Result<bool> {
    let mut command = boma.command();
    command.env("BOMA_LOG", "boma=debug").args(args);
    let mut apply = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let said = BufReader::new(apply.stderr.take().context("no standard error")?);
    let mut steps = 0;
    for line in said.lines() {
        let line = line?;
        if line.contains("step begun") || line.contains("step done") {
            steps += 1;
        }
        if steps == moment + 1 {
            let program =
                |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            for pid in boma.processes() {
                let is_engine = u32::try_from(pid).is_ok_and(|pid| pid == apply.id());
                let hit = match victim {
                    Victim::Engine => is_engine,
                    Victim::Agents => !is_engine && program(pid).starts_with("boma"),
                    Victim::Servers => program(pid).starts_with("postgres"),
                    Victim::Everything => true,
                };
                if hit {
                    kill_9(pid);
                }
            }
            break;
        }
    }
    match victim {
        // What is left alive goes on, and may well get there by itself.
        Victim::Agents | Victim::Servers => {}
        Victim::Engine | Victim::Everything => drop(apply.kill()),
    }
    apply.wait()?;
    Ok(steps == moment + 1)
}

/// Walks through all steps of the plan that makes everything, and of one that changes it.
fn walk(victim: Victim) -> Result<()> {
    for moment in 0.. {
        let boma = shop()?;
        let first = kill_at(&boma, moment, victim)?;
        again(&boma)?;
        boma.sql("web", "create table t as select 42 as x")?.ok()?;
        boma.write(
            "report.yaml",
            &application("report", &[reads("orders")], ""),
        )?;
        let more = "parameters: {max_locks_per_transaction: '99'}";
        boma.write("db.yaml", &database("orders", more))?;
        let second = kill_at(&boma, moment, victim)?;
        again(&boma)?;
        assert_eq!(
            boma.sql("report", "select x from t")?.ok()?,
            "42\n",
            "{victim:?} {moment}"
        );
        assert_eq!(
            boma.sql("web", "show max_locks_per_transaction")?.ok()?,
            "99\n"
        );
        assert_eq!(fs::read_dir(boma.state().join("instances"))?.count(), 1);
        assert_eq!(boma.boma(["plan", "m"])?.code, 0, "{victim:?} {moment}");
        if !first && !second {
            ensure!(moment > 5, "too few steps to be true: {moment}");
            return Ok(());
        }
    }
    Ok(())
}

/// Applies until everything is so. An `initdb` that was killed is reported by the first apply, and
/// tried again by its agent.
pub(crate) fn again(boma: &Installation) -> Result<String> {
    wait(|| boma.apply())
}

#[test]
fn the_engine_killed_at_every_step_of_a_plan() -> Result<()> {
    walk(Victim::Engine)
}

#[test]
fn the_agents_killed_at_every_step_of_a_plan() -> Result<()> {
    walk(Victim::Agents)
}

#[test]
fn the_servers_killed_at_every_step_of_a_plan() -> Result<()> {
    walk(Victim::Servers)
}

#[test]
fn everything_killed_at_every_step_of_a_plan() -> Result<()> {
    walk(Victim::Everything)
}

#[test]
fn another_directory_by_mistake_takes_nothing_away() -> Result<()> {
    let boma = Installation::new()?;
    boma.write("db.yaml", &database("orders", "deletionProtection: false"))?;
    boma.apply()?;
    fs::create_dir_all(boma.path("empty"))?;
    let said = boma.boma(["apply", "empty"])?.code(1)?;
    ensure!(said.contains("--change-source"), "{said}");
    let table = boma.boma(["get", "databases"])?.ok()?;
    ensure!(table.contains("Ready"), "{table}");
    Ok(())
}

#[test]
fn no_password_is_anywhere_but_in_the_store_and_the_environment() -> Result<()> {
    let boma = shop()?;
    boma.write(
        "report.yaml",
        &application("report", &[reads("orders")], ""),
    )?;
    boma.write(
        "loop.yaml",
        &application(
            "loop",
            &[writes("orders")],
            "source: {command: [sh, -c, 'while :; do sleep 1; done']}",
        ),
    )?;
    let mut said = boma.boma(["-vvv", "apply", "m"])?.code(0)?;
    let mut passwords = Vec::new();
    for name in ["web", "report", "loop"] {
        let environment = boma.boma(["env", name, "--reveal"])?.ok()?;
        let password = environment
            .split(':')
            .nth(2)
            .and_then(|rest| rest.split('@').next())
            .context("no password in the connection string")?;
        ensure!(
            password.len() >= 43,
            "too short for 256 bits: {}",
            password.len()
        );
        passwords.push(password.to_owned());
    }
    for command in [
        &["plan", "m"][..],
        &["get"],
        &["get", "-o", "yaml"],
        &["get", "-o", "json"],
        &["describe", "orders"],
        &["describe", "web"],
        &["events", "--json"],
        &["audit", "--json"],
        &["env", "web"],
        &["logs", "orders"],
        &["doctor"],
    ] {
        let ran = boma.boma(command)?;
        said += &(ran.stdout + &ran.stderr);
    }
    for pid in boma.processes() {
        said +=
            &String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default());
    }
    let mut files = String::new();
    read_all(&boma.state(), &mut files)?;
    for password in &passwords {
        ensure!(!said.contains(password), "a password was shown");
        ensure!(!files.contains(password), "a password is in a file");
    }
    Ok(())
}

/// Everything below a directory, as text.
fn read_all(dir: &Path, text: &mut String) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            read_all(&entry.path(), text)?;
        } else if kind.is_file() {
            text.push_str(&String::from_utf8_lossy(
                &fs::read(entry.path()).unwrap_or_default(),
            ));
        }
    }
    Ok(())
}

#[test]
fn a_state_directory_that_cannot_be_used_says_so() -> Result<()> {
    let boma = shop()?;
    fs::write(boma.path("file"), "")?;
    let mut command = boma.command();
    let ran = command
        .args(["apply", "m", "--state-dir"])
        .arg(boma.path("file"))
        .output()?;
    ensure!(!ran.status.success());
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    ensure!(said.contains("file") && said.contains("help"), "{said}");
    fs::create_dir(boma.path("closed"))?;
    fs::set_permissions(boma.path("closed"), fs::Permissions::from_mode(0o700))?;
    Ok(())
}

#[test]
fn a_version_that_is_not_installed_is_said_at_plan_time_with_what_to_do() -> Result<()> {
    let boma = Installation::new()?.only(boma_instance::MajorVersion::V16);
    boma.write("db.yaml", &database("orders", "version: \"17\""))?;
    let said = boma.boma(["plan", "m"])?.code(1)?;
    ensure!(
        said.contains("17") && said.contains("install") && said.contains("db.yaml:"),
        "{said}"
    );
    Ok(())
}
