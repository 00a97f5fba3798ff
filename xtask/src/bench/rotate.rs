//! Passwords exchanged under load: whether any query fails, and for how long nobody serves.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Effort;
use super::boma::{self, Boma};
use super::samples::Samples;
use super::scratch::Scratch;

/// Rotations for each round of the other tables.
const EACH_ROUND: usize = 11;

/// Queries after which a process counts as warm.
const WARM: u64 = 500;

/// What all processes of an application did together.
#[derive(Default)]
struct Counted {
    processes: usize,
    queries: u64,
    failures: u64,
    /// Processes that were killed before they had ended in order.
    killed: usize,
    errors: Vec<String>,
}

/// What one process did.
struct Process {
    queries: u64,
    failures: u64,
    first: u64,
    last: u64,
    in_order: bool,
    errors: String,
}

pub(super) fn run(root: &Path, effort: Effort) -> Result<String> {
    let rotations = (effort.rounds * EACH_ROUND).next_multiple_of(50);
    let scratch = Scratch::make("rotate")?;
    let program = program(root, scratch.path())?;
    let mut rows = String::new();
    for (way, what) in [
        ("pool", "50 connections, kept"),
        ("poolless", "50 workers, a connection for each query"),
    ] {
        let place = scratch.path().join(way);
        let counts = place.join("counts");
        let boma = Boma::install(root, &place)?;
        fs::create_dir_all(&counts)?;
        // The application runs as another user than root.
        fs::set_permissions(&counts, fs::Permissions::from_mode(0o777))?;
        let command = format!("[{}, {way}, {}]", program.display(), counts.display());
        let application = boma::running_application("load", "orders", &command);
        let database = boma::database("orders", "2");
        let settings = "  parameters: { max_connections: '150' }\n";
        boma.write(
            "all.yaml",
            &format!("{database}{settings}---\n{application}"),
        )?;
        boma.time(&["apply"])?;
        let mut times = Samples::new();
        for _ in 0..rotations {
            wait_for_load(&counts)?;
            times.push(boma.time(&["rotate", "load", "--wait"])?);
        }
        boma.time(&["stop", "load"])?;
        let processes = read(&counts)?;
        let pauses = pauses(&processes);
        let counted = Counted::of(&processes);
        for error in &counted.errors {
            println!("{error}");
        }
        let Counted {
            processes,
            queries,
            failures,
            killed,
            ..
        } = counted;
        writeln!(
            rows,
            "| {what} | {rotations} | {processes} | {queries} | {failures} | {killed} | {times} \
             | {pauses} |"
        )?;
    }
    Ok(format!(
        "### Rotations under load\n\n\
        | application | rotations | processes | queries | failed | processes killed | s per rotation \
        | s without a query |\n|---|---|---|---|---|---|---|---|\n{rows}"
    ))
}

/// The application, where the user that it runs as may read it.
fn program(root: &Path, scratch: &Path) -> Result<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let built = target.join("release/examples/load");
    ensure!(
        built.exists(),
        "there is no {}: cargo build --release -p boma-testkit --example load",
        built.display()
    );
    let program = scratch.join("load");
    fs::copy(&built, &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

/// Waits until the running process has all of its connections and queries in earnest.
fn wait_for_load(counts: &Path) -> Result<()> {
    for _ in 0..600 {
        let mut running = read(counts)?.into_iter();
        if running.any(|process| !process.in_order && process.queries > WARM) {
            return Ok(());
        }
        std::process::Command::new("sleep").arg("0.1").status()?;
    }
    anyhow::bail!("the application never queried anything")
}

fn read(counts: &Path) -> Result<Vec<Process>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir(counts)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "load")
        {
            processes.push(process(&fs::read_to_string(&path)?)?);
        }
    }
    processes.sort_by_key(|process| process.first);
    Ok(processes)
}

/// As the application writes it: `queries failures first last running|ended`, then errors.
fn process(text: &str) -> Result<Process> {
    let (line, errors) = text.split_once('\n').context("an empty count")?;
    let mut words = line.split(' ');
    let mut number = || -> Result<u64> { Ok(words.next().context("a count is missing")?.parse()?) };
    Ok(Process {
        queries: number()?,
        failures: number()?,
        first: number()?,
        last: number()?,
        in_order: words.next() == Some("ended"),
        errors: errors.trim().to_owned(),
    })
}

/// Between the last query of a process and the first of the next one.
fn pauses(processes: &[Process]) -> Samples {
    let mut pauses = Samples::new();
    for pair in processes.windows(2) {
        if let [former, next] = pair {
            pauses.push(Duration::from_millis(
                next.first.saturating_sub(former.last),
            ));
        }
    }
    pauses
}

impl Counted {
    fn of(processes: &[Process]) -> Self {
        let mut counted = Self::default();
        for process in processes {
            counted.processes += 1;
            counted.queries += process.queries;
            counted.failures += process.failures;
            counted.killed += usize::from(!process.in_order);
            if !process.errors.is_empty() {
                counted.errors.push(process.errors.clone());
            }
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_processes_did_is_added_up() {
        let texts = [
            "7 0 1000 2000 ended\n\n",
            "5 1 2250 3000 running\nrefused\n",
        ];
        let processes: Vec<Process> = texts.iter().map(|text| process(text).unwrap()).collect();
        let counted = Counted::of(&processes);
        assert_eq!((counted.queries, counted.failures), (12, 1));
        assert_eq!((counted.killed, counted.errors.len()), (1, 1));
        assert_eq!(pauses(&processes).median(), Duration::from_millis(250));
    }
}
