//! What is destroyed, and restored in place, from elsewhere.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Elsewhere, PROJECT, is_for};
use crate::backups::{insert, moment};
use crate::installation::wait;
use crate::manifests::application;

/// Takes the manifest of `orders` away, and what uses it out of that of its application.
fn retire(there: &Elsewhere) -> Result<()> {
    there.boma.write("web.yaml", &application("web", &[], ""))?;
    there.boma.remove("db.yaml")?;
    wait(|| {
        let listed = there.ok(&["get", "databases"])?;
        ensure!(listed.contains("Retired"), "{listed}");
        Ok(())
    })
}

fn has_problem(answer: &boma_testkit::Answer, status: u16, code: &str) -> Result<()> {
    let problem: Value = serde_json::from_str(&answer.body)?;
    ensure!(
        answer.status == status && problem["code"] == code,
        "{answer:?}"
    );
    Ok(())
}

#[test]
fn a_retired_database_is_purged_from_elsewhere_by_an_admin_who_says_its_name() -> Result<()> {
    let there = Elsewhere::shop("admin")?;
    wait(|| there.ok(&["get"]))?;
    there.boma.boma(["backup", "create", "orders"])?.ok()?;
    let purge = ["purge", "orders", "--confirm", "orders"];
    let in_use = there.refused(&purge)?;
    ensure!(
        in_use.contains("database orders is not retired"),
        "{in_use}"
    );
    let data = there.boma.state().join("instances");
    let path = format!("/api/v1/databases/{PROJECT}/orders/purge");
    let in_use = there.ask("GET", &path, &json!({}))?;
    has_problem(&in_use, 409, "not-retired")?;
    retire(&there)?;

    let developer = there.with_token("developer", &format!("developer:{PROJECT}"))?;
    is_for("admin", &developer(&purge)?)?;
    let unsaid = there.refused(&["purge", "orders"])?;
    ensure!(
        unsaid.contains("will be gone for good") && unsaid.contains("--confirm NAME"),
        "{unsaid}"
    );
    let other = there.refused(&["purge", "orders", "--confirm", "web"])?;
    ensure!(other.contains("name-not-confirmed"), "{other}");
    // What was not shown is not destroyed, and neither is what was not named.
    let shown: Value = serde_json::from_str(&there.ask("GET", &path, &json!({}))?.body)?;
    let instance = shown["instance"]
        .as_str()
        .context("an instance")?
        .to_owned();
    let nil = uuid::Uuid::nil();
    let wrong = json!({"confirm": "orders", "instance": nil});
    has_problem(
        &there.ask("POST", &path, &wrong)?,
        409,
        "instance-not-shown",
    )?;
    let wrong = json!({"confirm": "web", "instance": instance});
    has_problem(
        &there.ask("POST", &path, &wrong)?,
        422,
        "name-not-confirmed",
    )?;
    ensure!(data.join(&instance).exists(), "{instance}");

    let purged = there.run(&purge)?;
    ensure!(
        purged.code == 0 && purged.stderr.contains("Purged orders."),
        "{purged:?}"
    );
    let stays = ["Its backups stay in repository default", &instance];
    ensure!(
        stays.iter().all(|part| purged.stderr.contains(part)),
        "{purged:?}"
    );
    ensure!(!data.join(&instance).exists(), "{instance}");
    wait(|| {
        let listed = there.ok(&["get", "databases"])?;
        ensure!(!listed.contains("orders"), "{listed}");
        Ok(())
    })?;
    let forget = ["backup", "forget", &instance, "--confirm", "orders"];
    is_for("admin", &developer(&forget)?)?;
    let forgotten = there.run(&forget)?;
    ensure!(
        forgotten.code == 0 && forgotten.stderr.contains("objects of orders."),
        "{forgotten:?}"
    );
    assert_eq!(there.ok(&["backup", "repository", "-o", "name"])?, "");
    there.has_recorded(&["purge", "delete all backups of instance"])?;
    Ok(())
}

/// Rows, counted by the application with what it was given when it was made.
fn count(there: &Elsewhere) -> Result<String> {
    let text = "select count(*), max(id) from n";
    Ok(there.boma.sql("web", text)?.ok()?.trim().to_owned())
}

#[test]
fn a_database_goes_back_and_comes_back_from_elsewhere() -> Result<()> {
    let there = Elsewhere::shop("admin")?;
    wait(|| there.ok(&["get"]))?;
    there.boma.boma(["backup", "create", "orders"])?.ok()?;
    insert(&there.boma, 1)?;
    let between = moment(&there.boma)?;
    insert(&there.boma, 2)?;
    let early = [
        "restore",
        "orders",
        "--in-place",
        "--to-time",
        "2001-01-01T00:00:00Z",
    ];
    let refused = there.refused(&early)?;
    ensure!(refused.contains("what can be restored is"), "{refused}");
    let zoneless = [
        "restore",
        "orders",
        "--in-place",
        "--to-time",
        "2026-01-01T00:00:00",
    ];
    let refused = there.refused(&zoneless)?;
    ensure!(refused.contains("time-without-zone"), "{refused}");
    let viewer = there.with_token("viewer", "viewer")?;
    let back = ["restore", "orders", "--in-place", "--to-time", &between];
    is_for("developer", &viewer(&back)?)?;
    let forget = ["restore", "orders", "--forget-old", "--confirm", "orders"];
    let none = there.refused(&forget)?;
    ensure!(none.contains("nothing is kept"), "{none}");

    let said = there.run(&back)?;
    ensure!(
        said.code == 0 && said.stderr.contains("is kept as orders.restore-"),
        "{said:?}"
    );
    wait(|| {
        ensure!(count(&there)? == "1|1");
        Ok(())
    })?;
    there.ok(&["restore", "orders", "--undo"])?;
    wait(|| {
        ensure!(count(&there)? == "2|2");
        Ok(())
    })?;
    let developer = there.with_token("developer", &format!("developer:{PROJECT}"))?;
    is_for("admin", &developer(&forget)?)?;
    let unsaid = there.refused(&["restore", "orders", "--forget-old"])?;
    ensure!(unsaid.contains("--confirm"), "{unsaid}");
    let path = format!("/api/v1/databases/{PROJECT}/orders/replacement/purge");
    let nothing = json!({"confirm": "orders", "instances": []});
    has_problem(
        &there.ask("POST", &path, &nothing)?,
        409,
        "instance-not-shown",
    )?;
    let gone = there.run(&forget)?;
    ensure!(
        gone.code == 0 && gone.stderr.contains("Purged orders.restore-"),
        "{gone:?}"
    );
    assert_eq!(count(&there)?, "2|2");
    there.has_recorded(&[
        "replace the database by what it was",
        "purge orders.restore-",
    ])?;
    Ok(())
}
