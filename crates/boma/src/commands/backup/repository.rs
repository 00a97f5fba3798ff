//! `boma backup repository` and `boma backup forget`: what lies in a repository, also of databases
//! that are gone.

use boma_backup::find::prefixes;
use boma_backup::holdings;
use boma_backup::lease::{self, Restoring};
use boma_backup::store::Repository;
use boma_engine::backups::BackupPlatform;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::Observed;
use boma_engine::platform::AuditEntry;
use boma_instance::InstanceId;
use boma_problem::{Class, IntoProblem as _, Problem};
use boma_web::Holding;
use jiff::Timestamp;

use crate::cli::{ForgetBackupsArgs, ListFormat, RepositoryArgs};
use crate::commands::purge::{confirm, is_name};
use crate::commands::repository::open;
use crate::session::{Opened, actor};
use crate::table::Table;
use crate::terminal::{Exit, Result, Terminal, Tone};
use boma_engine::words::{bytes, second, window};

fn view(holding: &holdings::Holding, seen: &Observed) -> Holding {
    let server = holding.server.as_ref();
    let (from, until) = holding.window.unzip();
    Holding {
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

fn cells(holding: &Holding) -> [String; 6] {
    let state = match &holding.database {
        Some(_) => "here",
        None => "gone",
    };
    [
        holding.instance.to_string(),
        holding.identity.clone().unwrap_or_default(),
        state.to_owned(),
        holding.backups.to_string(),
        holding.recoverable_until.map(second).unwrap_or_default(),
        bytes(holding.stored_bytes),
    ]
}

/// The database of this installation that has this instance.
fn owner(seen: &Observed, instance: InstanceId) -> Option<&DatabaseKey> {
    let mut databases = seen.databases.iter();
    let found = databases.find(|(_, one)| one.id == instance);
    found.map(|(key, _)| key)
}

/// Whose backups are in a repository.
pub(crate) async fn look(
    platform: &impl BackupPlatform,
    name: &str,
) -> std::result::Result<Vec<Holding>, Box<Problem>> {
    let seen = platform.observe().await?;
    let repository = open(platform, name).await?;
    let found = holdings::holdings(&repository).await;
    let found = found.map_err(|error| error.problem())?;
    Ok(found.iter().map(|one| view(one, &seen)).collect())
}

/// Lists whose backups are in a repository.
pub(super) async fn list(
    session: &Opened<impl BackupPlatform>,
    args: &RepositoryArgs,
    terminal: Terminal,
) -> Result {
    let found = look(&*session.platform, &args.repository).await?;
    show(&found, args.output, terminal)
}

/// Prints whose backups are in a repository.
pub(crate) fn show(found: &[Holding], output: ListFormat, terminal: Terminal) -> Result {
    match output {
        ListFormat::Table => {
            let headings = [
                "INSTANCE", "DATABASE", "STATE", "BACKUPS", "UNTIL", "STORED",
            ];
            let mut table = Table::new(&headings);
            for one in found {
                table.row(cells(one));
            }
            terminal.result(&table.render())?;
        }
        ListFormat::Name => {
            let ids = found.iter().map(|one| format!("{}\n", one.instance));
            terminal.result(&ids.collect::<String>())?;
        }
        ListFormat::Json => terminal.json(&found)?,
        ListFormat::Yaml => {
            let text = serde_saphyr::to_string(&found).map_err(std::io::Error::other)?;
            terminal.result(&text)?;
        }
    }
    Ok(Exit::Ok)
}

/// What is left of a database that is gone.
pub(crate) struct Forgettable {
    repository: Repository,
    repository_name: String,
    pub(crate) holding: Holding,
}

impl Forgettable {
    /// Finds it; refused while its database is there, and while somebody restores from it.
    pub(crate) async fn find(
        platform: &impl BackupPlatform,
        name: &str,
        instance: InstanceId,
    ) -> std::result::Result<Self, Box<Problem>> {
        let seen = platform.observe().await?;
        if let Some(key) = owner(&seen, instance) {
            return Err(in_use(key).into());
        }
        let repository = open(platform, name).await?;
        let found = holdings::holding(&repository, instance).await;
        let Some(holding) = found.map_err(|error| error.problem())? else {
            return Err(nothing_there(instance, name).into());
        };
        let prefixes = prefixes(&repository, instance).await;
        for prefix in prefixes.map_err(|error| error.problem())? {
            let held = lease::is_held(&repository, &prefix).await;
            if held.map_err(|error| error.problem())? {
                return Err(Restoring.problem().into());
            }
        }
        Ok(Self {
            holding: view(&holding, &seen),
            repository,
            repository_name: name.to_owned(),
        })
    }

    /// Deletes it for somebody who has said its name; answers with how many objects that were.
    pub(crate) async fn forget(
        &self,
        platform: &impl BackupPlatform,
        actor: String,
    ) -> std::result::Result<u64, Box<Problem>> {
        let instance = self.holding.instance;
        // Whoever asks who did it finds it also when this is cut off.
        let entry = AuditEntry {
            at: Timestamp::now(),
            actor,
            action: format!("delete all backups of instance {instance}"),
            subject: format!("Repository {}", self.repository_name),
            outcome: "begun".to_owned(),
        };
        platform.audit(&entry).await?;
        let deleted = holdings::forget(&self.repository, instance).await;
        let deleted = deleted.map_err(|error| error.problem())?;
        let done = AuditEntry {
            at: Timestamp::now(),
            outcome: "done".to_owned(),
            ..entry
        };
        platform.audit(&done).await?;
        Ok(deleted)
    }
}

/// Deletes all that a database has left that is gone, once its name was typed back.
pub(super) async fn forget(
    session: &Opened<impl BackupPlatform>,
    args: &ForgetBackupsArgs,
    terminal: Terminal,
) -> Result {
    let platform = &*session.platform;
    let found = Forgettable::find(platform, &args.repository, InstanceId(args.instance)).await?;
    confirmed(&found.holding, args, terminal)?;
    let deleted = found.forget(platform, actor("backup forget")).await?;
    say_deleted(deleted, &found.holding, terminal);
    Ok(Exit::Ok)
}

/// Says what would be lost, and has its name typed back.
pub(crate) fn confirmed(
    holding: &Holding,
    args: &ForgetBackupsArgs,
    terminal: Terminal,
) -> Result<()> {
    let name = holding.name();
    describe(holding, &name, terminal);
    match &args.confirm {
        Some(typed) => Ok(is_name(typed, &name)?),
        None => confirm(&name, "Give it with `--confirm NAME`.", terminal),
    }
}

/// Says that it is gone.
pub(crate) fn say_deleted(deleted: u64, holding: &Holding, terminal: Terminal) {
    terminal.status(&format!("Deleted {deleted} objects of {}.", holding.name()));
}

fn describe(holding: &Holding, name: &str, terminal: Terminal) {
    let moments = holding.recoverable_from.zip(holding.recoverable_until);
    let what = match (holding.backups, moments) {
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
        bytes(holding.stored_bytes),
    ));
    if let Some(at) = holding.written_at {
        terminal.status(&format!(
            "Written last at {}. Make sure that no other installation uses it.",
            second(at)
        ));
    }
}

/// They are the backups of a database that is there.
pub(crate) fn in_use(key: &DatabaseKey) -> Problem {
    let text = format!("these are the backups of database {key}, which is there");
    Problem::new(Class::User, "backups-in-use", text)
        .hint(format!(
            "`boma backup delete {} BACKUP` deletes one of them.",
            key.name
        ))
        .hint("All of them can be deleted when the database is gone: `boma purge`.")
}

/// A repository has nothing of an instance.
pub(crate) fn nothing_there(instance: InstanceId, repository: &str) -> Problem {
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
