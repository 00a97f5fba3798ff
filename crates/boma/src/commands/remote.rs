//! Commands that ask a `boma serve` in place of an installation on this machine.

mod act;
mod backups;
mod change;
mod endings;
mod people;
mod read;
mod secrets;

use boma_problem::{Class, Problem};
use serde::Deserialize;

use crate::cli::Command;
use crate::remote::Remote;
use crate::session::Named;
use crate::terminal::{Result, Terminal};

/// Runs a command, if a server can be asked for it.
pub(super) async fn dispatch(command: Command, server: &Remote, terminal: Terminal) -> Result {
    match command {
        Command::Get(args) => read::get(&args, server, terminal).await,
        Command::Describe(args) => read::describe(&args, server, terminal).await,
        Command::Events(args) => read::events(&args, server, terminal).await,
        Command::Audit(args) => read::audit(&args, server, terminal).await,
        Command::Plan(args) => read::plan(&args, server, terminal).await,
        Command::Logs(args) => read::logs(&args, server, terminal).await,
        Command::Backup(command) => backups::backup(command, server, terminal).await,
        Command::Create(args) => change::create(&args, server, terminal).await,
        Command::Set(args) => change::set(&args, server, terminal).await,
        Command::Attach(args) => change::attach(&args, server, terminal).await,
        Command::Detach(args) => change::detach(&args, server, terminal).await,
        Command::Restore(args) if args.new.is_none() => {
            endings::in_place(&args, server, terminal).await
        }
        Command::Restore(args) => change::restore(&args, server, terminal).await,
        Command::Fork(args) => change::fork(&args, server, terminal).await,
        Command::Rotate(args) => act::rotate(&args, server, terminal).await,
        Command::Stop(args) => act::hold(&args.names, true, server, terminal).await,
        Command::Start(args) => act::hold(&args.names, false, server, terminal).await,
        Command::Deploy(args) => act::deploy(&args.name, server, terminal).await,
        Command::Env(args) => act::env(&args, server, terminal).await,
        Command::Run(args) => act::run(&args, server).await,
        Command::People(command) => people::people(command, server, terminal).await,
        Command::Token(command) => people::token(command, server, terminal).await,
        Command::Purge(args) => endings::purge(&args, server, terminal).await,
        Command::Secret(command) => secrets::secret(command, server, terminal).await,
        Command::Psql(_) => Err(not_by_server(&Without::Psql).into()),
        Command::Init(_)
        | Command::Validate(_)
        | Command::Apply(_)
        | Command::Serve(_)
        | Command::Dashboard(_)
        | Command::Doctor
        | Command::Postgres(_)
        | Command::Kubernetes(_)
        | Command::Schema
        | Command::Completions(_)
        | Command::Agent(_)
        | Command::AgentPrepare(_)
        | Command::AgentPod(_)
        | Command::AgentInstall(_) => {
            Err(not_by_server(&Without::Installation("this command")).into())
        }
    }
}

/// Where something is in the API.
fn path(named: &Named) -> String {
    match named {
        Named::Database(key) => format!("databases/{key}"),
        Named::Application(key) => format!("applications/{key}"),
    }
}

/// A list.
#[derive(Debug, Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

/// What no server is asked for.
enum Without {
    /// It is about the machine that Boma runs on, or not in the API: what it is called.
    Installation(&'static str),
    /// The key of a repository.
    Key,
    /// A connection to a database.
    Psql,
}

/// A server is not asked for that.
fn not_by_server(without: &Without) -> Problem {
    let what = match without {
        Without::Installation(what) => what,
        Without::Key => "the key of a repository",
        Without::Psql => "a connection to a database",
    };
    let message = format!("a server cannot be asked for {what}");
    let problem = Problem::new(Class::User, "not-by-server", message);
    match without {
        Without::Installation(_) => problem.hint(
            "Do it where Boma runs, without `--server` and BOMA_SERVER; `boma help` says what else there is.",
        ),
        Without::Key => problem.hint(
            "Whoever has it reads every backup there, so it is printed, taken in and renewed only where Boma runs: \
             `boma backup key`, without `--server` and BOMA_SERVER.",
        ),
        Without::Psql => problem
            .hint(
                "Where the database can be reached: `boma run APPLICATION -- sh -c 'psql \"$DATABASE_URL\"'`, as that application.",
            )
            .hint("As the superuser: `boma psql` where Boma runs, without `--server` and BOMA_SERVER."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_elsewhere_is_said() {
        for (without, text, hint) in [
            (
                Without::Installation("`--tls`"),
                "a server cannot be asked for `--tls`",
                "Do it where Boma runs",
            ),
            (
                Without::Key,
                "a server cannot be asked for the key of a repository",
                "Whoever has it reads every backup there",
            ),
            (
                Without::Psql,
                "a server cannot be asked for a connection to a database",
                "Where the database can be reached: `boma run",
            ),
        ] {
            let problem = not_by_server(&without);
            assert_eq!(problem.code, "not-by-server");
            assert_eq!(problem.to_string(), text);
            assert!(problem.hints[0].starts_with(hint), "{problem:?}");
        }
    }
}
