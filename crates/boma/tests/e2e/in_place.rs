//! Restores in place: the database goes back, its applications keep what they connect with, and
//! what it was is kept until a person says otherwise; through every kind of death in between.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use boma_instance::MajorVersion;

use crate::backups::{insert, moment, shop};
use crate::installation::{Installation, wait, wait_long};
use crate::manifests::database;
use crate::rotation::{Client, connects, delivered};
use crate::trouble::{again, killed_after, serve};

/// Rows, counted by the application with what it was given when it was made.
fn count(boma: &Installation) -> Result<String> {
    let counted = boma.sql("web", "select count(*), max(id) from n")?.ok()?;
    Ok(counted.trim().to_owned())
}

/// How the application connects.
fn environment(boma: &Installation) -> Result<String> {
    boma.boma(["env", "web", "--reveal"])?.ok()
}

/// Databases and what they are.
fn phases(boma: &Installation) -> Result<String> {
    boma.boma(["get", "databases"])?.ok()
}

/// Waits until everything is as the manifests say.
fn nothing_to_do(boma: &Installation) -> Result<()> {
    wait(|| {
        let plan = boma.boma(["plan", "m"])?;
        ensure!(plan.code == 0, "{plan:?}");
        Ok(())
    })
}

/// Two rows, a moment, a third row; all of it backed up.
fn three_rows() -> Result<(Installation, String)> {
    let boma = shop(MajorVersion::V17)?;
    boma.boma(["backup", "create", "orders"])?.ok()?;
    insert(&boma, 1)?;
    insert(&boma, 2)?;
    let between = moment(&boma)?;
    insert(&boma, 3)?;
    Ok((boma, between))
}

#[test]
fn a_database_goes_back_and_comes_back_and_its_applications_keep_what_they_have() -> Result<()> {
    let (boma, between) = three_rows()?;
    let before = environment(&boma)?;
    let early = [
        "restore",
        "orders",
        "--in-place",
        "--to-time",
        "2001-01-01T00:00:00Z",
    ];
    let refused = boma.boma(early)?.code(1)?;
    ensure!(refused.contains("what can be restored is"), "{refused}");
    assert_eq!(count(&boma)?, "3|3");

    let back = boma.boma(["restore", "orders", "--in-place", "--to-time", &between])?;
    ensure!(back.code == 0, "{back:?}");
    ensure!(back.stderr.contains("--forget-old"), "{}", back.stderr);
    assert_eq!(count(&boma)?, "2|2");
    assert_eq!(environment(&boma)?, before);
    insert(&boma, 77)?;
    let shown = boma.boma(["describe", "database", "orders"])?.ok()?;
    ensure!(shown.contains("Replaced and kept"), "{shown}");
    let listed = phases(&boma)?;
    ensure!(
        listed.contains("orders.restore-") && listed.contains("Retired"),
        "{listed}"
    );
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    // What it is now has a place of its own in the repository, and is backed up there.
    let label = boma.boma(["backup", "create", "orders"])?.ok()?;
    ensure!(!label.trim().is_empty(), "a backup of what was restored");

    boma.boma(["restore", "orders", "--undo"])?.ok()?;
    assert_eq!(count(&boma)?, "3|3");
    assert_eq!(environment(&boma)?, before);
    insert(&boma, 4)?;

    let asked = boma.boma(["restore", "orders", "--forget-old"])?.code(1)?;
    ensure!(asked.contains("--confirm"), "{asked}");
    let other = ["restore", "orders", "--forget-old", "--confirm", "web"];
    boma.boma(other)?.code(1)?;
    let forget = ["restore", "orders", "--forget-old", "--confirm", "orders"];
    boma.boma(forget)?.ok()?;
    let listed = phases(&boma)?;
    ensure!(!listed.contains("orders.restore-"), "{listed}");
    let none = boma.boma(forget)?.code(1)?;
    ensure!(none.contains("nothing is kept"), "{none}");
    assert_eq!(count(&boma)?, "4|4");
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    Ok(())
}

#[test]
fn a_rotation_beside_a_restore_leaves_one_password_that_works() -> Result<()> {
    let (boma, between) = three_rows()?;
    let _serving = serve(&boma)?;
    let former = delivered(&boma)?;
    let restore = ["restore", "orders", "--in-place", "--to-time", &between];
    let mut command = boma.command();
    let command = command.args(restore).stdout(Stdio::null());
    let restore = command.stderr(Stdio::piped()).spawn()?;
    let asked = boma.boma(["rotate", "web"])?;
    ensure!([0, 4].contains(&asked.code), "{asked:?}");
    let restored = restore.wait_with_output()?;
    let said = String::from_utf8_lossy(&restored.stderr);
    // `boma serve` takes the same steps, so one of the two may find an agent gone that the other has
    // ended; and the exchange of the password may wait longer than the command.
    let kept = "is kept as orders.restore-";
    ensure!(said.contains(kept), "{said}");
    let new = wait_long(|| {
        let new = delivered(&boma)?;
        ensure!(new != former && connects(&new)?, "not exchanged");
        Ok(new)
    })?;
    assert_eq!(count(&boma)?, "2|2");
    // It runs elsewhere: the former password goes once it is seen with the new one.
    let _session = Client::connect(&new)?;
    wait_long(|| {
        let waited = boma.boma(["rotate", "web", "--wait", "--patience", "5"])?;
        ensure!(!connects(&former)?, "{waited:?}");
        Ok(())
    })?;
    ensure!(connects(&delivered(&boma)?)?, "the last one works");
    Ok(())
}

#[test]
fn a_restore_point_that_is_not_there_replaces_nothing_and_is_given_up() -> Result<()> {
    let (boma, _) = three_rows()?;
    let target = [
        "restore",
        "orders",
        "--in-place",
        "--to-name",
        "nobody made it",
    ];
    let failed = boma.boma(target)?;
    ensure!(failed.code != 0, "{failed:?}");
    ensure!(failed.stderr.contains("is as it was"), "{}", failed.stderr);
    assert_eq!(count(&boma)?, "3|3");
    let twice = boma.boma(target)?.code(1)?;
    ensure!(twice.contains("already"), "{twice}");
    boma.boma(["restore", "orders", "--undo"])?.ok()?;
    assert_eq!(count(&boma)?, "3|3");
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    Ok(())
}

#[test]
fn a_database_whose_data_is_lost_is_restored_in_place() -> Result<()> {
    let (boma, _) = three_rows()?;
    boma.boma(["fork", "orders", "--as", "copy"])?.ok()?;
    let id = boma.boma(["get", "orders", "-o", "json"])?.ok()?;
    let id: serde_json::Value = serde_json::from_str(&id)?;
    let id = id[0]["computed"]["id"]
        .as_str()
        .context("an id")?
        .to_owned();
    boma.boma(["stop", "orders"])?.ok()?;
    std::fs::remove_dir_all(boma.state().join("instances").join(id).join("data"))?;
    let lost = boma.boma(["start", "orders"])?;
    ensure!(lost.code != 0, "{lost:?}");
    boma.boma(["restore", "orders", "--in-place"])?.ok()?;
    assert_eq!(count(&boma)?, "3|3");
    Ok(())
}

#[test]
fn a_restore_in_place_that_is_killed_loses_nothing_and_comes_to_its_end() -> Result<()> {
    let (boma, between) = three_rows()?;
    let before = environment(&boma)?;
    boma.boma(["fork", "orders", "--as", "archived"])?.ok()?;
    let restore = ["restore", "orders", "--in-place", "--to-time", &between];
    for millis in [300_u64, 1500, 3000, 4500, 6000, 8000] {
        killed_after(&boma, &restore, Duration::from_millis(millis))?;
        again(&boma).with_context(|| format!("{millis} ms"))?;
        let rows = count(&boma)?;
        let is_whole = rows == "3|3" || rows == "2|2";
        ensure!(is_whole, "{millis} ms: {rows}");
        assert_eq!(environment(&boma)?, before, "{millis} ms");
        if rows == "2|2" {
            boma.boma(["restore", "orders", "--undo"])?.ok()?;
            assert_eq!(count(&boma)?, "3|3", "{millis} ms");
            boma.boma(["restore", "orders", "--forget-old", "--confirm", "orders"])?
                .ok()?;
        }
        nothing_to_do(&boma)?;
    }
    Ok(())
}

/// Rows of a database without an application, as the superuser counts them.
fn counted(boma: &Installation, name: &str) -> Result<String> {
    let count = "select count(*), max(id) from n";
    let rows = boma.boma(["psql", name, "--", "-Atc", count])?.ok()?;
    Ok(rows.trim().to_owned())
}

#[test]
fn moments_of_both_lines_are_restored_after_a_restore_in_place() -> Result<()> {
    let (boma, between) = three_rows()?;
    let late = moment(&boma)?;
    insert(&boma, 4)?;
    boma.boma(["fork", "orders", "--as", "archived"])?.ok()?;
    boma.boma(["restore", "orders", "--in-place", "--to-time", &between])?
        .ok()?;
    insert(&boma, 77)?;
    boma.boma(["backup", "create", "orders"])?.ok()?;
    let names = boma.boma(["get", "databases", "-o", "name"])?.ok()?;
    let kept = names.lines().find_map(|line| {
        let name = line.strip_prefix("database/")?;
        name.starts_with("orders.restore-").then_some(name)
    });
    let kept = kept.with_context(|| names.clone())?;
    // What was left: the same database, as it was before it went back.
    let left = ["restore", kept, "--as", "left", "--to-time", &late];
    boma.boma(left.into_iter().chain(["--timeline", "1"]))?
        .ok()?;
    assert_eq!(counted(&boma, "left")?, "3|3");
    // What it is now has a line of its own, and only that.
    let line = |number| ["restore", "orders", "--as", "right", "--timeline", number];
    let refused = boma.boma(line("1"))?.code(1)?;
    ensure!(
        refused.contains("there is no timeline 1; there is 2"),
        "{refused}"
    );
    boma.boma(line("2"))?.ok()?;
    assert_eq!(counted(&boma, "right")?, "3|77");
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    Ok(())
}

#[test]
fn a_restore_in_place_and_a_server_of_manifests_do_not_get_into_each_others_way() -> Result<()> {
    let (boma, between) = three_rows()?;
    let before = environment(&boma)?;
    let _serving = serve(&boma)?;
    wait(|| {
        ensure!(boma.boma(["events"])?.code == 0, "no events");
        let plan = boma.boma(["plan", "m"])?;
        ensure!(plan.code == 0, "{plan:?}");
        Ok(())
    })?;
    for _ in 0..2 {
        boma.boma(["restore", "orders", "--in-place", "--to-time", &between])?
            .ok()?;
        assert_eq!(count(&boma)?, "2|2");
        // Manifests change meanwhile, as they do.
        boma.write(
            "other.yaml",
            &database("other", "deletionProtection: false"),
        )?;
        wait(|| boma.boma(["psql", "other", "--", "-Atc", "select 1"])?.ok())?;
        boma.boma(["restore", "orders", "--undo"])?.ok()?;
        assert_eq!(count(&boma)?, "3|3");
        assert_eq!(environment(&boma)?, before);
        boma.boma(["restore", "orders", "--forget-old", "--confirm", "orders"])?
            .ok()?;
    }
    nothing_to_do(&boma)
}
