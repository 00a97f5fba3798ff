//! Fifty databases on one machine: what they cost while nothing happens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Effort;
use super::boma::{self, Boma};
use super::samples::Samples;
use super::scratch::Scratch;

const DATABASES: u32 = 50;

/// Seconds over which the use of CPU is measured.
const QUIET: u32 = 30;

pub(super) fn run(root: &Path, effort: Effort) -> Result<String> {
    let scratch = Scratch::make("fleet")?;
    let boma = Boma::install(root, scratch.path())?;
    for number in 0..DATABASES {
        let name = format!("db-{number}");
        let application = boma::application(&format!("app-{number}"), &name, false);
        boma.write(
            &format!("{number}.yaml"),
            &format!("{}---\n{application}", boma::database(&name, "0.25")),
        )?;
    }
    measure(&boma, effort)
}

fn measure(boma: &Boma, effort: Effort) -> Result<String> {
    let first = boma.time(&["apply"])?;
    let mut again = Samples::new();
    for _ in 0..effort.rounds {
        again.push(boma.time(&["apply"])?);
    }
    let before = processes(boma.state())?;
    let slept = Command::new("sleep").arg(QUIET.to_string()).status()?;
    ensure!(slept.success(), "sleep: {slept}");
    let after = processes(boma.state())?;

    let agents = after
        .values()
        .filter(|process| process.role == Role::Agent)
        .count();
    ensure!(
        agents == DATABASES as usize,
        "{agents} agents in place of {DATABASES}"
    );

    let mut table = format!(
        "### {DATABASES} databases on one machine\n\n\
        | | |\n|---|---|\n\
        | first `boma apply`, s | {:.1} |\n\
        | second `boma apply`, nothing to do, s | {again} |\n",
        first.as_secs_f64()
    );
    for (role, what) in [(Role::Agent, "idle agent"), (Role::Server, "idle server")] {
        let of_role = |processes: &BTreeMap<u32, Process>| -> Vec<Process> {
            processes
                .values()
                .filter(|process| process.role == role)
                .copied()
                .collect()
        };
        let now = of_role(&after);
        let private: u64 = now.iter().map(|process| process.private_kib).sum();
        let proportional: u64 = now.iter().map(|process| process.proportional_kib).sum();
        let ticks =
            |processes: &[Process]| processes.iter().map(|process| process.ticks).sum::<u64>();
        let used = ticks(&now).saturating_sub(ticks(&of_role(&before)));
        writeln!(
            table,
            "| {what}: private memory, MiB (proportional share: {:.1}) | {:.1} |\n\
            | all {DATABASES}: CPU in {QUIET} s, s | {:.2} |",
            mib_each(proportional),
            mib_each(private),
            Duration::from_millis(used * 10).as_secs_f64()
        )?;
    }
    Ok(table)
}

/// MiB for each database, of KiB for all.
fn mib_each(kib: u64) -> f64 {
    let each = kib / u64::from(DATABASES);
    f64::from(u32::try_from(each).unwrap_or(u32::MAX)) / 1024.0
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Agent,
    Server,
}

#[derive(Clone, Copy)]
struct Process {
    role: Role,
    private_kib: u64,
    proportional_kib: u64,
    /// Time on a CPU, in hundredths of a second.
    ticks: u64,
}

/// The agents and servers that belong to a state directory, by process id.
fn processes(state: &Path) -> Result<BTreeMap<u32, Process>> {
    let state = state.to_str().context("a path should be UTF-8")?;
    let pids: Vec<u32> = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let roots: BTreeMap<u32, Role> = pids
        .iter()
        .filter_map(|pid| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
            let program = line.split('\0').next()?;
            let role = if program.ends_with("postgres") {
                Role::Server
            } else {
                Role::Agent
            };
            line.contains(state).then_some((*pid, role))
        })
        .collect();
    let found = pids.iter().filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may contain anything; what follows it are numbers.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let parent: u32 = fields.get(1)?.parse().ok()?;
        // Workers of a server carry a title of their own instead of its arguments.
        let role = roots
            .get(pid)
            .or_else(|| roots.get(&parent).filter(|role| **role == Role::Server))?;
        let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let process = Process {
            role: *role,
            private_kib: kib(&memory, "Private_Clean:") + kib(&memory, "Private_Dirty:"),
            proportional_kib: kib(&memory, "Pss:"),
            ticks: fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?,
        };
        Some((*pid, process))
    });
    Ok(found.collect())
}

fn kib(memory: &str, name: &str) -> u64 {
    memory
        .lines()
        .find_map(|line| {
            line.strip_prefix(name)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(0)
}
