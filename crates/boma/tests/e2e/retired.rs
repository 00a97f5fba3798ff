//! Databases that are retired: what they leave in their repository, and what becomes of it.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use boma_instance::MajorVersion;

use crate::backups::{insert, shop};
use crate::installation::{Installation, wait};

/// Takes the manifest of `orders` and of its application away.
fn retire(boma: &Installation) -> Result<String> {
    boma.remove("web.yaml")?;
    boma.remove("db.yaml")?;
    boma.boma(["apply", "m", "--change-source"])?.ok()
}

fn events(boma: &Installation) -> Result<String> {
    boma.boma(["events", "orders", "--json"])?.ok()
}

#[test]
fn a_repository_that_is_away_does_not_keep_a_database_from_being_retired() -> Result<()> {
    let boma = shop(MajorVersion::V17)?;
    boma.boma(["backup", "create", "orders"])?.ok()?;
    let (repository, away) = (boma.state().join("repository"), boma.state().join("away"));
    fs::rename(&repository, &away)?;
    insert(&boma, 1)?;
    retire(&boma)?;
    let shown = boma.boma(["get", "databases"])?.ok()?;
    ensure!(shown.contains("Retired"), "{shown}");
    let told = events(&boma)?;
    ensure!(told.contains("LeftBehind"), "{told}");
    ensure!(told.contains("in its data directory only"), "{told}");
    // With the repository back, the database brought back and retired again, nothing is missing.
    fs::rename(&away, &repository)?;
    let before = told.matches("\"count\"").count();
    boma.write(
        "db.yaml",
        &crate::backups::backed_up("orders", "deletionProtection: false"),
    )?;
    boma.apply()?;
    wait(|| boma.boma(["backup", "create", "orders"])?.ok())?;
    boma.remove("db.yaml")?;
    boma.boma(["apply", "m", "--change-source"])?.ok()?;
    let after = events(&boma)?;
    assert_eq!(
        after.matches("LeftBehind").count(),
        told.matches("LeftBehind").count()
    );
    ensure!(after.matches("\"count\"").count() > before, "{after}");
    Ok(())
}

/// The id under which the backups of this database lie in the repository.
fn instance(boma: &Installation, name: &str) -> Result<String> {
    let json = boma.boma(["backup", "repository", "-o", "json"])?.ok()?;
    let all: serde_json::Value = serde_json::from_str(&json)?;
    let mut all = all.as_array().context("a list")?.iter();
    let ends = format!("/{name}");
    let found = all.find(|one| {
        one["identity"]
            .as_str()
            .is_some_and(|of| of.ends_with(&ends))
    });
    let found = found.with_context(|| json.clone())?;
    Ok(found["instance"].as_str().context("an id")?.to_owned())
}

#[test]
fn what_was_purged_is_restored_to_its_last_row_and_forgotten_by_its_name() -> Result<()> {
    let boma = shop(MajorVersion::V17)?;
    boma.boma(["backup", "create", "orders"])?.ok()?;
    for id in 1..=3 {
        insert(&boma, id)?;
    }
    let id = instance(&boma, "orders")?;
    let in_use = boma
        .boma(["backup", "forget", &id, "--confirm", "orders"])?
        .code(1)?;
    ensure!(in_use.contains("which is there"), "{in_use}");
    retire(&boma)?;
    // A retired database is brought back: what it has is not forgotten.
    boma.boma(["backup", "forget", &id, "--confirm", "orders"])?
        .code(1)?;
    let purged = boma.boma(["purge", "orders", "--confirm", "orders"])?;
    let said = purged.stderr.clone();
    purged.ok()?;
    ensure!(
        said.contains("Its backups stay in repository default"),
        "{said}"
    );
    ensure!(said.contains(&format!("--instance {id}")), "{said}");
    let table = boma.boma(["backup", "repository"])?.ok()?;
    ensure!(table.contains(&id) && table.contains("gone"), "{table}");

    let restore = ["restore", "orders", "--instance", &id, "--as", "again"];
    boma.boma(restore)?.ok()?;
    let count = "select count(*), max(id) from n";
    let rows = |name: &str| boma.boma(["psql", name, "--", "-Atc", count])?.ok();
    assert_eq!(rows("again")?, "3|3\n");
    let early = ["--to-time", "2001-01-01T00:00:00Z"];
    let refused = boma.boma(
        ["restore", "orders", "--instance", &id, "--as", "early"]
            .into_iter()
            .chain(early),
    )?;
    let refused = refused.code(1)?;
    ensure!(
        refused.contains("what can be restored is from"),
        "{refused}"
    );

    let wrong = boma
        .boma(["backup", "forget", &id, "--confirm", "order"])?
        .code(1)?;
    ensure!(wrong.contains("is not the name orders"), "{wrong}");
    boma.boma(["backup", "forget", &id, "--confirm", "orders"])?
        .ok()?;
    let table = boma.boma(["backup", "repository"])?.ok()?;
    ensure!(!table.contains(&id), "{table}");
    let gone = boma
        .boma(["backup", "forget", &id, "--confirm", "orders"])?
        .code(1)?;
    ensure!(gone.contains("there is nothing of instance"), "{gone}");
    boma.boma(restore)?.code(1)?;
    assert_eq!(rows("again")?, "3|3\n");
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    Ok(())
}
