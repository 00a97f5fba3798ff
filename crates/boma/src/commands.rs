//! The commands, one file each.

mod agent;
mod applied;
mod apply;
mod backup;
mod completions;
mod dashboard;
mod describe;
mod doctor;
mod edit;
mod env;
mod events;
mod get;
mod init;
mod kubernetes;
mod logging;
mod logs;
mod people;
mod plan;
mod postgres;
mod psql;
mod purge;
mod remote;
mod repository;
mod restore;
mod rotate;
mod schema;
pub(crate) mod secret;
mod serve;
mod stop;
mod validate;
pub(crate) mod wal;

use boma_problem::{Class, Problem};

use crate::cli::{Cli, Command, Global, PlatformName};
use crate::commands::kubernetes::one::Held;
use crate::remote::Remote;
use crate::terminal::{Result, Terminal};
use crate::traces::Traces;

/// Runs what was typed.
pub(crate) fn run(cli: Cli, terminal: Terminal) -> Result {
    let Cli { global, command } = cli;
    // Those that go in rounds. An agent does what it is asked for; who asks it has a span for that.
    let has_rounds = matches!(command, Command::Serve(_) | Command::Apply(_));
    let traces = has_rounds.then(|| Traces::of_environment(&|name| std::env::var(name).ok()));
    let (traces, missing) = match traces.transpose() {
        Ok(traces) => (traces.flatten(), None),
        Err(missing) => (None, Some(missing)),
    };
    logging::start(&global, terminal.is_interactive(), traces.as_ref());
    if let Some(missing) = missing {
        tracing::warn!(problem = %missing, "there are no traces");
    }
    let exit = run_logged(command, &global, terminal);
    if let Some(traces) = traces {
        traces.end();
    }
    exit
}

fn run_logged(command: Command, global: &Global, terminal: Terminal) -> Result {
    match command {
        Command::Init(args) => init::run(&args, terminal),
        Command::Validate(args) => validate::run(&args, global, terminal),
        Command::Schema => schema::run(terminal),
        Command::Completions(args) => completions::run(&args, terminal),
        Command::Postgres(command) => postgres::run(&command, terminal),
        Command::Agent(args) => agent::run(args),
        Command::AgentPrepare(args) => agent::prepare(args),
        Command::AgentPod(args) => agent::pod(&args),
        Command::AgentInstall(args) => agent::install(&args),
        Command::Create(_)
        | Command::Set(_)
        | Command::Attach(_)
        | Command::Detach(_)
        | Command::Plan(_)
        | Command::Apply(_)
        | Command::Serve(_)
        | Command::Get(_)
        | Command::Describe(_)
        | Command::Events(_)
        | Command::Audit(_)
        | Command::Env(_)
        | Command::Run(_)
        | Command::Deploy(_)
        | Command::Rotate(_)
        | Command::Secret(_)
        | Command::Dashboard(_)
        | Command::People(_)
        | Command::Token(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Fork(_)
        | Command::Psql(_)
        | Command::Logs(_)
        | Command::Stop(_)
        | Command::Start(_)
        | Command::Purge(_)
        | Command::Kubernetes(_)
        | Command::Doctor => on_installation(command, global, terminal),
    }
}

/// Runs a command that waits for something else: an installation, a repository.
fn on_installation(command: Command, global: &Global, terminal: Terminal) -> Result {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Problem::from_error(Class::Transient, "runtime-not-started", &error))?;
    runtime.block_on(Box::pin(dispatch(command, global, terminal)))
}

async fn dispatch(command: Command, global: &Global, terminal: Terminal) -> Result {
    if let Some(server) = Remote::of(global)? {
        return remote::dispatch(command, &server, terminal).await;
    }
    let there = global.platform == PlatformName::Kubernetes;
    match command {
        Command::Create(args) => edit::create(&args, global, terminal).await,
        Command::Set(args) => edit::set(&args, global, terminal).await,
        Command::Attach(args) => edit::attach(&args, global, terminal).await,
        Command::Detach(args) => edit::detach(&args, global, terminal).await,
        Command::Plan(args) if args.base.is_some() => plan::merge(&args, global, terminal).await,
        Command::Plan(args) if there => kubernetes::plan(&args, global, terminal).await,
        Command::Apply(args) if there => kubernetes::apply(args, global, terminal).await,
        Command::Serve(args) if there => kubernetes::serve(&args, global, terminal).await,
        Command::Get(args) if there => kubernetes::get(&args, global, terminal).await,
        Command::Purge(args) if there => kubernetes::purge(&args, global, terminal).await,
        Command::Rotate(args) if there => kubernetes::rotate(&args, global, terminal).await,
        Command::Describe(args) if there => {
            kubernetes::one::describe(&args, global, terminal).await
        }
        Command::Logs(args) if there => kubernetes::one::logs(&args, global, terminal).await,
        Command::Deploy(args) if there => kubernetes::one::deploy(&args, global, terminal).await,
        Command::Stop(args) if there => {
            kubernetes::one::hold(&args, Held::Stopped, global, terminal).await
        }
        Command::Start(args) if there => {
            kubernetes::one::hold(&args, Held::Started, global, terminal).await
        }
        Command::Dashboard(args) if there => {
            kubernetes::dashboard::run(&args, global, terminal).await
        }
        Command::Dashboard(args) => dashboard::run(&args, global, terminal),
        Command::Plan(args) => plan::run(&args, global, terminal).await,
        Command::Apply(args) => apply::run(args, global, terminal).await,
        Command::Serve(args) => serve::run(&args, global, terminal).await,
        Command::Get(args) => get::run(&args, global, terminal).await,
        Command::Describe(args) => describe::run(&args, global, terminal).await,
        Command::Events(args) => events::events(&args, global, terminal).await,
        Command::Audit(args) => events::audit(&args, global, terminal).await,
        Command::Secret(command) => secret::run(command, global, terminal).await,
        Command::People(command) => people::people(command, global, terminal).await,
        Command::Token(command) => people::token(command, global, terminal).await,
        Command::Env(args) => env::env(&args, global, terminal).await,
        Command::Run(args) => env::run(&args, global).await,
        Command::Deploy(args) => stop::deploy(&args, global, terminal).await,
        Command::Rotate(args) => rotate::run(&args, global, terminal).await,
        Command::Backup(command) => backup::run(&command, global, terminal).await,
        Command::Restore(args) => restore::restore(&args, global, terminal).await,
        Command::Fork(args) => restore::fork(&args, global, terminal).await,
        Command::Psql(args) => psql::run(&args, global).await,
        Command::Logs(args) => logs::run(&args, global, terminal).await,
        Command::Stop(args) => stop::stop(&args, global, terminal).await,
        Command::Start(args) => stop::start(&args, global, terminal).await,
        Command::Purge(args) => purge::run(&args, global, terminal).await,
        Command::Kubernetes(command) => kubernetes::install(&command, global, terminal).await,
        Command::Doctor => doctor::run(global, terminal).await,
        // Each of these has its own way in `run`.
        Command::Init(_)
        | Command::Validate(_)
        | Command::Schema
        | Command::Completions(_)
        | Command::Postgres(_)
        | Command::Agent(_)
        | Command::AgentPrepare(_)
        | Command::AgentPod(_)
        | Command::AgentInstall(_) => Ok(crate::terminal::Exit::Ok),
    }
}
