//! What a database does, as its page shows it.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::{PROJECT, SERVED, is_ready, shop, signed_in};
use crate::installation::{Installation, wait};
use crate::rotation::{Client, delivered};
use crate::trouble::serve_with;

/// A number of a chart's words: `… over the last 10 minutes: at last 12 a second, lowest …`.
fn number(page: &str, title: &str, word: &str) -> Result<f64> {
    let (_, said) = page
        .split_once(&format!("aria-label=\"{title} over the last "))
        .with_context(|| format!("a chart of {title}: {page}"))?;
    let said = said.split('"').next().unwrap_or_default();
    let (_, rest) = said.split_once(word).context(said.to_owned())?;
    let number = rest.trim_start().split(' ').next().unwrap_or_default();
    let number = number.trim_end_matches([',', '.']);
    number.parse().with_context(|| said.to_owned())
}

/// Work as an application does it: a transaction for each statement.
fn load(boma: &Installation) -> Result<()> {
    let script = boma.path("load.sql");
    fs::write(&script, "SELECT count(*) FROM pg_class;\n".repeat(3000))?;
    let (client, script) = (boma.client(), script.to_string_lossy().into_owned());
    let args = [
        "run",
        "web",
        "--",
        &client,
        "-Xq",
        "-o",
        "/dev/null",
        "-f",
        &script,
    ];
    boma.boma(args)?.ok()?;
    Ok(())
}

fn access_has(page: &str, row: &str) -> Result<()> {
    let (_, access) = page.split_once("id=\"access\"").context("who may")?;
    let (access, _) = access.split_once("</table>").context("a table")?;
    ensure!(access.contains(row), "{access}");
    Ok(())
}

#[test]
fn charts_move_with_the_load_and_a_restart_is_a_gap() -> Result<()> {
    let boma = shop()?;
    let serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    let page = format!("/databases/{PROJECT}/orders");
    is_ready(&mut browser, &page)?;
    let charts = format!("/charts/{PROJECT}/orders");
    let quiet = wait(|| {
        let seen = browser.get(&charts)?.body;
        // Nobody uses it, and the agent's own looks are no work.
        let now = number(&seen, "Transactions", "at last")?;
        ensure!(now < 0.3, "{seen}");
        Ok(seen)
    })?;
    let before = number(&quiet, "Transactions", "highest")?;
    ensure!(number(&quiet, "Connections", "at last")? < 1.0, "{quiet}");
    // While somebody looks there is another sample every few seconds: whichever two of them the load
    // falls between, it is to be seen.
    load(&boma)?;
    let busy = wait(|| {
        let seen = browser.get(&charts)?.body;
        let highest = number(&seen, "Transactions", "highest")?;
        ensure!(highest > before + 10.0, "{seen}");
        Ok(seen)
    })?;
    number(&busy, "Found in the cache", "highest")?;
    // Whoever uses it, and whoever has and does not now.
    let session = Client::connect(&delivered(&boma)?)?;
    wait(|| access_has(&browser.get(&page)?.body, "<td>1</td><td>now"))?;
    drop(session);
    wait(|| access_has(&browser.get(&page)?.body, "<td>0</td><td><time"))?;
    ensure!(number(&busy, "Storage", "at last")? > 1.0, "{busy}");
    let whole = browser.get(&page)?.body;
    ensure!(whole.contains("id=\"measured\""), "{whole}");
    ensure!(!whole.contains(" style="), "{whole}");

    // Other programs are told the same.
    let mut program = browser.with("accept", "application/json");
    let told = program.get(&format!("/api/v1{page}/history"))?;
    ensure!(
        told.status == 200 && told.body.contains("\"transactions\":"),
        "{told:?}"
    );

    // Who has no session sees nothing of it, nor is there anything of what is not there.
    let mut stranger = boma_testkit::Browser::at(&boma.boma(["dashboard"])?.ok()?)?;
    ensure!(stranger.get(&charts)?.status == 401);
    let missing = browser.get(&format!("/charts/{PROJECT}/other"))?;
    ensure!(missing.status == 404, "{missing:?}");

    // The agent keeps what was measured: another server shows it. A server that was stopped is a gap.
    drop(serving);
    let _serving = serve_with(&boma, &SERVED)?;
    let mut browser = signed_in(&boma)?;
    let kept = wait(|| {
        let seen = browser.get(&charts)?.body;
        number(&seen, "Transactions", "highest")?;
        Ok(seen)
    })?;
    let highest = number(&kept, "Transactions", "highest")?;
    ensure!(highest > before + 10.0, "{kept}");
    Ok(())
}
