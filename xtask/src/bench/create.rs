//! From nothing, or from an accepted manifest, to the first query answered.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Effort;
use super::boma::{self, Boma};
use super::by_hand::Programs;
use super::machine;
use super::samples::Samples;
use super::scratch::Scratch;

/// The query of an application whose driver is psql, the string handed over by its environment.
const QUERY: &str = ". \"$0\"; exec \"$1\" -X -A -t -c 'SELECT 1'";

pub(super) fn run(root: &Path, effort: Effort) -> Result<String> {
    let programs = Programs::find()?;
    let from = Client {
        connection: text(&root.join("examples/fincorp/bin/connection"))?,
        psql: text(&programs.psql())?,
    };
    // Nothing is deleted until all is measured: on ext4, making many files soon after many were
    // deleted takes several times as long, and that would be what is measured.
    let scratch = Scratch::make("create")?;
    let [mut by_hand, mut spare, mut template, mut first] = [const { Samples::new() }; 4];
    for round in 0..effort.rounds {
        let place = |who: &str| scratch.path().join(format!("{who}{round}"));
        machine::settle()?;
        let (server, time) = programs.create(&place("hand"))?;
        by_hand.push(time);
        drop(server);
        first.push(first_ever(root, &from, &place("first"))?);
        spare.push(ahead(root, &from, &place("spare"), Ahead::Spare)?);
        template.push(ahead(root, &from, &place("template"), Ahead::Template)?);
    }
    let ratio = |samples: &Samples| samples.median().as_secs_f64() / by_hand.median().as_secs_f64();
    Ok(format!(
        "### A new database, to the first query (PostgreSQL {})\n\n\
        | | s | of by hand |\n|---|---|---|\n\
        | by hand: initdb, pg_ctl start -w, createuser, createdb, psql | {by_hand} | 1 |\n\
        | `boma apply`, then psql: the first ever, nothing prepared | {first} | {:.2} |\n\
        | manifest written, then psql: `boma serve` running, spare made ahead | {spare} | {:.2} |\n\
        | the same, with a template and no spare | {template} | {:.2} |\n",
        programs.version(),
        ratio(&first),
        ratio(&spare),
        ratio(&template),
    ))
}

/// What an application's query needs.
struct Client {
    /// Script that reads the connection string.
    connection: String,
    /// psql itself, the same as by hand: Debian has a script of 30 ms before it.
    psql: String,
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().context("a path should be UTF-8")?;
    Ok(text.to_owned())
}

/// A new state directory; agents, template and everything else is made on the way.
fn first_ever(root: &Path, from: &Client, place: &Path) -> Result<Duration> {
    let boma = Boma::install(root, place)?;
    applied(from, &boma, "db-0")
}

/// What a server has made ahead.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ahead {
    /// A template and spares.
    Spare,
    /// A template only.
    Template,
}

/// A server that has had the time to make clusters ahead.
fn ahead(root: &Path, from: &Client, place: &Path, ahead: Ahead) -> Result<Duration> {
    let boma = Boma::install(root, place)?;
    let serving = boma.serve()?;
    served(from, &boma, "warm-up")?;
    boma.wait_for_spares()?;
    if ahead == Ahead::Template {
        boma.move_spares_away()?;
    }
    let time = served(from, &boma, "db-0");
    drop(serving);
    time
}

/// Without a server: `boma apply` does it, and the query follows.
fn applied(from: &Client, boma: &Boma, name: &str) -> Result<Duration> {
    machine::settle()?;
    let start = Instant::now();
    write(boma, name)?;
    boma.time(&["apply"])?;
    query(from, boma, name)?;
    Ok(start.elapsed())
}

/// With a server, which sees the manifest by itself; the client waits for its connection string.
fn served(from: &Client, boma: &Boma, name: &str) -> Result<Duration> {
    machine::settle()?;
    let start = Instant::now();
    write(boma, name)?;
    query(from, boma, name)?;
    Ok(start.elapsed())
}

fn write(boma: &Boma, name: &str) -> Result<()> {
    let application = boma::application(&application(name), name, false);
    let manifests = format!("{}---\n{application}", boma::database(name, "2"));
    boma.write(&format!("{name}.yaml"), &manifests)
}

fn query(from: &Client, boma: &Boma, name: &str) -> Result<Duration> {
    let Client { connection, psql } = from;
    let run = [
        "run",
        &application(name),
        "--wait",
        "--",
        "bash",
        "-c",
        QUERY,
        connection,
        psql,
    ];
    boma.time(&run)
}

fn application(database: &str) -> String {
    format!("{database}-app")
}
