//! `boma secret`: secrets under names, in the store that seals all others.

use std::io::{IsTerminal as _, Read as _};

use boma_instance::Secret;
use boma_problem::{Class, Problem};

use crate::cli::{Global, SecretCommand};
use crate::session::{Need, Session, actor};
use crate::terminal::{Exit, Result, Terminal};

/// Largest secret, in bytes: a key of 16,384 bits has about 13,000.
const LARGEST: u64 = 64 << 10;

pub(crate) async fn run(command: SecretCommand, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::NoBuilds).await?;
    let platform = &session.platform;
    match command {
        SecretCommand::Set(args) => {
            let value = read()?;
            let actor = actor("secret set");
            platform.set_named_secret(&args.name, value, &actor).await?;
            terminal.status(&format!("Secret {} is stored.", args.name));
        }
        SecretCommand::List => {
            for name in platform.named_secrets().await? {
                terminal.result(&format!("{name}\n"))?;
            }
        }
        SecretCommand::Remove(args) => {
            let actor = actor("secret remove");
            if !platform.forget_named_secret(&args.name, &actor).await? {
                return Err(missing(&args.name).into());
            }
            terminal.status(&format!("Secret {} is forgotten.", args.name));
        }
    }
    Ok(Exit::Ok)
}

/// There is no secret of this name.
pub(crate) fn missing(name: &str) -> Problem {
    let message = format!("there is no secret `{name}`");
    Problem::new(Class::User, "secret-missing", message)
        .hint("`boma secret list` names those that there are; `boma secret set` stores one.")
}

/// What standard input holds, without the line end after it. Nothing is asked at a terminal, where
/// whoever stands by could read along.
fn read() -> Result<Secret<String>> {
    let unusable = |message: &str| {
        Problem::new(Class::User, "secret-unusable", message)
            .hint("Hand it over by a pipe or a file: `boma secret set NAME < FILE`.")
    };
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err(unusable("a secret is not typed").into());
    }
    let mut bytes = Vec::new();
    input.lock().take(LARGEST + 1).read_to_end(&mut bytes)?;
    let is_small = u64::try_from(bytes.len()).is_ok_and(|length| length <= LARGEST);
    let text = String::from_utf8(bytes).ok().filter(|_| is_small);
    let text = text.ok_or_else(|| unusable("a secret is text of at most 64 KiB"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    if text.is_empty() {
        return Err(unusable("an empty secret is none").into());
    }
    Ok(Secret::new(text.to_owned()))
}
