//! What servers and applications tell of themselves, on their pages: queries, logs, deployments.

use std::fs;

use anyhow::{Context, Result, ensure};
use boma_instance::MajorVersion;

use super::{PROJECT, SERVED, is_ready, shop, signed_in};
use crate::installation::{Installation, wait};
use crate::manifests::{application, database, writes};
use crate::trouble::serve_with;
use boma_testkit::Browser;

/// A stranger sees none of a page, and there is none of what is not there.
fn is_for_who_may(boma: &Installation, browser: &mut Browser, pages: &[String]) -> Result<()> {
    let mut stranger = Browser::at(&boma.boma(["dashboard"])?.ok()?)?;
    for page in pages {
        ensure!(stranger.get(page)?.status == 401, "{page}");
        let shown = browser.get(page)?;
        ensure!(
            shown.status == 200 && !shown.body.contains(" style="),
            "{page}"
        );
        let missing = browser.get(&format!("{page}-absent"))?;
        ensure!(missing.status == 404, "{missing:?}");
    }
    Ok(())
}

/// A program with a role.
fn program(boma: &Installation, at: &Browser, name: &str, role: &str) -> Result<Browser> {
    let token = boma.boma(["token", "create", name, "--role", role])?.ok()?;
    let browser = Browser::at(&format!("http://{}/", at.address()))?;
    let mut browser = browser.with("authorization", &format!("Bearer {}", token.trim()));
    // Who was let in a moment ago is known within a second.
    wait(|| {
        let page = browser.get("/api/v1/databases")?;
        ensure!(page.status == 200, "{page:?}");
        Ok(())
    })?;
    Ok(browser)
}

#[test]
fn who_may_not_see_a_database_sees_nothing_of_what_it_tells() -> Result<()> {
    let boma = shop()?;
    let _serving = serve_with(&boma, &SERVED)?;
    let mut owner = signed_in(&boma)?;
    let own = format!("/databases/{PROJECT}/orders");
    is_ready(&mut owner, &own)?;
    let (log, name) = (format!("/logs{own}"), format!("{PROJECT}/orders"));
    let pages = [
        format!("/charts/{name}"),
        format!("/queries/{name}"),
        format!("/api/v1{own}/history"),
        format!("/api/v1{own}/statements"),
    ];
    let elsewhere = "developer:fincorp/retail-banking/development/books";
    let mut stranger = program(&boma, &owner, "other", elsewhere)?;
    for page in pages.iter().chain([&log]) {
        let refused = stranger.get(page)?;
        ensure!(refused.status == 404, "{page}: {refused:?}");
    }
    // Messages may quote rows: who may look at a database may not read them for that.
    let mut viewer = program(&boma, &owner, "viewer", &format!("viewer:{PROJECT}"))?;
    for page in &pages {
        let shown = viewer.get(page)?;
        ensure!(shown.status == 200, "{page}: {shown:?}");
    }
    let refused = viewer.get(&log)?;
    ensure!(refused.status == 403, "{refused:?}");
    let shown = viewer.get(&own)?;
    ensure!(
        shown.body.contains("/queries/") && !shown.body.contains(&log),
        "{shown:?}"
    );
    let developer = format!("developer:{PROJECT}");
    let mut developer = program(&boma, &owner, "developer", &developer)?;
    ensure!(developer.get(&log)?.status == 200);
    Ok(())
}

#[test]
fn slow_queries_are_shown_where_the_manifest_has_them_counted() -> Result<()> {
    let boma = shop()?;
    let _serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;
    let page = format!("/queries/{PROJECT}/orders");
    let without = browser.get(&page)?;
    ensure!(
        without.body.contains("extensions: [pg_stat_statements]"),
        "{without:?}"
    );

    let counted = database("orders", "extensions: [pg_stat_statements]\n");
    boma.write("orders.yaml", &counted)?;
    wait(|| {
        let shown = browser.get(&page)?;
        ensure!(shown.body.contains("Counted since"), "{shown:?}");
        Ok(())
    })?;
    boma.sql(
        "web",
        "SELECT count(*) FROM pg_class WHERE relname <> 's3cret'",
    )?
    .ok()?;
    let shown = wait(|| {
        let shown = browser.get(&page)?;
        ensure!(shown.body.contains("relname &lt;&gt; $1"), "{shown:?}");
        Ok(shown.body)
    })?;
    ensure!(!shown.contains("s3cret"), "{shown}");
    let told = browser.get(&format!("/api/v1/databases/{PROJECT}/orders/statements"))?;
    ensure!(
        told.body.contains("\"known\":\"counted\"") && !told.body.contains("s3cret"),
        "{told:?}"
    );
    is_for_who_may(&boma, &mut browser, &[page])
}

#[test]
fn a_log_is_shown_through_a_filter_and_has_no_password() -> Result<()> {
    let boma = shop()?;
    let _serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;
    let page = format!("/logs/databases/{PROJECT}/orders");
    let all = browser.get(&page)?;
    ensure!(all.body.contains("ready to accept connections"), "{all:?}");

    let refused = boma.sql("web", "ALTER ROLE <script> PASSWORD 's3cret'")?;
    ensure!(refused.code != 0, "{refused:?}");
    let errors = wait(|| {
        let errors = browser.get(&format!("{page}?least=error&text=alter+role"))?;
        ensure!(errors.body.contains("[redacted]"), "{errors:?}");
        Ok(errors.body)
    })?;
    ensure!(
        errors.contains("&lt;script&gt;") && !errors.contains("s3cret"),
        "{errors}"
    );
    ensure!(!errors.contains("ready to accept connections"), "{errors}");
    ensure!(errors.contains("value=\"alter role\""), "{errors}");
    is_for_who_may(&boma, &mut browser, &[page])
}

#[test]
fn an_application_shows_what_was_deployed_and_what_it_printed() -> Result<()> {
    let boma = Installation::new()?.only(MajorVersion::V17);
    boma.write("orders.yaml", &database("orders", ""))?;
    // It prints what it should not: the page does not.
    let more = "source:\n  command: 'echo begins with $DATABASE_URL; exec sleep 1000'\n\
                preDeploy: 'echo migrated by $DATABASE_URL'";
    boma.write("web.yaml", &application("web", &[writes("orders")], more))?;
    let _serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    let page = format!("/applications/{PROJECT}/web");
    let log = format!("/logs{page}");
    let deployed = wait(|| {
        let shown = browser.get(&page)?;
        ensure!(shown.body.contains("badge well\">Running<"), "{shown:?}");
        ensure!(shown.body.contains("ended well"), "{shown:?}");
        Ok(shown.body)
    })?;
    ensure!(deployed.contains("migrated by [redacted]"), "{deployed}");
    let printed = wait(|| {
        let shown = browser.get(&log)?;
        ensure!(shown.body.contains("begins with [redacted]"), "{shown:?}");
        Ok(shown.body)
    })?;
    let secret = boma.boma(["env", "web", "--reveal", "-o", "json"])?.ok()?;
    let (_, password) = secret
        .split_once("postgresql://")
        .context("a connection string")?;
    let password = password.split(['@', ':']).nth(1).context("a password")?;
    ensure!(password.len() > 20, "a password");
    for text in [&deployed, &printed] {
        ensure!(!text.contains(password), "a password is on a page");
    }
    is_for_who_may(&boma, &mut browser, &[log])?;
    // What an application prints of its own is searched for passwords otherwise.
    let home = boma.state().join("applications").join(PROJECT).join("web");
    for log in ["app.log", "pre-deploy.log"] {
        fs::remove_file(home.join(log))?;
    }
    Ok(())
}
