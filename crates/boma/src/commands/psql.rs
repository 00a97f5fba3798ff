//! `boma psql`.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use boma_engine::keys::GrantKey;
use boma_engine::observed::ObservedDatabase;
use boma_engine::platform::Platform;
use boma_problem::{Class, Problem};
use nix::unistd::{User, geteuid};

use crate::cli::{Global, PsqlArgs};
use crate::commands::env::not_run;
use crate::session::{Need, Session, find_application, find_database};
use crate::terminal::Result;

/// Becomes psql on a database.
pub(crate) async fn run(args: &PsqlArgs, global: &Global) -> Result {
    let session = Session::open(global, Need::Builds).await?;
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, &args.database)?;
    let Some((database, spec)) = seen
        .databases
        .get(&key)
        .and_then(|one| Some((one, one.spec.as_ref()?)))
    else {
        return Err(not_there(&args.database).into());
    };
    let mut command = Command::new(psql(session.platform.bin_dir(spec.version)));
    if let Some(application) = &args.application {
        let application = find_application(&seen, application)?;
        let grant = GrantKey {
            application,
            database: key.clone(),
        };
        let Some(stored) = seen.grants.get(&grant) else {
            return Err(no_grant(&grant).into());
        };
        let credential = session.platform.credential(&grant, stored.active).await?;
        let listen = listen(database, &args.database)?;
        command
            .env("PGHOST", listen.host())
            .env("PGPORT", listen.port.to_string())
            .env("PGUSER", &credential.role)
            .env("PGPASSWORD", credential.password.expose());
    } else {
        let listen = listen(database, &args.database)?;
        command
            .env("PGHOST", session.platform.layout().run(spec.id))
            .env("PGPORT", listen.port.to_string())
            .env("PGUSER", boma_instance::names::SUPERUSER);
        become_owner(&mut command, session.platform.system_user());
    }
    command
        .env("PGDATABASE", &spec.database)
        .args(&args.arguments);
    let program = command.get_program().to_owned();
    Err(not_run(&program, &command.exec()))
}

fn listen<'d>(database: &'d ObservedDatabase, name: &str) -> Result<&'d boma_instance::Listen> {
    database
        .listen
        .as_ref()
        .ok_or_else(|| not_there(name).into())
}

/// The superuser is let in by the system user alone: root becomes that user for psql.
fn become_owner(command: &mut Command, name: &str) {
    if !geteuid().is_root() {
        return;
    }
    if let Ok(Some(user)) = User::from_name(name) {
        command
            .uid(user.uid.as_raw())
            .gid(user.gid.as_raw())
            .current_dir("/");
    }
}

/// The psql that comes with the server, or, since some builds have none, the one in the PATH.
fn psql(bin_dir: Option<PathBuf>) -> PathBuf {
    bin_dir
        .map(|dir| dir.join("psql"))
        .filter(|psql| psql.exists())
        .unwrap_or_else(|| "psql".into())
}

fn not_there(name: &str) -> Problem {
    Problem::new(
        Class::User,
        "database-not-made",
        format!("database {name} has no server yet"),
    )
    .hint("`boma apply` makes it; `boma describe` says what is in the way.")
}

fn no_grant(grant: &GrantKey) -> Problem {
    Problem::new(
        Class::User,
        "no-grant",
        format!(
            "{} has no grant on {}",
            grant.application.name, grant.database.name
        ),
    )
    .hint("Grant it under `spec.accessControl.databases` of the application's manifest.")
}
