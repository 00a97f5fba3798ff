//! `boma backup key`: the keys that repositories are read with.

use std::io::Read as _;

use boma_backup::format::key::{ParseKeyError, RepositoryKey};
use boma_engine::backups::BackupPlatform;
use boma_engine::platform::AuditEntry;
use boma_problem::{Class, IntoProblem as _, Problem};
use jiff::Timestamp;

use crate::cli::KeyArgs;
use crate::session::{Opened, actor};
use crate::terminal::{Exit, Result, Terminal};

/// Prints the key of a repository, renews it, or takes one in.
pub(super) async fn key(
    session: &Opened<impl BackupPlatform>,
    args: &KeyArgs,
    terminal: Terminal,
) -> Result {
    let name = &args.repository;
    let (action, text) = if args.import {
        import(session, name, read_key()?).await?;
        terminal.status(&format!("The repository {name} is read with this key."));
        ("import the key of a repository", None)
    } else if args.renew {
        renew(session, name, terminal).await?;
        ("renew the key of a repository", None)
    } else {
        let key = session.platform.export_key(name).await?;
        ("export the key of a repository", Some(key))
    };
    // On record before it is shown.
    let entry = AuditEntry {
        at: Timestamp::now(),
        actor: actor("backup key"),
        action: action.to_owned(),
        subject: format!("Repository {name}"),
        outcome: "done".to_owned(),
    };
    session.platform.audit(&entry).await?;
    if let Some(key) = text {
        terminal.result(&format!("{}\n", key.expose()))?;
    }
    Ok(Exit::Ok)
}

/// Takes a key in; one that holds the one that is there takes its place, as after a renewal elsewhere.
async fn import(
    session: &Opened<impl BackupPlatform>,
    name: &str,
    key: RepositoryKey,
) -> Result<()> {
    if let Ok(known) = session.platform.export_key(name).await
        && let Ok(former) = RepositoryKey::parse(known.expose())
        && key != former
        && former.each().all(|one| key.with_id(one.id()).is_some())
    {
        return Ok(session
            .platform
            .renew_key(name, &known, key.export())
            .await?);
    }
    Ok(session.platform.import_key(name, key.export()).await?)
}

/// Makes another key. It is stored, together with the former ones, before anything is written under
/// it: killed anywhere, whatever is in the repository opens with the key that is stored.
async fn renew(
    session: &Opened<impl BackupPlatform>,
    name: &str,
    terminal: Terminal,
) -> Result<()> {
    let former = session.platform.export_key(name).await?;
    let invalid = |error: &ParseKeyError| {
        Problem::from_error(Class::Internal, "repository-key-invalid", error)
            .hint("Import the key that was exported: `boma backup key --import`.")
    };
    let key = RepositoryKey::parse(former.expose()).map_err(|error| invalid(&error))?;
    let bytes = boma_backup::store::random().map_err(|error| error.problem())?;
    let renewed = key.renewed(bytes).export();
    session.platform.renew_key(name, &former, renewed).await?;
    terminal.status(&format!(
        "What is written to {name} from now on is sealed under another key. Export it anew and keep \
         it: `boma backup key {name}` prints all that are needed."
    ));
    Ok(())
}

/// From standard input: arguments of a program are seen by everybody.
fn read_key() -> Result<RepositoryKey> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let key = RepositoryKey::parse(&text).map_err(|error| {
        Problem::from_error(Class::User, "repository-key-invalid", &error)
            .hint("`boma backup key` of the installation that made it prints it, whole.")
    })?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_not_taken_for_one() {
        let wrong = RepositoryKey::parse("boma-key-2-00").unwrap_err();
        assert!(wrong.to_string().contains("not a repository key"));
    }
}
