//! What somebody changes by hand in a server: put right and told, or told only.

use std::fs;

use anyhow::{Result, ensure};
use boma_instance::MajorVersion;

use crate::installation::{Installation, kill_9, wait};
use crate::manifests::{application, database, reads, writes};
use crate::trouble::serve;

fn shop(spec: &str) -> Result<Installation> {
    // The oldest takes `ALTER SYSTEM`.
    let boma = Installation::new()?.only(MajorVersion::V15);
    boma.write("db.yaml", &database("orders", spec))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    boma.write(
        "report.yaml",
        &application("report", &[reads("orders")], ""),
    )?;
    boma.apply()?;
    boma.sql("web", "create table n (id int)")?.ok()?;
    Ok(boma)
}

/// As the superuser, behind Boma's back.
fn by_hand(boma: &Installation, statement: &str) -> Result<String> {
    boma.boma(["psql", "orders", "--", "-qAtc", statement])?
        .ok()
}

/// Lets the server be looked at now: a new agent does so at once.
fn look(boma: &Installation) -> Result<()> {
    for pid in boma.processes() {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&arguments).contains("\0agent\0") {
            kill_9(pid);
        }
    }
    wait(|| boma.apply()).map(drop)
}

const TAMPERED: &str = "grant orders_reader to analyst; revoke select on n from orders_reader";

fn is_tampered(boma: &Installation) -> Result<bool> {
    let member = "select pg_has_role('analyst', 'orders_reader', 'member')";
    Ok(by_hand(boma, member)?.trim() == "t")
}

#[test]
fn what_is_changed_by_hand_is_put_right_and_told() -> Result<()> {
    let boma = shop("")?;
    let _serving = serve(&boma)?;
    by_hand(&boma, "create role analyst")?;
    by_hand(&boma, TAMPERED)?;
    by_hand(&boma, "alter system set work_mem = '9MB'")?;
    by_hand(&boma, "alter system set max_connections = 33")?;
    ensure!(is_tampered(&boma)?);
    look(&boma)?;
    wait(|| {
        ensure!(!is_tampered(&boma)?, "still a member");
        let set = by_hand(
            &boma,
            "select count(*) from pg_file_settings where sourcefile like '%auto.conf'",
        )?;
        ensure!(set.trim() == "0", "settings by hand: {set}");
        Ok(())
    })?;
    boma.sql("report", "select from n")?.ok()?;
    wait(|| {
        let events = boma.boma(["events", "orders"])?.ok()?;
        for told in [
            "DriftCorrected",
            "take analyst out of orders_reader",
            "take back the settings max_connections, work_mem",
        ] {
            ensure!(events.contains(told), "{told} is not told: {events}");
        }
        Ok(())
    })?;
    let restarted = by_hand(
        &boma,
        "select setting from pg_settings where pending_restart",
    )?;
    assert_eq!(restarted, "");
    Ok(())
}

#[test]
fn what_is_changed_by_hand_is_left_where_the_manifest_says_so_and_who_may_connect_is_not()
-> Result<()> {
    let boma = shop("drift: report")?;
    let _serving = serve(&boma)?;
    by_hand(&boma, "create role analyst")?;
    by_hand(&boma, TAMPERED)?;
    by_hand(&boma, "alter system set work_mem = '9MB'")?;
    by_hand(&boma, "alter role web_1 nologin")?;
    look(&boma)?;
    wait(|| {
        let described = boma.boma(["describe", "database/orders"])?.ok()?;
        for told in [
            "take analyst out of orders_reader",
            "set privileges of 1 object",
            "work_mem",
        ] {
            ensure!(described.contains(told), "{told} is not shown: {described}");
        }
        Ok(())
    })?;
    boma.sql("web", "select 1")?.ok()?;
    ensure!(is_tampered(&boma)?);
    wait(|| {
        let events = boma.boma(["events", "orders"])?.ok()?;
        ensure!(events.contains("DriftFound"), "{events}");
        ensure!(events.contains("put right: set login web_1"), "{events}");
        Ok(())
    })?;
    // A rotation changes whose turn it is and nothing of what is left.
    boma.boma(["rotate", "report"])?.ok()?;
    wait(|| {
        let opened = "select rolcanlogin from pg_roles where rolname = 'report_2'";
        let opened = by_hand(&boma, opened)?;
        ensure!(opened.trim() == "t", "the other login is not open");
        Ok(())
    })?;
    ensure!(is_tampered(&boma)?);
    // The manifest says otherwise: now it is put right.
    boma.write("db.yaml", &database("orders", "drift: correct"))?;
    wait(|| {
        ensure!(!is_tampered(&boma)?, "still a member");
        let events = boma.boma(["events", "orders"])?.ok()?;
        ensure!(events.contains("DriftGone"), "{events}");
        Ok(())
    })
}
