use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};

use boma_testkit::{ScratchDir, postgres_builds};

use super::*;

fn all_builds() -> anyhow::Result<Installations> {
    let bins = postgres_builds()?.into_iter().map(|build| build.bin);
    Ok(Installations::discover(&SearchPaths::only(bins)))
}

/// A `postgres` that says what it is told to, and an `initdb` beside it.
fn fake(bin: &Path, script: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(bin)?;
    for (name, text) in [("postgres", script), ("initdb", "exit 0")] {
        let file = bin.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n"))?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn fake_version(prefix: &Path, version: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(prefix.join("share"))?;
    std::fs::write(prefix.join("share/postgres.bki"), "")?;
    fake(
        &prefix.join("bin"),
        &format!("echo 'postgres (PostgreSQL) {version}'"),
    )
}

#[test]
fn every_major_version_is_found_and_described() -> anyhow::Result<()> {
    let found = all_builds()?;
    assert!(found.broken().is_empty(), "{:?}", found.broken());
    for major in MajorVersion::ALL {
        let installation = found.require(major)?;
        assert_eq!(installation.major(), major);

        let parameters = installation.parameters()?;
        let parameter = |name: &str| parameters.iter().find(|one| one.name == name).unwrap();
        assert!(parameters.len() > 300);
        assert_eq!(
            parameter("shared_buffers").context,
            ParameterContext::Postmaster
        );
        assert_eq!(
            parameter("max_connections").kind,
            ParameterKind::Integer {
                min: 1,
                max: 262_143
            }
        );
        assert_eq!(parameter("wal_level").kind, ParameterKind::Enum);
        assert_eq!(parameter("work_mem").context, ParameterContext::User);

        let extensions = installation.extensions()?;
        let extension = |name: &str| extensions.iter().find(|one| one.name == name).unwrap();
        assert!(extension("pg_stat_statements").default_version.is_some());
        assert_eq!(extension("earthdistance").requires, ["cube"]);
        assert!(extension("plpgsql").comment.is_some());
    }
    Ok(())
}

#[test]
fn settings_are_checked_by_the_server_itself() -> anyhow::Result<()> {
    let found = all_builds()?;
    let settings = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
        list.iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    };
    for installation in found.all() {
        let good = settings(&[
            ("work_mem", "64MB"),
            ("wal_level", "logical"),
            ("pg_stat_statements.max", "1000"),
            ("search_path", "\"$user\", public"),
        ]);
        assert_eq!(check_settings(&installation.bin, &good)?, []);

        let bad = settings(&[
            ("work_mem", "64XB"),
            ("wal_level", "full"),
            ("max_connections", "0"),
            ("jit", "on"),
            ("shared_bufers", "1GB"),
        ]);
        let refused = check_settings(&installation.bin, &bad)?;
        let names: Vec<_> = refused.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(
            names,
            ["max_connections", "shared_bufers", "wal_level", "work_mem"]
        );
        assert_eq!(
            refused[2].to_string(),
            "PostgreSQL refuses `wal_level = full`: invalid value for parameter \"wal_level\": \
             \"full\"; Available values: minimal, replica, logical"
        );
        assert_eq!(refused[2].problem().code, "setting-refused");
    }
    Ok(())
}

#[test]
fn a_directory_may_be_programs_a_prefix_or_many_prefixes() -> anyhow::Result<()> {
    let scratch = ScratchDir::new()?;
    let root = scratch.path();
    fake_version(&root.join("one"), "16.1")?;
    fake_version(&root.join("many/17"), "17.3")?;
    fake_version(&root.join("many/18"), "18.1 (Debian 18.1-1)")?;
    let found = Installations::discover(&SearchPaths::only([
        root.join("one/bin"),
        root.join("one"),
        root.join("many"),
        root.join("nothing"),
    ]));
    let versions: Vec<_> = found
        .all()
        .iter()
        .map(|one| one.version.to_string())
        .collect();
    assert_eq!(versions, ["16.1", "17.3", "18.1"]);
    let newest = found.newest().unwrap();
    assert_eq!(newest.bin, root.join("many/18/bin"));
    assert_eq!(
        newest.share,
        std::fs::canonicalize(root.join("many/18/share"))?
    );
    assert_eq!(found.broken().len(), 1);
    assert!(matches!(found.broken()[0].why, Defect::NoServer));
    Ok(())
}

#[test]
fn the_newest_minor_version_wins_unless_one_is_configured() -> anyhow::Result<()> {
    let scratch = ScratchDir::new()?;
    let root = scratch.path();
    fake_version(&root.join("usr/pgsql-16"), "16.2")?;
    fake_version(&root.join("opt/homebrew/opt/postgresql@16"), "16.10")?;
    fake_version(&root.join("path"), "16.9")?;
    fake_version(&root.join("mine"), "16.1")?;
    symlink(root.join("path/bin"), root.join("link"))?;
    let mut paths = SearchPaths::default();
    paths.set_root(root, &[root.join("link")]);
    let found = Installations::discover(&paths);
    let of_16 = found.require(MajorVersion::V16)?;
    assert_eq!(of_16.version.to_string(), "16.10");
    assert_eq!(of_16.origin, Origin::Homebrew);
    let by_path = found
        .all()
        .iter()
        .find(|one| one.origin == Origin::Path)
        .unwrap();
    assert_eq!(by_path.bin, std::fs::canonicalize(root.join("path/bin"))?);

    paths.configure(&root.join("mine"));
    let found = Installations::discover(&paths);
    assert_eq!(found.require(MajorVersion::V16)?.origin, Origin::Configured);
    assert_eq!(found.all().len(), 4);
    Ok(())
}

#[test]
fn broken_installations_are_told_with_the_reason() -> anyhow::Result<()> {
    let scratch = ScratchDir::new()?;
    let root = scratch.path();
    fake(&root.join("9/bin"), "echo 'postgres (PostgreSQL) 9.6.24'")?;
    fake(&root.join("14/bin"), "echo 'postgres (PostgreSQL) 14.1'")?;
    fake(
        &root.join("15/bin"),
        "echo 'libicu.so: cannot open' >&2; exit 127",
    )?;
    fake(&root.join("16/bin"), "echo hello")?;
    fake(&root.join("17/bin"), "echo 'postgres (PostgreSQL) 17.1'")?;
    fake(&root.join("18/bin"), "echo 'postgres (PostgreSQL) 18.1'")?;
    std::fs::remove_file(root.join("18/bin/initdb"))?;
    let found = Installations::discover(&SearchPaths::only([root.to_owned()]));
    assert!(found.all().is_empty());
    let mut texts: Vec<_> = found
        .broken()
        .iter()
        .map(|one| {
            let place = one.path.strip_prefix(root).unwrap();
            format!("{} {}", place.display(), one.why)
        })
        .collect();
    texts.sort();
    assert_eq!(
        texts,
        [
            "14/bin is version 14.1, which is not one of 15, 16, 17, 18",
            "15/bin `postgres --version` fails: libicu.so: cannot open",
            "16/bin `postgres --version` says \"hello\", which is no version",
            "17/bin its share directory, with `postgres.bki`, is not where it should be",
            "18/bin has no `initdb` beside `postgres`",
            "9/bin is version 9.6.24, which is not one of 15, 16, 17, 18",
        ]
    );

    let problem = found.require(MajorVersion::V18).unwrap_err().problem();
    assert_eq!(problem.code, "postgres-not-installed");
    assert_eq!(
        problem.message,
        "PostgreSQL 18 is not installed on this host"
    );
    assert!(problem.hints[0].contains("apt-get install postgresql-18"));
    assert!(
        problem
            .hints
            .iter()
            .any(|hint| hint.contains("no `initdb` beside"))
    );
    Ok(())
}

#[test]
fn an_installation_that_vanished_is_said_to_be_broken() {
    let installation = Installation {
        version: Version {
            major: MajorVersion::V15,
            minor: 1,
        },
        bin: PathBuf::from("/nonexistent/bin"),
        share: PathBuf::from("/nonexistent/share"),
        origin: Origin::Path,
    };
    let problem = installation.parameters().unwrap_err().problem();
    assert_eq!(
        problem.to_string(),
        "run `/nonexistent/bin/postgres`: No such file or directory (os error 2)"
    );
    assert_eq!(problem.code, "postgres-installation-broken");
    assert!(installation.extensions().is_err());
}
