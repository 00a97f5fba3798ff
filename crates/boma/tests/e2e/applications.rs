//! Applications that Boma runs: started, migrated, restarted when their secret changes.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use boma_testkit::Ran;

use crate::dashboard::PROJECT;
use crate::installation::{Installation, kill_9, wait};
use crate::manifests::{application, database, reads, writes};

const LOOP: &str = "source: {command: [sh, -c, 'echo started; while :; do sleep 1; done']}";

fn log(boma: &Installation) -> Result<String> {
    boma.boma(["logs", "web"])?.ok()
}

fn starts(boma: &Installation) -> Result<usize> {
    Ok(log(boma)?.matches("started").count())
}

#[test]
fn an_application_is_restarted_when_its_environment_changes_and_only_then() -> Result<()> {
    let boma = Installation::new()?;
    boma.write("db.yaml", &database("orders", ""))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], LOOP))?;
    boma.apply()?;
    wait(|| {
        ensure!(starts(&boma)? == 1, "{}", log(&boma)?);
        Ok(())
    })?;
    // A grant for somebody else changes nothing for this one.
    boma.write(
        "report.yaml",
        &application("report", &[reads("orders")], ""),
    )?;
    boma.apply()?;
    ensure!(
        starts(&boma)? == 1,
        "restarted without a reason: {}",
        log(&boma)?
    );
    boma.write(
        "web.yaml",
        &application(
            "web",
            &[writes("orders")],
            &format!("{LOOP}\nenv: {{COLOR: red}}"),
        ),
    )?;
    boma.apply()?;
    wait(|| {
        ensure!(starts(&boma)? == 2, "{}", log(&boma)?);
        Ok(())
    })
}

#[test]
fn a_secret_of_the_project_is_given_and_another_value_restarts() -> Result<()> {
    let boma = Installation::new()?;
    let value = boma.path("value");
    let script = "echo \"given $SMTP_PASSWORD\"; while :; do sleep 1; done";
    let source = format!("source: {{command: [sh, -c, '{script}']}}");
    let env = "env: {SMTP_PASSWORD: {secret: smtp-password}}";
    let web = application("web", &[], &format!("{source}\n{env}"));
    boma.write("web.yaml", &web)?;
    let key = format!("{PROJECT}/smtp-password");
    let refused = boma.boma(["apply", "m"])?;
    let store = format!("Store it: `boma secret set {key} < FILE`.");
    ensure!(
        refused.code == 1 && refused.stderr.contains(&store),
        "{refused:?}"
    );

    let set = |text: &str| {
        fs::write(&value, text)?;
        let mut command = boma.command();
        command.args(["secret", "set", &key]);
        let output = command.stdin(fs::File::open(&value)?).output();
        Ran::from(&output.context("start boma")?).ok()
    };
    let is_given = |text: &str| {
        wait(|| {
            let printed = log(&boma)?;
            ensure!(printed.ends_with(&format!("given {text}\n")), "{printed}");
            Ok(())
        })
    };
    set("first")?;
    boma.apply()?;
    is_given("first")?;
    set("first")?;
    assert_eq!(boma.boma(["plan", "m"])?.code, 0, "it is the same secret");
    set("second")?;
    assert_eq!(boma.boma(["plan", "m"])?.code, 4);
    boma.apply()?;
    is_given("second")?;
    // Another key of the store is none of the application's business.
    boma.boma(["rotate", "--key"])?.ok()?;
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    // What it was given it keeps.
    boma.boma(["secret", "remove", &key])?.ok()?;
    assert_eq!(boma.boma(["apply", "m"])?.code, 1);
    let listed = boma.boma(["get", "web"])?.ok()?;
    ensure!(listed.contains("Running"), "{listed}");
    set("second")?;
    boma.apply()?;
    Ok(())
}

#[test]
fn migrations_run_before_a_start_and_a_failed_one_keeps_the_old_version_running() -> Result<()> {
    let boma = Installation::new()?;
    let flag = boma.path("fail");
    let migration = format!(
        "preDeploy: 'test ! -e {} && {} -qc \"create table if not exists t(id int)\"'",
        flag.display(),
        boma.client()
    );
    boma.write("db.yaml", &database("orders", ""))?;
    boma.write(
        "web.yaml",
        &application("web", &[writes("orders")], &format!("{LOOP}\n{migration}")),
    )?;
    boma.apply()?;
    assert_eq!(boma.sql("web", "select count(*) from t")?.ok()?, "0\n");
    let before = boma.boma(["get", "web", "-o", "json"])?.ok()?;
    fs::write(&flag, "")?;
    let changed = format!("{LOOP}\n{migration}\nenv: {{COLOR: red}}");
    boma.write(
        "web.yaml",
        &application("web", &[writes("orders")], &changed),
    )?;
    let ran = boma.boma(["apply", "m"])?;
    ensure!(
        ran.code != 0 && ran.stderr.contains("preDeploy"),
        "{}",
        ran.stderr
    );
    let after = boma.boma(["get", "web", "-o", "json"])?.ok()?;
    let pid = |text: &str| {
        text.lines()
            .find(|line| line.contains("\"pid\""))
            .map(str::to_owned)
    };
    assert_eq!(
        pid(&before),
        pid(&after),
        "the old version should still run"
    );
    fs::remove_file(&flag)?;
    boma.boma(["deploy", "web"])?.ok()?;
    let last = boma.boma(["get", "web", "-o", "json"])?.ok()?;
    assert_ne!(pid(&before), pid(&last));
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    Ok(())
}

#[test]
fn every_version_serves_an_application() -> Result<()> {
    let boma = Installation::new()?;
    for major in boma_instance::MajorVersion::ALL {
        let (name, web) = (format!("db{major}"), format!("web{major}"));
        boma.write(
            &format!("{name}.yaml"),
            &database(&name, &format!("version: \"{major}\"")),
        )?;
        boma.write(
            &format!("{web}.yaml"),
            &application(&web, &[writes(&name)], ""),
        )?;
    }
    boma.apply()?;
    for major in boma_instance::MajorVersion::ALL {
        let version = boma
            .sql(&format!("web{major}"), "show server_version")?
            .ok()?;
        ensure!(version.starts_with(&format!("{major}.")), "{version}");
    }
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    Ok(())
}

#[test]
fn an_application_that_is_killed_is_started_again_by_the_next_pass() -> Result<()> {
    let boma = Installation::new()?;
    boma.write("db.yaml", &database("orders", ""))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], LOOP))?;
    boma.apply()?;
    let text = boma.boma(["get", "web", "-o", "json"])?.ok()?;
    let pid = text.lines().find_map(|line| {
        line.trim()
            .strip_prefix("\"pid\": ")?
            .trim_end_matches(',')
            .parse()
            .ok()
    });
    kill_9(pid.unwrap_or_default());
    wait(|| {
        boma.apply()?;
        ensure!(starts(&boma)? == 2, "{}", log(&boma)?);
        Ok(())
    })
}
