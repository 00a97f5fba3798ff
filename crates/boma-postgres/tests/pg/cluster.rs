//! Data directories: making them, and leaving alone what is not ours.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use boma_instance::MajorVersion;
use boma_postgres::cluster::{
    DataDirectory, MadeFrom, Marker, Milestone, Ours, Replenished, SPARE_DATABASE, Stock, Store,
    inspect,
};
use boma_problem::IntoProblem;
use boma_testkit::{ScratchDir, become_unprivileged};

use crate::host::{Host, Place, installation, installations, names, stop};

fn ours(data: &Path) -> anyhow::Result<Ours> {
    let found = inspect(data)?;
    let DataDirectory::Ours(ours) = found else {
        anyhow::bail!("{found:?}");
    };
    Ok(ours)
}

#[test]
fn each_version_is_made_by_initdb_then_from_a_spare_then_from_the_template() -> anyhow::Result<()> {
    use Milestone::{Begun, Claimed, Copied, Initialised, Marked, Placed};
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let store = Store::new(scratch.path().join("store"));
    for installation in installations()? {
        assert_eq!(
            store.stock(&installation),
            Stock {
                template: false,
                spares: 0
            }
        );
        let mut first = Place::new(&installation, scratch.path())?;
        assert_eq!(inspect(&first.data())?, DataDirectory::Missing);
        assert_eq!(first.make(Some(&store))?.marker.made_from, MadeFrom::Initdb);
        assert_eq!(
            store.stock(&installation),
            Stock {
                template: false,
                spares: 0
            }
        );

        assert_eq!(store.replenish(&installation, 1)?, Replenished::Made(1));
        assert_eq!(store.replenish(&installation, 1)?, Replenished::Made(0));
        assert_eq!(
            store.stock(&installation),
            Stock {
                template: true,
                spares: 1
            }
        );
        let mut second = Place::new(&installation, scratch.path())?;
        // A fresh volume is an empty directory.
        std::fs::create_dir(second.data())?;
        assert_eq!(inspect(&second.data())?, DataDirectory::Empty);
        assert_eq!(second.make(Some(&store))?.marker.made_from, MadeFrom::Spare);
        let mut third = Place::new(&installation, scratch.path())?;
        assert_eq!(
            third.make(Some(&store))?.marker.made_from,
            MadeFrom::Template
        );

        assert_eq!(first.milestones, [Begun, Initialised, Marked, Placed]);
        assert_eq!(second.milestones, [Begun, Claimed, Marked, Placed]);
        assert_eq!(third.milestones, [Begun, Copied, Marked, Placed]);

        let mut identifiers = BTreeSet::new();
        for place in [&first, &second, &third] {
            let ours = ours(&place.data())?;
            assert_eq!(ours.marker.instance, Some(place.instance));
            assert_eq!(ours.major, installation.major());
            assert!(ours.control.data_checksums);
            assert!(ours.control.state.is_clean());
            identifiers.insert(ours.control.system_identifier);
            assert_eq!(names(&place.parent)?, ["data"], "nothing is left beside it");
            let mode = std::fs::metadata(place.data())?.permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
        assert_eq!(identifiers.len(), 3);
    }
    Ok(())
}

#[tokio::test]
async fn every_way_leads_to_the_same_cluster() -> anyhow::Result<()> {
    become_unprivileged()?;
    for installation in installations()? {
        let host = Host::new(&installation)?;
        let by_initdb = describe(&host).await?;
        assert!(!by_initdb.iter().any(|line| line.contains(SPARE_DATABASE)));

        let store = Store::new(host.scratch.path().join("store"));
        store.replenish(&installation, 1)?;
        for made_from in [MadeFrom::Spare, MadeFrom::Template] {
            let mut place = Place::new(&installation, host.scratch.path())?;
            assert_eq!(place.make(Some(&store))?.marker.made_from, made_from);
            let host = Host {
                place,
                scratch: ScratchDir::new()?,
                listen: host.listen,
            };
            host.configure(host.listen)?;
            let mut lines = describe(&host).await?;
            let spare = lines
                .iter()
                .position(|line| line.contains(SPARE_DATABASE))
                .unwrap();
            let line = lines.remove(spare);
            // Only its owner is named in the access list.
            assert!(line.ends_with("{postgres=CTc/postgres}"), "{line}");
            assert_eq!(lines, by_initdb);
        }
        // What sorts and compares text must never change with the operating system.
        let provider = match installation.major() {
            MajorVersion::V15 | MajorVersion::V16 => "c C C.UTF-8",
            MajorVersion::V17 | MajorVersion::V18 => "b C C.UTF-8",
        };
        for line in by_initdb
            .iter()
            .filter(|line| line.starts_with("database "))
        {
            assert!(line.contains(provider), "{line}");
        }
    }
    Ok(())
}

/// What tells clusters apart: databases, their locale and access, a few settings, sorting.
async fn describe(host: &Host) -> anyhow::Result<Vec<String>> {
    let running = host.start().await?;
    let client = host.connect().await?;
    let sql = "SELECT format('database %s %s %s %s %s %s', datname, datlocprovider, datcollate, \
                             datctype, pg_encoding_to_char(encoding), datacl) \
               FROM pg_database \
               UNION ALL SELECT format('role %s %s', rolname, rolsuper) FROM pg_roles \
                         WHERE rolname !~ '^pg_' \
               UNION ALL SELECT format('setting %s %s', name, setting) FROM pg_settings \
                         WHERE name IN ('data_checksums', 'lc_messages', 'default_text_search_config') \
               UNION ALL SELECT format('sorted %s', string_agg(x, ' ' ORDER BY x)) \
                         FROM unnest(ARRAY['a', 'B', 'ä', 'z', 'Z', '_']) x \
               UNION ALL SELECT format('upper %s', upper('äé')) \
               ORDER BY 1";
    let rows = client.query(sql, &[]).await?;
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(
        lines.contains(&"sorted B Z _ a z ä".to_owned()),
        "{lines:?}"
    );
    assert!(lines.contains(&"upper ÄÉ".to_owned()), "{lines:?}");
    assert!(
        lines.contains(&"setting data_checksums on".to_owned()),
        "{lines:?}"
    );
    if lines.iter().any(|line| line.contains(SPARE_DATABASE)) {
        let spare = host.connect_to(SPARE_DATABASE).await?;
        let sql = "SELECT nspacl::text FROM pg_namespace WHERE nspname = 'public'";
        let access: String = spare.query_one(sql, &[]).await?.get(0);
        assert_eq!(access, "{pg_database_owner=UC/pg_database_owner}");
    }
    drop(client);
    stop(running).await?;
    Ok(lines)
}

#[test]
fn what_others_made_is_never_touched() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let mut place = Place::new(&installation()?, scratch.path())?;
    let data = place.data();

    std::fs::create_dir(&data)?;
    std::fs::write(data.join("notes.txt"), "mine")?;
    let problem = place.make(None).unwrap_err().problem();
    assert_eq!(problem.code, "data-directory-in-use");
    let message = format!(
        "`{}` is in use: it has files that Boma did not make",
        data.display()
    );
    assert_eq!(problem.message, message);
    assert!(problem.hints[0].contains("Move"));

    std::fs::write(data.join("PG_VERSION"), "15\n")?;
    let problem = place.make(None).unwrap_err().problem();
    assert!(
        problem
            .message
            .ends_with("it is a PostgreSQL cluster that Boma did not make")
    );

    std::fs::write(data.join("boma.json"), "{}")?;
    let problem = place.make(None).unwrap_err().problem();
    assert!(
        problem
            .message
            .contains("its `boma.json` is not one: missing field")
    );

    Marker::new(None, 1, MadeFrom::Backup).write(&data)?;
    assert!(matches!(inspect(&data)?, DataDirectory::Unfinished { .. }));
    let problem = place.make(None).unwrap_err().problem();
    assert!(
        problem.message.contains("pg_control"),
        "{}",
        problem.message
    );
    assert_eq!(std::fs::read_to_string(data.join("notes.txt"))?, "mine");

    std::fs::remove_dir_all(&data)?;
    std::fs::write(&data, "a file")?;
    assert!(
        place
            .make(None)
            .unwrap_err()
            .to_string()
            .ends_with("it is not a directory")
    );
    assert!(place.milestones.is_empty(), "nothing was begun");
    assert_eq!(names(&place.parent)?, ["data"]);
    Ok(())
}

#[test]
fn a_cluster_put_in_the_place_of_ours_is_foreign() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let mut place = Place::new(&installation()?, scratch.path())?;
    place.make(None)?;
    let marker = ours(&place.data())?.marker;
    let other = Marker {
        system_identifier: 1,
        ..marker
    };
    other.write(&place.data())?;
    let DataDirectory::Foreign { why } = inspect(&place.data())? else {
        anyhow::bail!("it must be foreign");
    };
    assert!(
        why.contains("another cluster was put in its place"),
        "{why}"
    );
    Ok(())
}

#[test]
fn twenty_takers_of_twelve_spares_each_get_a_cluster_of_their_own() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let installation = installation()?;
    let store = Store::new(scratch.path().join("store"));
    assert_eq!(store.replenish(&installation, 12)?, Replenished::Made(12));
    let mut places = (0..20)
        .map(|_| Place::new(&installation, scratch.path()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let made = std::thread::scope(|scope| {
        let takers: Vec<_> = places
            .iter_mut()
            .map(|place| scope.spawn(|| anyhow::Ok(place.make(Some(&store))?)))
            .collect();
        takers
            .into_iter()
            .map(|taker| taker.join().unwrap())
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let count = |from| {
        made.iter()
            .filter(|made| made.marker.made_from == from)
            .count()
    };
    assert_eq!((count(MadeFrom::Spare), count(MadeFrom::Template)), (12, 8));
    let identifiers: BTreeSet<_> = made
        .iter()
        .map(|made| made.marker.system_identifier)
        .collect();
    assert_eq!(identifiers.len(), 20);
    for place in &places {
        assert_eq!(ours(&place.data())?.marker.instance, Some(place.instance));
        assert_eq!(names(&place.parent)?, ["data"]);
    }
    assert_eq!(
        store.stock(&installation),
        Stock {
            template: true,
            spares: 0
        }
    );
    Ok(())
}

#[test]
fn a_damaged_spare_is_passed_over_and_a_damaged_template_too() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let installation = installation()?;
    let store = Store::new(scratch.path().join("store"));
    store.replenish(&installation, 1)?;
    let version = scratch
        .path()
        .join("store")
        .join(store_directory(&scratch)?);
    for name in names(&version)? {
        std::fs::write(version.join(&name).join("global/pg_control"), [0; 8192])?;
    }
    let mut place = Place::new(&installation, scratch.path())?;
    assert_eq!(place.make(Some(&store))?.marker.made_from, MadeFrom::Initdb);
    assert!(ours(&place.data())?.control.data_checksums);
    assert_eq!(names(&place.parent)?, ["data"]);
    Ok(())
}

/// The one directory of clusters in the store.
fn store_directory(scratch: &ScratchDir) -> anyhow::Result<String> {
    let mut names = names(&scratch.path().join("store"))?;
    names.retain(|name| name != "lock");
    anyhow::ensure!(names.len() == 1, "{names:?}");
    Ok(names.remove(0))
}

#[test]
fn what_was_made_ahead_for_another_minor_version_is_removed() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let installation = installation()?;
    let root = scratch.path().join("store");
    let store = Store::new(&root);
    std::fs::create_dir_all(root.join("15-15.1-01234567/template"))?;
    std::fs::create_dir_all(root.join("16-16.1-01234567/template"))?;
    std::fs::create_dir_all(root.join("15-notes"))?;
    store.replenish(&installation, 0)?;
    let current = format!("15-{}-", installation.version);
    let names = names(&root)?;
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names.iter().any(|name| name.starts_with(&current)));
    assert!(
        names.contains(&"16-16.1-01234567".to_owned()),
        "another major version's stays"
    );
    assert!(
        names.contains(&"15-notes".to_owned()),
        "what is not ours stays"
    );
    Ok(())
}

#[test]
fn a_store_that_cannot_be_written_is_a_warning() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let installation = installation()?;
    std::fs::write(scratch.path().join("store"), "a file")?;
    let store = Store::new(scratch.path().join("store"));
    let problem = store.replenish(&installation, 1).unwrap_err().problem();
    assert_eq!(problem.code, "spares-not-made");
    assert!(!problem.is_error());
    let mut place = Place::new(&installation, scratch.path())?;
    assert_eq!(place.make(Some(&store))?.marker.made_from, MadeFrom::Initdb);
    Ok(())
}

#[test]
fn a_failing_or_killed_initdb_leaves_nothing_and_says_why() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let mut installation = installation()?;
    installation.bin = scratch.path().join("bin");
    std::fs::create_dir(&installation.bin)?;
    let program = installation.program("initdb");
    std::fs::write(
        &program,
        "#!/bin/sh\necho 'initdb: error: no locale' >&2\nexit 1\n",
    )?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let mut place = Place::new(&installation, scratch.path())?;
    let problem = place.make(None).unwrap_err().problem();
    assert_eq!(problem.code, "initdb-failed");
    assert!(
        problem
            .to_string()
            .ends_with("exit status: 1; initdb: error: no locale")
    );
    assert_eq!(names(&place.parent)?, [""; 0]);

    for script in [
        "#!/bin/sh\nkill -9 $$\n",
        "#!/bin/sh\necho 'child process was terminated by signal 9: Killed' >&2\nexit 1\n",
    ] {
        std::fs::write(&program, script)?;
        let problem = place.make(None).unwrap_err().problem();
        assert_eq!(problem.code, "initdb-killed");
        assert_eq!(problem.class, boma_problem::Class::Transient);
        assert!(problem.to_string().contains("was killed: "), "{problem}");
        assert!(problem.hints[0].contains("tried again"));
    }

    installation.bin = scratch.path().join("gone");
    place.installation = installation;
    let problem = place.make(None).unwrap_err().problem();
    assert!(problem.to_string().contains("run `"), "{problem}");
    Ok(())
}

#[test]
fn a_parent_that_cannot_be_written_is_said_with_its_owner() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let mut place = Place::new(&installation()?, scratch.path())?;
    std::fs::set_permissions(&place.parent, std::fs::Permissions::from_mode(0o500))?;
    let problem = place.make(None).unwrap_err().problem();
    std::fs::set_permissions(&place.parent, std::fs::Permissions::from_mode(0o700))?;
    assert_eq!(problem.code, "data-directory-not-made");
    assert_eq!(problem.class, boma_problem::Class::Config);
    assert!(problem.hints[0].contains("ls -ld"));
    Ok(())
}
