//! From nothing, or from an accepted manifest, to the first query answered.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Effort;
use super::boma::{self, Boma};
use super::by_hand::Programs;
use super::samples::Samples;
use super::scratch::Scratch;

/// The query of an application whose driver is psql, the string handed over by its environment.
const QUERY: &str = ". \"$0\"; exec psql -X -A -t -c 'SELECT 1'";

pub(super) fn run(root: &Path, effort: Effort) -> Result<String> {
    let programs = Programs::find()?;
    let scratch = Scratch::make("create")?;
    let [mut by_hand, mut spare, mut first] = [const { Samples::new() }; 3];
    for round in 0..effort.rounds {
        let (server, time) = programs.create(scratch.path())?;
        by_hand.push(time);
        drop(server);
        first.push(first_ever(root)?);
        spare.push(with_spare(root, round)?);
    }
    let ratio = |samples: &Samples| samples.median().as_secs_f64() / by_hand.median().as_secs_f64();
    Ok(format!(
        "### A new database, to the first query (PostgreSQL {})\n\n\
        | | s | of by hand |\n|---|---|---|\n\
        | by hand: initdb, pg_ctl start -w, createuser, createdb, psql | {by_hand} | 1 |\n\
        | `boma apply`, then psql: the first ever, nothing prepared | {first} | {:.2} |\n\
        | `boma apply`, then psql: server running, spare made ahead | {spare} | {:.2} |\n",
        programs.version(),
        ratio(&first),
        ratio(&spare),
    ))
}

/// A new state directory; agents, template and everything else is made on the way.
fn first_ever(root: &Path) -> Result<Duration> {
    let scratch = Scratch::make("first")?;
    let boma = Boma::install(root, scratch.path())?;
    create(root, &boma, "db-0")
}

/// A server that has had the time to make its spares.
fn with_spare(root: &Path, round: usize) -> Result<Duration> {
    let scratch = Scratch::make("spare")?;
    let boma = Boma::install(root, scratch.path())?;
    let serving = boma.serve()?;
    let name = format!("db-{round}");
    create(root, &boma, "warm-up")?;
    let time = create(root, &boma, &name);
    drop(serving);
    time
}

fn create(root: &Path, boma: &Boma, name: &str) -> Result<Duration> {
    let application = format!("{name}-app");
    let manifests = boma::application(&application, name, false);
    let manifests = format!("{}---\n{manifests}", boma::database(name));
    let start = Instant::now();
    boma.write(&format!("{name}.yaml"), &manifests)?;
    boma.time(&["apply"])?;
    let connection = root.join("examples/fincorp/bin/connection");
    let connection = connection.to_str().context("a path should be UTF-8")?;
    boma.time(&["run", &application, "--", "bash", "-c", QUERY, connection])?;
    Ok(start.elapsed())
}
