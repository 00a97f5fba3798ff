//! Who may do what: grants, as far as they are this machine's. What holds on every platform is in
//! `tests/scenarios`.

use std::process::Stdio;

use anyhow::{Result, ensure};

use crate::installation::Installation;
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
