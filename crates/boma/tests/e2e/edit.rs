//! `boma set`, `boma attach` and `boma detach`: manifests change and keep their comments; what they
//! say then is what becomes of the servers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};

use crate::git::Repository;
use crate::installation::Installation;
use crate::manifests::{application, database, writes};

const COMMENT: &str = "# Ask the owners before this changes.\n";

/// Two databases, and an application that uses the first of them.
fn world() -> Result<Installation> {
    let boma = Installation::new()?;
    boma.write(
        "orders.yaml",
        &(COMMENT.to_owned() + &database("orders", "")),
    )?;
    boma.write("stock.yaml", &database("stock", ""))?;
    let web = application("web", &[writes("orders")], "");
    boma.write("web.yaml", &(COMMENT.to_owned() + &web))?;
    Ok(boma)
}

fn text(boma: &Installation, file: &str) -> Result<String> {
    Ok(fs::read_to_string(boma.manifests().join(file))?)
}

#[test]
fn manifests_that_a_command_changes_are_applied_and_keep_their_comments() -> Result<()> {
    let boma = world()?;
    let source = boma.manifests().to_string_lossy().into_owned();
    let edit = |arguments: &[&str]| boma.boma([arguments, &["--source", &source]].concat());
    boma.apply()?;

    let file = boma.manifests().join("orders.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640))?;
    let shown = edit(&["set", "orders", "parameters.work_mem=8MB", "memory=384Mi"])?.ok()?;
    ensure!(
        shown.contains("-  memory: 256Mi\n+  memory: 384Mi\n"),
        "{shown}"
    );
    ensure!(
        shown.contains("+  parameters:\n+    work_mem: 8MB"),
        "{shown}"
    );
    ensure!(text(&boma, "orders.yaml")?.starts_with(COMMENT));
    ensure!(fs::metadata(&file)?.permissions().mode() & 0o777 == 0o640);

    let attach = [
        "attach",
        "web",
        "stock",
        "--env",
        "STOCK_URL",
        "--read-only",
    ];
    let dry = [&attach[..], &["--dry-run"]].concat();
    let before = text(&boma, "web.yaml")?;
    edit(&dry)?.code(4)?;
    ensure!(text(&boma, "web.yaml")? == before, "a dry run has written");
    edit(&attach)?.ok()?;
    boma.apply()?;
    let said = boma.sql("web", "SHOW work_mem")?.ok()?;
    ensure!(said.contains("8MB"), "{said}");
    let given = boma.boma(["env", "web"])?.ok()?;
    ensure!(given.contains("STOCK_URL"), "{given}");

    edit(&["detach", "web", "stock"])?.ok()?;
    edit(&["set", "orders", "parameters.work_mem-"])?.ok()?;
    ensure!(
        text(&boma, "web.yaml")? == before,
        "{}",
        text(&boma, "web.yaml")?
    );
    boma.apply()?;
    let left = boma.boma(["env", "web"])?.ok()?;
    ensure!(!left.contains("STOCK_URL"), "{left}");
    Ok(())
}

#[test]
fn what_would_be_wrong_is_shown_and_not_written() -> Result<()> {
    let boma = world()?;
    let source = boma.manifests().to_string_lossy().into_owned();
    let edit = |arguments: &[&str]| boma.boma([arguments, &["--source", &source]].concat());
    let before = (text(&boma, "orders.yaml")?, text(&boma, "web.yaml")?);
    for (arguments, said) in [
        (
            &["set", "orders", "memory=lots"][..],
            "error[invalid-quantity]",
        ),
        (
            &["set", "orders", "memmory=1Gi"],
            "`spec` has no field `memmory`",
        ),
        (&["set", "order", "memory=1Gi"], "Did you mean `orders`?"),
        (
            &["set", "orders", "storage=1Gi"],
            "error[not-editable]: `spec.storage` is a mapping",
        ),
        (&["attach", "web", "orders"], "error[duplicate-"),
        (&["attach", "web", "nothing", "--env", "X"], "nothing"),
        (&["attach", "orders", "stock"], "there is no application"),
        (&["detach", "web", "stock"], "It has access to `orders`."),
        (
            &["set", "orders", "parameters.work_mem-"],
            "error[not-editable]: there is no `spec.parameters.work_mem`",
        ),
    ] {
        let ran = edit(arguments)?;
        let told = ran.stderr.clone();
        ran.code(1)?;
        ensure!(told.contains(said), "{arguments:?}: no {said:?} in {told}");
    }
    let after = (text(&boma, "orders.yaml")?, text(&boma, "web.yaml")?);
    ensure!(before == after, "{after:?}");
    let same = edit(&["set", "orders", "cpuCount=1"])?;
    ensure!(same.stderr.contains("Nothing to change"), "{same:?}");
    Ok(())
}

#[test]
fn a_new_manifest_is_written_beside_the_others_and_over_nothing() -> Result<()> {
    let boma = world()?;
    let source = boma.manifests().to_string_lossy().into_owned();
    let edit = |arguments: &[&str]| boma.boma([arguments, &["--source", &source]].concat());
    let shown = edit(&["create", "database", "bills", "plan=free", "version=17"])?.ok()?;
    ensure!(shown.contains("+spec:\n+  plan: free"), "{shown}");
    ensure!(text(&boma, "bills.yaml")?.contains("project: shop"));
    edit(&["create", "application", "report", "--project", "shop"])?.ok()?;
    edit(&["attach", "report", "bills", "--read-only"])?.ok()?;
    boma.apply()?;
    boma.sql("report", "select 1")?.ok()?;

    let before = text(&boma, "bills.yaml")?;
    for (arguments, said) in [
        (
            &["create", "database", "bills"][..],
            "error[manifest-exists]",
        ),
        (&["create", "database", "Bills"], "Bills"),
        (
            &["create", "database", "x", "memmory=1Gi"],
            "has no field `memmory`",
        ),
        (
            &["create", "database", "x", "--project", "other"],
            "`fincorp/",
        ),
        (
            &["create", "database", "x", "--review", "y"],
            "is a directory",
        ),
        (
            &["set", "bills", "plan=pro", "--message", "y"],
            "is a directory",
        ),
    ] {
        let ran = edit(arguments)?;
        let told = ran.stderr.clone();
        ran.code(1)?;
        ensure!(told.contains(said), "{arguments:?}: no {said:?} in {told}");
    }
    ensure!(text(&boma, "bills.yaml")? == before && !boma.manifests().join("x.yaml").exists());
    let far = "fincorp/retail-banking/production/shop";
    edit(&["create", "database", "far", "--project", far])?.ok()?;
    ensure!(text(&boma, "shop/far.yaml")?.contains("environment: production"));
    let unclear = edit(&["create", "database", "y"])?.code(1)?;
    ensure!(
        unclear.contains("which project is meant") && unclear.contains(far),
        "{unclear}"
    );
    Ok(())
}

#[test]
fn manifests_of_a_repository_are_changed_by_commits() -> Result<()> {
    let boma = Installation::new()?;
    let repository = Repository::new(&boma)?;
    repository.takes_pushes()?;
    let orders = COMMENT.to_owned() + &database("orders", "");
    repository.commit("orders.yaml", &orders, "add orders")?;
    let address = format!("file://{}", repository.place.display());
    let edit = |arguments: &[&str]| boma.boma([arguments, &["--source", &address]].concat());

    edit(&["set", "orders", "memory=512Mi", "--dry-run"])?.code(4)?;
    ensure!(repository.git(&["log", "--format=%s"])? == "add orders");
    let done = edit(&["set", "orders", "memory=512Mi"])?;
    let commit = repository.git(&["rev-parse", "main"])?;
    ensure!(
        done.stderr
            .contains(&format!("Commit {commit} is on branch main")),
        "{done:?}"
    );
    let now = fs::read_to_string(repository.place.join("orders.yaml"))?;
    ensure!(
        now.starts_with(COMMENT) && now.contains("memory: 512Mi"),
        "{now}"
    );
    edit(&[
        "create",
        "application",
        "web",
        "--message",
        "A web application",
    ])?
    .ok()?;
    let attach = ["attach", "web", "orders", "--review", "web-reads"];
    let waits = edit(&attach)?;
    ensure!(waits.stderr.contains("for review"), "{waits:?}");
    let log = repository.git(&["log", "--format=%s", "web-reads"])?;
    let subjects = "web: attach orders\nA web application\norders: memory\nadd orders";
    ensure!(log == subjects, "{log}");
    let waiting = repository.git(&["show", "main:web.yaml"])?;
    ensure!(!waiting.contains("accessControl"), "{waiting}");
    let other = [&attach[..], &["--message", "another"]].concat();
    let again = edit(&other)?.code(1)?;
    ensure!(again.contains("branch `web-reads` already"), "{again}");
    let wrong = edit(&["set", "orders", "memory=lots"])?.code(1)?;
    ensure!(wrong.contains("invalid-quantity"), "{wrong}");
    ensure!(repository.git(&["rev-list", "--count", "main"])? == "3");
    Ok(())
}
