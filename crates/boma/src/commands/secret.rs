//! `boma secret`: secrets under names, in the store that seals all others.

use std::fmt::Display;
use std::io::{IsTerminal as _, Read as _};

use boma_instance::Secret;
use boma_problem::{Class, IntoProblem as _, Problem};
use boma_web::{LARGEST_SECRET, SecretName, UnfitSecret, secret_of};

use crate::cli::{Global, PlatformName, SecretCommand};
use crate::commands::serve::Desk;
use crate::session::{ClusterSession, Need, Session, actor};
use crate::terminal::{Exit, Result, Terminal};

pub(crate) async fn run(command: SecretCommand, global: &Global, terminal: Terminal) -> Result {
    match global.platform {
        PlatformName::Local => {
            let session = Session::open(global, Need::NoBuilds).await?;
            on(&*session.platform, command, terminal).await
        }
        PlatformName::Kubernetes => {
            let session = ClusterSession::open(global).await?;
            on(&*session.platform, command, terminal).await
        }
    }
}

async fn on(platform: &impl Desk, command: SecretCommand, terminal: Terminal) -> Result {
    match command {
        SecretCommand::Set(args) => {
            let value = read()?;
            let actor = actor("secret set");
            platform.store_secret(&args.name, value, &actor).await?;
            say_stored(&args.name, terminal);
        }
        SecretCommand::List => {
            list(&platform.secret_names().await?, terminal)?;
        }
        SecretCommand::Remove(args) => {
            let actor = actor("secret remove");
            if !platform.forget_secret(&args.name, &actor).await? {
                return Err(missing(&args.name).into());
            }
            say_forgotten(&args.name, terminal);
        }
    }
    Ok(Exit::Ok)
}

/// There is no secret of this name.
pub(crate) fn missing(name: &impl Display) -> Problem {
    let message = format!("there is no secret `{name}`");
    Problem::new(Class::User, "secret-missing", message)
        .hint("`boma secret list` names those that there are; `boma secret set` stores one.")
}

/// Says that a secret is stored.
pub(crate) fn say_stored(name: &SecretName, terminal: Terminal) {
    terminal.status(&format!("Secret {name} is stored."));
}

/// Says that a secret is gone.
pub(crate) fn say_forgotten(name: &SecretName, terminal: Terminal) {
    terminal.status(&format!("Secret {name} is forgotten."));
}

/// Prints the names of secrets.
pub(crate) fn list(names: &[String], terminal: Terminal) -> Result<()> {
    let lines = names.iter().map(|name| format!("{name}\n"));
    terminal.result(&lines.collect::<String>())
}

/// What standard input holds, without the line end after it. Nothing is asked at a terminal, where
/// whoever stands by could read along.
pub(crate) fn read() -> Result<Secret<String>> {
    let input = std::io::stdin();
    if input.is_terminal() {
        let problem = Problem::new(Class::User, "secret-unusable", "a secret is not typed")
            .hint("Hand it over by a pipe or a file: `boma secret set NAME < FILE`.");
        return Err(problem.into());
    }
    let mut bytes = Vec::new();
    let most = LARGEST_SECRET as u64 + 1;
    input.lock().take(most).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|_not_text| UnfitSecret::TooLong.problem())?;
    Ok(secret_of(&text).map_err(|error| error.problem())?)
}
