//! Backups that a server shows, checks and deletes.

use std::time::Duration;

use boma_engine::keys::DatabaseKey;
use boma_web::{Check, CheckKind, Holding, OneBackup};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{Items, Without, act, not_by_server, read};
use crate::cli::{
    BackupCommand, DeleteBackupArgs, ForgetBackupsArgs, OneBackupArgs, RepositoryArgs,
};
use crate::commands::backup::one::{confirmed, show};
use crate::commands::backup::repository::{self, in_use, nothing_there, say_deleted};
use crate::commands::backup::{show_drill, verify};
use crate::remote::Remote;
use crate::session::find_database_among;
use crate::terminal::{Exit, Result, Terminal};

/// Between two looks at how far a check is.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Runs `boma backup`.
pub(super) async fn backup(command: BackupCommand, server: &Remote, terminal: Terminal) -> Result {
    match command {
        BackupCommand::List(args) => read::backups(&args, server, terminal).await,
        BackupCommand::Create(args) => act::back_up(&args.database, server, terminal).await,
        BackupCommand::Describe(args) => describe(&args, server, terminal).await,
        BackupCommand::Delete(args) => delete(&args, server, terminal).await,
        BackupCommand::Verify(args) => {
            check(&args.database, CheckKind::Verification, server, terminal).await
        }
        BackupCommand::Drill(args) => {
            check(&args.database, CheckKind::Drill, server, terminal).await
        }
        BackupCommand::Repository(args) => list(&args, server, terminal).await,
        BackupCommand::Forget(args) => forget(&args, server, terminal).await,
        BackupCommand::Key(_) => Err(not_by_server(&Without::Key).into()),
    }
}

async fn one(database: &DatabaseKey, label: &str, server: &Remote) -> Result<OneBackup> {
    server
        .read(&format!("databases/{database}/backups/{label}"))
        .await
}

async fn describe(args: &OneBackupArgs, server: &Remote, terminal: Terminal) -> Result {
    let key = find_database_among(&server.names().await?, &args.database)?;
    let backup = one(&key, &args.backup, server).await?;
    show(&backup, args.output, terminal)
}

async fn delete(args: &DeleteBackupArgs, server: &Remote, terminal: Terminal) -> Result {
    let key = find_database_among(&server.names().await?, &args.database)?;
    let backup = one(&key, &args.backup, server).await?;
    confirmed((&backup, &key), args, terminal)?;
    let at = format!("databases/{key}/backups/{}", args.backup);
    server.send((Method::DELETE, &at), None, &json!({})).await?;
    terminal.status(&format!("Deleted {}.", args.backup));
    Ok(Exit::Ok)
}

/// Has backups checked, and comes back until that is over.
async fn check(name: &str, kind: CheckKind, server: &Remote, terminal: Terminal) -> Result {
    let key = find_database_among(&server.names().await?, name)?;
    let at = format!("databases/{key}/checks");
    let wish = json!({ "kind": kind });
    let asked = server.send((Method::POST, &at), None, &wish).await?;
    let mut check = Check::deserialize(asked).map_err(std::io::Error::other)?;
    let mut said = None;
    while check.ended_at.is_none() {
        if check.progress.is_some() && check.progress != said {
            terminal.status(check.progress.as_deref().unwrap_or_default());
            said.clone_from(&check.progress);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        check = server.read(&format!("{at}/{}", check.id)).await?;
    }
    match (check.verification, check.drill, check.problem) {
        (Some(found), ..) => verify::show(&found, &key, terminal),
        (_, Some(drill), _) => show_drill(drill, &key, terminal),
        (.., Some(problem)) => Err(problem.into()),
        (None, None, None) => Ok(Exit::NotConverged),
    }
}

async fn holdings(name: &str, server: &Remote) -> Result<Vec<Holding>> {
    let found: Items<Holding> = server.read(&format!("repositories/{name}")).await?;
    Ok(found.items)
}

async fn list(args: &RepositoryArgs, server: &Remote, terminal: Terminal) -> Result {
    let found = holdings(&args.repository, server).await?;
    repository::show(&found, args.output, terminal)
}

async fn forget(args: &ForgetBackupsArgs, server: &Remote, terminal: Terminal) -> Result {
    let found = holdings(&args.repository, server).await?;
    let is_it = |one: &Holding| one.instance.0 == args.instance;
    let Some(holding) = found.into_iter().find(is_it) else {
        let instance = boma_instance::InstanceId(args.instance);
        return Err(nothing_there(instance, &args.repository).into());
    };
    let owner = holding.database.as_deref();
    if let Some(Ok(key)) = owner.map(str::parse) {
        return Err(in_use(&key).into());
    }
    repository::confirmed(&holding, args, terminal)?;
    let at = format!(
        "repositories/{}/instances/{}/forget",
        args.repository, args.instance
    );
    let wish = json!({ "confirm": holding.name() });
    let answer = server.send((Method::POST, &at), None, &wish).await?;
    say_deleted(
        answer["deleted"].as_u64().unwrap_or_default(),
        &holding,
        terminal,
    );
    Ok(Exit::Ok)
}
