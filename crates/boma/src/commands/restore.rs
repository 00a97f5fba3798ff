//! `boma restore` and `boma fork`: a new database from another one's backups.
//!
//! What is new has a manifest like everything else: one is written beside that of the database it
//! comes from, and applied. Where that directory cannot be written, the manifest is printed, to be
//! put among the others by whoever may.

pub(crate) mod in_place;
mod put_away;

use std::path::{Path, PathBuf};
use std::time::Duration;

use boma_backup::find::{FindError, find};
use boma_backup::retention::choose::Refusal;
use boma_engine::backups::BackupPlatform;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{AgentState, Observed};
use boma_instance::InstanceId;
use boma_instance::backup::RecoveryTarget;
use boma_instance::wal::{Lsn, Timeline};
use boma_manifest::{
    Bootstrap, Database, DatabaseReference, Manifest, ReferencedProject, ResourceName, Restore,
    RestoreTarget,
};
use boma_problem::{Class, IntoProblem as _, Problem};
use jiff::Timestamp;

use self::in_place::InPlace;
use self::put_away::PutAway;
use crate::cli::{ForkArgs, Global, PlatformName, RestoreArgs, TargetArgs};
use crate::commands::applied::Applied;
use crate::commands::repository::Backups;
use crate::commands::serve::Desk;
use crate::session::{ClusterSession, Loaded, Need, Opened, Session, find_database};
use crate::sources::sources;
use crate::terminal::{Exit, Result, Terminal};

/// How long a restore is waited for; it goes on when nobody waits any more.
const PATIENCE: Duration = Duration::from_hours(12);

/// A moment on a line of history; none: the newest.
struct Moment {
    target: Option<RestoreTarget>,
    timeline: Option<u32>,
}

impl Moment {
    fn read(args: &TargetArgs) -> Result<Self> {
        let time = args.to_time.as_deref().map(moment).transpose()?;
        let position = args.to_lsn.map(RestoreTarget::Position);
        let point = args.to_name.clone().map(RestoreTarget::Point);
        let backup = args.to_backup.clone().map(RestoreTarget::Backup);
        Ok(Self {
            target: time
                .map(RestoreTarget::Time)
                .or(position)
                .or(point)
                .or(backup),
            timeline: args.timeline,
        })
    }

    /// As it is asked for.
    fn wanted(&self) -> boma_web::Moment {
        boma_web::Moment {
            target: self.as_recovery(),
            timeline: self.timeline.map(Timeline),
        }
    }

    fn as_recovery(&self) -> RecoveryTarget {
        match &self.target {
            None => RecoveryTarget::Latest,
            Some(RestoreTarget::Time(time)) => RecoveryTarget::Time(*time),
            Some(RestoreTarget::Position(position)) => RecoveryTarget::Lsn(Lsn(position.0)),
            Some(RestoreTarget::Point(name)) => RecoveryTarget::Name(name.clone()),
            Some(RestoreTarget::Backup(label)) => RecoveryTarget::Backup(label.clone()),
        }
    }
}

/// What is to be made.
struct Wanted<'a> {
    key: DatabaseKey,
    new: &'a str,
    moment: Moment,
}

/// What is written for it.
enum New<'a> {
    /// The manifest of another, changed.
    Like(Wanted<'a>),
    /// This text.
    Text {
        /// What it says.
        manifest: Box<Manifest>,
        /// As it is written in a file.
        text: String,
    },
}

impl New<'_> {
    /// The manifest, its text, and the file that it goes to; none: there is no directory for it here.
    fn describe(&self, loaded: &Loaded) -> Result<(Manifest, String, Option<PathBuf>)> {
        match self {
            Self::Like(wanted) => {
                let (manifest, path) = describe(loaded, wanted)?;
                let text = manifest.to_yaml();
                Ok((manifest, text, path))
            }
            Self::Text { manifest, text } => {
                let name = &manifest.metadata().name;
                let first = loaded.roots.all().first();
                let path = first.map(|root| root.directory.join(format!("{name}.yaml")));
                Ok(((**manifest).clone(), text.clone(), path))
            }
        }
    }
}

/// Makes a new database as another one was, or makes it that again.
pub(crate) async fn restore(args: &RestoreArgs, global: &Global, terminal: Terminal) -> Result {
    match (global.platform, &args.new) {
        (PlatformName::Local, new) => {
            let session = Session::open(global, Need::Builds).await?;
            match new {
                Some(new) => beside(&session, args, new, terminal).await,
                None => in_place(&session, args, terminal).await,
            }
        }
        (PlatformName::Kubernetes, new) => {
            let session = ClusterSession::open(global).await?;
            match new {
                Some(new) => beside(&session, args, new, terminal).await,
                None => in_place(&session, args, terminal).await,
            }
        }
    }
}

/// Makes a new database as another one was.
async fn beside(
    session: &Opened<impl Applied>,
    args: &RestoreArgs,
    new: &str,
    terminal: Terminal,
) -> Result {
    let moment = Moment::read(&args.target)?;
    if let Some(instance) = args.instance {
        let from = PutAway {
            instance: InstanceId(instance),
            repository: &args.repository,
            database: Some(&args.database),
        };
        return put_away::restore(session, &from, (new, &moment), terminal).await;
    }
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, &args.database)?;
    if let Some(from) = without_its_manifest(session, &seen, &key).await? {
        return put_away::restore(session, &from, (new, &moment), terminal).await;
    }
    let wanted = Wanted { key, new, moment };
    check(
        &*session.platform,
        &seen,
        &wanted.key,
        &wanted.moment.wanted(),
    )
    .await?;
    make(session, New::Like(wanted), "restore", terminal).await
}

/// Makes a database what it was, or what it was before that.
async fn in_place(
    session: &Opened<impl Applied + Desk>,
    args: &RestoreArgs,
    terminal: Terminal,
) -> Result {
    let moment = Moment::read(&args.target)?;
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, &args.database)?;
    let place = InPlace {
        session,
        seen: &seen,
        key: &key,
        terminal,
    };
    if args.undo {
        place.undo().await
    } else if args.forget_old {
        place.forget(args.confirm.as_deref()).await
    } else {
        place.restore(&moment.wanted()).await
    }
}

/// Where the backups are of a database that is retired, or that a restore in place has replaced:
/// there is no manifest any more that a new one could be made after.
async fn without_its_manifest<'s>(
    session: &Opened<impl Applied>,
    seen: &'s Observed,
    key: &DatabaseKey,
) -> Result<Option<PutAway<'s>>> {
    let loaded = Applied::last_applied(session).await?;
    let spec = seen.databases.get(key).and_then(|one| one.spec.as_ref());
    let kept = spec.filter(|_| manifest_of(&loaded, key).is_none());
    Ok(kept.and_then(|spec| {
        Some(PutAway {
            instance: spec.id,
            repository: &spec.backup.as_ref()?.repository,
            database: None,
        })
    }))
}

/// Makes a new database like another one is now, or was.
pub(crate) async fn fork(args: &ForkArgs, global: &Global, terminal: Terminal) -> Result {
    match global.platform {
        PlatformName::Local => {
            fork_on(&Session::open(global, Need::Builds).await?, args, terminal).await
        }
        PlatformName::Kubernetes => {
            fork_on(&ClusterSession::open(global).await?, args, terminal).await
        }
    }
}

async fn fork_on(session: &Opened<impl Applied>, args: &ForkArgs, terminal: Terminal) -> Result {
    let moment = Moment::read(&args.target)?;
    let seen = session.platform.observe().await?;
    let new = args.new.as_str();
    let key = find_database(&seen, &args.database)?;
    let wanted = Wanted { key, new, moment };
    if wanted.moment.target.is_none() {
        session.platform.archive_now(&wanted.key).await?;
    }
    check(
        &*session.platform,
        &seen,
        &wanted.key,
        &wanted.moment.wanted(),
    )
    .await?;
    make(session, New::Like(wanted), "fork", terminal).await
}

/// A time with its zone: without one it would be another moment for each reader.
fn moment(text: &str) -> Result<Timestamp> {
    text.parse().map_err(|error: jiff::Error| {
        Problem::from_error(Class::User, "time-without-zone", &error)
            .hint("Write the time with its zone: `2026-11-21T14:32:06Z`, or `…+01:00`.")
            .into()
    })
}

/// Refuses a moment that cannot be reached, before anything is written or made. What a running
/// server has written last may not be archived yet, so it is asked to do that before.
async fn check(
    platform: &impl BackupPlatform,
    seen: &Observed,
    key: &DatabaseKey,
    moment: &boma_web::Moment,
) -> std::result::Result<(), Box<Problem>> {
    let backups = Backups::of(platform, seen, key).await?;
    let (target, timeline) = (&moment.target, moment.timeline);
    let look = || find(&backups.repository, backups.instance, target, timeline);
    let is_answering = seen
        .databases
        .get(key)
        .is_some_and(|one| matches!(one.agent, AgentState::Answering(_)));
    let found = match look().await {
        Err(FindError::Refused(Refusal::Outside { .. })) if is_answering => {
            // A server that does not answer has archived what it could: the second look says so.
            if let Err(problem) = platform.archive_now(key).await {
                tracing::debug!(%problem, "nothing more is archived now");
            }
            look().await
        }
        found => found,
    };
    found.map_err(|error| error.problem())?;
    Ok(())
}

async fn make(
    session: &Opened<impl Applied>,
    new: New<'_>,
    command: &'static str,
    terminal: Terminal,
) -> Result {
    let loaded = Applied::last_applied(session).await?;
    if loaded.has_errors() {
        terminal.problems(&loaded.problems);
        return Ok(Exit::Problem);
    }
    let (described, manifest, path) = new.describe(&loaded)?;
    let Some(path) = path else {
        let project = &described.metadata().project;
        if let Some(namespace) = Applied::namespace(session, project).await? {
            terminal.status("`kubectl apply --filename -` of this makes the database.");
            terminal.result(&described.to_resource_yaml(&namespace))?;
            return Ok(Exit::NotConverged);
        }
        terminal.status("Put this where the manifests are; applying it makes the database.");
        terminal.result(&manifest)?;
        return Ok(Exit::NotConverged);
    };
    // What was fetched is put back to what its commit says.
    if path.starts_with(sources(session.state_dir())) {
        terminal.status("Commit this to the repository of the manifests; it makes the database.");
        terminal.result(&manifest)?;
        return Ok(Exit::NotConverged);
    }
    if let Err(error) = write_new(&path, &manifest) {
        terminal.status(&format!("`{}` cannot be written: {error}.", path.display()));
        terminal.status("Put this among the manifests; applying it makes the database.");
        terminal.result(&manifest)?;
        return Ok(Exit::NotConverged);
    }
    terminal.status(&format!("Wrote `{}`.", path.display()));
    let loaded = Applied::last_applied(session).await?;
    if loaded.has_errors() {
        terminal.problems(&loaded.problems);
        return Ok(Exit::Problem);
    }
    Applied::converge(session, &loaded, PATIENCE, command, terminal).await
}

/// The new database's manifest, and the file that it goes to, beside that of the other one; none:
/// that is in no file here.
fn describe(loaded: &Loaded, wanted: &Wanted<'_>) -> Result<(Manifest, Option<PathBuf>)> {
    let key = &wanted.key;
    let source = manifest_of(loaded, key).ok_or_else(|| without_manifest(key))?;
    let name = ResourceName::new(wanted.new).map_err(|error| error.problem())?;
    let mut new: Database = source.clone();
    new.metadata.name = name;
    new.spec.deletion_protection = Some(false);
    new.spec.bootstrap = Some(Bootstrap {
        restore: Some(Restore {
            database: DatabaseReference {
                project: ReferencedProject::Own,
                name: source.metadata.name.clone(),
            },
            instance: None,
            repository: None,
            target: wanted.moment.target.clone(),
            timeline: wanted.moment.timeline,
        }),
    });
    let beside = loaded.roots.path(&source.origin.file().name);
    let path = beside.map(|beside| beside.with_file_name(format!("{}.yaml", wanted.new)));
    Ok((Manifest::Database(new), path))
}

/// The manifest of a database: databases of two projects may have one name.
fn manifest_of<'l>(loaded: &'l Loaded, key: &DatabaseKey) -> Option<&'l Database> {
    loaded.manifests.iter().find_map(|one| match one {
        Manifest::Database(database) => {
            let metadata = &database.metadata;
            let is_it = *key.name == *metadata.name.as_str()
                && *key.project == *metadata.project.to_string();
            is_it.then_some(database)
        }
        Manifest::Application(_) => None,
    })
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

    fn manifest(project: &str, memory: &str) -> String {
        format!(
            "apiVersion: lowops.manifests.v1\nkind: Database\nmetadata:\n  name: orders\n  \
             organization: o\n  organizational-unit: u\n  environment: e\n  project: {project}\n\
             spec:\n  memory: {memory}\n"
        )
    }

    #[test]
    fn of_two_databases_with_one_name_the_one_that_was_named_is_copied() {
        let directory = tempfile::tempdir().unwrap();
        for (project, memory) in [("books", "1Gi"), ("shop", "2Gi")] {
            std::fs::create_dir(directory.path().join(project)).unwrap();
            let path = directory.path().join(project).join("db.yaml");
            std::fs::write(path, manifest(project, memory)).unwrap();
        }
        let basis = |_| boma_engine::catalog::Basis::default();
        let loaded = crate::session::load(directory.path(), basis).unwrap();
        for (project, memory) in [("books", "memory: 1Gi"), ("shop", "memory: 2Gi")] {
            let wanted = Wanted {
                key: DatabaseKey::new(format!("o/u/e/{project}"), "orders"),
                new: "copy",
                moment: Moment {
                    target: None,
                    timeline: None,
                },
            };
            let (copied, path) = describe(&loaded, &wanted).unwrap();
            assert!(copied.to_yaml().contains(memory), "{}", copied.to_yaml());
            let path = path.unwrap();
            assert!(path.ends_with(format!("{project}/copy.yaml")), "{path:?}");
        }
    }

    #[test]
    fn a_database_without_manifest_can_still_be_restored_by_one() {
        let problem = without_manifest(&DatabaseKey::new("o/u/e/p", "accounts-db"));
        assert_eq!(problem.code, "database-without-manifest");
        assert!(problem.hints[0].contains("bootstrap"), "{problem:?}");
    }
}
