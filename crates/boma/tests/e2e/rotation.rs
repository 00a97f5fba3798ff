//! Passwords that are exchanged while an application uses them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};

use crate::installation::{Installation, client, wait};
use crate::manifests::{application, database, writes};
use crate::trouble::{Victim, again, kill_during, serve};

/// Keeps one session open until it is ended.
const SESSION: &str = "source: {command: [sh, -c, 'tail -f /dev/null | CLIENT -q']}";

/// Queries again and again in one session, and opens another when it ends, as a pool does.
const POOL: &str = r#"source: {command: [sh, -c, 'while :; do CLIENT -qc "select 1" -c "\watch 0.2"; sleep 0.1; done']}"#;

fn shop(source: &str) -> Result<Installation> {
    let boma = Installation::new()?.only(boma_instance::MajorVersion::V17);
    boma.write("db.yaml", &database("orders", ""))?;
    let source = source.replace("CLIENT", &boma.client());
    boma.write(
        "web.yaml",
        &application("web", &[writes("orders")], &source),
    )?;
    boma.apply()?;
    Ok(boma)
}

/// The connection string that was delivered last.
pub(crate) fn delivered(boma: &Installation) -> Result<String> {
    let text = boma.boma(["env", "web", "--reveal"])?.ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("DATABASE_URL="));
    Ok(line.context("no connection string")?.to_owned())
}

/// The connection string that the running process was started with.
fn running(boma: &Installation) -> Result<Option<String>> {
    let text = boma.boma(["get", "application/web", "-o", "json"])?.ok()?;
    let pid = text.lines().find_map(|line| {
        let pid = line.trim().strip_prefix("\"pid\": ")?;
        pid.trim_end_matches(',').parse::<u32>().ok()
    });
    let Some(pid) = pid else { return Ok(None) };
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let line = environment
        .split('\0')
        .find_map(|line| line.strip_prefix("DATABASE_URL="));
    Ok(line.map(str::to_owned))
}

pub(crate) fn connects(url: &str) -> Result<bool> {
    let output = client(url).args(["-qc", "select 1"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_refused = said.contains("not permitted to log in")
        || said.contains("password authentication failed")
        || said.contains("no pg_hba.conf entry")
        || said.contains("pg_hba.conf rejects");
    ensure!(output.status.success() || is_refused, "{said}");
    Ok(output.status.success())
}

/// A client that holds one session until it is dropped.
pub(crate) struct Client(Child);

impl Client {
    pub(crate) fn connect(url: &str) -> Result<Self> {
        let mut command = client(url);
        command.arg("-q").stdin(Stdio::piped());
        Ok(Self(command.stdout(Stdio::null()).spawn()?))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Checks that a rotation is over: the new password works, the former one does not.
fn is_over(boma: &Installation, former: &str) -> Result<()> {
    let new = delivered(boma)?;
    ensure!(new != former, "it is the same");
    ensure!(connects(&new)?, "the new one does not work");
    ensure!(!connects(former)?, "the former one still works");
    ensure!(running(boma)?.is_none_or(|url| url == new), "not restarted");
    let plan = boma.boma(["plan", "m"])?;
    ensure!(plan.code == 0, "{plan:?}");
    Ok(())
}

#[test]
fn a_rotation_beside_a_restart_loses_no_access_and_leaves_no_login() -> Result<()> {
    let boma = shop(POOL)?;
    let _serving = serve(&boma)?;
    let changed = |buffers: &str| {
        let parameters = format!("parameters: {{shared_buffers: '{buffers}'}}");
        boma.write("db.yaml", &database("orders", &parameters))
    };
    let rotated = || {
        let asked = boma.boma(["rotate", "web"])?;
        ensure!([0, 4].contains(&asked.code), "{asked:?}");
        Ok(())
    };
    for (buffers, restart_first) in [("48MB", true), ("40MB", false)] {
        let former = delivered(&boma)?;
        if restart_first {
            changed(buffers)?;
            rotated()?;
        } else {
            rotated()?;
            changed(buffers)?;
        }
        wait(|| is_over(&boma, &former))?;
        let shown = boma.sql("web", "show shared_buffers")?.ok()?;
        assert_eq!(shown.trim(), buffers);
    }
    Ok(())
}

#[test]
fn a_rotation_says_each_stage_and_leaves_one_password_that_works() -> Result<()> {
    let boma = shop(SESSION)?;
    let mut passwords = vec![delivered(&boma)?];
    for next in ["web_2", "web_1"] {
        let former = delivered(&boma)?;
        let said = boma.boma(["rotate", "web", "--wait"])?.code(0)?;
        for stage in [
            "another password",
            "takes over from",
            "environment",
            "restart",
            "let go",
        ] {
            ensure!(said.contains(stage), "{stage} is not said:\n{said}");
        }
        is_over(&boma, &former)?;
        passwords.push(delivered(&boma)?);
        let described = boma.boma(["describe", "application/web"])?.ok()?;
        ensure!(described.contains(&format!("as {next}")), "{described}");
    }
    let mut said = boma.boma(["events", "web"])?.ok()?;
    ensure!(
        said.contains("takes over") && said.contains("is let go"),
        "{said}"
    );
    said += &boma.boma(["audit"])?.ok()?;
    said += &boma.boma(["get", "-o", "yaml"])?.ok()?;
    for file in ["boma.sqlite", "boma.sqlite-wal"] {
        let bytes = fs::read(boma.state().join(file)).unwrap_or_default();
        said += &String::from_utf8_lossy(&bytes);
    }
    for url in passwords {
        let password = url
            .split(':')
            .nth(2)
            .and_then(|rest| rest.split('@').next());
        let password = password.context("no password")?;
        ensure!(!said.contains(password), "a password was shown");
    }
    Ok(())
}

/// Kills somebody at each step of a rotation: what the process was started with always works.
fn walk(victim: Victim) -> Result<()> {
    let boma = shop(SESSION)?;
    for moment in 0.. {
        let former = delivered(&boma)?;
        let was_there = kill_during(&boma, &["rotate", "web"], moment, victim)?;
        if matches!(victim, Victim::Engine)
            && let Some(url) = running(&boma)?
        {
            ensure!(connects(&url)?, "{victim:?} {moment}: locked out");
        }
        again(&boma)?;
        // A crash before the wish was on record leaves none.
        if delivered(&boma)? == former {
            ensure!(connects(&former)?, "{victim:?} {moment}: locked out");
            boma.boma(["rotate", "web", "--wait"])?.ok()?;
        }
        is_over(&boma, &former).with_context(|| format!("{victim:?} {moment}"))?;
        if !was_there {
            ensure!(moment > 10, "too few steps to be true: {moment}");
            return Ok(());
        }
    }
    Ok(())
}

#[test]
fn the_engine_killed_at_every_step_of_a_rotation() -> Result<()> {
    walk(Victim::Engine)
}

#[test]
fn agents_killed_at_every_step_of_a_rotation() -> Result<()> {
    walk(Victim::Agents)
}

#[test]
fn everything_killed_at_every_step_of_a_rotation() -> Result<()> {
    walk(Victim::Everything)
}

#[test]
fn a_failed_restart_stops_a_rotation_with_the_former_password_still_good() -> Result<()> {
    let boma = Installation::new()?.only(boma_instance::MajorVersion::V17);
    let program = boma.path("program");
    let text = format!("#!/bin/sh\ntail -f /dev/null | {} -q\n", boma.client());
    let install = || -> Result<()> {
        fs::write(&program, &text)?;
        Ok(fs::set_permissions(
            &program,
            fs::Permissions::from_mode(0o755),
        )?)
    };
    install()?;
    let source = format!("source: {{command: [{}]}}", program.display());
    boma.write("db.yaml", &database("orders", ""))?;
    boma.write(
        "web.yaml",
        &application("web", &[writes("orders")], &source),
    )?;
    boma.apply()?;
    let former = delivered(&boma)?;
    fs::remove_file(&program)?;
    let said = boma.boma(["rotate", "web"])?.code(1)?;
    ensure!(said.contains("program"), "{said}");
    assert_eq!(running(&boma)?.as_deref(), Some(former.as_str()));
    ensure!(connects(&former)?, "the former one is locked");
    let described = boma.boma(["describe", "application/web"])?.ok()?;
    ensure!(
        described.contains("the former user stays open"),
        "{described}"
    );
    install()?;
    boma.apply()?;
    is_over(&boma, &former)
}

#[test]
fn an_application_without_a_password_has_nothing_to_exchange() -> Result<()> {
    let boma = shop("")?;
    boma.write("idle.yaml", &application("idle", &[], ""))?;
    boma.apply()?;
    let said = boma.boma(["rotate", "idle"])?.code(1)?;
    ensure!(said.contains("idle has no password"), "{said}");
    boma.write("other.yaml", &database("other", ""))?;
    boma.apply()?;
    let said = boma
        .boma(["rotate", "web", "--database", "other"])?
        .code(1)?;
    ensure!(said.contains("web has no password for other"), "{said}");
    Ok(())
}

#[test]
fn two_rotations_at_once_are_one() -> Result<()> {
    let boma = shop(SESSION)?;
    let former = delivered(&boma)?;
    let rotate = || {
        let mut command = boma.command();
        command
            .args(["rotate", "web", "--wait"])
            .stderr(Stdio::null());
        command.stdout(Stdio::null()).spawn()
    };
    let (mut one, mut other) = (rotate()?, rotate()?);
    ensure!(one.wait()?.success() && other.wait()?.success());
    is_over(&boma, &former)?;
    ensure!(delivered(&boma)?.contains("web_2:"), "two rotations");
    Ok(())
}

#[test]
fn a_server_exchanges_a_password_that_another_process_asks_for() -> Result<()> {
    let boma = shop(SESSION)?;
    let former = delivered(&boma)?;
    let _serving = serve(&boma)?;
    wait(|| {
        let log = fs::read_to_string(boma.path("serve.log"))?;
        ensure!(log.contains("Everything is as the manifests say"), "{log}");
        Ok(())
    })?;
    boma.boma(["rotate", "web", "--wait"])?.ok()?;
    is_over(&boma, &former)
}
