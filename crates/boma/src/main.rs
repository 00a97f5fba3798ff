//! The `boma` program: the command line, the server and the agent in one binary.
//!
//! ```text
//!   cli (what can be typed) ─► commands (one file each) ─► engine, local platform, agent
//!                                        │
//!                                        ▼
//!                          terminal (the only module that prints)
//! ```
//!
//! No rule of the product lives here: what a command decides, it asks the engine.

mod builds;
mod cli;
mod commands;
mod configuration;
mod memory;
mod people;
mod progress;
#[cfg(debug_assertions)]
mod recorded;
mod remote;
mod session;
mod sources;
mod table;
mod terminal;
mod traces;

use std::process::ExitCode;

use crate::cli::Cli;
use crate::terminal::{Exit, Failure, Terminal};

fn main() -> ExitCode {
    if let Some(ended) = commands::wal::run(std::env::args_os().skip(1)) {
        if let Some(complaint) = &ended.complaint {
            terminal::complain(complaint);
        }
        return ExitCode::from(ended.code);
    }
    let cli = Cli::read(std::env::args_os());
    let terminal = Terminal::new(&cli.global);
    let exit = match commands::run(cli, terminal) {
        Ok(exit) | Err(Failure::Shown(exit)) => exit,
        Err(Failure::Problem(problem)) => {
            terminal.problems(std::slice::from_ref(&problem));
            Exit::of(&problem)
        }
        Err(Failure::Output(error)) => {
            terminal.error_line(&format!("Error: write output: {error}"));
            Exit::Internal
        }
    };
    ExitCode::from(exit.code())
}
