//! The life of a database: changed, suspended, retired, brought back, purged.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use boma_instance::MajorVersion;

use crate::installation::{Installation, wait};
use crate::manifests::{application, database, writes};

fn one() -> Result<Installation> {
    let boma = Installation::new()?;
    boma.write("db.yaml", &database("orders", "deletionProtection: false"))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    boma.apply()?;
    boma.sql("web", "create table t(id int); insert into t values (42)")?
        .ok()?;
    Ok(boma)
}

fn started(boma: &Installation) -> Result<String> {
    boma.sql("web", "select pg_postmaster_start_time()")?.ok()
}

#[test]
fn a_second_apply_has_nothing_to_do() -> Result<()> {
    let boma = one()?;
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    let said = boma.boma(["apply", "m"])?.code(0)?;
    ensure!(said.contains("Nothing to do"), "{said}");
    Ok(())
}

#[test]
fn plan_tells_by_its_exit_code_whether_there_is_something_to_do() -> Result<()> {
    let boma = Installation::new()?;
    boma.write("db.yaml", &database("orders", ""))?;
    assert_eq!(boma.boma(["plan", "m"])?.code, 4);
    boma.apply()?;
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    Ok(())
}

#[test]
fn a_setting_is_reloaded_or_restarted_as_postgresql_says() -> Result<()> {
    let boma = one()?;
    let before = started(&boma)?;
    let with = |parameters: &str| {
        database(
            "orders",
            &format!("deletionProtection: false\nparameters: {{{parameters}}}"),
        )
    };
    boma.write("db.yaml", &with("work_mem: 7MB"))?;
    boma.apply()?;
    assert_eq!(boma.sql("web", "show work_mem")?.ok()?, "7MB\n");
    assert_eq!(started(&boma)?, before, "a reload would have been enough");
    boma.write(
        "db.yaml",
        &with("work_mem: 7MB, max_locks_per_transaction: '99'"),
    )?;
    boma.apply()?;
    assert_eq!(
        boma.sql("web", "show max_locks_per_transaction")?.ok()?,
        "99\n"
    );
    assert_ne!(started(&boma)?, before);
    assert_eq!(boma.sql("web", "select id from t")?.ok()?, "42\n");
    Ok(())
}

#[test]
fn memory_grows_and_so_does_the_cache() -> Result<()> {
    let boma = one()?;
    let before = boma.sql("web", "show shared_buffers")?.ok()?;
    boma.write(
        "db.yaml",
        &database("orders", "deletionProtection: false").replace("256Mi", "512Mi"),
    )?;
    boma.apply()?;
    assert_ne!(boma.sql("web", "show shared_buffers")?.ok()?, before);
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    Ok(())
}

#[test]
fn a_suspended_database_is_stopped_and_comes_back_with_its_data() -> Result<()> {
    let boma = one()?;
    boma.write(
        "db.yaml",
        &database("orders", "deletionProtection: false\nsuspended: true"),
    )?;
    boma.apply()?;
    ensure!(
        boma.sql("web", "select 1")?.code != 0,
        "a suspended database answers"
    );
    let table = boma.boma(["get", "databases"])?.ok()?;
    ensure!(table.contains("Suspended"), "{table}");
    boma.write("db.yaml", &database("orders", "deletionProtection: false"))?;
    boma.apply()?;
    assert_eq!(boma.sql("web", "select id from t")?.ok()?, "42\n");
    Ok(())
}

#[test]
fn a_protected_database_cannot_be_removed_by_taking_its_manifest_away() -> Result<()> {
    let boma = Installation::new()?;
    boma.write("db.yaml", &database("orders", ""))?;
    boma.write("keep.yaml", &database("keep", ""))?;
    boma.apply()?;
    boma.remove("db.yaml")?;
    let said = boma.boma(["apply", "m"])?.code(1)?;
    ensure!(said.contains("deletionProtection: false"), "{said}");
    let table = boma.boma(["get", "databases"])?.ok()?;
    ensure!(
        table.contains("orders") && table.contains("Ready"),
        "{table}"
    );
    Ok(())
}

#[test]
fn a_removed_database_is_retired_brought_back_whole_and_purged_only_by_name() -> Result<()> {
    let boma = one()?;
    boma.write("keep.yaml", &database("keep", ""))?;
    boma.apply()?;
    boma.remove("db.yaml")?;
    boma.remove("web.yaml")?;
    boma.apply()?;
    let table = boma.boma(["get", "databases"])?.ok()?;
    ensure!(table.contains("Retired"), "{table}");
    boma.write("db.yaml", &database("orders", "deletionProtection: false"))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    boma.apply()?;
    assert_eq!(boma.sql("web", "select id from t")?.ok()?, "42\n");
    let refused = boma
        .boma(["purge", "orders", "--confirm", "orders"])?
        .code(1)?;
    ensure!(refused.contains("not retired"), "{refused}");
    boma.remove("db.yaml")?;
    boma.remove("web.yaml")?;
    boma.apply()?;
    let refused = boma
        .boma(["purge", "orders", "--confirm", "order"])?
        .code(1)?;
    ensure!(refused.contains("orders"), "{refused}");
    boma.boma(["purge", "orders", "--confirm", "orders"])?
        .ok()?;
    let table = boma.boma(["get", "databases"])?.ok()?;
    ensure!(!table.contains("orders"), "{table}");
    Ok(())
}

#[test]
fn what_cannot_be_done_is_said_at_plan_time() -> Result<()> {
    let boma = one()?;
    for (spec, says) in [
        ("clusterSize: 3", "not supported"),
        ("version: \"15\"", "15"),
        ("extensions: [no_such_thing]", "no_such_thing"),
        ("parameters: {shared_bufers: 1MB}", "shared_buffers"),
        ("parameters: {fsync: 'off'}", "fsync"),
        // What only the server itself can tell.
        (
            "parameters: {work_mem: 16mb}",
            "refuses `work_mem = 16mb`: invalid value",
        ),
        (
            "parameters: {log_min_messages: loud}",
            "Available values: debug5",
        ),
    ] {
        let text = database("orders", &format!("deletionProtection: false\n{spec}"));
        boma.write("db.yaml", &text)?;
        let said = boma.boma(["plan", "m"])?.code(1)?;
        ensure!(said.contains(says), "{spec}: {said}");
        ensure!(said.contains("db.yaml:"), "no place in {said}");
    }
    boma.write("db.yaml", &database("orders", "deletionProtection: false"))?;
    assert_eq!(boma.boma(["plan", "m"])?.code, 0);
    Ok(())
}

#[test]
fn an_extension_is_created() -> Result<()> {
    let boma = one()?;
    boma.write(
        "db.yaml",
        &database("orders", "deletionProtection: false\nextensions: [pg_trgm]"),
    )?;
    boma.apply()?;
    assert_eq!(
        boma.sql("web", "select similarity('boma', 'boma')")?.ok()?,
        "1\n"
    );
    Ok(())
}

#[test]
fn an_ordinary_user_needs_no_root() -> Result<()> {
    let boma = Installation::new()?.by_ordinary_user()?;
    boma.write("db.yaml", &database("orders", ""))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    boma.apply()?;
    boma.sql("web", "create table t as select 42 as x")?.ok()?;
    let owner = boma.boma([
        "psql",
        "orders",
        "--",
        "-Atc",
        "select tableowner from pg_tables where tablename = 't'",
    ])?;
    assert_eq!(owner.ok()?, "orders_owner\n");
    let said = boma.boma(["doctor"])?.code(0)?;
    ensure!(said.contains("not enforced"), "{said}");
    boma.boma(["stop"])?.ok()?;
    boma.boma(["start"])?.ok()?;
    assert_eq!(boma.sql("web", "select x from t")?.ok()?, "42\n");
    Ok(())
}

/// Copies the programs of a build; all that is changed is the version that they say they are.
fn install(build: &Path, prefix: &Path, version: Option<(&str, &str)>) -> Result<()> {
    for name in ["postgres", "initdb", "pg_ctl"] {
        let mut program = fs::read(build.join(name))?;
        if let Some((real, said)) = version {
            ensure!(real.len() == said.len(), "{said} must take the same room");
            let places: Vec<_> = program
                .windows(real.len())
                .enumerate()
                .filter(|(_, bytes)| *bytes == real.as_bytes())
                .map(|(place, _)| place)
                .collect();
            for place in places {
                program[place..place + said.len()].copy_from_slice(said.as_bytes());
            }
        }
        // As package managers do: a new file under the old name.
        let (beside, program_path) = (prefix.join("bin/new"), prefix.join("bin").join(name));
        fs::write(&beside, program)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o755))?;
        fs::rename(beside, program_path)?;
    }
    Ok(())
}

#[test]
fn programs_of_another_minor_version_take_over_by_themselves() -> Result<()> {
    let boma = Installation::new()?;
    let builds = boma_testkit::postgres_builds()?;
    let build = builds
        .iter()
        .find(|build| build.major == MajorVersion::V16)
        .context("no PostgreSQL 16")?;
    let said = std::process::Command::new(build.bin.join("postgres"))
        .arg("--version")
        .output()?;
    let said = String::from_utf8(said.stdout)?;
    let new = said.split_whitespace().nth(2).context("no version")?;
    let last = new.chars().last().and_then(|last| last.to_digit(10));
    let other = if last == Some(0) { '1' } else { '0' };
    let old = format!("{}{other}", &new[..new.len() - 1]);

    let prefix = boma.path("postgres");
    fs::create_dir_all(prefix.join("bin"))?;
    let root = build.bin.parent().context("no directory")?;
    for name in ["lib", "share"] {
        std::os::unix::fs::symlink(root.join(name), prefix.join(name))?;
    }
    install(&build.bin, &prefix, Some((new, &old)))?;
    let boma = boma.with_programs(MajorVersion::V16, prefix.join("bin"));
    boma.write("db.yaml", &database("orders", ""))?;
    boma.write("web.yaml", &application("web", &[writes("orders")], ""))?;
    boma.apply()?;
    boma.sql("web", "create table t(id int); insert into t values (42)")?
        .ok()?;
    let described = boma.boma(["describe", "orders"])?.ok()?;
    ensure!(described.contains(&old), "{described}");

    install(&build.bin, &prefix, None)?;
    // The agent looks once a minute.
    let is_new = || -> Result<()> {
        let described = boma.boma(["describe", "orders"])?.ok()?;
        ensure!(
            described.contains(new) && described.contains("Ready"),
            "{described}"
        );
        Ok(())
    };
    wait(is_new).or_else(|_| wait(is_new))?;
    assert_eq!(boma.sql("web", "select id from t")?.ok()?, "42\n");
    assert_eq!(boma.sql("web", "show server_version")?.ok()?.trim(), new);
    let log = boma.boma(["logs", "orders", "--agent"])?.ok()?;
    ensure!(
        log.contains(&format!("restart server: PostgreSQL {old} → {new}")),
        "{log}"
    );
    let said = boma.boma(["apply", "m"])?.code(0)?;
    ensure!(said.contains("Nothing to do"), "{said}");
    Ok(())
}
