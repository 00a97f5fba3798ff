//! Databases that are retired: what they leave in their repository, and what becomes of it.

use std::fs;

use anyhow::{Result, ensure};
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
