//! What an instance knows of its repository, through a restore in place and back.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use boma_instance::MajorVersion;

use crate::backups::{insert, moment, shop};
use crate::installation::{Installation, kill_9, wait};
use crate::trouble::again;

/// Files of this name below a directory.
fn named(directory: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(named(&path, name));
        } else if entry.file_name() == name {
            found.push(path);
        }
    }
    found
}

/// The id that a file of JSON says.
fn id(path: &Path) -> Result<String> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    let json: serde_json::Value = serde_json::from_slice(&text)?;
    Ok(json["id"].as_str().context("an id")?.to_owned())
}

/// Takes the repository away, with an empty place left for it, and fails unless what runs as
/// `orders` then says so and makes no other.
fn expect_known(boma: &Installation) -> Result<()> {
    let repository = boma.state().join("repository");
    let away = boma.state().join("away");
    for pid in boma.processes() {
        kill_9(pid);
    }
    fs::rename(&repository, &away)?;
    fs::create_dir(&repository)?;
    let ran = boma.boma(["apply", "m", "--patience", "5"])?;
    let said = wait(|| {
        let shown = boma.boma(["describe", "database", "orders"])?.ok()?;
        ensure!(shown.contains("is not there any more"), "{shown}");
        Ok(shown)
    });
    said.with_context(|| format!("{ran:?}"))?;
    ensure!(
        fs::read_dir(&repository)?.next().is_none(),
        "something was made"
    );
    for pid in boma.processes() {
        kill_9(pid);
    }
    fs::remove_dir(&repository)?;
    fs::rename(&away, &repository)?;
    again(boma)?;
    wait(|| boma.boma(["backup", "create", "orders"])?.ok())?;
    Ok(())
}

#[test]
fn instances_that_change_places_keep_what_they_know_of_their_repository() -> Result<()> {
    let boma = shop(MajorVersion::V17)?;
    boma.boma(["backup", "create", "orders"])?.ok()?;
    insert(&boma, 1)?;
    let between = moment(&boma)?;
    insert(&boma, 2)?;
    boma.boma(["restore", "orders", "--in-place", "--to-time", &between])?
        .ok()?;
    boma.boma(["backup", "create", "orders"])?.ok()?;
    let marker = id(&boma.state().join("repository/boma-repository.json"))?;
    let known = named(&boma.state(), "backup-repository");
    assert_eq!(known.len(), 2, "{known:?}");
    for file in &known {
        assert_eq!(id(file)?, marker, "{}", file.display());
    }
    expect_known(&boma)?;
    boma.boma(["restore", "orders", "--undo"])?.ok()?;
    expect_known(&boma)?;
    assert_eq!(boma.sql("web", "select count(*) from n")?.ok()?, "2\n");
    Ok(())
}
