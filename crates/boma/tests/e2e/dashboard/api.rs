//! The HTTP API, as a program uses it. That it does what its description says, whatever it is asked, is
//! tested in `tests/api`.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{PROJECT, SERVED, is_ready, shop, signed_in};
use crate::installation::Installation;
use crate::trouble::serve_with;
use boma_testkit::{Answer, Browser};

/// A program with a token that the command line has printed.
struct Program(Browser);

impl Program {
    fn of(boma: &Installation) -> Result<Self> {
        let link = boma.boma(["dashboard"])?.ok()?;
        let token = boma.boma(["dashboard", "--token"])?.ok()?;
        let bearer = format!("Bearer {}", token.trim());
        Ok(Self(Browser::at(&link)?.with("authorization", &bearer)))
    }

    fn read(&mut self, path: &str) -> Result<Value> {
        let answer = self.0.get(path)?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        Ok(serde_json::from_str(&answer.body)?)
    }
}

#[test]
fn programs_read_what_there_is() -> Result<()> {
    let boma = shop()?;
    let _serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;
    let mut program = Program::of(&boma)?;
    let mut read = |path: &str| program.read(path);

    let list = read("/api/v1/databases")?;
    let one = read(&format!("/api/v1/databases/{PROJECT}/orders"))?;
    ensure!(list["items"][0]["spec"] == one["spec"], "{list}");
    ensure!(list["next"].is_null(), "{list}");
    assert_eq!(one["computed"]["phase"], "Ready");
    assert_eq!(one["spec"]["memory"], "256Mi");
    assert_eq!(one["written"]["file"], "orders.yaml");
    let web = read(&format!("/api/v1/applications/{PROJECT}/web"))?;
    assert_eq!(web["computed"]["environment"][0], "DATABASE_URL");
    ensure!(read("/api/v1/applications?filter=nothing")?["items"] == json!([]));
    let after = format!("/api/v1/databases?limit=1&after={PROJECT}/orders");
    ensure!(read(&after)?["items"] == json!([]));
    let plan = read("/api/v1/plan")?;
    ensure!(plan["steps"].is_array(), "{plan}");
    let events = read("/api/v1/events?limit=1")?;
    let items = events["items"].as_array().context("a list")?;
    ensure!(items.len() == 1, "{events}");
    let audit = read("/api/v1/audit")?;
    ensure!(audit["items"][0]["actor"].is_string(), "{audit}");
    let described = read("/api/openapi.json")?;
    ensure!(described["paths"]["/api/v1/databases"]["get"]["operationId"] == "listDatabases");
    let reader = browser.get("/api")?;
    ensure!(reader.body.contains("GET /api/v1/databases"), "{reader:?}");

    let secrets = boma.boma(["env", "web", "--reveal"])?.ok()?;
    let (_, after) = secrets.trim().rsplit_once("web_1:").context("a user")?;
    let (password, _) = after.split_once('@').context("a password")?;
    for list in ["databases", "applications", "plan", "events", "audit"] {
        let answer = read(&format!("/api/v1/{list}"))?.to_string();
        ensure!(!answer.contains(password), "the password is in {list}");
    }
    Ok(())
}

fn is_problem(answer: &Answer, status: u16, code: &str) -> Result<()> {
    let problem: Value = serde_json::from_str(&answer.body)?;
    ensure!(
        answer.status == status && problem["code"] == code,
        "{answer:?}"
    );
    let kind = answer.header("content-type");
    ensure!(kind == Some("application/problem+json"), "{answer:?}");
    ensure!(
        problem["status"] == status && problem["title"].is_string(),
        "{problem}"
    );
    ensure!(
        problem["type"] == format!("urn:boma:problem:{code}"),
        "{problem}"
    );
    Ok(())
}

#[test]
fn programs_are_told_what_is_wrong() -> Result<()> {
    let boma = Installation::new()?;
    let _serving = serve_with(&boma, &SERVED)?;
    signed_in(&boma)?;
    let Program(mut program) = Program::of(&boma)?;
    for (path, status, code) in [
        ("/api/v1/databases/a/b/c/d/e", 404, "not-there"),
        ("/api/v1/databases/a/b/c/d/%FF", 400, "request-broken"),
        ("/api/v1/applications/a%2Fb/c/d/e/f", 404, "not-there"),
        ("/api/v1/nothing", 404, "not-there"),
        ("/api/v1/databases?limit=many", 400, "request-broken"),
        ("/api/v1/events?limit=0", 400, "request-broken"),
    ] {
        let answer = program.get(path)?;
        is_problem(&answer, status, code).with_context(|| path.to_owned())?;
    }
    let answer = program.post("/api/v1/plan", &[])?;
    is_problem(&answer, 405, "method-not-allowed")?;
    ensure!(answer.header("allow") == Some("GET,HEAD"), "{answer:?}");

    let refused = program
        .with("authorization", "Bearer AAAA")
        .get("/api/v1/plan")?;
    is_problem(&refused, 401, "signed-out")?;
    ensure!(
        refused.header("www-authenticate") == Some("Bearer"),
        "{refused:?}"
    );
    let host = program
        .with("host", "elsewhere.example")
        .get("/api/v1/plan")?;
    is_problem(&host, 421, "wrong-host")?;
    Ok(())
}
