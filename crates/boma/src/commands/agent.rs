//! `boma agent` and its kin: started by Boma itself or by Kubernetes, not by people.

use std::ffi::OsString;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use boma_agent::pod::PodConfig;
use boma_agent::{AgentConfig, enter, init};
use boma_postgres::cluster::Store;
use boma_postgres::programs::{Installations, SearchPaths};
use boma_problem::{Class, IntoProblem, Problem};

use crate::cli::{AgentArgs, InstallArgs, PodArgs, PrepareArgs};
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
        boma: own_program()?,
        pod: None,
    };
    serve(config)
}

fn serve(config: AgentConfig) -> Result {
    enter::share_memory();
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

fn own_program() -> Result<PathBuf> {
    let program = std::env::current_exe()
        .map_err(|error| Problem::from_error(Class::Internal, "own-program-unknown", &error))?;
    Ok(program)
}

/// Serves the PostgreSQL server of a pod: as process 1 through an agent that it starts, with
/// `--inner` as that agent.
pub(crate) fn pod(args: &PodArgs) -> Result {
    if !args.inner {
        let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        arguments.push("--inner".into());
        let code = init::run(&own_program()?, &arguments).map_err(|error| error.problem())?;
        return Ok(if code == 0 { Exit::Ok } else { Exit::Problem });
    }
    init::unblock_signals();
    enter::leave_session();
    let found = Installations::discover(&SearchPaths::from_environment());
    let installation = found
        .require(args.postgres)
        .map_err(|error| error.problem())?;
    serve(AgentConfig {
        dir: args.dir.clone(),
        run_dir: args.run_dir.clone(),
        // There is one cluster in a pod: a template would be made for nothing.
        store: args.run_dir.join("store"),
        bin_dir: installation.bin.clone(),
        boma: own_program()?,
        pod: Some(PodConfig {
            secret: args.secret.clone(),
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, boma_instance::api::pod::PORT)),
        }),
    })
}

/// Copies this program to where the containers of a pod find it; beside first, so that nobody
/// starts half of it.
pub(crate) fn install(args: &InstallArgs) -> Result {
    let beside = args.target.with_extension("new");
    std::fs::copy(own_program()?, &beside)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o555))?;
    std::fs::rename(&beside, &args.target)?;
    Ok(Exit::Ok)
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing is waited for: the pause is what was asked for"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Makes spare clusters ahead, so that the next databases are there at once.
pub(crate) fn prepare(args: PrepareArgs) -> Result {
    if let Some(user) = &args.user {
        enter::become_user(user).map_err(|error| error.problem())?;
    }
    enter::leave_session();
    pause(Duration::from_millis(args.after));
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
