//! `boma backup key`: the keys that repositories are read with.

use std::io::Read as _;

use boma_backup::format::key::RepositoryKey;
use boma_engine::platform::{AuditEntry, Platform};
use boma_instance::Secret;
use boma_problem::{Class, Problem};
use jiff::Timestamp;

use crate::cli::KeyArgs;
use crate::session::{Session, actor};
use crate::terminal::{Exit, Result, Terminal};

/// Prints the key of a repository, or takes one in.
pub(super) async fn key(session: &Session, args: &KeyArgs, terminal: Terminal) -> Result {
    let name = &args.repository;
    let (action, text) = if args.import {
        session.platform.import_key(name, read_key()?).await?;
        terminal.status(&format!("The repository {name} is read with this key."));
        ("import the key of a repository", None)
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

/// From standard input: arguments of a program are seen by everybody.
fn read_key() -> Result<Secret<String>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let key = RepositoryKey::parse(&text).map_err(|error| {
        Problem::from_error(Class::User, "repository-key-invalid", &error)
            .hint("`boma backup key` of the installation that made it prints it, whole.")
    })?;
    Ok(key.export())
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
