//! `boma purge`: the only command that destroys data.

use std::io::{BufRead, IsTerminal};
use std::time::Duration;

use boma_backup::holdings::holding;
use boma_backup::wal::backlog;
use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{Life, Observed};
use boma_engine::platform::{AuditEntry, Platform};
use boma_instance::InstanceId;
use boma_problem::{Class, IntoProblem as _, Problem};
use jiff::Timestamp;

use crate::cli::{Global, PurgeArgs};
use crate::commands::backup::open;
use crate::session::{Need, Session, actor, find_database};
use crate::terminal::{Exit, Failure, Result, Terminal, Tone};
use boma_engine::words::{bytes, second};

/// How long another process may be at work before this gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Destroys a retired database, once its name was typed back.
pub(crate) async fn run(args: &PurgeArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::NoBuilds).await?;
    let seen = session.platform.observe().await?;
    tell_what_is_not_archived(&session, &seen, args, terminal);
    let (key, id) = chosen(args, &seen, terminal)?;
    let stays = stays(&session, &seen, &key).await;
    let pass = session.platform.begin_pass(PATIENCE).await?;
    let exit = purge_on(&*session.platform, &key, id, terminal).await?;
    drop(pass);
    for line in stays {
        terminal.status(&line);
    }
    Ok(exit)
}

/// What was written last may be nowhere but here.
fn tell_what_is_not_archived(
    session: &Session,
    seen: &Observed,
    args: &PurgeArgs,
    terminal: Terminal,
) {
    let Ok(key) = find_database(seen, &args.database) else {
        return;
    };
    let database = seen.databases.get(&key);
    let Some(one) =
        database.filter(|one| one.spec.as_ref().is_some_and(|spec| spec.backup.is_some()))
    else {
        return;
    };
    let data = session.platform.layout().instance(one.id).join("data");
    let waiting = backlog::ready(&data.join("pg_wal")).map_or(0, |ready| ready.len());
    if waiting > 0 {
        terminal.status(&format!(
            "{waiting} files of its write-ahead log are not in its repository: what was written last \
             will be gone for good. Put the manifest back and apply it to have them archived."
        ));
    }
}

/// What stays of a database in its repository, in words; nothing, where it was not backed up.
async fn stays(session: &Session, seen: &Observed, key: &DatabaseKey) -> Vec<String> {
    let spec = seen.databases.get(key).and_then(|one| one.spec.as_ref());
    let Some((spec, backup)) = spec.and_then(|spec| Some((spec, spec.backup.as_ref()?))) else {
        return Vec::new();
    };
    let (name, id) = (&backup.repository, spec.id);
    let found = match open(session, name).await {
        Ok(repository) => holding(&repository, id)
            .await
            .map_err(|error| error.problem().message),
        Err(Failure::Problem(problem)) => Err(problem.message),
        Err(_) => Err("it cannot be opened".to_owned()),
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

/// Finds the retired database, and has its name typed back.
pub(crate) fn chosen(
    args: &PurgeArgs,
    seen: &Observed,
    terminal: Terminal,
) -> std::result::Result<(DatabaseKey, InstanceId), Failure> {
    let key = find_database(seen, &args.database)?;
    let Some(database) = seen.databases.get(&key) else {
        return Err(Failure::Shown(Exit::Ok));
    };
    let Life::Retired { since, until } = database.life else {
        return Err(Problem::new(
            Class::User,
            "not-retired",
            format!("database {} is not retired", key.name),
        )
        .hint(
            "Purging destroys data, so it takes two steps: set `deletionProtection: false`, take \
             the manifest away and apply; then purge.",
        )
        .into());
    };
    terminal.status(&format!(
        "{} {key}: retired since {}, kept until {}. Its data directory will be gone for good.",
        terminal.paint_err(Tone::Failed, "Purge"),
        since.strftime("%Y-%m-%d %H:%M"),
        until.strftime("%Y-%m-%d %H:%M"),
    ));
    let hint = "Give it with `--confirm NAME`.";
    match &args.confirm {
        Some(typed) => is_name(typed, &key.name)?,
        None => confirm(&key.name, hint, terminal)?,
    }
    Ok((key, database.id))
}

/// Destroys a database that was confirmed.
pub(crate) async fn purge_on(
    platform: &impl Platform,
    key: &DatabaseKey,
    id: InstanceId,
    terminal: Terminal,
) -> Result {
    platform.purge(key, id).await?;
    platform
        .audit(&AuditEntry {
            at: Timestamp::now(),
            actor: actor("purge"),
            action: "purge".into(),
            subject: format!("Database {key}"),
            outcome: "done".into(),
        })
        .await?;
    terminal.status(&format!("Purged {}.", key.name));
    Ok(Exit::Ok)
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
    is_name(line.trim(), name)
}

/// Whether what was typed is the name.
pub(crate) fn is_name(typed: &str, name: &str) -> Result<()> {
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
