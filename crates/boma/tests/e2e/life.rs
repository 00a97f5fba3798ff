//! The life of a database, as far as it is this machine's. What holds on every platform is in
//! `tests/scenarios`.

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
fn what_cannot_be_done_is_said_at_plan_time() -> Result<()> {
    let boma = one()?;
    for (spec, says) in [
        ("version: \"15\"", "15"),
        // What only the server itself can tell, whose programs are here.
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
