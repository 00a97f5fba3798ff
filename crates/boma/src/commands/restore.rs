//! `boma restore` and `boma fork`: a new database from another one's backups.
//!
//! What is new has a manifest like everything else: one is written beside that of the database it
//! comes from, and applied. Where that directory cannot be written, the manifest is printed, to be
//! put among the others by whoever may.

use std::path::{Path, PathBuf};
use std::time::Duration;

use boma_engine::keys::DatabaseKey;
use boma_engine::plan::Asked;
use boma_engine::platform::Platform;
use boma_manifest::{Bootstrap, Database, Manifest, ResourceName, Restore};
use boma_problem::{Class, IntoProblem as _, Problem};
use jiff::Timestamp;

use crate::cli::{ForkArgs, Global, RestoreArgs};
use crate::commands::apply::converge;
use crate::commands::stop::last_applied;
use crate::session::{Loaded, Need, Session, find_database};
use crate::terminal::{Exit, Result, Terminal};

/// How long a restore is waited for; it goes on when nobody waits any more.
const PATIENCE: Duration = Duration::from_hours(12);

/// What is to be made.
struct Wanted<'a> {
    database: &'a str,
    new: &'a str,
    time: Option<Timestamp>,
    command: &'static str,
}

/// Makes a new database as another one was.
pub(crate) async fn restore(args: &RestoreArgs, global: &Global, terminal: Terminal) -> Result {
    let wanted = Wanted {
        database: &args.database,
        new: &args.new,
        time: args.to_time.as_deref().map(moment).transpose()?,
        command: "restore",
    };
    let session = Session::open(global, Need::Builds).await?;
    make(&session, &wanted, terminal).await
}

/// Makes a new database like another one is now, or was.
pub(crate) async fn fork(args: &ForkArgs, global: &Global, terminal: Terminal) -> Result {
    let wanted = Wanted {
        database: &args.database,
        new: &args.new,
        time: args.to_time.as_deref().map(moment).transpose()?,
        command: "fork",
    };
    let session = Session::open(global, Need::Builds).await?;
    if wanted.time.is_none() {
        let seen = session.platform.observe().await?;
        let key = find_database(&seen, wanted.database)?;
        session.platform.archive_now(&key).await?;
    }
    make(&session, &wanted, terminal).await
}

/// A time with its zone: without one it would be another moment for each reader.
fn moment(text: &str) -> Result<Timestamp> {
    text.parse().map_err(|error: jiff::Error| {
        Problem::from_error(Class::User, "time-without-zone", &error)
            .hint("Write the time with its zone: `2026-11-21T14:32:06Z`, or `…+01:00`.")
            .into()
    })
}

async fn make(session: &Session, wanted: &Wanted<'_>, terminal: Terminal) -> Result {
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, wanted.database)?;
    let loaded = last_applied(session).await?;
    if loaded.has_errors() {
        terminal.problems(&loaded.problems);
        return Ok(Exit::Problem);
    }
    let (manifest, path) = describe(&loaded, &key, wanted)?;
    if let Err(error) = write_new(&path, &manifest.to_yaml()) {
        terminal.status(&format!("`{}` cannot be written: {error}.", path.display()));
        terminal.status("Put this among the manifests; applying it makes the database.");
        terminal.result(&manifest.to_yaml())?;
        return Ok(Exit::NotConverged);
    }
    terminal.status(&format!("Wrote `{}`.", path.display()));
    let loaded = last_applied(session).await?;
    if loaded.has_errors() {
        terminal.problems(&loaded.problems);
        return Ok(Exit::Problem);
    }
    let (asked, command) = (Asked::default(), wanted.command);
    converge(session, &loaded, asked, PATIENCE, command, terminal).await
}

/// The new database's manifest, and the file that it goes to.
fn describe(
    loaded: &Loaded,
    key: &DatabaseKey,
    wanted: &Wanted<'_>,
) -> Result<(Manifest, PathBuf)> {
    let source = loaded.manifests.iter().find_map(|one| match one {
        Manifest::Database(database) if *key.name == *database.metadata.name.as_str() => {
            Some(database)
        }
        Manifest::Database(_) | Manifest::Application(_) => None,
    });
    let source = source.ok_or_else(|| without_manifest(key))?;
    let name = ResourceName::new(wanted.new).map_err(|error| error.problem())?;
    let mut new: Database = source.clone();
    new.metadata.name = name;
    new.spec.deletion_protection = Some(false);
    new.spec.bootstrap = Some(Bootstrap {
        restore: Some(Restore {
            database: source
                .metadata
                .name
                .as_str()
                .parse()
                .map_err(|error: boma_manifest::ReferenceError| error.problem())?,
            target_time: wanted.time,
        }),
    });
    let beside = Path::new(&*source.origin.file().name)
        .parent()
        .unwrap_or(Path::new(""));
    let path = loaded
        .root
        .join(beside)
        .join(format!("{}.yaml", wanted.new));
    Ok((Manifest::Database(new), path))
}

/// Never over a file that is there.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create_new(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn without_manifest(key: &DatabaseKey) -> Problem {
    Problem::new(
        Class::User,
        "database-without-manifest",
        format!(
            "{} has no manifest that a new one could be made after",
            key.name
        ),
    )
    .hint(
        "Write one for the new database, with `bootstrap: { restore: { database: NAME } }`, and \
         apply it.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_zone_is_refused() {
        assert!(moment("2026-11-21T14:32:06Z").is_ok());
        assert!(moment("2026-11-21T14:32:06+01:00").is_ok());
        for text in ["2026-11-21T14:32:06", "2026-11-21", "yesterday"] {
            assert!(moment(text).is_err(), "{text}");
        }
        let error = "2026-11-21T14:32:06".parse::<Timestamp>().unwrap_err();
        let problem = Problem::from_error(Class::User, "time-without-zone", &error);
        assert!(problem.to_string().contains("offset"), "{problem}");
    }

    #[test]
    fn a_database_without_manifest_can_still_be_restored_by_one() {
        let problem = without_manifest(&DatabaseKey::new("o/u/e/p", "accounts-db"));
        assert_eq!(problem.code, "database-without-manifest");
        assert!(problem.hints[0].contains("bootstrap"), "{problem:?}");
    }
}
