//! `boma purge`: the only command that destroys data.

use std::io::{BufRead, IsTerminal};
use std::time::Duration;

use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{Life, Observed};
use boma_engine::platform::{AuditEntry, Platform};
use boma_instance::InstanceId;
use boma_problem::{Class, Problem};
use jiff::Timestamp;

use crate::cli::{Global, PurgeArgs};
use crate::session::{Need, Session, actor, find_database};
use crate::terminal::{Exit, Failure, Result, Terminal, Tone};

/// How long another process may be at work before this gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Destroys a retired database, once its name was typed back.
pub(crate) async fn run(args: &PurgeArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::NoBuilds).await?;
    let seen = session.platform.observe().await?;
    let (key, id) = chosen(args, &seen, terminal)?;
    let _pass = session.platform.begin_pass(PATIENCE).await?;
    purge_on(&*session.platform, &key, id, terminal).await
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
        "{} {key}: retired since {}, kept until {}. All of its data will be gone for good.",
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
