//! Several sources in one `boma serve`: a repository with databases, a directory with applications.

use std::fs;

use anyhow::{Result, ensure};
use boma_instance::MajorVersion;

use crate::dashboard::{PROJECT, is_ready, signed_in};
use crate::git::{Repository, log_has};
use crate::installation::{Installation, wait};
use crate::manifests::{application, database, reads, writes};
use crate::trouble::{Serving, serve_with};

/// The repository is `repository`, the directory `m`.
fn world() -> Result<(Installation, Repository)> {
    let boma = Installation::new()?.only(MajorVersion::V17);
    let repository = Repository::new(&boma)?;
    fs::create_dir(repository.place.join("db"))?;
    repository.commit("db/orders.yaml", &database("orders", ""), "add orders")?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    Ok((boma, repository))
}

fn address(repository: &Repository) -> String {
    format!("file://{}#main:db", repository.place.display())
}

fn serve(boma: &Installation, repository: &Repository) -> Result<Serving> {
    let address = address(repository);
    let more = ["--poll", "1", "--dashboard", "127.0.0.1:0"];
    serve_with(boma, &[&["m", &address], &more[..]].concat())
}

#[test]
fn what_is_wrong_in_one_source_stops_no_other() -> Result<()> {
    let (boma, repository) = world()?;
    let _serving = serve(&boma, &repository)?;
    wait(|| boma.sql("web", "create table if not exists t ()")?.ok())?;

    let broken = database("orders", "").replace("kind: Database", "kind: Databse");
    repository.commit("db/orders.yaml", &broken, "a slip")?;
    log_has(&boma, "repository/orders.yaml:2")?;
    let report = application("report", &[reads("orders")], "");
    boma.write("report.yaml", &report)?;
    wait(|| boma.sql("report", "select from t")?.ok())?;
    let mended = database("orders", "").replace("cpuCount: 1", "cpuCount: 2");
    let mended = repository.commit("db/orders.yaml", &mended, "mend it")?;
    log_has(
        &boma,
        &format!("Commit {mended} of repository is in force: “mend it” by Ann"),
    )?;
    boma.remove("report.yaml")?;
    wait(|| {
        let table = boma.boma(["get"])?.ok()?;
        ensure!(!table.contains("report"), "{table}");
        Ok(())
    })?;

    // The other commands find all of them, too.
    let described = boma.boma(["describe", "database/orders"])?.ok()?;
    let told = format!("repository/orders.yaml:4, last changed by commit {mended} by Ann");
    ensure!(described.contains(&told), "{described}");
    let json = boma.boma(["get", "orders", "-o", "json"])?.ok()?;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    let written = &json[0]["written"];
    ensure!(written["file"] == "repository/orders.yaml", "{json}");
    let author = &written["lastChange"]["author"];
    ensure!(author == "Ann <ann@example.com>", "{json}");
    let rotated = boma.boma(["rotate", "web"])?;
    rotated.ok()?;
    Ok(())
}

#[test]
fn a_source_that_is_left_out_is_not_taken_for_removed() -> Result<()> {
    let (boma, repository) = world()?;
    let serving = serve(&boma, &repository)?;
    wait(|| boma.sql("web", "create table if not exists t ()")?.ok())?;
    drop(serving);
    let address = address(&repository);
    let alone = serve_with(&boma, &[&*address, "--dashboard", "off"])?;
    log_has(&boma, "--change-source")?;
    boma.sql("web", "select from t")?.ok()?;
    drop(alone);
    // In whatever order: it is the same installation.
    let _serving = serve_with(&boma, &[&*address, "m", "--dashboard", "off"])?;
    log_has(&boma, "Everything is as the manifests say")?;
    boma.sql("web", "select from t")?.ok()?;
    Ok(())
}

#[test]
fn the_dashboard_writes_into_the_source_that_a_file_is_of() -> Result<()> {
    let (boma, repository) = world()?;
    repository.takes_pushes()?;
    let _serving = serve(&boma, &repository)?;
    let mut browser = signed_in(&boma)?;
    let orders = format!("/databases/{PROJECT}/orders");
    let page = is_ready(&mut browser, &orders)?;
    ensure!(page.body.contains("repository/orders.yaml"), "{page:?}");

    // Beside what the project has of its kind: in the repository.
    browser.get("/new/database")?;
    let form = [("project", PROJECT), ("name", "stock"), ("version", "17")];
    let shown = browser.post("/new/database", &form)?;
    let fields = shown.fields();
    ensure!(shown.body.contains("repository/stock.yaml"), "{shown:?}");
    ensure!(shown.body.contains("Commit by"), "{shown:?}");
    let written = browser.post_as_sent("/changes", &fields)?;
    ensure!(written.status == 303, "{written:?}");
    let text = repository.git(&["show", "main:db/stock.yaml"])?;
    ensure!(text.contains("name: stock"), "{text}");

    // A project without manifests: in the source that was chosen.
    let page = browser.get("/new/database")?;
    ensure!(
        page.body
            .contains("<option>m</option><option>repository</option>"),
        "{page:?}"
    );
    let elsewhere = "fincorp/retail-banking/development/other";
    let form = [
        ("project", elsewhere),
        ("name", "stock"),
        ("version", "17"),
        ("source", "m"),
    ];
    let shown = browser.post("/new/database", &form)?;
    ensure!(!shown.body.contains("Commit by"), "{shown:?}");
    let written = browser.post_as_sent("/changes", &shown.fields())?;
    ensure!(written.status == 303, "{written:?}");
    ensure!(boma.manifests().join("other/stock.yaml").exists());

    // A file of no source is written nowhere.
    let text = database("other", "");
    let sent = [
        ("file", "elsewhere/other.yaml"),
        ("former", ""),
        ("text", &text),
        ("back", "/"),
    ];
    let refused = browser.post("/changes", &sent)?;
    ensure!(refused.status == 422, "{refused:?}");
    ensure!(
        refused.body.contains("no place for a manifest"),
        "{refused:?}"
    );
    Ok(())
}

#[test]
fn a_merge_of_one_source_is_reviewed_beside_the_others() -> Result<()> {
    let (boma, repository) = world()?;
    let report = application("report", &[reads("orders")], "");
    boma.write("report.yaml", &report)?;
    repository.git(&["checkout", "--quiet", "-b", "feature"])?;
    let private = database("orders", "").replace("cpuCount: 1", "cpuCount: 2");
    repository.commit("db/orders.yaml", &private, "more")?;
    let place = repository.place.to_string_lossy().into_owned();
    let plan = ["plan", &place, "--base", "main", "--path", "db"];
    let with = boma.boma([&plan[..], &["--with", "m"]].concat())?;
    let text = with.code(4)?;
    ensure!(
        text.contains("orders") && !text.contains("report"),
        "{text}"
    );
    // Without the database, what uses it is wrong, and it is said where.
    repository.git(&["rm", "--quiet", "db/orders.yaml"])?;
    fs::create_dir_all(repository.place.join("db"))?;
    repository.commit("db/none.yaml", "", "no more orders")?;
    let with = boma.boma([&plan[..], &["--with", "m"]].concat())?;
    let said = with.code(1)?;
    ensure!(said.contains("m/report.yaml"), "{said}");

    // One of several is not compared with what runs.
    let serving = serve(&boma, &repository)?;
    wait(|| boma.sql("web", "create table if not exists t ()")?.ok())?;
    drop(serving);
    let running = boma.boma([&plan[..], &["--running"]].concat())?;
    ensure!(running.code != 0, "{running:?}");
    ensure!(
        running.stderr.contains("what runs comes from 2 sources"),
        "{running:?}"
    );
    Ok(())
}
