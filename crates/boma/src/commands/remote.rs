//! Commands that ask a `boma serve` in place of an installation on this machine.

mod act;
mod change;
mod people;
mod read;

use boma_problem::{Class, Problem};

use crate::cli::{BackupCommand, Command};
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
        Command::Backup(BackupCommand::List(args)) => read::backups(&args, server, terminal).await,
        Command::Backup(BackupCommand::Create(args)) => {
            act::back_up(&args.database, server, terminal).await
        }
        Command::Create(args) => change::create(&args, server, terminal).await,
        Command::Set(args) => change::set(&args, server, terminal).await,
        Command::Attach(args) => change::attach(&args, server, terminal).await,
        Command::Detach(args) => change::detach(&args, server, terminal).await,
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
        Command::Init(_)
        | Command::Validate(_)
        | Command::Apply(_)
        | Command::Serve(_)
        | Command::Dashboard(_)
        | Command::Secret(_)
        | Command::Backup(_)
        | Command::Psql(_)
        | Command::Purge(_)
        | Command::Doctor
        | Command::Postgres(_)
        | Command::Kubernetes(_)
        | Command::Schema
        | Command::Completions(_)
        | Command::Agent(_)
        | Command::AgentPrepare(_)
        | Command::AgentPod(_)
        | Command::AgentInstall(_) => Err(not_by_server("this command").into()),
    }
}

/// Where something is in the API.
fn path(named: &Named) -> String {
    match named {
        Named::Database(key) => format!("databases/{key}"),
        Named::Application(key) => format!("applications/{key}"),
    }
}

/// A server is not asked for that.
fn not_by_server(what: &str) -> Problem {
    let message = format!("a server cannot be asked for {what}");
    Problem::new(Class::User, "not-by-server", message).hint(
        "Do it where Boma runs, without `--server` and BOMA_SERVER; `boma help` says what else there is.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_elsewhere_is_said() {
        let problem = not_by_server("`--tls`");
        assert_eq!(problem.code, "not-by-server");
        assert_eq!(problem.to_string(), "a server cannot be asked for `--tls`");
    }
}
