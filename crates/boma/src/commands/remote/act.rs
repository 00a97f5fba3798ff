//! What a server is asked to do apart from manifests, and secrets that it is asked for.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use boma_engine::computed::{ApplicationComputed, RotationComputed};
use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_instance::Secret;
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Without, not_by_server, path};
use crate::cli::{EnvArgs, RotateArgs, RunArgs};
use crate::commands::env::{not_run, print_environment};
use crate::remote::Remote;
use crate::session::{Named, find_among, find_application_among, find_database_among};
use crate::terminal::{Exit, Failure, Result, Terminal};

/// Between two looks at how far something is.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// Codes of the problems of an application that a manifest may just have brought.
const NOT_YET: [&str; 3] = ["name-unknown", "not-there", "variable-unknown"];

/// Begins a base backup.
pub(super) async fn back_up(name: &str, server: &Remote, terminal: Terminal) -> Result {
    let key = find_database_among(&server.names().await?, name)?;
    let at = format!("databases/{key}/backups");
    server.send((Method::POST, &at), None, &json!({})).await?;
    terminal.status("It begins; `boma backup list` and `boma events` show what becomes of it.");
    Ok(Exit::Ok)
}

/// Stops or starts databases and applications.
pub(super) async fn hold(
    names: &[String],
    held: bool,
    server: &Remote,
    terminal: Terminal,
) -> Result {
    if names.is_empty() {
        return Err(not_by_server(&Without::Installation(
            "everything at once: name what is meant",
        ))
        .into());
    }
    let known = server.names().await?;
    for name in names {
        let found = find_among(&known, name)?;
        let at = format!("{}/held", path(&found));
        let wish = json!({ "held": held });
        server.send((Method::PUT, &at), None, &wish).await?;
    }
    terminal.status("It is asked for; `boma get` shows how far it is.");
    Ok(Exit::Ok)
}

/// Runs an application's `preDeploy` and restarts it.
pub(super) async fn deploy(name: &str, server: &Remote, terminal: Terminal) -> Result {
    let key = find_application_among(&server.names().await?, name)?;
    let at = format!("applications/{key}/deployments");
    server.send((Method::POST, &at), None, &json!({})).await?;
    terminal.status("It is asked for; `boma describe` shows how far it is.");
    Ok(Exit::Ok)
}

/// What was measured of an application.
#[derive(Debug, Deserialize)]
struct Measured {
    computed: ApplicationComputed,
}

async fn measured(key: &ApplicationKey, server: &Remote) -> Result<ApplicationComputed> {
    let one: Measured = server.read(&path(&Named::Application(key.clone()))).await?;
    Ok(one.computed)
}

/// Exchanges the passwords of an application.
pub(super) async fn rotate(args: &RotateArgs, server: &Remote, terminal: Terminal) -> Result {
    let (Some(name), false, None) = (&args.application, args.tls || args.key, args.authority)
    else {
        return Err(not_by_server(&Without::Installation("certificates and keys")).into());
    };
    let names = server.names().await?;
    let key = find_application_among(&names, name)?;
    let only = args.database.as_deref();
    let only = only
        .map(|database| find_database_among(&names, database))
        .transpose()?;
    let grants = measured(&key, server).await?.grants;
    let asked: Vec<(DatabaseKey, Option<Timestamp>)> = grants
        .into_iter()
        .filter(|grant| grant.password_since.is_some())
        .filter(|grant| only.as_ref().is_none_or(|only| grant.database == *only))
        .map(|grant| (grant.database, grant.password_since))
        .collect();
    let at = format!("applications/{key}/rotations");
    for (database, _) in &asked {
        let wish = json!({"database": database.to_string()});
        server.send((Method::POST, &at), None, &wish).await?;
        terminal.status(&format!("{}  asked for", database.name));
    }
    if args.wait {
        let patience = Duration::from_secs(args.patience);
        return until_exchanged(&key, &asked, (server, patience), terminal).await;
    }
    terminal.status(&format!(
        "`boma describe application {}` shows how far it is.",
        key.name
    ));
    Ok(Exit::Ok)
}

/// Waits until passwords that were of these moments are others, and the former ones good for nothing.
async fn until_exchanged(
    key: &ApplicationKey,
    asked: &[(DatabaseKey, Option<Timestamp>)],
    (server, patience): (&Remote, Duration),
    terminal: Terminal,
) -> Result {
    let until = Instant::now() + patience;
    loop {
        let now = measured(key, server).await?.grants;
        let is_over = |(database, before): &(DatabaseKey, Option<Timestamp>)| {
            now.iter().any(|grant| {
                let is_steady = matches!(grant.rotation, Some(RotationComputed::Steady { .. }));
                grant.database == *database && is_steady && grant.password_since > *before
            })
        };
        if asked.iter().all(is_over) {
            terminal.status("Exchanged; the former users are locked.");
            return Ok(Exit::Ok);
        }
        if Instant::now() >= until {
            return Ok(Exit::NotConverged);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The environment of an application, secrets as they are; that each was asked for is recorded.
async fn environment(name: &str, server: &Remote) -> Result<BTreeMap<String, Secret<String>>> {
    let key = find_application_among(&server.names().await?, name)?;
    let mut environment = BTreeMap::new();
    for variable in measured(&key, server).await?.environment {
        let at = format!("applications/{key}/reveal");
        let wish = json!({ "variable": variable });
        let told = server.send((Method::POST, &at), None, &wish).await?;
        let Value::String(value) = &told["value"] else {
            continue;
        };
        environment.insert(variable, Secret::new(value.clone()));
    }
    Ok(environment)
}

/// Shows the environment of an application.
pub(super) async fn env(args: &EnvArgs, server: &Remote, terminal: Terminal) -> Result {
    let environment = if args.reveal {
        environment(&args.application, server).await?
    } else {
        let key = find_application_among(&server.names().await?, &args.application)?;
        let names = measured(&key, server).await?.environment;
        names
            .into_iter()
            .map(|name| (name, Secret::new(String::new())))
            .collect()
    };
    print_environment(args, &environment, terminal)
}

/// Becomes a command with the environment of an application.
pub(super) async fn run(args: &RunArgs, server: &Remote) -> Result {
    let until = Instant::now() + Duration::from_secs(args.patience);
    let environment = loop {
        match environment(&args.application, server).await {
            Err(Failure::Problem(problem))
                if args.wait && NOT_YET.contains(&&*problem.code) && Instant::now() < until =>
            {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            found => break found?,
        }
    };
    let Some((program, arguments)) = args.command.split_first() else {
        return Ok(Exit::Ok);
    };
    let mut command = Command::new(program);
    command.args(arguments).env_remove("BOMA_TOKEN");
    for (name, value) in &environment {
        command.env(name, value.expose());
    }
    Err(not_run(program, &command.exec()))
}
