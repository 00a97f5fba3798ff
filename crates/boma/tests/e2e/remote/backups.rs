//! Backups that are checked, shown and deleted from elsewhere.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Elsewhere, PROJECT, is_for};
use crate::installation::wait;

/// The names of the base backups, oldest first.
fn labels(there: &Elsewhere) -> Result<Vec<String>> {
    let listed = there.ok(&["backup", "list", "orders", "-o", "name"])?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// Takes a base backup, and waits until the server knows of it.
fn backed_up(there: &Elsewhere) -> Result<String> {
    let label = there.boma.boma(["backup", "create", "orders"])?.ok()?;
    let label = label.trim().to_owned();
    wait(|| {
        ensure!(labels(there)?.contains(&label), "{label}");
        Ok(())
    })?;
    Ok(label)
}

/// Says the same as where it runs, once nothing is written any more.
fn is_same(there: &Elsewhere, arguments: &[&str]) -> Result<String> {
    wait(|| {
        let (here, told) = (there.boma.boma(arguments)?.ok()?, there.ok(arguments)?);
        ensure!(here == told, "{here}\n{told}");
        Ok(told)
    })
}

#[test]
fn backups_are_checked_and_shown_from_elsewhere() -> Result<()> {
    let there = Elsewhere::shop("developer")?;
    wait(|| there.ok(&["get"]))?;
    let label = backed_up(&there)?;
    let verified = is_same(&there, &["backup", "verify", "orders"])?;
    ensure!(verified.contains(&format!("{label}  whole")), "{verified}");
    let proved = there.ok(&["backup", "drill", "orders"])?;
    ensure!(
        proved.starts_with(&format!("Backup {label} of orders is proved: restored in")),
        "{proved}"
    );
    for output in ["text", "json", "yaml"] {
        let described = ["backup", "describe", "orders", &label, "-o", output];
        is_same(&there, &described)?;
    }
    for output in ["table", "json", "name"] {
        is_same(&there, &["backup", "repository", "-o", output])?;
    }
    let unknown = there.refused(&["backup", "describe", "orders", "20200101T000000Z"])?;
    ensure!(unknown.contains("restore-backup-unknown"), "{unknown}");
    let unknown = there.refused(&["backup", "repository", "nowhere"])?;
    ensure!(unknown.contains("repository-unknown"), "{unknown}");
    // A repository that was damaged is told of as where it is.
    damage(&there)?;
    let damaged = there.run(&["backup", "verify", "orders"])?;
    let here = there.boma.boma(["backup", "verify", "orders"])?;
    ensure!(
        damaged.code == 1 && damaged.stderr.contains("repository-damaged"),
        "{damaged:?}"
    );
    assert_eq!(damaged.stdout, here.stdout);
    Ok(())
}

/// Writes over all base backups.
fn damage(there: &Elsewhere) -> Result<()> {
    let mut open = vec![there.boma.state().join("repository")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().contains("/backup/") {
                std::fs::write(path, "not what it was")?;
            }
        }
    }
    Ok(())
}

#[test]
fn only_an_admin_deletes_backups_from_elsewhere() -> Result<()> {
    let there = Elsewhere::shop("admin")?;
    wait(|| there.ok(&["get"]))?;
    backed_up(&there)?;
    let label = backed_up(&there)?;
    let delete = ["backup", "delete", "orders", &label];
    let unsaid = there.refused(&delete)?;
    ensure!(
        unsaid.contains("Delete base backup") && unsaid.contains("--yes"),
        "{unsaid}"
    );
    let delete = ["backup", "delete", "orders", &label, "--yes"];
    let developer = there.with_token("developer", &format!("developer:{PROJECT}"))?;
    is_for("admin", &developer(&delete)?)?;
    there.ok(&delete)?;
    wait(|| {
        ensure!(!labels(&there)?.contains(&label));
        Ok(())
    })?;
    // Who sees nothing is not told that there is anything.
    let stranger = there.with_token("stranger", "developer:other")?;
    let listed = stranger(&["backup", "repository", "-o", "name"])?.ok()?;
    assert_eq!(listed, "");
    let path = format!("/api/v1/databases/{PROJECT}/orders/checks");
    let answer = there.ask("POST", &path, &json!({"kind": "drill"}))?;
    let check: Value = serde_json::from_str(&answer.body)?;
    ensure!(
        answer.status == 202 && check["kind"] == "drill",
        "{answer:?}"
    );
    let at = answer.header("location").context("where it is")?;
    let ended = wait(|| {
        let check: Value = serde_json::from_str(&there.ask("GET", at, &json!({}))?.body)?;
        ensure!(check["endedAt"].is_string(), "{check}");
        Ok(check)
    })?;
    ensure!(ended["drill"]["problem"].is_null(), "{ended}");
    let deleted = format!("delete base backup {label}");
    there.has_recorded(&[&deleted, "ask for a drill"])?;
    Ok(())
}
