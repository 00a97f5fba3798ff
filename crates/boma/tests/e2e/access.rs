//! Who may do what: grants given, changed and taken away.

use std::process::Stdio;

use anyhow::{Result, ensure};

use crate::installation::{Installation, wait};
use crate::manifests::{application, database, reads, writes};

/// A database with a writing and a reading application.
fn shop() -> Result<Installation> {
    let boma = Installation::new()?;
    boma.write("db.yaml", &database("orders", ""))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    boma.write(
        "report.yaml",
        &application("report", &[reads("orders")], ""),
    )?;
    boma.apply()?;
    Ok(boma)
}

#[test]
fn a_reader_sees_what_a_writer_makes_later_and_can_write_nothing() -> Result<()> {
    let boma = shop()?;
    boma.sql(
        "web",
        "create table later(id int primary key); insert into later values (1)",
    )?
    .ok()?;
    boma.sql("web", "create schema deep; create table deep.also(id int)")?
        .ok()?;
    assert_eq!(boma.sql("report", "select id from later")?.ok()?, "1\n");
    assert_eq!(
        boma.sql("report", "select count(*) from deep.also")?.ok()?,
        "0\n"
    );
    for sql in [
        "insert into later values (2)",
        "create table mine()",
        "set default_transaction_read_only = off; insert into later values (2)",
        "set role orders_owner",
        "set session authorization postgres",
        "create temp table t as select 1; drop table later",
    ] {
        let refused = boma.sql("report", sql)?;
        ensure!(refused.code != 0, "{sql} went through");
    }
    assert_eq!(boma.sql("web", "select count(*) from later")?.ok()?, "1\n");
    Ok(())
}

#[test]
fn a_command_waits_for_an_application_that_is_yet_to_be_made() -> Result<()> {
    let boma = Installation::new()?;
    let client = boma.client();
    let ran = boma.boma(["run", "web", "--wait", "--patience", "0", "--", &client])?;
    assert_eq!(ran.code, 1);
    ensure!(
        ran.stderr.contains("there is no application \"web\""),
        "{}",
        ran.stderr
    );
    let mut waiting = boma.command();
    waiting.args(["run", "web", "--wait", "--", &client, "-Atqc", "select 1"]);
    let waiting = waiting.stdout(Stdio::piped()).spawn()?;
    boma.write("db.yaml", &database("orders", ""))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    boma.apply()?;
    assert_eq!(waiting.wait_with_output()?.stdout, b"1\n");
    Ok(())
}

#[test]
fn two_writers_migrate_one_schema() -> Result<()> {
    let boma = shop()?;
    boma.write("jobs.yaml", &application("jobs", &[writes("orders")], ""))?;
    boma.apply()?;
    boma.sql("web", "create table t(id int)")?.ok()?;
    boma.sql(
        "jobs",
        "alter table t add column note text; insert into t values (1, 'x')",
    )?
    .ok()?;
    boma.sql("web", "alter table t drop column note")?.ok()?;
    assert_eq!(
        boma.sql(
            "jobs",
            "select tableowner from pg_tables where tablename = 't'"
        )?
        .ok()?,
        "orders_owner\n"
    );
    Ok(())
}

#[test]
fn a_grant_taken_away_ends_connections_and_what_it_made_stays() -> Result<()> {
    let boma = shop()?;
    boma.sql("web", "create table t(id int)")?.ok()?;
    // A session that stays open while its grant is taken away.
    let mut session = boma.command();
    session.args([
        "run",
        "web",
        "--",
        &boma.client(),
        "-c",
        "select pg_sleep(600)",
    ]);
    let mut session = session
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    wait(|| {
        let sql = "select count(*) from pg_stat_activity where usename = 'web_1' and wait_event = 'PgSleep'";
        let seen = boma.boma(["psql", "orders", "--", "-Atc", sql])?.ok()?;
        ensure!(seen.trim() == "1", "{seen}");
        Ok(())
    })?;
    let before = boma.boma(["env", "web", "--reveal"])?.ok()?;
    boma.write("web.yaml", &application("web", &[], ""))?;
    boma.apply()?;
    ensure!(
        !session.wait()?.success(),
        "the open connection was not ended"
    );
    assert_eq!(boma.boma(["env", "web", "--reveal"])?.ok()?, "");
    let url = before
        .trim()
        .strip_prefix("DATABASE_URL=")
        .unwrap_or_default()
        .to_owned();
    let again = connect(&boma, "report", &url)?;
    ensure!(!again, "the old connection string still works");
    assert_eq!(boma.sql("report", "select count(*) from t")?.ok()?, "0\n");
    let owners = boma
        .sql(
            "report",
            "select tableowner from pg_tables where tablename = 't'",
        )?
        .ok()?;
    assert_eq!(owners, "orders_owner\n");
    let logins = boma
        .sql(
            "report",
            "select count(*) from pg_roles where rolname like 'web%'",
        )?
        .ok()?;
    assert_eq!(logins, "0\n");
    Ok(())
}

#[test]
fn read_only_can_be_switched_on_and_off() -> Result<()> {
    let boma = shop()?;
    boma.sql("web", "create table t(id int)")?.ok()?;
    boma.write("web.yaml", &application("web", &[reads("orders")], ""))?;
    boma.apply()?;
    ensure!(
        boma.sql("web", "insert into t values (1)")?.code != 0,
        "a reader wrote"
    );
    boma.sql("web", "select * from t")?.ok()?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    boma.apply()?;
    boma.sql(
        "web",
        "insert into t values (1); alter table t add column x int",
    )?
    .ok()?;
    Ok(())
}

#[test]
fn an_application_without_a_grant_has_no_way_in() -> Result<()> {
    let boma = shop()?;
    boma.write("other.yaml", &application("other", &[], ""))?;
    boma.write("db2.yaml", &database("second", ""))?;
    boma.write("web2.yaml", &application("web2", &[writes("second")], ""))?;
    boma.apply()?;
    assert_eq!(boma.boma(["env", "other", "--reveal"])?.ok()?, "");
    // The credentials of one database are of no use on another one.
    let second = boma.boma(["env", "web2", "--reveal"])?.ok()?;
    let orders = boma.boma(["env", "web", "--reveal"])?.ok()?;
    let host = |url: &str| -> String {
        url.split('@')
            .nth(1)
            .and_then(|rest| rest.split('/').next())
            .unwrap_or_default()
            .to_owned()
    };
    let stranger = second
        .trim()
        .replace(&host(&second), &host(&orders))
        .replace("/second", "/orders");
    let url = stranger.strip_prefix("DATABASE_URL=").unwrap_or_default();
    ensure!(!connect(&boma, "web2", url)?, "a stranger got in");
    Ok(())
}

/// Whether a connection string lets an application in that was given another one.
fn connect(boma: &Installation, application: &str, url: &str) -> Result<bool> {
    let mut command = boma.command();
    command.env("DATABASE_CONNECTION_STRING", url).args([
        "run",
        application,
        "--",
        &boma.client(),
        "-c",
        "select 1",
    ]);
    Ok(command.output()?.status.success())
}
