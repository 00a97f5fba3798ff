//! Checks and generators of this repository: `cargo xtask help`.
//!
//! ```text
//!   files ──► Tree ──► each check (pure) ──► findings ──► printed, exit 1
//! ```
//!
//! A check looks at a [`tree::Tree`] of file contents and returns what it found; only the runner
//! reads files, starts programs and prints.
#![expect(
    clippy::print_stdout,
    reason = "a tool for developers: its output is its result"
)]

mod bench;
mod check;
mod generate;
mod source;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const HELP: &str = "\
Usage: cargo xtask <command>

  check [NAME…]   run all checks, or the named ones; `cargo xtask check list` names them
  bench [--quick] [NAME…]   measure, and print Markdown tables
  generate        write docs/cli.md, schema/ and charts/ from the binary
  help            this text";

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        // Not as Debug, which prints a backtrace that helps nobody here.
        println!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = root()?;
    match arguments.first().map(String::as_str) {
        Some("check") => check::run(&root, &arguments[1..]),
        Some("bench") => bench::run(&root, &arguments[1..]),
        Some("generate") => {
            generate::write(&root)?;
            Ok(ExitCode::SUCCESS)
        }
        None | Some("help" | "--help" | "-h") => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        Some(other) => bail!("no command `{other}`\n\n{HELP}"),
    }
}

/// The repository: the directory above this package, as `cargo run` says it now. Where it was when
/// this was compiled may be another working tree, whose target directory was copied.
fn root() -> Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").context("start it as `cargo xtask`")?;
    let root = Path::new(&package)
        .parent()
        .context("xtask should have a parent")?;
    Ok(root.to_owned())
}
