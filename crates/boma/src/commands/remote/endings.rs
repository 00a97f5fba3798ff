//! What a server is asked to destroy, and to replace by what it was.

use std::time::Duration;

use boma_engine::keys::DatabaseKey;
use boma_web::{Purgeable, ReplacementStanding, Undone};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::change::target;
use crate::cli::{PurgeArgs, RestoreArgs};
use crate::commands::purge::{confirmed, say_purged};
use crate::commands::restore::in_place;
use crate::remote::Remote;
use crate::session::find_database_among;
use crate::terminal::{Exit, Result, Terminal};

/// Between two looks at how far a restore is.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The database that a person named. What restores in place have left is in no list: its name begins
/// with that of its database.
async fn named(text: &str, server: &Remote) -> Result<DatabaseKey> {
    let names = server.names().await?;
    match (find_database_among(&names, text), text.split_once('.')) {
        (Err(_), Some((database, _))) => {
            let key = find_database_among(&names, database)?;
            let name = text.rsplit('/').next().unwrap_or(text);
            Ok(DatabaseKey::new(key.project, name))
        }
        (found, _) => found,
    }
}

/// Has a retired database destroyed, once its name was typed back.
pub(super) async fn purge(args: &PurgeArgs, server: &Remote, terminal: Terminal) -> Result {
    let key = named(&args.database, server).await?;
    let at = format!("databases/{key}/purge");
    let found: Purgeable = server.read(&at).await?;
    confirmed((&key, &found), args, terminal)?;
    let wish = json!({ "confirm": &*key.name, "instance": found.instance });
    server.send((Method::POST, &at), None, &wish).await?;
    say_purged((&key, &found), terminal);
    Ok(Exit::Ok)
}

/// `--in-place`, `--undo` and `--forget-old`.
pub(super) async fn in_place(args: &RestoreArgs, server: &Remote, terminal: Terminal) -> Result {
    let key = find_database_among(&server.names().await?, &args.database)?;
    let at = format!("databases/{key}/replacement");
    if args.forget_old {
        return forget(&key, (&at, args.confirm.as_deref()), server, terminal).await;
    }
    if args.undo {
        let undone = server.send((Method::DELETE, &at), None, &json!({})).await?;
        let undone = Undone::deserialize(undone).map_err(std::io::Error::other)?;
        return match undone {
            Undone::GivenUp => {
                in_place::say_given_up(&key, terminal);
                Ok(Exit::Ok)
            }
            Undone::BroughtBack { beside } => wait(&key, (&at, &beside), server, terminal).await,
        };
    }
    let wish = Value::Object(target(&args.target));
    let asked = server.send((Method::POST, &at), None, &wish).await?;
    let beside = asked["beside"].as_str().unwrap_or_default();
    wait(&key, (&at, beside), server, terminal).await
}

/// Comes back until a database was replaced. It goes on when nobody waits any more.
async fn wait(
    key: &DatabaseKey,
    (at, beside): (&str, &str),
    server: &Remote,
    terminal: Terminal,
) -> Result {
    terminal
        .status("It is asked for, and goes on when this is ended; `boma plan` shows what is left.");
    loop {
        let standing: ReplacementStanding = server.read(at).await?;
        let is_it = |name: &str| name == beside;
        if standing.going_on.is_none() {
            if standing.kept.iter().any(|one| is_it(&one.name)) {
                in_place::say_replaced(key, beside, terminal);
                return Ok(Exit::Ok);
            }
            in_place::say_given_up(key, terminal);
            return Ok(Exit::NotConverged);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Has what was replaced destroyed, once the database's name was typed back.
async fn forget(
    key: &DatabaseKey,
    (at, typed): (&str, Option<&str>),
    server: &Remote,
    terminal: Terminal,
) -> Result {
    let standing: ReplacementStanding = server.read(at).await?;
    in_place::confirmed(key, (&standing.kept, typed), terminal)?;
    let instances: Vec<_> = standing.kept.iter().map(|one| one.instance).collect();
    let wish = json!({ "confirm": &*key.name, "instances": instances });
    let at = format!("{at}/purge");
    let gone = server.send((Method::POST, &at), None, &wish).await?;
    let gone = gone["items"].as_array().into_iter().flatten();
    for name in gone.filter_map(Value::as_str) {
        terminal.status(&format!("Purged {name}."));
    }
    Ok(Exit::Ok)
}
