//! `boma agent` and `boma agent-prepare`: started by Boma itself, not by people.

use boma_agent::{AgentConfig, enter};
use boma_postgres::cluster::Store;
use boma_postgres::programs::{Installations, SearchPaths};
use boma_problem::{Class, IntoProblem, Problem};

use crate::cli::{AgentArgs, PrepareArgs};
use crate::terminal::{Exit, Result};

/// Serves one PostgreSQL server until asked to end.
pub(crate) fn run(args: AgentArgs) -> Result {
    enter::join_cgroups(&args.cgroup).map_err(|error| error.problem())?;
    if let Some(user) = &args.user {
        enter::become_user(user).map_err(|error| error.problem())?;
    }
    enter::leave_session();
    let config = AgentConfig {
        dir: args.dir,
        run_dir: args.run_dir,
        store: args.store,
        bin_dir: args.bin_dir,
        boma: std::env::current_exe()
            .map_err(|error| Problem::from_error(Class::Internal, "own-program-unknown", &error))?,
    };
    // One thread: an agent that waits should cost next to nothing.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::from_error(Class::Transient, "runtime-not-started", &error))?;
    runtime
        .block_on(boma_agent::serve(config))
        .map_err(|error| error.problem())?;
    Ok(Exit::Ok)
}

/// Makes spare clusters ahead, so that the next databases are there at once.
pub(crate) fn prepare(args: PrepareArgs) -> Result {
    if let Some(user) = &args.user {
        enter::become_user(user).map_err(|error| error.problem())?;
    }
    enter::leave_session();
    let found = Installations::discover(&SearchPaths::only([args.bin_dir.clone()]));
    let Some(installation) = found.newest() else {
        let message = format!(
            "there is no usable PostgreSQL in `{}`",
            args.bin_dir.display()
        );
        return Err(Problem::new(Class::Config, "postgres-broken", message)
            .hint("`boma postgres list` shows what this machine has.")
            .into());
    };
    let store = Store::new(args.store);
    let made = match args.count {
        0 => store.ensure_template(installation),
        count => store.replenish(installation, count).map(drop),
    };
    made.map_err(|error| error.problem())?;
    Ok(Exit::Ok)
}
