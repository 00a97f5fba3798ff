//! `boma env` and `boma run`: the environment of an application.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use boma_engine::platform::{AuditEntry, Platform};
use boma_instance::Secret;
use boma_local::{ApplicationSecrets, LocalPlatform};
use boma_problem::{Class, Problem};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::cli::{EnvArgs, EnvFormat, Global, RunArgs};
use crate::session::{Need, Session, actor, find_application};
use crate::terminal::{Exit, Failure, Result, Terminal, Tone};

/// Codes of the problems of an application that a manifest may just have brought: it is in no
/// record, or there without its environment.
const NOT_YET: [&str; 2] = ["name-unknown", "application-unknown"];

/// Between two looks whether anything was recorded, which costs next to nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What stands in place of a value.
const HIDDEN: &str = "********";

/// Shows the environment of an application; values only when asked for, and that is recorded.
pub(crate) async fn env(args: &EnvArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::NoBuilds).await?;
    let key = find_application(&session.platform.observe().await?, &args.application)?;
    let environment = session.platform.environment(&key).await?;
    if args.reveal {
        session
            .platform
            .audit(&AuditEntry {
                at: Timestamp::now(),
                actor: actor("env --reveal"),
                action: "reveal environment".into(),
                subject: format!("Application {key}"),
                outcome: "done".into(),
            })
            .await?;
    }
    print_environment(args, &environment, terminal)
}

/// Prints an environment, values only when asked for.
pub(crate) fn print_environment(
    args: &EnvArgs,
    environment: &ApplicationSecrets,
    terminal: Terminal,
) -> Result {
    let shown = |secret: &Secret<String>| {
        if args.reveal {
            secret.expose().clone()
        } else {
            HIDDEN.to_owned()
        }
    };
    let values = environment
        .iter()
        .map(|(name, value)| (name.clone(), shown(value)));
    match args.output {
        EnvFormat::Json => {
            terminal.json(&values.collect::<std::collections::BTreeMap<_, _>>())?;
        }
        EnvFormat::Dotenv => {
            for (name, value) in values {
                terminal.result(&format!("{name}={value}\n"))?;
            }
        }
        EnvFormat::Shell => {
            for (name, value) in values {
                terminal.result(&format!("export {name}={}\n", shell_quoted(&value)))?;
            }
        }
    }
    if !args.reveal && !environment.is_empty() {
        let hint = terminal.paint_err(Tone::Hint, "Hint:");
        terminal.status(&format!(
            "{hint} `--reveal` prints the values; `boma run {} -- COMMAND` uses them unseen.",
            args.application
        ));
    }
    Ok(Exit::Ok)
}

/// A value between single quotes, as POSIX shells read it.
fn shell_quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Becomes a command with the environment of an application, on top of the caller's.
pub(crate) async fn run(args: &RunArgs, global: &Global) -> Result {
    let session = Session::open(global, Need::NoBuilds).await?;
    let until = args
        .wait
        .then(|| Instant::now() + Duration::from_secs(args.patience));
    let environment = environment(&session.platform, &args.application, until).await?;
    let Some((program, arguments)) = args.command.split_first() else {
        return Ok(Exit::Ok);
    };
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, value) in &environment {
        command.env(name, value.expose());
    }
    Err(not_run(program, &command.exec()))
}

/// The environment of an application; one that is not there yet is waited for.
async fn environment(
    platform: &LocalPlatform,
    name: &str,
    until: Option<Instant>,
) -> Result<ApplicationSecrets> {
    loop {
        let seen = platform.changes().await?;
        let found = match find_application(&platform.observe().await?, name) {
            Ok(key) => platform.environment(&key).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        match (found, until) {
            (Err(Failure::Problem(problem)), Some(until))
                if NOT_YET.contains(&problem.code.as_ref()) && Instant::now() < until =>
            {
                while platform.changes().await? == seen && Instant::now() < until {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
            (found, _) => return found,
        }
    }
}

/// Why a program does not run; `exec` returns only then.
pub(crate) fn not_run(program: &std::ffi::OsStr, error: &std::io::Error) -> Failure {
    let problem = Problem {
        message: format!("run `{}`", program.to_string_lossy()),
        causes: vec![error.to_string()],
        ..Problem::new(Class::User, "command-not-run", "")
    };
    problem.hint("Is it installed, and in the PATH?").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_quotes_is_one_word_for_a_shell() {
        assert_eq!(shell_quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
