//! What monitoring asks for, and how much is sent.

use anyhow::{Result, ensure};

use super::{PROJECT, SERVED, is_ready, shop, signed_in};
use crate::installation::wait;
use crate::trouble::serve_with;
use boma_testkit::Browser;

#[test]
fn numbers_and_probes_need_no_session_and_name_nothing() -> Result<()> {
    let boma = shop()?;
    let _serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    is_ready(&mut browser, &format!("/databases/{PROJECT}/orders"))?;
    let mut stranger = Browser::at(&boma.boma(["dashboard"])?.ok()?)?;
    let page = wait(|| {
        let page = stranger.get("/metrics")?;
        ensure!(page.body.contains("\nboma_converged 1\n"), "{page:?}");
        Ok(page)
    })?;
    for line in [
        "boma_databases{phase=\"Ready\"} 1",
        "boma_applications{phase=\"Delivered\"} 1",
        "boma_plan_blocked 0",
    ] {
        ensure!(
            page.body.contains(&format!("\n{line}\n")),
            "{line}: {page:?}"
        );
    }
    for name in ["orders", "shop", "fincorp"] {
        ensure!(!page.body.contains(name), "{name}: {page:?}");
    }
    ensure!(stranger.get("/healthz")?.status == 200);
    ensure!(stranger.get("/readyz")?.status == 200);

    // What was good goes on, and it is said that the source is not.
    let wrong = "apiVersion: lowops.manifests.v1\nkind: Database\n";
    boma.write("wrong.yaml", wrong)?;
    wait(|| {
        let page = stranger.get("/metrics")?;
        ensure!(page.body.contains("\nboma_source_errors 1\n"), "{page:?}");
        Ok(())
    })?;
    ensure!(stranger.get("/readyz")?.status == 200);
    Ok(())
}

#[test]
fn answers_are_compressed_for_who_takes_that() -> Result<()> {
    let boma = shop()?;
    let _serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    let page = browser.get("/new/database")?;
    ensure!(page.header("content-encoding").is_none(), "{page:?}");
    let (_, script) = page.body.split_once("script src=\"").unwrap_or_default();
    let script = script.split('"').next().unwrap_or_default().to_owned();
    let mut modern = browser.with("accept-encoding", "gzip, br");
    for path in ["/new/database", &script] {
        let plain = browser.get(path)?;
        let packed = modern.get(path)?;
        ensure!(packed.status == 200, "{path}: {}", packed.status);
        ensure!(packed.header("content-encoding") == Some("gzip"), "{path}");
        let lengths = (packed.body.len(), plain.body.len());
        ensure!(lengths.0 < lengths.1, "{path}: {lengths:?}");
    }
    Ok(())
}
