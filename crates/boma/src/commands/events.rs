//! `boma events` and `boma audit`.

use std::time::Duration;

use boma_engine::platform::{AuditEntry, Platform};
use boma_local::RecordedEvent;
use jiff::Timestamp;

use crate::cli::{AuditArgs, EventsArgs, Global};
use crate::session::{Need, Session, find};
use crate::table::Table;
use crate::terminal::{Exit, Result, Terminal, printable};

/// Between two looks whether anything was recorded, which costs next to nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Events that are looked through for new ones.
const MOST: u32 = 500;

const TIME: &str = "%Y-%m-%d %H:%M:%S";

/// Shows what happened, oldest first.
pub(crate) async fn events(args: &EventsArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::NoBuilds).await?;
    let subject = match &args.name {
        Some(name) => Some(find(&session.platform.observe().await?, name)?.subject()),
        None => None,
    };
    let events = session
        .platform
        .events(subject.as_deref(), args.limit)
        .await?;
    print_events(&events, args.json, terminal)?;
    if args.follow {
        let known = events.last().map_or(Timestamp::MIN, |one| one.last);
        follow(&session, (subject.as_deref(), known), args.json, terminal).await?;
    }
    Ok(Exit::Ok)
}

/// Prints what happens from now on.
async fn follow(
    session: &Session,
    (subject, mut known): (Option<&str>, Timestamp),
    json: bool,
    terminal: Terminal,
) -> Result<()> {
    loop {
        let changes = session.platform.changes().await?;
        let mut events = session.platform.events(subject, MOST).await?;
        events.retain(|one| one.last > known);
        for one in &events {
            print_event(one, json, terminal)?;
            known = known.max(one.last);
        }
        while session.platform.changes().await? == changes {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// One line for what has just happened.
pub(crate) fn print_event(one: &RecordedEvent, json: bool, terminal: Terminal) -> Result<()> {
    if json {
        return lines(std::slice::from_ref(one), terminal);
    }
    let line = format!(
        "{}  {}  {}  {}",
        one.last.strftime(TIME),
        one.event.reason,
        short(&one.event.subject),
        one.event.message
    );
    terminal.result(&(printable(&line) + "\n"))
}

/// Prints events, in the order in which they are given.
pub(crate) fn print_events(events: &[RecordedEvent], json: bool, terminal: Terminal) -> Result<()> {
    if json {
        return lines(events, terminal);
    }
    let mut table = Table::new(&["LAST (UTC)", "TIMES", "REASON", "ABOUT", "MESSAGE"]);
    for one in events {
        table.row([
            one.last.strftime(TIME).to_string(),
            one.count.to_string(),
            one.event.reason.clone(),
            short(&one.event.subject),
            one.event.message.clone(),
        ]);
    }
    terminal.result(&table.render())
}

/// Shows who changed what, oldest first.
pub(crate) async fn audit(args: &AuditArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::NoBuilds).await?;
    let entries = session.platform.audit_trail(args.limit).await?;
    print_audit(entries, args.json, terminal)
}

/// Prints entries of the audit trail, in the order in which they are given.
pub(crate) fn print_audit(entries: Vec<AuditEntry>, json: bool, terminal: Terminal) -> Result {
    if json {
        lines(&entries, terminal)?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["AT (UTC)", "WHO", "WHAT", "TO", "OUTCOME"]);
    for one in entries {
        table.row([
            one.at.strftime(TIME).to_string(),
            one.actor,
            one.action,
            short(&one.subject),
            one.outcome,
        ]);
    }
    terminal.result(&table.render())?;
    Ok(Exit::Ok)
}

fn lines(entries: &[impl serde::Serialize], terminal: Terminal) -> Result<()> {
    for entry in entries {
        let line = serde_json::to_string(entry).map_err(std::io::Error::other)?;
        terminal.result(&(line + "\n"))?;
    }
    Ok(())
}

/// `Database accounts-db` for a subject with its whole identity.
fn short(subject: &str) -> String {
    match (subject.split_once(' '), subject.rsplit_once('/')) {
        (Some((kind, _)), Some((_, name))) => format!("{kind} {name}"),
        _ => subject.to_owned(),
    }
}
