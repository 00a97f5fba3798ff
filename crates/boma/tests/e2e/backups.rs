//! Backups from the command line: taken, listed, restored to any moment, through every kind of
//! death in between.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use boma_instance::MajorVersion;

use crate::installation::{Installation, wait};
use crate::manifests::{application, database, writes};
use crate::trouble::{again, killed_after, serve};

/// A database with backups, which those of other tests are without.
pub(crate) fn backed_up(name: &str, more: &str) -> String {
    let often = "backupConfig: {archiveIntervalSeconds: 1}";
    // Where the tests' files are in memory, they count as the server's: those of a drill too.
    database(name, more)
        .replace("backupConfig: {enabled: false}", often)
        .replace("memory: 256Mi", "memory: 1Gi")
}

/// A database that archives every second while there is writing, and an application of it.
pub(crate) fn shop(major: MajorVersion) -> Result<Installation> {
    let boma = Installation::new()?.only(major);
    boma.write("db.yaml", &backed_up("orders", "deletionProtection: false"))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    boma.apply()?;
    boma.sql(
        "web",
        "create table n(id int primary key, at timestamptz not null default clock_timestamp())",
    )?
    .ok()?;
    Ok(boma)
}

pub(crate) fn insert(boma: &Installation, id: u32) -> Result<()> {
    let text = format!("insert into n(id) values ({id})");
    boma.sql("web", &text)?.ok().map(drop)
}

/// A moment between what was committed before and what is committed after.
pub(crate) fn moment(boma: &Installation) -> Result<String> {
    let text =
        "select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    Ok(boma.sql("web", text)?.ok()?.trim().to_owned())
}

/// Gives an application of its own to a restored database, and counts what is in it.
fn rows(boma: &Installation, name: &str) -> Result<String> {
    let reader = format!("read-{name}");
    boma.write(
        &format!("{reader}.yaml"),
        &application(&reader, &[writes(name)], ""),
    )?;
    boma.apply()?;
    let counted = boma.sql(&reader, "select count(*), coalesce(max(id), 0) from n")?;
    Ok(counted.ok()?.trim().to_owned())
}

fn a_moment_is_restored_exactly(major: MajorVersion) -> Result<()> {
    let boma = shop(major)?;
    boma.boma(["backup", "create", "orders"])?.ok()?;
    insert(&boma, 1)?;
    insert(&boma, 2)?;
    let between = moment(&boma)?;
    insert(&boma, 3)?;
    // What is behind the moment has to be archived before that is known to be all.
    boma.boma(["fork", "orders", "--as", "now"])?.ok()?;
    assert_eq!(rows(&boma, "now")?, "3|3");
    boma.boma(["restore", "orders", "--as", "then", "--to-time", &between])?
        .ok()?;
    assert_eq!(rows(&boma, "then")?, "2|2");
    assert_eq!(boma.sql("web", "select count(*) from n")?.ok()?, "3\n");
    // Of the source's roles none is left, and the new database is written to like any other.
    let roles = boma.boma([
        "psql",
        "then",
        "--",
        "-Atc",
        "select count(*) from pg_roles where rolname like 'orders%' or rolname like 'web%'",
    ])?;
    assert_eq!(roles.ok()?, "0\n");
    boma.sql("read-then", "insert into n(id) values (77)")?
        .ok()?;
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    Ok(())
}

#[test]
fn a_moment_is_restored_exactly_on_15() -> Result<()> {
    a_moment_is_restored_exactly(MajorVersion::V15)
}

#[test]
fn a_moment_is_restored_exactly_on_17() -> Result<()> {
    a_moment_is_restored_exactly(MajorVersion::V17)
}

#[test]
fn backups_are_taken_by_themselves_listed_and_shown() -> Result<()> {
    let boma = shop(MajorVersion::V15)?;
    let first = wait(|| {
        let list = boma.boma(["backup", "list", "orders"])?.ok()?;
        ensure!(list.contains("-full"), "{list}");
        Ok(list)
    })?;
    insert(&boma, 1)?;
    let label = boma.boma(["backup", "create", "orders"])?.ok()?;
    ensure!(label.trim().ends_with("-incr"), "{label}");
    // The backup is there before the agent's next status says so.
    wait(|| {
        let list = boma.boma(["backup", "list", "orders"])?.ok()?;
        ensure!(list.lines().count() > first.lines().count(), "{list}");
        ensure!(list.contains(label.trim()), "{list}");
        Ok(())
    })?;
    let shown = boma.boma(["describe", "database", "orders"])?.ok()?;
    ensure!(shown.contains("Last backup"), "{shown}");
    Ok(())
}

#[test]
fn a_backup_is_described_and_deleted_unless_it_is_needed() -> Result<()> {
    let boma = shop(MajorVersion::V17)?;
    wait(|| {
        let list = boma
            .boma(["backup", "list", "orders", "-o", "name"])?
            .ok()?;
        ensure!(list.contains("-full"), "{list}");
        Ok(())
    })?;
    insert(&boma, 1)?;
    let increment = boma.boma(["backup", "create", "orders"])?.ok()?;
    let increment = increment.trim();
    let labels = boma
        .boma(["backup", "list", "orders", "-o", "name"])?
        .ok()?;
    let full = labels.lines().next().context("a full backup")?;
    let shown = boma
        .boma(["backup", "describe", "orders", increment])?
        .ok()?;
    ensure!(shown.contains(&format!("Needs          {full}")), "{shown}");
    ensure!(!shown.contains("0 MiB"), "{shown}");
    let json = boma
        .boma(["backup", "describe", "orders", full, "-o", "json"])?
        .ok()?;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    assert_eq!(json["neededBy"], serde_json::json!([increment]));
    assert_eq!(json["whole"], true);

    let needed = boma
        .boma(["backup", "delete", "orders", full, "--yes"])?
        .code(1)?;
    ensure!(needed.contains("is needed by"), "{needed}");
    let asked = boma
        .boma(["backup", "delete", "orders", increment])?
        .code(1)?;
    ensure!(asked.contains("--yes"), "{asked}");
    boma.boma(["backup", "delete", "orders", increment, "--yes"])?
        .ok()?;
    let left = boma
        .boma(["backup", "list", "orders", "-o", "name"])?
        .ok()?;
    assert_eq!(left, format!("{full}\n"));
    let last = boma
        .boma(["backup", "delete", "orders", full, "--yes"])?
        .code(1)?;
    ensure!(last.contains("is the only whole one"), "{last}");
    let none = boma
        .boma(["backup", "delete", "orders", increment, "--yes"])?
        .code(1)?;
    ensure!(none.contains("there is no base backup"), "{none}");
    let audit = boma.boma(["audit"])?.ok()?;
    ensure!(
        audit.contains(&format!("delete base backup {increment}")),
        "{audit}"
    );
    // What was restored from before can be restored from still.
    boma.boma(["restore", "orders", "--as", "still"])?.ok()?;
    assert_eq!(rows(&boma, "still")?, "1|1");
    Ok(())
}

/// What the only agent of an installation tells Prometheus.
fn samples(boma: &Installation) -> Result<String> {
    let run = std::fs::read_dir(boma.state().join("run"))?;
    let directory = run.last().context("an agent")??.path();
    let mut stream = std::os::unix::net::UnixStream::connect(directory.join("agent.sock"))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn backups_and_drills_are_events_and_samples() -> Result<()> {
    let boma = shop(MajorVersion::V17)?;
    let _serving = serve(&boma)?;
    let told = |what: &str| {
        let events = boma.boma(["events", "orders", "--json"])?.ok()?;
        ensure!(events.contains(what), "{what}: {events}");
        Ok(())
    };
    // What came to pass before it watches is no event, and it may be starting still. What it sees
    // it tells a moment later: perhaps when the next backup is taken already.
    let mut taken = Vec::new();
    wait(|| {
        let label = boma.boma(["backup", "create", "orders"])?.ok()?;
        taken.push(format!("base backup {}", label.trim()));
        let events = boma.boma(["events", "orders", "--json"])?.ok()?;
        let is_told = taken.iter().any(|label| events.contains(label));
        ensure!(is_told, "none of {taken:?}: {events}");
        Ok(())
    })?;
    boma.boma(["backup", "drill", "orders"])?.ok()?;
    wait(|| told("DrillPassed"))?;
    let text = samples(&boma)?;
    ensure!(text.contains("text/plain; version=0.0.4"), "{text}");
    for sample in [
        "boma_wal_archived{instance_id=",
        "boma_restore_drill_duration_seconds{",
        "boma_recoverable_until_timestamp_seconds{",
        "boma_storage_used_bytes{",
    ] {
        ensure!(text.contains(sample), "{sample}: {text}");
    }
    Ok(())
}

#[test]
fn a_key_is_exported_and_a_wrong_one_is_refused() -> Result<()> {
    let boma = shop(MajorVersion::V15)?;
    let key = boma.boma(["backup", "key"])?.ok()?;
    ensure!(key.starts_with("boma-key-1-"), "{key}");
    let audit = boma.boma(["audit"])?.ok()?;
    ensure!(audit.contains("export the key of a repository"), "{audit}");
    ensure!(!audit.contains(key.trim()), "the key is in the audit trail");
    boma.boma(["backup", "key", "elsewhere"])?.code(1)?;
    Ok(())
}

/// What the superuser reads.
fn superuser(boma: &Installation, text: &str) -> Result<String> {
    let read = boma.boma(["psql", "orders", "--", "-Atc", text])?.ok()?;
    Ok(read.trim().to_owned())
}

#[test]
fn positions_points_and_backups_are_restored_exactly() -> Result<()> {
    let boma = shop(MajorVersion::V17)?;
    insert(&boma, 1)?;
    let label = boma.boma(["backup", "create", "orders"])?.ok()?;
    insert(&boma, 2)?;
    let position = superuser(&boma, "select pg_current_wal_insert_lsn()")?;
    insert(&boma, 3)?;
    superuser(&boma, "select pg_create_restore_point('before four')")?;
    insert(&boma, 4)?;
    // Nothing of this is archived yet: the restores see to that themselves.
    for (name, target, rows_then) in [
        ("at-position", ["--to-lsn", &position], "2|2"),
        ("at-point", ["--to-name", "before four"], "3|3"),
        ("at-backup", ["--to-backup", label.trim()], "1|1"),
    ] {
        let [flag, value] = target;
        boma.boma(["restore", "orders", "--as", name, flag, value])?
            .ok()
            .context(name)?;
        assert_eq!(rows(&boma, name)?, rows_then, "{name}");
    }
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    Ok(())
}

#[test]
fn what_cannot_be_restored_is_refused_before_anything_starts() -> Result<()> {
    let boma = shop(MajorVersion::V15)?;
    boma.boma(["backup", "create", "orders"])?.ok()?;
    for (flag, value, says) in [
        ("--to-time", "2026-11-21T14:32:06", "with its zone"),
        (
            "--to-time",
            "2001-01-01T00:00:00Z",
            "what can be restored is from",
        ),
        (
            "--to-time",
            "2501-01-01T00:00:00Z",
            "what can be restored is from",
        ),
        ("--to-lsn", "0/1", "what can be restored is from"),
        ("--to-lsn", "FF/1", "what can be restored is from"),
        ("--to-backup", "20010101T000000Z-full", "no base backup"),
        ("--timeline", "9", "there is no timeline 9; there is 1"),
    ] {
        let refused = boma.boma(["restore", "orders", "--as", "x", flag, value])?;
        let said = refused.code(1).with_context(|| format!("{flag} {value}"))?;
        ensure!(said.contains(says), "{flag} {value}: {said}");
        ensure!(!boma.manifests().join("x.yaml").exists(), "{flag} {value}");
    }
    boma.boma(["restore", "orders", "--as", "x", "--to-lsn", "five"])?
        .code(2)?;
    // By a manifest as well, as far as it is known from the status.
    let early = "bootstrap: {restore: {database: orders, targetTime: 2001-01-01T00:00:00Z}}";
    boma.write("y.yaml", &backed_up("y", early))?;
    let said = boma.boma(["plan", "m"])?.code(1)?;
    ensure!(said.contains("can be restored from"), "{said}");
    let names = boma.boma(["get", "databases", "-o", "name"])?.ok()?;
    assert_eq!(names, "database/orders\n");
    Ok(())
}

#[test]
fn a_restore_that_is_killed_begins_again_and_is_whole_in_the_end() -> Result<()> {
    let boma = shop(MajorVersion::V17)?;
    boma.sql("web", "insert into n(id) select generate_series(1, 20000)")?
        .ok()?;
    boma.boma(["backup", "create", "orders"])?.ok()?;
    boma.boma(["fork", "orders", "--as", "first"])?.ok()?;
    assert_eq!(rows(&boma, "first")?, "20000|20000");
    let restored = |name: &str| {
        let head = "bootstrap: {restore: {database: orders}}\ndeletionProtection: false";
        boma.write(&format!("{name}.yaml"), &backed_up(name, head))
    };
    for (turn, millis) in [5_u64, 40, 120, 300, 700].into_iter().enumerate() {
        let name = format!("again-{turn}");
        restored(&name)?;
        killed_after(&boma, &["apply", "m"], Duration::from_millis(millis))?;
        again(&boma).context(name.clone())?;
        assert_eq!(rows(&boma, &name)?, "20000|20000", "{name}");
    }
    Ok(())
}

#[test]
fn a_backup_is_proved_on_demand_and_the_proof_is_shown() -> Result<()> {
    let boma = shop(MajorVersion::V15)?;
    insert(&boma, 1)?;
    wait(|| {
        let list = boma.boma(["backup", "list", "orders"])?.ok()?;
        ensure!(list.contains("-full"), "{list}");
        Ok(())
    })?;
    let verified = boma.boma(["backup", "verify", "orders"])?.ok()?;
    ensure!(verified.contains("-full  whole"), "{verified}");
    let proved = boma.boma(["backup", "drill", "orders"])?.ok()?;
    ensure!(proved.contains("is proved: restored in"), "{proved}");
    wait(|| {
        let shown = boma.boma(["describe", "database", "orders"])?.ok()?;
        ensure!(shown.contains("RestoreProved         true"), "{shown}");
        Ok(())
    })
}
