//! Sources that may not be written: what is to be changed, and where, is said, and nothing is written.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::changes::{is, program};
use super::{PROJECT, SERVED, is_ready, shop, signed_in};
use crate::installation::Installation;
use crate::trouble::serve_with;
use boma_testkit::Browser;

/// A program is told the same of a source that is only read.
fn programs_are_told(boma: &Installation, browser: &Browser, line: usize) -> Result<()> {
    let role = format!("developer:{PROJECT}");
    let mut program = program(boma, "ci", &role, browser.address())?;
    let at = format!("/api/v1/databases/{PROJECT}/orders");
    let read = is(&program.get(&at)?, 200)?;
    ensure!(
        read["written"]["readOnly"]
            .to_string()
            .contains("--read-only"),
        "{read}"
    );
    let more = json!({"spec": {"memory": "512Mi"}});
    let mut program = program.and("if-match", "*");
    let tried = is(
        &program.send("PATCH", &format!("{at}?dryRun=true"), &more)?,
        200,
    )?;
    ensure!(tried["difference"].to_string().contains("512Mi"), "{tried}");
    let refused = is(&program.send("PATCH", &at, &more)?, 403)?;
    assert_eq!(refused["code"], "source-read-only", "{refused}");
    assert_eq!(refused["place"]["line"], line, "{refused}");
    Ok(())
}

#[test]
fn a_source_that_is_only_read_is_shown_as_such_with_the_line_to_change() -> Result<()> {
    let boma = shop()?;
    let [source, option, at] = SERVED;
    let refused = boma.boma(["serve", source, option, at, "--read-only", "other"])?;
    let refused = refused.code(1)?;
    ensure!(
        refused.contains("`--read-only other` is for no source"),
        "{refused}"
    );
    ensure!(
        refused.contains("as it is named to `boma serve`"),
        "{refused}"
    );

    let _serving = serve_with(&boma, &[source, option, at, "--read-only", source])?;
    let mut browser = signed_in(&boma)?;
    let path = format!("/databases/{PROJECT}/orders");
    let page = is_ready(&mut browser, &path)?.body;
    let said =
        "This source may not be written from here: Boma was started with `--read-only` for it.";
    ensure!(
        page.contains(said) && page.contains("orders.yaml:4<"),
        "{page}"
    );

    // What a change would be and do is shown all the same.
    let file = boma.manifests().join("orders.yaml");
    let text = fs::read_to_string(&file)?;
    let more = text.replace("256Mi", "512Mi");
    let (_, editor) = page.split_once("action=\"/edit\"").context("an editor")?;
    let (_, former) = editor
        .split_once("name=\"former\" value=\"")
        .context("a mark")?;
    let (former, _) = former.split_once('"').context("its end")?;
    let sent = [
        ("file", "orders.yaml"),
        ("former", former),
        ("text", &more),
        ("back", "/"),
    ];
    let shown = browser.post("/edit", &sent)?.body;
    let line = 1 + text
        .lines()
        .position(|line| line.contains("256Mi"))
        .context("a line")?;
    for part in [
        said,
        "To be written by hand",
        &format!("orders.yaml:{line}<"),
        "512Mi",
        "memory",
    ] {
        ensure!(shown.contains(part), "{part}: {shown}");
    }
    ensure!(!shown.contains("action=\"/changes\""), "{shown}");
    let refused = browser.post("/changes", &sent)?;
    ensure!(
        refused.status == 403 && refused.body.contains("source-read-only"),
        "{refused:?}"
    );
    let empty = browser.get("/new/database")?.body;
    ensure!(
        empty.contains("No source may be written from here"),
        "{empty}"
    );

    programs_are_told(&boma, &browser, line)?;
    assert_eq!(fs::read_to_string(&file)?, text);
    Ok(())
}

#[test]
fn what_is_new_goes_to_the_first_source_that_may_be_written() -> Result<()> {
    let boma = shop()?;
    fs::create_dir(boma.path("other"))?;
    let [source, option, at] = SERVED;
    let served = [source, "other", option, at, "--read-only", source];
    let _serving = serve_with(&boma, &served)?;
    let browser = signed_in(&boma)?;
    let mut program = program(&boma, "ci", "developer", browser.address())?;
    let new = json!({
        "project": "fincorp/retail-banking/development/stock",
        "name": "stock",
        "spec": {"plan": "starter"},
    });
    let made = is(
        &program.send("POST", "/api/v1/databases?dryRun=true", &new)?,
        200,
    )?;
    let file = made["file"].as_str().context("a file")?;
    ensure!(file.starts_with("other/"), "{made}");
    // One that is named is taken at its word.
    let mut named = new;
    named["source"] = json!("m");
    let made = is(
        &program.send("POST", "/api/v1/databases?dryRun=true", &named)?,
        200,
    )?;
    let file = made["file"].as_str().context("a file")?;
    ensure!(file.starts_with("m/"), "{made}");
    Ok(())
}

#[test]
fn a_directory_that_boma_may_not_write_is_seen_before_somebody_tries() -> Result<()> {
    let boma = shop()?.by_ordinary_user()?;
    let writable = fs::metadata(boma.manifests())?.permissions();
    fs::set_permissions(boma.manifests(), Permissions::from_mode(0o555))?;
    let _serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    let path = format!("/databases/{PROJECT}/orders");
    let page = is_ready(&mut browser, &path)?.body;
    ensure!(
        page.contains("write into its directory: Permission denied"),
        "{page}"
    );
    // Whoever mends that needs not to start anything again.
    fs::set_permissions(boma.manifests(), writable)?;
    let page = browser.get(&path)?.body;
    ensure!(!page.contains("may not be written"), "{page}");
    Ok(())
}
