//! `boma restore DATABASE --instance ID --as NEW`: out of a repository, where the database itself is
//! gone. All that is known of it is what its backups say.

use std::fmt::Write as _;

use boma_backup::find::find;
use boma_backup::format::manifest::{Manifest, ServerFacts};
use boma_instance::InstanceId;
use boma_instance::wal::Timeline;
use boma_manifest::{ResourceName, RestoreTarget};
use boma_problem::{Class, IntoProblem as _, Problem};

use super::{Moment, New, make};
use crate::commands::applied::Applied;
use crate::commands::repository::open;
use crate::session::Opened;
use crate::terminal::{Result, Terminal};

/// Room for the database, and as much again.
const ROOM: u64 = 2;

/// Where the backups are.
pub(super) struct PutAway<'a> {
    pub(super) instance: InstanceId,
    pub(super) repository: &'a str,
    /// What the database was called, where a person said so.
    pub(super) database: Option<&'a str>,
}

/// Writes a manifest out of what the backups say, and applies it.
pub(super) async fn restore(
    session: &Opened<impl Applied>,
    from: &PutAway<'_>,
    (new, moment): (&str, &Moment),
    terminal: Terminal,
) -> Result {
    let repository = open(&*session.platform, from.repository).await?;
    let (target, timeline) = (moment.as_recovery(), moment.timeline.map(Timeline));
    let found = find(&repository, from.instance, &target, timeline).await;
    let (prefix, choice) = found.map_err(|error| error.problem())?;
    let name = prefix.manifest(&choice.label);
    let bytes = repository
        .get(&name)
        .await
        .map_err(|error| error.problem())?;
    let manifest = bytes.and_then(|bytes| Manifest::decode(&bytes).ok());
    let manifest = manifest.ok_or_else(|| unreadable(&choice.label.to_string()))?;
    let new = ResourceName::new(new).map_err(|error| error.problem())?;
    let facts = (&manifest.server, manifest.data_bytes());
    if let Some(wanted) = from.database {
        is_of(wanted, &manifest.server)?;
    }
    let text = render(from, (new.as_str(), moment), facts);
    let text = text.ok_or_else(|| unreadable(&choice.label.to_string()))?;
    let parsed = boma_manifest::parse(new.as_str(), text.as_bytes());
    let manifest = parsed.documents.into_iter().next();
    let manifest = manifest.ok_or_else(|| unreadable(&choice.label.to_string()))?;
    let file = New::Text {
        manifest: Box::new(manifest),
        text,
    };
    make(session, file, "restore", terminal).await
}

/// The manifest; none: the backup does not say whose it is.
fn render(
    from: &PutAway<'_>,
    (new, moment): (&str, &Moment),
    (server, data_bytes): (&ServerFacts, u64),
) -> Option<String> {
    let mut parts = server.identity.split('/');
    let mut part = || parts.next();
    let (organization, unit, environment, project) = (part()?, part()?, part()?, part()?);
    let database = part()?;
    let major = server.version.split('.').next()?;
    let gibibytes = (data_bytes * ROOM).div_ceil(1 << 30).max(10);
    let mut text = format!(
        "apiVersion: lowops.manifests.v1\nkind: Database\nmetadata:\n  name: {new}\n  \
         organization: {organization}\n  organizational-unit: {unit}\n  environment: \
         {environment}\n  project: {project}\nspec:\n  version: \"{major}\"\n  storage:\n    \
         size: {gibibytes}Gi\n  deletionProtection: false\n  bootstrap:\n    restore:\n      \
         database: {database}\n      instance: {}\n      repository: {}\n",
        from.instance, from.repository
    );
    let mut line = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _infallible = writeln!(text, "      {name}: {value}");
    };
    match &moment.target {
        None => {}
        Some(RestoreTarget::Time(time)) => line("targetTime", time.to_string()),
        Some(RestoreTarget::Position(at)) => line("targetLsn", format!("\"{at}\"")),
        Some(RestoreTarget::Point(name)) => line("targetName", format!("{name:?}")),
        Some(RestoreTarget::Backup(label)) => line("targetBackup", label.clone()),
    }
    if let Some(timeline) = moment.timeline {
        line("timeline", timeline.to_string());
    }
    Some(text)
}

/// Whether backups are of the database that was named: ids are easily mistaken.
fn is_of(wanted: &str, server: &ServerFacts) -> Result<()> {
    let name = server.identity.rsplit('/').next().unwrap_or_default();
    if name == wanted {
        return Ok(());
    }
    let text = format!("these are the backups of {name}, not of {wanted}");
    Err(Problem::new(Class::User, "backups-of-another", text)
        .hint(format!("They were made of {}.", server.identity))
        .into())
}

fn unreadable(label: &str) -> Problem {
    let text = format!("base backup {label} does not say whose it is");
    Problem::new(Class::Config, "repository-damaged", text)
        .hint("Choose another: `--to-backup`, `--to-time`.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(identity: &str) -> ServerFacts {
        ServerFacts {
            instance: InstanceId(uuid::Uuid::nil()),
            identity: identity.to_owned(),
            database: "orders".to_owned(),
            system_identifier: 1,
            version: "17.6".to_owned(),
            segment_size: 16 << 20,
        }
    }

    fn rendered(identity: &str) -> Option<String> {
        let from = PutAway {
            instance: InstanceId(uuid::Uuid::nil()),
            repository: "default",
            database: None,
        };
        let moment = Moment {
            target: Some(RestoreTarget::Point("before: \"four\"".to_owned())),
            timeline: Some(2),
        };
        let facts = (&server(identity), 20 << 30);
        render(&from, ("again", &moment), facts)
    }

    #[test]
    fn what_a_backup_says_of_its_database_becomes_a_manifest() {
        let text = rendered("acme/shop/live/books/orders").unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("again.yaml"), &text).unwrap();
        let basis = |_| boma_engine::catalog::Basis::default();
        let loaded = crate::session::load(directory.path(), basis).unwrap();
        assert!(!loaded.has_errors(), "{:?}\n{text}", loaded.problems);
        assert_eq!(loaded.manifests.len(), 1);
        assert!(text.contains("size: 40Gi"), "{text}");
    }

    #[test]
    fn a_backup_that_does_not_say_whose_it_is_gives_none() {
        assert_eq!(rendered("orders"), None);
        let server = server("acme/shop/live/books/orders");
        assert!(is_of("orders", &server).is_ok());
        let Err(crate::terminal::Failure::Problem(problem)) = is_of("login", &server) else {
            panic!("it is taken for another");
        };
        assert_eq!(
            problem.to_string(),
            "these are the backups of orders, not of login"
        );
        assert!(
            unreadable("x")
                .to_string()
                .contains("does not say whose it is")
        );
    }
}
