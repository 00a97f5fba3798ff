//! `boma purge`: the only command that destroys data.

use std::io::{BufRead, IsTerminal};

use boma_backup::holdings::holding;
use boma_engine::backups::BackupPlatform;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{Life, Observed};
use boma_engine::platform::{AuditEntry, Platform as _};
use boma_instance::{InstanceId, InstanceSpec};
use boma_problem::{Class, IntoProblem as _, Problem};
use boma_web::Purgeable;
use jiff::Timestamp;

use crate::cli::{Global, PurgeArgs};
use crate::commands::repository::open;
use crate::commands::serve::Desk;
use crate::session::{Need, Session, actor, find_database};
use crate::terminal::{Exit, Result, Terminal, Tone};
use boma_engine::words::{bytes, second};

/// Destroys a retired database, once its name was typed back.
pub(crate) async fn run(args: &PurgeArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::NoBuilds).await?;
    let platform = &*session.platform;
    let seen = platform.observe().await?;
    let key = find_database(&seen, &args.database)?;
    let found = look(platform, &seen, &key).await?;
    confirmed((&key, &found), args, terminal)?;
    purge_for(platform, (&key, found.instance), actor("purge")).await?;
    say_purged((&key, &found), terminal);
    Ok(Exit::Ok)
}

/// A retired database: what would be lost with it. What would stay is not looked for.
pub(crate) fn retired(
    platform: &impl Desk,
    seen: &Observed,
    key: &DatabaseKey,
) -> std::result::Result<Purgeable, Box<Problem>> {
    let Some(database) = seen.databases.get(key) else {
        return Err(unknown(key).into());
    };
    let Life::Retired { since, until } = database.life else {
        return Err(not_retired(key).into());
    };
    let is_backed_up = database
        .spec
        .as_ref()
        .is_some_and(|spec| spec.backup.is_some());
    let not_archived = is_backed_up.then(|| platform.not_archived(database.id));
    Ok(Purgeable {
        instance: database.id,
        retired_since: since,
        kept_until: until,
        not_archived: not_archived.flatten(),
        stays: Vec::new(),
    })
}

/// The same, and what would stay of it in its repository.
pub(crate) async fn look(
    platform: &impl Desk,
    seen: &Observed,
    key: &DatabaseKey,
) -> std::result::Result<Purgeable, Box<Problem>> {
    let found = retired(platform, seen, key)?;
    let spec = seen.databases.get(key).and_then(|one| one.spec.as_ref());
    let stays = match spec {
        Some(spec) => stays(platform, key, spec).await,
        None => Vec::new(),
    };
    Ok(Purgeable { stays, ..found })
}

/// What stays of a database in its repository, in words; nothing, where it was not backed up.
async fn stays(
    platform: &impl BackupPlatform,
    key: &DatabaseKey,
    spec: &InstanceSpec,
) -> Vec<String> {
    let Some(backup) = &spec.backup else {
        return Vec::new();
    };
    let (name, id) = (&backup.repository, spec.id);
    let found = match open(platform, name).await {
        Ok(repository) => holding(&repository, id)
            .await
            .map_err(|error| error.problem().message),
        Err(problem) => Err(problem.message),
    };
    match found {
        Ok(Some(holding)) => vec![
            format!(
                "Its backups stay in repository {name}: {} whole, {} in all{}.",
                holding.backups.len(),
                bytes(holding.bytes),
                holding
                    .window
                    .map(|(_, until)| format!(", up to {}", second(until)))
                    .unwrap_or_default(),
            ),
            format!(
                "`boma restore {0} --instance {id} --repository {name} --as NEW` restores it.",
                key.name
            ),
            format!("`boma backup forget {id} --repository {name}` deletes them."),
        ],
        Ok(None) => vec![format!("Nothing of it is in repository {name}.")],
        Err(why) => vec![format!(
            "What stays of it in repository {name} is not known: {why}. `boma backup repository \
             {name}` lists it."
        )],
    }
}

/// Says what would be lost, and has the database's name typed back.
pub(crate) fn confirmed(
    (key, found): (&DatabaseKey, &Purgeable),
    args: &PurgeArgs,
    terminal: Terminal,
) -> Result<()> {
    // What was written last may be nowhere but here.
    if let Some(waiting @ 1..) = found.not_archived {
        terminal.status(&format!(
            "{waiting} files of its write-ahead log are not in its repository: what was written last \
             will be gone for good. Put the manifest back and apply it to have them archived."
        ));
    }
    terminal.status(&format!(
        "{} {key}: retired since {}, kept until {}. Its data directory will be gone for good.",
        terminal.paint_err(Tone::Failed, "Purge"),
        found.retired_since.strftime("%Y-%m-%d %H:%M"),
        found.kept_until.strftime("%Y-%m-%d %H:%M"),
    ));
    let hint = "Give it with `--confirm NAME`.";
    match &args.confirm {
        Some(typed) => Ok(is_name(typed, &key.name)?),
        None => confirm(&key.name, hint, terminal),
    }
}

/// Destroys a database for somebody who has said its name.
pub(crate) async fn purge_for(
    platform: &impl Desk,
    (key, id): (&DatabaseKey, InstanceId),
    actor: String,
) -> std::result::Result<(), Box<Problem>> {
    let entry = |outcome: &str| AuditEntry {
        at: Timestamp::now(),
        actor: actor.clone(),
        action: "purge".into(),
        subject: format!("Database {key}"),
        outcome: outcome.into(),
    };
    // Who asked is known, also when this is cut off.
    platform.audit(&entry("begun")).await?;
    platform.destroy(key, id).await?;
    platform.audit(&entry("done")).await
}

/// Says that it is gone, and what stays.
pub(crate) fn say_purged((key, found): (&DatabaseKey, &Purgeable), terminal: Terminal) {
    terminal.status(&format!("Purged {}.", key.name));
    for line in &found.stays {
        terminal.status(line);
    }
}

fn unknown(key: &DatabaseKey) -> Problem {
    let message = format!("no database {key} is registered");
    Problem::new(Class::User, "database-unknown", message).hint("`boma get` lists what there is.")
}

fn not_retired(key: &DatabaseKey) -> Problem {
    let message = format!("database {} is not retired", key.name);
    Problem::new(Class::User, "not-retired", message).hint(
        "Purging destroys data, so it takes two steps: set `deletionProtection: false`, take \
         the manifest away and apply; then purge.",
    )
}

/// Asks for a name to be typed back; the hint says what to do where nobody can.
pub(crate) fn confirm(name: &str, hint: &str, terminal: Terminal) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Problem::new(
            Class::User,
            "nobody-to-ask",
            format!("what is destroyed has to be named once more, and there is no terminal to ask for {name}"),
        )
        .hint(hint)
        .into());
    }
    terminal.error_text("Type its name to go on: ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(is_name(line.trim(), name)?)
}

/// Whether what was typed is the name.
pub(crate) fn is_name(typed: &str, name: &str) -> std::result::Result<(), Box<Problem>> {
    if typed == name {
        return Ok(());
    }
    Err(Problem::new(
        Class::User,
        "name-not-confirmed",
        format!("{typed:?} is not the name {name}"),
    )
    .hint("Nothing was changed.")
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_not_purged_and_another_name_is_not_taken_for_it() {
        let key = DatabaseKey::new("o/u/e/p", "orders");
        let text = not_retired(&key).to_string();
        assert_eq!(text, "database orders is not retired");
        let text = unknown(&key).to_string();
        assert_eq!(text, "no database o/u/e/p/orders is registered");
        assert!(is_name("orders", "orders").is_ok());
        let problem = is_name("order", "orders").unwrap_err();
        assert_eq!(problem.to_string(), "\"order\" is not the name orders");
    }
}
