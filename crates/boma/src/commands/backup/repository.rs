//! `boma backup repository` and `boma backup forget`: what lies in a repository, also of databases
//! that are gone.

use boma_backup::find::prefixes;
use boma_backup::holdings::{self, Holding};
use boma_backup::lease::{self, Restoring};
use boma_backup::store::Repository;
use boma_engine::backups::BackupPlatform;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::Observed;
use boma_engine::platform::AuditEntry;
use boma_instance::InstanceId;
use boma_problem::{Class, IntoProblem as _, Problem};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::{ForgetBackupsArgs, ListFormat, RepositoryArgs};
use crate::commands::purge::{confirm, is_name};
use crate::session::{Opened, actor};
use crate::table::Table;
use crate::terminal::{Exit, Result, Terminal, Tone};
use boma_engine::words::{bytes, second, window};

/// What one instance has there, for other programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    instance: InstanceId,
    /// Organization, unit, environment, project and name, as the newest backup says it.
    identity: Option<String>,
    /// The database of this installation that it belongs to; none: it is gone, or another's.
    database: Option<String>,
    backups: usize,
    recoverable_from: Option<Timestamp>,
    recoverable_until: Option<Timestamp>,
    stored_bytes: u64,
    written_at: Option<Timestamp>,
}

impl View {
    fn of(holding: &Holding, seen: &Observed) -> Self {
        let server = holding.server.as_ref();
        let (from, until) = holding.window.unzip();
        Self {
            instance: holding.instance,
            identity: server.map(|server| server.identity.clone()),
            database: owner(seen, holding.instance).map(ToString::to_string),
            backups: holding.backups.len(),
            recoverable_from: from,
            recoverable_until: until,
            stored_bytes: holding.bytes,
            written_at: holding.written_at,
        }
    }

    fn cells(&self) -> [String; 6] {
        let state = match &self.database {
            Some(_) => "here",
            None => "gone",
        };
        [
            self.instance.to_string(),
            self.identity.clone().unwrap_or_default(),
            state.to_owned(),
            self.backups.to_string(),
            self.recoverable_until.map(second).unwrap_or_default(),
            bytes(self.stored_bytes),
        ]
    }
}

/// The database of this installation that has this instance.
fn owner(seen: &Observed, instance: InstanceId) -> Option<&DatabaseKey> {
    let mut databases = seen.databases.iter();
    let found = databases.find(|(_, one)| one.id == instance);
    found.map(|(key, _)| key)
}

/// Opens a repository by its name.
pub(crate) async fn open(session: &Opened<impl BackupPlatform>, name: &str) -> Result<Repository> {
    let access = session.platform.repository(name).await?;
    let opened = Repository::open(&access).await;
    Ok(opened.map_err(|error| error.problem())?)
}

/// Lists whose backups are in a repository.
pub(super) async fn list(
    session: &Opened<impl BackupPlatform>,
    args: &RepositoryArgs,
    terminal: Terminal,
) -> Result {
    let seen = session.platform.observe().await?;
    let repository = open(session, &args.repository).await?;
    let found = holdings::holdings(&repository).await;
    let found = found.map_err(|error| error.problem())?;
    let views: Vec<_> = found.iter().map(|one| View::of(one, &seen)).collect();
    match args.output {
        ListFormat::Table => {
            let headings = [
                "INSTANCE", "DATABASE", "STATE", "BACKUPS", "UNTIL", "STORED",
            ];
            let mut table = Table::new(&headings);
            for view in &views {
                table.row(view.cells());
            }
            terminal.result(&table.render())?;
        }
        ListFormat::Name => {
            let ids = views.iter().map(|one| format!("{}\n", one.instance));
            terminal.result(&ids.collect::<String>())?;
        }
        ListFormat::Json => terminal.json(&views)?,
        ListFormat::Yaml => {
            let text = serde_saphyr::to_string(&views).map_err(std::io::Error::other)?;
            terminal.result(&text)?;
        }
    }
    Ok(Exit::Ok)
}

/// Deletes all that a database has left that is gone, once its name was typed back.
pub(super) async fn forget(
    session: &Opened<impl BackupPlatform>,
    args: &ForgetBackupsArgs,
    terminal: Terminal,
) -> Result {
    let instance = InstanceId(args.instance);
    let seen = session.platform.observe().await?;
    if let Some(key) = owner(&seen, instance) {
        return Err(in_use(key).into());
    }
    let repository = open(session, &args.repository).await?;
    let found = holdings::holding(&repository, instance).await;
    let Some(holding) = found.map_err(|error| error.problem())? else {
        return Err(nothing_there(instance, &args.repository).into());
    };
    let prefixes = prefixes(&repository, instance).await;
    for prefix in prefixes.map_err(|error| error.problem())? {
        let held = lease::is_held(&repository, &prefix).await;
        if held.map_err(|error| error.problem())? {
            return Err(Restoring.problem().into());
        }
    }
    let name = holding.name();
    describe(&holding, &name, terminal);
    match &args.confirm {
        Some(typed) => is_name(typed, &name)?,
        None => confirm(&name, "Give it with `--confirm NAME`.", terminal)?,
    }
    // Whoever asks who did it finds it also when this is cut off.
    let entry = AuditEntry {
        at: Timestamp::now(),
        actor: actor("backup forget"),
        action: format!("delete all backups of instance {instance}"),
        subject: format!("Repository {}", args.repository),
        outcome: "begun".to_owned(),
    };
    session.platform.audit(&entry).await?;
    let deleted = holdings::forget(&repository, instance).await;
    let deleted = deleted.map_err(|error| error.problem())?;
    let done = AuditEntry {
        at: Timestamp::now(),
        outcome: "done".to_owned(),
        ..entry
    };
    session.platform.audit(&done).await?;
    terminal.status(&format!("Deleted {deleted} objects of {name}."));
    Ok(Exit::Ok)
}

fn describe(holding: &Holding, name: &str, terminal: Terminal) {
    let what = match (holding.backups.len(), holding.window) {
        (count, Some((from, until))) => {
            let (from, until) = window(from, until);
            format!("{count} base backups, any moment from {from} to {until}")
        }
        (_, None) => "no whole base backup".to_owned(),
    };
    terminal.status(&format!(
        "{} all backups of {name} ({}): {what}, {}. It cannot be restored any more then.",
        terminal.paint_err(Tone::Failed, "Delete"),
        holding.instance,
        bytes(holding.bytes),
    ));
    if let Some(at) = holding.written_at {
        terminal.status(&format!(
            "Written last at {}. Make sure that no other installation uses it.",
            second(at)
        ));
    }
}

fn in_use(key: &DatabaseKey) -> Problem {
    let text = format!("these are the backups of database {key}, which is there");
    Problem::new(Class::User, "backups-in-use", text)
        .hint(format!(
            "`boma backup delete {} BACKUP` deletes one of them.",
            key.name
        ))
        .hint("All of them can be deleted when the database is gone: `boma purge`.")
}

fn nothing_there(instance: InstanceId, repository: &str) -> Problem {
    let text = format!("there is nothing of instance {instance} in repository {repository}");
    Problem::new(Class::User, "backups-not-there", text).hint(format!(
        "`boma backup repository {repository}` lists whose backups there are."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_of_what_is_there_are_not_forgotten() {
        let problem = in_use(&DatabaseKey::new("o/u/e/p", "orders"));
        assert_eq!(
            problem.to_string(),
            "these are the backups of database o/u/e/p/orders, which is there"
        );
        let problem = nothing_there(InstanceId(uuid::Uuid::nil()), "default");
        assert!(
            problem
                .to_string()
                .starts_with("there is nothing of instance 0000")
        );
        assert!(problem.hints[0].contains("`boma backup repository default`"));
    }
}
