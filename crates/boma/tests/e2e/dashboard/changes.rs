//! Changes by the HTTP API: of manifests, and what is asked of the platform.

use std::fs;

use anyhow::{Context, Result, ensure};
use boma_instance::MajorVersion;
use serde_json::{Value, json};

use super::{PROJECT, SERVED, is_ready, shop, signed_in};
use crate::git::Repository;
use crate::installation::{Installation, wait};
use crate::manifests::database;
use crate::trouble::serve_with;
use boma_testkit::{Answer, Browser};

/// A program with a token of a role.
pub(super) fn program(boma: &Installation, name: &str, role: &str, at: &str) -> Result<Browser> {
    let token = boma.boma(["token", "create", name, "--role", role])?.ok()?;
    let bearer = format!("Bearer {}", token.trim());
    let browser = Browser::at(&format!("http://{at}/"))?;
    Ok(browser.with("authorization", &bearer))
}

pub(super) fn is(answer: &Answer, status: u16) -> Result<Value> {
    ensure!(answer.status == status, "{status}: {answer:?}");
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    Ok(serde_json::from_str(&answer.body)?)
}

/// A served shop, and a developer of it.
pub(super) fn served() -> Result<(Installation, impl Drop, Browser)> {
    let boma = shop()?;
    let serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;
    let role = format!("developer:{PROJECT}");
    let program = program(&boma, "ci", &role, browser.address())?;
    Ok((boma, serving, program))
}

fn new(name: &str) -> Value {
    json!({"project": PROJECT, "name": name, "spec": {"plan": "free", "version": 17}})
}

#[test]
fn a_program_makes_a_database_once() -> Result<()> {
    let (boma, _serving, mut program) = served()?;
    let path = "/api/v1/databases";
    let tried = program.send("POST", &format!("{path}?dryRun=true"), &new("stock"))?;
    let tried = is(&tried, 200)?;
    ensure!(
        tried["written"] == false && tried["plan"]["empty"] == false,
        "{tried}"
    );
    let difference = tried["difference"].as_str().context("a difference")?;
    ensure!(difference.contains("+  name: stock"), "{tried}");
    ensure!(!boma.manifests().join("stock.yaml").exists());

    let mut wishing = program.and("idempotency-key", "a-wish");
    let made = wishing.send("POST", path, &new("stock"))?;
    let at = format!("{path}/{PROJECT}/stock");
    ensure!(made.header("location") == Some(&*at), "{made:?}");
    ensure!(made.header("etag").is_some(), "{made:?}");
    let said = is(&made, 201)?;
    assert_eq!(said["file"], "stock.yaml");
    // The answer got lost, and it is asked again: the same answer, and nothing twice.
    let again = wishing.send("POST", path, &new("stock"))?;
    ensure!(is(&again, 201)? == said, "{again:?}");
    let other = is(&wishing.send("POST", path, &new("bills"))?, 422)?;
    assert_eq!(other["code"], "key-of-another");
    let twice = is(&program.send("POST", path, &new("stock"))?, 409)?;
    assert_eq!(twice["code"], "manifest-exists");
    wait(|| {
        let one = is(&program.get(&at)?, 200)?;
        ensure!(one["computed"]["phase"] == "Ready", "{one}");
        Ok(())
    })?;
    let audit = boma.boma(["audit"])?.ok()?;
    ensure!(
        audit.contains("token ci") && audit.contains("write manifest stock.yaml"),
        "{audit}"
    );

    // What is wrong is said as the command line says it, with its place, and nothing is written.
    let mut wrong = new("more");
    wrong["spec"]["memroy"] = json!("1Gi");
    let wrong = is(&program.send("POST", path, &wrong)?, 422)?;
    ensure!(wrong["place"]["file"] == "more.yaml", "{wrong}");
    ensure!(wrong["title"].to_string().contains("memroy"), "{wrong}");
    let mut beyond = new("more");
    beyond["project"] = json!("fincorp/retail-banking/development/books");
    let beyond = is(&program.send("POST", path, &beyond)?, 403)?;
    assert_eq!(beyond["code"], "not-allowed");
    ensure!(!boma.manifests().join("more.yaml").exists());
    Ok(())
}

#[test]
fn a_program_changes_what_it_has_read() -> Result<()> {
    let (boma, _serving, mut program) = served()?;
    let text = fs::read_to_string(boma.manifests().join("orders.yaml"))?;
    boma.write("orders.yaml", &format!("# ours\n{text}"))?;
    let at = format!("/api/v1/databases/{PROJECT}/orders");
    let more = json!({"spec": {"storage": {"size": "2Gi"}, "parameters": {"work_mem": "8MB"}}});
    let none = is(&program.send("PATCH", &at, &more)?, 428)?;
    assert_eq!(none["code"], "version-missing");
    let read = wait(|| {
        let read = program.get(&at)?;
        ensure!(is(&read, 200)?["written"]["line"] == 5, "{read:?}");
        Ok(read)
    })?;
    let version = read.header("etag").context("a version")?.to_owned();
    let mut changing = program.and("if-match", &version);
    let changed = is(&changing.send("PATCH", &at, &more)?, 200)?;
    ensure!(changed["written"] == true, "{changed}");
    let now = fs::read_to_string(boma.manifests().join("orders.yaml"))?;
    ensure!(
        now.starts_with("# ours\n") && now.contains("size: 2Gi"),
        "{now}"
    );
    ensure!(
        now.contains("work_mem: 8MB") && now.contains("memory: 256Mi"),
        "{now}"
    );
    // Two change one manifest: the second is told.
    let second = is(
        &changing.send("PATCH", &at, &json!({"spec": {"memory": "512Mi"}}))?,
        412,
    )?;
    assert_eq!(second["code"], "version-outdated");
    ensure!(
        second["title"].to_string().contains("orders.yaml"),
        "{second}"
    );
    let same = is(
        &program.and("if-match", "*").send("PATCH", &at, &more)?,
        200,
    )?;
    ensure!(
        same["written"] == false && same["difference"] == "",
        "{same}"
    );

    let web = format!("/api/v1/applications/{PROJECT}/web");
    let env = json!({"spec": {"env": {"MODE": "quiet"}}});
    is(
        &program.and("if-match", "*").send("PATCH", &web, &env)?,
        200,
    )?;
    wait(|| {
        let said = boma.boma(["env", "web", "--reveal"])?.ok()?;
        ensure!(said.contains("MODE=quiet"), "{said}");
        Ok(())
    })
}

#[test]
fn a_program_asks_for_what_no_manifest_says() -> Result<()> {
    let (boma, _serving, mut program) = served()?;
    let (orders, web) = (
        format!("/api/v1/databases/{PROJECT}/orders"),
        format!("/api/v1/applications/{PROJECT}/web"),
    );
    let variable = json!({"variable": "DATABASE_URL"});
    let reveal = format!("{web}/reveal");
    let before = wait(|| is(&program.send("POST", &reveal, &variable)?, 200))?;
    let grant = json!({"database": format!("{PROJECT}/orders")});
    is(
        &program.send("POST", &format!("{web}/rotations"), &grant)?,
        202,
    )?;
    wait(|| {
        let now = is(&program.send("POST", &reveal, &variable)?, 200)?;
        ensure!(now != before, "it is the former one");
        Ok(())
    })?;
    let held = |program: &mut Browser, held: bool| {
        program.send("PUT", &format!("{orders}/held"), &json!({ "held": held }))
    };
    is(&held(&mut program, true)?, 204)?;
    wait(|| {
        let one = is(&program.get(&orders)?, 200)?;
        ensure!(one["computed"]["phase"] == "Held", "{one}");
        Ok(())
    })?;
    is(&held(&mut program, false)?, 204)?;
    is(
        &program.send("POST", &format!("{orders}/backups"), &json!({}))?,
        202,
    )?;

    let audit = boma.boma(["audit", "--limit", "1000"])?.ok()?;
    for part in [
        "reveal DATABASE_URL",
        "ask for another password",
        "stop",
        "ask for a base backup",
    ] {
        ensure!(audit.contains(part), "{part}: {audit}");
    }
    Ok(())
}

#[test]
fn a_program_is_told_what_cannot_be_asked_for() -> Result<()> {
    let (_boma, _serving, mut program) = served()?;
    let (orders, web) = (
        format!("/api/v1/databases/{PROJECT}/orders"),
        format!("/api/v1/applications/{PROJECT}/web"),
    );
    for (method, path, body, status, code) in [
        (
            "POST",
            format!("{web}/rotations"),
            json!({"database": "a/b/c/d/e"}),
            404,
            "not-there",
        ),
        (
            "POST",
            format!("{web}/rotations"),
            json!({"data": 1}),
            400,
            "request-broken",
        ),
        (
            "POST",
            format!("{web}/reveal"),
            json!({"variable": "NONE"}),
            422,
            "variable-unknown",
        ),
        (
            "POST",
            format!("{orders}x/backups"),
            json!({}),
            404,
            "not-there",
        ),
        (
            "PUT",
            format!("{orders}/held"),
            json!({"held": 1}),
            400,
            "request-broken",
        ),
        ("DELETE", orders.clone(), json!({}), 428, "version-missing"),
        ("PUT", orders.clone(), json!({}), 405, "method-not-allowed"),
    ] {
        let refused = is(&program.send(method, &path, &body)?, status)?;
        ensure!(refused["code"] == code, "{method} {path}: {refused}");
    }
    let tried = format!("{orders}/restores?dryRun=true");
    let position = json!({"name": "copy", "targetLsn": "0/16B3740", "timeline": 1});
    let shown = is(&program.send("POST", &tried, &position)?, 200)?;
    let difference = shown["difference"].as_str().context("a difference")?;
    for line in ["+      targetLsn: \"0/16B3740\"\n", "+      timeline: 1\n"] {
        ensure!(difference.contains(line), "{line}: {difference}");
    }
    let two = json!({"name": "copy", "targetLsn": "0/16B3740", "targetName": "before"});
    let refused = is(&program.send("POST", &tried, &two)?, 200)?;
    ensure!(refused["plan"].is_null(), "{refused}");
    let mut text = program.and("content-type", "text/plain");
    let refused = is(
        &text.send("POST", &format!("{orders}/restores"), &json!({}))?,
        415,
    )?;
    assert_eq!(refused["code"], "not-json");
    Ok(())
}

#[test]
fn a_change_of_a_repository_is_a_commit_of_who_asks() -> Result<()> {
    let boma = Installation::new()?.only(MajorVersion::V17);
    let repository = Repository::new(&boma)?;
    repository.takes_pushes()?;
    repository.commit("orders.yaml", &database("orders", ""), "add orders")?;
    let address = format!("file://{}", repository.place.display());
    let serving = [&*address, "--poll", "3600", "--dashboard", "127.0.0.1:0"];
    let _serving = serve_with(&boma, &serving)?;
    let mut browser = signed_in(&boma)?;
    is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;
    let mut program = program(&boma, "ci", "developer", browser.address())?;
    let made = program.send(
        "POST",
        "/api/v1/databases?message=we%20need%20it",
        &new("stock"),
    )?;
    let made = is(&made, 201)?;
    ensure!(made["branch"] == "main", "{made}");
    ensure!(
        made["commit"] == repository.git(&["rev-parse", "main"])?,
        "{made}"
    );
    ensure!(repository.git(&["log", "-1", "--format=%s"])? == "we need it");
    let waits = program.send("POST", "/api/v1/databases?review=true", &new("bills"))?;
    let waits = is(&waits, 201)?;
    let branch = waits["branch"].as_str().context("a branch")?;
    ensure!(branch.starts_with("boma/bills-new-database-"), "{waits}");
    ensure!(!repository.place.join("bills.yaml").exists());
    Ok(())
}
