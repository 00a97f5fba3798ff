//! `cargo xtask check`: what a reviewer would otherwise have to look for.

mod codes;
mod layers;
mod leaks;
mod links;
mod lints;
mod metrics;
mod names;
mod programs;
mod purity;
mod sizes;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::generate;
use crate::tree::Tree;

/// Something that must change, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// File, and line where there is one: `a.rs:3`.
    place: String,
    /// What is wrong and what to do instead.
    text: String,
}

impl Finding {
    pub(crate) fn in_file(file: &str, text: impl Into<String>) -> Self {
        Self {
            place: file.to_owned(),
            text: text.into(),
        }
    }

    fn at(file: &str, line: usize, text: impl Into<String>) -> Self {
        Self::in_file(&format!("{file}:{line}"), text)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// How a check comes to its findings.
enum Body {
    /// From the text of the files alone.
    Text(fn(&Tree) -> Vec<Finding>),
    /// From the files and from where they are.
    Place(fn(&Path, &Tree) -> Result<Vec<Finding>>),
}

struct Check {
    name: &'static str,
    about: &'static str,
    body: Body,
}

/// All checks, quick ones first.
const CHECKS: [Check; 14] = [
    Check {
        name: "layers",
        about: "crates use only the crates below them; no second TLS stack or runtime",
        body: Body::Place(layers::check),
    },
    Check {
        name: "purity",
        about: "pure code touches no file, network, environment, clock or randomness",
        body: Body::Text(purity::check),
    },
    Check {
        name: "sizes",
        about: "at most 800 lines without tests; tests over 200 lines in a file of their own",
        body: Body::Text(sizes::check),
    },
    Check {
        name: "names",
        about: "no crate or module called utils, common, helpers, manager, service; no mod.rs",
        body: Body::Text(names::check),
    },
    Check {
        name: "lints",
        about: "every crate inherits the workspace's lints and repeats the root clippy.toml",
        body: Body::Text(lints::check),
    },
    Check {
        name: "leaks",
        about: "no path of a developer's machine, no host of a private registry",
        body: Body::Place(leaks::check),
    },
    Check {
        name: "links",
        about: "links between pages lead to files",
        body: Body::Text(links::check),
    },
    Check {
        name: "metrics",
        about: "what dashboards ask Prometheus for is answered",
        body: Body::Text(metrics::check),
    },
    Check {
        name: "codes",
        about: "every problem code has its entry in docs/errors.md, and the reverse",
        body: Body::Text(codes::check),
    },
    Check {
        name: "fmt",
        about: "cargo fmt --check",
        body: Body::Place(programs::fmt),
    },
    Check {
        name: "shell",
        about: "shellcheck, where it is installed",
        body: Body::Place(programs::shellcheck),
    },
    Check {
        name: "clippy",
        about: "clippy of all targets with -D warnings",
        body: Body::Place(programs::clippy),
    },
    Check {
        name: "generated",
        about: "docs/cli.md, schema/ and charts/ are what `cargo xtask generate` writes",
        body: Body::Place(generate::check),
    },
    Check {
        name: "doc",
        about: "rustdoc with -D warnings",
        body: Body::Place(programs::doc),
    },
];

/// Runs the checks named, or all, and prints what they found.
pub(crate) fn run(root: &Path, names: &[String]) -> Result<ExitCode> {
    if names == ["list"] {
        for check in &CHECKS {
            println!("{:<10} {}", check.name, check.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(unknown) = names
        .iter()
        .find(|name| !CHECKS.iter().any(|check| check.name == name.as_str()))
    {
        bail!("no check `{unknown}`; `cargo xtask check list` names them");
    }
    let tree = Tree::read(root)?;
    let mut failed = Vec::new();
    for check in CHECKS
        .iter()
        .filter(|check| names.is_empty() || names.iter().any(|name| name == check.name))
    {
        let start = Instant::now();
        let findings = match check.body {
            Body::Text(body) => body(&tree),
            Body::Place(body) => body(root, &tree)?,
        };
        let verdict = if findings.is_empty() { "ok" } else { "FAILED" };
        let seconds = start.elapsed().as_secs_f32();
        println!("{:<10} {verdict} ({seconds:.1} s)", check.name);
        for finding in &findings {
            println!("    {finding}");
        }
        if !findings.is_empty() {
            failed.push(check.name);
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "\nTo run only what failed: cargo xtask check {}",
        failed.join(" ")
    );
    Ok(ExitCode::FAILURE)
}
