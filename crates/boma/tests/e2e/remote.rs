//! The command line beside an installation that is somewhere else: all it has is an address and a token.

mod backups;
mod ends;
mod secrets;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use boma_instance::MajorVersion;
use boma_testkit::{Answer, Browser, Ran};

use crate::backups::shop;
use crate::dashboard::{PROJECT, is_ready, signed_in};
use crate::installation::{Installation, wait};
use crate::manifests::{application, database, writes};
use crate::trouble::{Serving, serve_with};

/// Somebody who has nothing but a server and a token.
struct Elsewhere {
    boma: Installation,
    _serving: Serving,
    server: String,
    token: String,
    home: tempfile::TempDir,
}

impl Elsewhere {
    fn of(role: &str) -> Result<Self> {
        let boma = Installation::new()?.only(MajorVersion::V17);
        let orders = database("orders", "").replace("enabled: false", "enabled: true");
        boma.write("orders.yaml", &orders)?;
        boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
        Self::beside(boma, role)
    }

    /// Beside an installation with a table in its database `orders`, which may be retired.
    fn shop(role: &str) -> Result<Self> {
        Self::beside(shop(MajorVersion::V17)?, role)
    }

    fn beside(boma: Installation, role: &str) -> Result<Self> {
        let serving = serve_with(&boma, &["m", "--dashboard", "127.0.0.1:0"])?;
        let mut browser = signed_in(&boma)?;
        if boma.manifests().join("web.yaml").exists() {
            is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;
        }
        let token = boma
            .boma(["token", "create", "cli", "--role", role])?
            .ok()?;
        Ok(Self {
            server: format!("http://{}", browser.address()),
            token: token.trim().to_owned(),
            boma,
            _serving: serving,
            home: tempfile::tempdir()?,
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.boma.command();
        // Nothing of the installation: its state is nowhere that this could look.
        command
            .current_dir(self.home.path())
            .env("BOMA_STATE_DIR", self.home.path().join("none"))
            .env("BOMA_SERVER", &self.server)
            .env("BOMA_TOKEN", &self.token)
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<Ran> {
        ran(&mut self.command(arguments))
    }

    /// A program that has nothing but another token.
    fn with_token<'s>(
        &'s self,
        name: &str,
        role: &str,
    ) -> Result<impl Fn(&[&str]) -> Result<Ran> + use<'s>> {
        let made = ["token", "create", name, "--role", role];
        let token = self.boma.boma(made)?.ok()?.trim().to_owned();
        let run = move |arguments: &[&str]| ran(self.command(arguments).env("BOMA_TOKEN", &token));
        wait(|| run(&["get"])?.ok())?;
        Ok(run)
    }

    /// What a server answers with that is asked without the command line.
    fn ask(&self, method: &str, path: &str, body: &serde_json::Value) -> Result<Answer> {
        let link = self.boma.boma(["dashboard"])?.ok()?;
        let bearer = format!("Bearer {}", self.token);
        let mut program = Browser::at(&link)?.with("authorization", &bearer);
        program.send(method, path, body)
    }

    /// That the audit trail says who has done these things.
    fn has_recorded(&self, parts: &[&str]) -> Result<()> {
        let audit = self.ok(&["audit", "-n", "1000"])?;
        for part in parts {
            let mut lines = audit.lines();
            let has_it = lines.any(|line| line.contains(part) && line.contains("token cli"));
            ensure!(has_it, "{part}: {audit}");
        }
        Ok(())
    }

    fn ok(&self, arguments: &[&str]) -> Result<String> {
        self.run(arguments)?.ok()
    }

    /// What a command that is refused says.
    fn refused(&self, arguments: &[&str]) -> Result<String> {
        let said = self.run(arguments)?;
        ensure!(said.code == 1, "{said:?}");
        ensure!(!self.home.path().join("none").exists(), "a state was made");
        Ok(said.stderr)
    }
}

/// That somebody has too small a role.
fn is_for(role: &str, said: &Ran) -> Result<()> {
    let who = format!("Only somebody who is {role}");
    ensure!(said.code == 1 && said.stderr.contains(&who), "{said:?}");
    Ok(())
}

fn ran(command: &mut Command) -> Result<Ran> {
    Ok(Ran::from(&command.output()?))
}

#[test]
fn what_there_is_is_shown_as_where_it_runs() -> Result<()> {
    let there = Elsewhere::of("admin")?;
    // A new token is known within a second.
    wait(|| there.ok(&["get"]))?;
    for arguments in [
        &["get"][..],
        &["get", "databases"],
        &["get", "web", "-o", "name"],
        &["backup", "list", "orders"],
    ] {
        wait(|| {
            let (here, there) = (there.boma.boma(arguments)?.ok()?, there.ok(arguments)?);
            ensure!(here == there, "{here}\n{there}");
            Ok(())
        })?;
    }
    let plan = there.ok(&["plan"])?;
    assert_eq!(plan, there.boma.boma(["plan", "m"])?.ok()?);
    let described = there.ok(&["describe", "orders"])?;
    for part in [
        "Database orders",
        "read/write, as web",
        "orders.yaml:4",
        "Events",
    ] {
        ensure!(described.contains(part), "{part}: {described}");
    }
    let yaml = there.ok(&["get", "orders", "-o", "yaml"])?;
    ensure!(
        yaml.contains("kind: Database") && yaml.contains("organization: fincorp"),
        "{yaml}"
    );
    let json: serde_json::Value = serde_json::from_str(&there.ok(&["get", "-o", "json"])?)?;
    ensure!(
        json[0]["kind"] == "Database" && json[1]["kind"] == "Application",
        "{json}"
    );
    let events = there.ok(&["events", "orders", "--json"])?;
    ensure!(events.lines().count() > 0, "{events}");
    let log = there.ok(&["logs", "orders", "-n", "1"])?;
    assert_eq!(log.lines().count(), 1, "{log}");
    let hidden = there.ok(&["env", "web"])?;
    assert_eq!(hidden, "DATABASE_URL=********\n");
    let here = there.boma.boma(["env", "web", "--reveal"])?.ok()?;
    assert_eq!(there.ok(&["env", "web", "--reveal"])?, here);
    let ran = there.ok(&[
        "run",
        "web",
        "--",
        "sh",
        "-c",
        "echo $DATABASE_URL-$BOMA_TOKEN-",
    ])?;
    assert_eq!(
        format!("DATABASE_URL={}", ran.trim().trim_end_matches("--")),
        here.trim()
    );
    let audit = there.ok(&["audit", "-n", "1000"])?;
    ensure!(
        audit.contains("token cli") && audit.contains("reveal DATABASE_URL"),
        "{audit}"
    );
    Ok(())
}

#[test]
fn manifests_are_changed_where_they_are() -> Result<()> {
    let there = Elsewhere::of(&format!("developer:{PROJECT}"))?;
    wait(|| there.ok(&["get"]))?;
    let orders = || std::fs::read_to_string(there.boma.manifests().join("orders.yaml"));
    let before = orders()?;
    let tried = there.run(&["set", "orders", "storage.size=2Gi", "--dry-run"])?;
    ensure!(
        tried.code == 4 && tried.stdout.contains("+  storage: {size: 2Gi}"),
        "{tried:?}"
    );
    assert_eq!(orders()?, before);
    there.ok(&[
        "set",
        "orders",
        "storage.size=2Gi",
        "parameters.work_mem=8MB",
    ])?;
    let after = orders()?;
    ensure!(
        after.contains("size: 2Gi") && after.contains("work_mem: 8MB"),
        "{after}"
    );
    let same = there.run(&["set", "orders", "storage.size=2Gi"])?;
    ensure!(
        same.code == 0 && same.stderr.contains("says so already"),
        "{same:?}"
    );
    there.ok(&["create", "database", "stock", "plan=free", "version=17"])?;
    there.ok(&[
        "attach",
        "web",
        "stock",
        "--env",
        "STOCK_URL",
        "--read-only",
    ])?;
    wait(|| {
        let listed = there.ok(&["env", "web"])?;
        ensure!(listed.contains("STOCK_URL"), "{listed}");
        Ok(())
    })?;
    there.ok(&["detach", "web", "stock"])?;
    let text = std::fs::read_to_string(there.boma.manifests().join("web.yaml"))?;
    ensure!(!text.contains("stock") && text.contains("orders"), "{text}");
    let refused = there.refused(&["detach", "web", "stock"])?;
    ensure!(
        refused.contains("not-attached") && refused.contains("`orders`"),
        "{refused}"
    );
    wait(|| {
        let listed = there.ok(&["env", "web"])?;
        ensure!(!listed.contains("STOCK_URL"), "{listed}");
        Ok(())
    })?;
    let wrong = there.refused(&["set", "orders", "memroy=1Gi"])?;
    ensure!(
        wrong.contains("memroy") && wrong.contains("orders.yaml"),
        "{wrong}"
    );

    Ok(())
}

#[test]
fn what_no_manifest_says_is_asked_for() -> Result<()> {
    let there = Elsewhere::of(&format!("developer:{PROJECT}"))?;
    wait(|| there.ok(&["get"]))?;
    let said = there.run(&["rotate", "web"])?;
    ensure!(
        said.code == 0 && said.stderr.contains("orders  asked for"),
        "{said:?}"
    );
    there.ok(&["backup", "create", "orders"])?;
    let window = wait(|| {
        let list: serde_json::Value =
            serde_json::from_str(&there.ok(&["backup", "list", "orders", "-o", "json"])?)?;
        let until = list["recoverableUntil"].as_str().context("a window")?;
        Ok(until.to_owned())
    })?;
    there.ok(&[
        "restore",
        "orders",
        "--as",
        "orders-before",
        "--to-time",
        &window,
    ])?;
    ensure!(there.boma.manifests().join("orders-before.yaml").exists());
    there.ok(&["fork", "orders", "--as", "orders-too"])?;
    let text = fs::read_to_string(there.boma.manifests().join("orders-too.yaml"))?;
    ensure!(
        text.contains("database: orders\n") && !text.contains("target"),
        "{text}"
    );
    there.ok(&["stop", "orders"])?;
    let phase = |phase: &str| {
        wait(|| {
            let listed = there.ok(&["get", "orders"])?;
            ensure!(listed.contains(phase), "{listed}");
            Ok(())
        })
    };
    phase("Held")?;
    there.ok(&["start", "orders"])?;
    phase("Ready")?;
    there.ok(&["deploy", "web"])?;
    // Nobody has used the new password yet: until somebody does, the former one is good.
    let waited = there.run(&["rotate", "web", "--wait", "--patience", "1"])?;
    assert_eq!(waited.code, 4, "{waited:?}");
    Ok(())
}

#[test]
fn what_happens_is_followed_until_one_may_not_any_more() -> Result<()> {
    let there = Elsewhere::of("viewer")?;
    wait(|| there.ok(&["get"]))?;
    let mut follow = there.command(&["events", "orders", "--follow", "--json", "-n", "1"]);
    let mut follow = follow
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut lines = BufReader::new(follow.stdout.take().context("an output")?).lines();
    let before = lines.next().context("what happened before")??;
    // The stream is read from its beginning on: what happens after the first line is in it.
    let with = |setting: &str| database("orders", &format!("parameters: {{work_mem: {setting}}}"));
    there.boma.write("orders.yaml", &with("8MB"))?;
    let after = lines.next().context("what happens")??;
    let event: serde_json::Value = serde_json::from_str(&after)?;
    ensure!(before != after, "{after}");
    ensure!(
        event["subject"] == format!("Database {PROJECT}/orders"),
        "{event}"
    );
    // A token that is removed ends what it has opened, with the next thing that would be told.
    there.boma.boma(["token", "remove", "cli"])?.ok()?;
    let refused = wait(|| {
        let refused = there.run(&["get"])?;
        ensure!(refused.code == 1, "{refused:?}");
        Ok(refused.stderr)
    })?;
    ensure!(refused.contains("nobody is signed in"), "{refused}");
    there.boma.write("orders.yaml", &with("9MB"))?;
    for line in lines {
        let line = line?;
        ensure!(!line.contains("9MB"), "{line}");
    }
    ensure!(follow.wait()?.success());
    Ok(())
}

#[test]
fn what_no_server_is_asked_for_is_refused_before_anything_is_sent() -> Result<()> {
    let there = Elsewhere::of("viewer")?;
    for (arguments, says) in [
        (&["doctor"][..], "a server cannot be asked for this command"),
        (&["psql", "orders"], "boma run APPLICATION"),
        (&["backup", "key"], "reads every backup there"),
        (&["purge", "orders"], "nobody is signed in"),
        (&["rotate", "--tls"], "certificates and keys"),
        (&["fork", "orders", "--as", "other"], "nobody is signed in"),
        (&["stop"], "name what is meant"),
        (&["plan", "manifests"], "a plan of manifests here"),
    ] {
        // The token is wrong: whoever is refused in other words was not sent.
        let mut command = there.command(arguments);
        let said = ran(command.env("BOMA_TOKEN", "wrong"))?;
        ensure!(
            said.code == 1 && said.stderr.contains(says),
            "{arguments:?}: {said:?}"
        );
    }
    let without = ran(there.command(&["get"]).env_remove("BOMA_TOKEN"))?;
    ensure!(
        without
            .stderr
            .contains("there is no token for `http://127.0.0.1:"),
        "{without:?}"
    );
    let file = there.home.path().join("token");
    let read = ["get", "--token-file", file.to_str().context("a path")?];
    let unreadable = there.refused(&read)?;
    ensure!(unreadable.contains("read the token in `"), "{unreadable}");
    std::fs::write(&file, format!("{}\n", there.token))?;
    let mut command = there.command(&read);
    wait(|| ran(command.env_remove("BOMA_TOKEN"))?.ok())?;
    let far = there.refused(&["get", "--server", "http://boma.example"])?;
    ensure!(
        far.contains("neither encrypted nor on this machine"),
        "{far}"
    );
    let other = ran(&mut there.command(&["get", "--server", "http://127.0.0.1:1"]))?;
    ensure!(
        other.code == 4 && other.stderr.contains("does not answer"),
        "{other:?}"
    );
    Ok(())
}

#[test]
fn people_and_programs_are_let_in_from_elsewhere() -> Result<()> {
    let there = Elsewhere::of("admin")?;
    wait(|| there.ok(&["get"]))?;
    let role = format!("developer:{PROJECT}");
    let link = there.ok(&["people", "invite", "ana", "--role", &role])?;
    ensure!(
        link.starts_with(&format!("{}/invitation?token=", there.server)),
        "{link}"
    );
    let again = there.ok(&["people", "invite", "ana"])?;
    ensure!(
        again != link && again.contains("/invitation?token="),
        "{again}"
    );
    there.ok(&["people", "assign", "ana", "viewer"])?;
    let listed = there.ok(&["people", "list"])?;
    assert_eq!(listed, there.boma.boma(["people", "list"])?.ok()?);
    let ana = ["ana", "is invited", "viewer:everything"];
    ensure!(ana.iter().all(|part| listed.contains(part)), "{listed}");
    let taken = there.refused(&["people", "invite", "ana", "--role", "viewer"])?;
    ensure!(taken.contains("there is a person `ana` already"), "{taken}");
    there.ok(&["people", "remove", "ana"])?;
    let gone = there.refused(&["people", "remove", "ana"])?;
    ensure!(gone.contains("there is no person `ana`"), "{gone}");

    let made = there.ok(&["token", "create", "reader", "--role", &role, "--days", "1"])?;
    let listed = there.ok(&["token", "list"])?;
    assert_eq!(listed, there.boma.boma(["token", "list"])?.ok()?);
    ensure!(
        listed.contains("reader") && !listed.contains(made.trim()),
        "{listed}"
    );
    // What it lets in is no admin, and is out as soon as the token is gone.
    let reader = |arguments: &[&str]| ran(there.command(arguments).env("BOMA_TOKEN", made.trim()));
    wait(|| reader(&["get"])?.ok())?;
    for arguments in [&["people", "list"][..], &["token", "remove", "cli"]] {
        let refused = reader(arguments)?;
        ensure!(
            refused.code == 1 && refused.stderr.contains("Only somebody who is admin"),
            "{refused:?}"
        );
    }
    there.ok(&["token", "remove", "reader"])?;
    wait(|| {
        let out = reader(&["get"])?;
        ensure!(out.code == 1, "{out:?}");
        Ok(())
    })
}
