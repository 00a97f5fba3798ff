//! `boma purge`: the only command that destroys data.

use std::io::{BufRead, IsTerminal};
use std::time::Duration;

use boma_engine::observed::Life;
use boma_engine::platform::{AuditEntry, Platform};
use boma_problem::{Class, Problem};
use jiff::Timestamp;

use crate::cli::{Global, PurgeArgs};
use crate::session::{Need, Session, actor, find_database};
use crate::terminal::{Exit, Result, Terminal, Tone};

/// How long another process may be at work before this gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Destroys a retired database, once its name was typed back.
pub(crate) async fn run(args: &PurgeArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::NoBuilds).await?;
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, &args.database)?;
    let Some(database) = seen.databases.get(&key) else {
        return Ok(Exit::Ok);
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
    let typed = match &args.confirm {
        Some(name) => name.clone(),
        None => asked(terminal)?,
    };
    if typed != *key.name {
        return Err(Problem::new(
            Class::User,
            "name-not-confirmed",
            format!("{typed:?} is not the name {}", key.name),
        )
        .hint("Nothing was changed.")
        .into());
    }
    let _pass = session.platform.begin_pass(PATIENCE).await?;
    session.platform.purge(&key, database.id).await?;
    session
        .platform
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

fn asked(terminal: Terminal) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        return Err(Problem::new(
            Class::User,
            "nobody-to-ask",
            "purging asks for the database's name, and there is no terminal to ask on",
        )
        .hint("Give it with `--confirm NAME`.")
        .into());
    }
    terminal.error_text("Type its name to go on: ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
