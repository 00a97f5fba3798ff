//! Scenarios: stories of an installation that hold on every platform, in files that read like a
//! session at a terminal. docs/testing.md says what may stand in them.
//!
//! ```text
//! # What it shows.
//! $ write orders.yaml
//! | kind: Database
//! $ apply
//! $ query web select 1
//! 1
//! $ boma purge orders --confirm order
//! [exit code 1]
//! is not the name orders
//! ```
//!
//! A scenario knows nothing of where it is played: what differs is behind [`Stage`].

mod play;
mod script;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::Ran;

/// One installation of Boma on some platform, with nothing in it yet.
pub trait Stage {
    /// The directory of its manifests.
    fn manifests(&self) -> PathBuf;

    /// What a platform has a name of its own for: `PROJECT`, and `SOURCE` of an application.
    fn given(&self) -> Vec<(&'static str, String)>;

    /// How long something may take to come.
    fn patience(&self) -> Duration;

    /// Runs `boma` in the directory of manifests, with something to read.
    ///
    /// # Errors
    /// It does not start.
    fn boma(&self, arguments: &[&str], input: &str) -> Result<Ran>;

    /// Runs `boma apply .` once more.
    ///
    /// # Errors
    /// It wrote something.
    fn apply_again(&self) -> Result<Ran>;

    /// Starts something that has the environment that an application is given now, and keeps it;
    /// `number` tells those of one application apart. Gives what [`psql`](Self::psql) knows it by.
    ///
    /// # Errors
    /// It does not start, or is given nothing.
    fn start(&self, application: &str, number: usize) -> Result<String>;

    /// psql over the connection string of what was started.
    ///
    /// # Errors
    /// There is no such thing.
    fn psql(&self, started: &str) -> Result<Command>;

    /// A variable of an application that Boma itself runs.
    ///
    /// # Errors
    /// It does not run, or not with that variable.
    fn variable(&self, application: &str, name: &str) -> Result<String>;

    /// Makes a place for backups, and tells Boma of it under this name.
    ///
    /// # Errors
    /// It cannot be made.
    fn repository(&mut self, name: &str) -> Result<()>;
}

/// Plays a scenario.
///
/// # Errors
/// The first step that went otherwise than the file says, with its line.
pub fn play(file: &Path, stage: &mut impl Stage) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let steps = script::read(&name, &text)?;
    play::Play::new(stage).all(&name, &steps)
}
