//! `boma completions`.

use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs};
use crate::terminal::{Exit, Result, Terminal};

/// Prints a completion script.
pub(crate) fn run(args: &CompletionsArgs, terminal: Terminal) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "boma", &mut script);
    terminal.result(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
