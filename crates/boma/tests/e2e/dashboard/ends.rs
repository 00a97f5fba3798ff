//! The end of what a manifest describes, and what is looked at without changing it.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::changes::{is, served};
use super::{PROJECT, SERVED, is_ready, shop, signed_in};
use crate::installation::wait;
use crate::manifests::database;
use crate::trouble::serve_with;

/// A database that may be retired.
fn loose(name: &str) -> String {
    database(name, "deletionProtection: false")
}

#[test]
fn a_database_is_retired_in_the_dashboard_once_it_is_not_protected() -> Result<()> {
    let boma = shop()?;
    boma.write("stock.yaml", &database("stock", "deletionProtection: true"))?;
    let _serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    let path = format!("/databases/{PROJECT}/stock");
    let page = is_ready(&mut browser, &path)?;
    ensure!(page.body.contains("action=\"/unprotect\""), "{page:?}");
    ensure!(!page.body.contains("action=\"/remove\""), "{page:?}");
    let key = format!("{PROJECT}/stock");
    let form = [("database", &*key)];
    let shown = browser.post("/unprotect", &form)?;
    ensure!(
        shown.body.contains("deletionProtection: false"),
        "{shown:?}"
    );
    let written = browser.post_as_sent("/changes", &shown.fields())?;
    ensure!(written.status == 303, "{written:?}");
    wait(|| {
        let page = browser.get(&path)?;
        ensure!(page.body.contains("action=\"/remove\""), "{page:?}");
        Ok(())
    })?;
    let shown = browser.post("/remove", &form)?;
    for part in [
        "The file <code>stock.yaml</code> goes",
        "-kind: Database",
        "Retire it",
    ] {
        ensure!(shown.body.contains(part), "{part}: {}", shown.body);
    }
    ensure!(boma.manifests().join("stock.yaml").exists());
    let fields = shown.fields();
    let written = browser.post_as_sent("/changes", &fields)?;
    ensure!(written.status == 303, "{written:?}");
    ensure!(!boma.manifests().join("stock.yaml").exists());
    wait(|| {
        let page = browser.get(&path)?;
        ensure!(page.body.contains("Retired"), "{page:?}");
        ensure!(!page.body.contains("id=\"retire\""), "{page:?}");
        ensure!(page.body.contains("boma purge stock"), "{page:?}");
        ensure!(!page.body.contains("Back up now"), "{page:?}");
        Ok(())
    })?;
    // The same form again: the file is gone, and nothing is made of it.
    let again = browser.post_as_sent("/changes", &fields)?;
    ensure!(again.status == 409, "{again:?}");
    let wrong = browser.post("/remove", &form)?;
    ensure!(
        wrong.status == 404 && wrong.body.contains("manifest of stock"),
        "{wrong:?}"
    );

    // One that is used is not retired: the page says who uses it, and has no button.
    let key = format!("{PROJECT}/orders");
    let shown = browser.post("/remove", &[("database", &*key)])?;
    ensure!(!shown.body.contains("Retire it"), "{shown:?}");
    ensure!(shown.body.contains("web.yaml"), "{shown:?}");
    Ok(())
}

#[test]
fn a_program_ends_what_it_has_made() -> Result<()> {
    let (boma, _serving, mut program) = served()?;
    boma.write(
        "stock.yaml",
        &format!("{}---\n{}", loose("stock"), loose("bills")),
    )?;
    let stock = format!("/api/v1/databases/{PROJECT}/stock");
    let read = wait(|| {
        let read = program.get(&stock)?;
        ensure!(is(&read, 200)?["computed"]["phase"] == "Ready", "{read:?}");
        Ok(read)
    })?;
    let version = read.header("etag").context("a version")?.to_owned();
    let mut ending = program.and("if-match", &version);
    let tried = is(
        &ending.send("DELETE", &format!("{stock}?dryRun=true"), &json!({}))?,
        200,
    )?;
    ensure!(
        tried["written"] == false && tried["plan"]["empty"] == false,
        "{tried}"
    );
    let outdated = program
        .and("if-match", "\"another\"")
        .send("DELETE", &stock, &json!({}))?;
    assert_eq!(is(&outdated, 412)?["code"], "version-outdated");
    let ended = ending.send("DELETE", &stock, &json!({}))?;
    ensure!(ended.header("etag").is_none(), "{ended:?}");
    ensure!(is(&ended, 200)?["written"] == true, "{ended:?}");
    let left = std::fs::read_to_string(boma.manifests().join("stock.yaml"))?;
    ensure!(left == format!("---\n{}", loose("bills")), "{left}");
    wait(|| {
        let one = is(&program.get(&stock)?, 200)?;
        ensure!(
            one["computed"]["phase"] == "Retired" && one["spec"].is_null(),
            "{one}"
        );
        Ok(())
    })?;

    let web = format!("/api/v1/applications/{PROJECT}/web");
    let ended = program
        .and("if-match", "*")
        .send("DELETE", &web, &json!({}))?;
    is(&ended, 200)?;
    ensure!(!boma.manifests().join("web.yaml").exists());
    wait(|| is(&program.get(&web)?, 404))?;
    Ok(())
}

#[test]
fn a_program_reads_logs_and_backups_and_deploys_again() -> Result<()> {
    let (boma, _serving, mut program) = served()?;
    let (orders, web) = (
        format!("/api/v1/databases/{PROJECT}/orders"),
        format!("/api/v1/applications/{PROJECT}/web"),
    );
    let log = program.get(&format!("{orders}/log?lines=2"))?;
    ensure!(
        log.status == 200 && log.body.trim().lines().count() == 2,
        "{log:?}"
    );
    ensure!(
        log.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain"))
    );
    let refused = program.get(&format!("{orders}/log?lines=0"))?;
    assert_eq!(is(&refused, 400)?["code"], "request-broken");
    let nothing = program.get(&format!("{web}/pre-deploy-log"))?;
    ensure!(
        nothing.status == 200 && nothing.body.is_empty(),
        "{nothing:?}"
    );

    let text = database("orders", "").replace("enabled: false", "enabled: true");
    boma.write("orders.yaml", &text)?;
    let backups = format!("{orders}/backups");
    wait(|| {
        let asked = program.send("POST", &backups, &json!({}))?;
        is(&asked, 202)
    })?;
    let list = wait(|| {
        let list = is(&program.get(&backups)?, 200)?;
        ensure!(list["items"][0]["kind"] == "full", "{list}");
        Ok(list)
    })?;
    ensure!(list["recoverableUntil"].is_string(), "{list}");

    is(
        &program.send("POST", &format!("{web}/deployments"), &json!({}))?,
        202,
    )?;
    let audit = boma.boma(["audit", "--limit", "1000"])?.ok()?;
    ensure!(
        audit.contains("token ci") && audit.contains("deploy again"),
        "{audit}"
    );

    // A viewer reads none of it, and changes nothing.
    let mut viewer = super::changes::program(&boma, "eyes", "viewer", program.address())?;
    // A new token is known within a second.
    wait(|| is(&viewer.get(&backups)?, 200))?;
    for path in [format!("{orders}/log"), format!("{web}/log")] {
        assert_eq!(is(&viewer.get(&path)?, 403)?["code"], "not-allowed");
    }
    for (method, path) in [("DELETE", &orders), ("POST", &format!("{web}/deployments"))] {
        let refused = viewer.and("if-match", "*").send(method, path, &json!({}))?;
        assert_eq!(is(&refused, 403)?["code"], "not-allowed");
    }
    Ok(())
}
