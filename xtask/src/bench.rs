//! `cargo xtask bench`: figures beside what they are compared to, as Markdown tables.
//!
//! The contenders of one table take turns, so that a machine that gets slower or busier meanwhile
//! is slower for all of them. Nothing here fails because of a time: these are no tests.

mod backup;
mod boma;
mod by_hand;
mod create;
mod dashboard;
mod engine;
mod fleet;
mod kubernetes;
mod machine;
mod planning;
mod rotate;
mod samples;
mod scratch;
mod wal;
mod webhook;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

/// How much to measure.
#[derive(Clone, Copy)]
struct Effort {
    /// Rounds of a table, in each of which every contender has one turn.
    rounds: usize,
}

struct Bench {
    name: &'static str,
    run: fn(&Path, Effort) -> Result<String>,
}

const BENCHES: [Bench; 10] = [
    Bench {
        name: "create",
        run: create::run,
    },
    Bench {
        name: "planning",
        run: planning::run,
    },
    Bench {
        name: "engine",
        run: engine::run,
    },
    Bench {
        name: "dashboard",
        run: dashboard::run,
    },
    Bench {
        name: "backup",
        run: backup::run,
    },
    Bench {
        name: "backup-growth",
        run: backup::growth::run,
    },
    Bench {
        name: "wal",
        run: wal::run,
    },
    Bench {
        name: "fleet",
        run: fleet::run,
    },
    Bench {
        name: "rotate",
        run: rotate::run,
    },
    Bench {
        name: "webhook",
        run: webhook::run,
    },
];

/// What is measured only where it is named: `make bench-kubernetes` has what these need.
const ON_REQUEST: [Bench; 2] = [
    Bench {
        name: "kubernetes",
        run: kubernetes::run,
    },
    Bench {
        name: "kubernetes-create",
        run: kubernetes::create::run,
    },
];

/// Measures what is named, or all, and prints it.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<ExitCode> {
    let (options, names): (Vec<&String>, Vec<&String>) = arguments
        .iter()
        .partition(|argument| argument.starts_with('-'));
    if let Some(unknown) = options.iter().find(|option| **option != "--quick") {
        bail!("no option `{unknown}`; there is: --quick");
    }
    let quick = !options.is_empty();
    let all = || BENCHES.iter().chain(&ON_REQUEST);
    let known: Vec<&str> = all().map(|bench| bench.name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("no benchmark `{unknown}`; there are: {}", known.join(", "));
    }
    let effort = Effort {
        rounds: if quick { 2 } else { 9 },
    };
    println!("{}", machine::describe()?);
    let asked = all().filter(|bench| names.iter().any(|name| *name == bench.name));
    let whole = BENCHES.iter().filter(|_| names.is_empty());
    for bench in whole.chain(asked) {
        println!("{}", (bench.run)(root, effort)?);
    }
    Ok(ExitCode::SUCCESS)
}
