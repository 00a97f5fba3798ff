//! Other certificates for servers that are in use, and another authority that signs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use boma_instance::MajorVersion;

use crate::installation::{Installation, client, wait};
use crate::manifests::{application, database, writes};
use crate::trouble::{Victim, again, kill_during, serve};

fn shop() -> Result<Installation> {
    let boma = Installation::new()?.only(MajorVersion::V17);
    boma.write("db.yaml", &database("orders", ""))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    boma.apply()?;
    Ok(boma)
}

fn trusted(boma: &Installation) -> PathBuf {
    boma.state().join("ca/ca.pem")
}

fn authorities(boma: &Installation) -> Result<usize> {
    let text = fs::read_to_string(trusted(boma))?;
    Ok(text.matches("BEGIN CERTIFICATE").count())
}

fn url(boma: &Installation) -> Result<String> {
    let text = boma.boma(["env", "web", "--reveal"])?.ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("DATABASE_URL="));
    Ok(line.context("no connection string")?.to_owned())
}

/// A client that trusts the authorities in a file and nobody else.
fn verifying(boma: &Installation, authorities: &Path) -> Result<Command> {
    let mut command = client(&url(boma)?);
    command
        .env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", authorities)
        .arg("-q");
    Ok(command)
}

/// Whether a server proves who it is to somebody who trusts these authorities.
fn proves(boma: &Installation, authorities: &Path) -> Result<bool> {
    let mut command = verifying(boma, authorities)?;
    let output = command.args(["-c", "select 1"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_refused = said.contains("certificate verify failed");
    ensure!(output.status.success() || is_refused, "{said}");
    Ok(output.status.success())
}

/// The certificate that the server shows.
fn shown(boma: &Installation) -> Result<String> {
    let url = url(boma)?;
    let (_, place) = url.rsplit_once('@').context("no place")?;
    let (place, _) = place.split_once('/').context("no database")?;
    let mut command = Command::new("openssl");
    command.args(["s_client", "-starttls", "postgres", "-connect", place]);
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let from = said.find("-----BEGIN").with_context(|| said.clone())?;
    let to = said.find("-----END").with_context(|| said.clone())?;
    Ok(said[from..to].to_owned())
}

/// A session that is open until it is asked to end.
struct Open(Child);

impl Open {
    fn begin(boma: &Installation) -> Result<Self> {
        let mut command = verifying(boma, &trusted(boma))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Self(command.arg("-At").spawn()?))
    }

    /// Asks something at last, and ends.
    fn still_answers(self) -> Result<bool> {
        let mut child = self.0;
        let mut input = child.stdin.take().context("no input")?;
        std::io::Write::write_all(&mut input, b"select 'here';\n")?;
        drop(input);
        let output = child.wait_with_output()?;
        Ok(String::from_utf8_lossy(&output.stdout).contains("here"))
    }
}

#[test]
fn every_server_gets_another_certificate_and_no_session_ends() -> Result<()> {
    let boma = shop()?;
    boma.write("ledger.yaml", &database("ledger", "suspended: true"))?;
    boma.apply()?;
    let first = shown(&boma)?;
    let session = Open::begin(&boma)?;
    let said = boma.boma(["rotate", "--tls"])?;
    ensure!(
        said.stderr.contains("give it another certificate"),
        "{said:?}"
    );
    ensure!(
        said.stderr.contains("Another certificate: 2 servers."),
        "{said:?}"
    );
    said.ok()?;
    let second = shown(&boma)?;
    ensure!(first != second, "it is the same");
    ensure!(proves(&boma, &trusted(&boma))?);
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);

    let _serving = serve(&boma)?;
    wait(|| {
        let log = fs::read_to_string(boma.path("serve.log"))?;
        ensure!(log.contains("Everything is as the manifests say"), "{log}");
        Ok(())
    })?;
    boma.boma(["rotate", "--tls", "--wait"])?.ok()?;
    ensure!(shown(&boma)? != second, "it is the same");
    ensure!(proves(&boma, &trusted(&boma))?);
    ensure!(session.still_answers()?, "the session has ended");
    let events = boma.boma(["events"])?.ok()?;
    ensure!(
        events.contains("another certificate for every server"),
        "{events}"
    );
    let audit = boma.boma(["audit"])?.ok()?;
    ensure!(
        audit.contains("another certificate for every server"),
        "{audit}"
    );
    Ok(())
}

#[test]
fn another_authority_is_trusted_before_it_signs_and_the_former_one_until_it_is_forgotten()
-> Result<()> {
    let boma = shop()?;
    let former = boma.path("former.pem");
    fs::copy(trusted(&boma), &former)?;
    let none = boma.boma(["rotate", "--authority", "forget"])?.code(1)?;
    ensure!(none.contains("no former authority is trusted"), "{none}");

    boma.boma(["rotate", "--authority", "new"])?.ok()?;
    assert_eq!(authorities(&boma)?, 2);
    let twice = boma.boma(["rotate", "--authority", "new"])?.code(1)?;
    ensure!(
        twice.contains("`boma rotate --tls` lets the new one sign"),
        "{twice}"
    );
    boma.boma(["rotate", "--authority", "forget"])?.code(1)?;
    ensure!(proves(&boma, &former)? && proves(&boma, &trusted(&boma))?);

    let both = boma.path("both.pem");
    fs::copy(trusted(&boma), &both)?;
    boma.boma(["rotate", "--tls"])?.ok()?;
    ensure!(!proves(&boma, &former)?, "the former one signs still");
    ensure!(proves(&boma, &both)? && proves(&boma, &trusted(&boma))?);

    boma.boma(["rotate", "--authority", "forget"])?.ok()?;
    assert_eq!(authorities(&boma)?, 1);
    ensure!(proves(&boma, &both)? && proves(&boma, &trusted(&boma))?);
    boma.boma(["rotate", "--key"])?.ok()?;
    boma.boma(["rotate", "--tls"])?.ok()?;
    ensure!(proves(&boma, &trusted(&boma))?);
    Ok(())
}

#[test]
fn everything_killed_while_authorities_are_exchanged() -> Result<()> {
    let boma = shop()?;
    for moment in 0.. {
        boma.boma(["rotate", "--authority", "new"])?.ok()?;
        let both = boma.path("both.pem");
        fs::copy(trusted(&boma), &both)?;
        let was_there = kill_during(&boma, &["rotate", "--tls"], moment, Victim::Everything)?;
        // It may have been killed before the wish was on record.
        again(&boma)?;
        ensure!(
            proves(&boma, &both)? && proves(&boma, &trusted(&boma))?,
            "{moment}"
        );
        boma.boma(["rotate", "--tls"])?.ok()?;
        boma.boma(["rotate", "--authority", "forget"])?.ok()?;
        ensure!(proves(&boma, &trusted(&boma))?, "{moment}");
        if !was_there {
            ensure!(moment > 1, "too few steps to be true: {moment}");
            return Ok(());
        }
    }
    Ok(())
}
