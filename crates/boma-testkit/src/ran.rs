//! Commands that have ended.

use std::fmt;
use std::process::Output;

use anyhow::{Result, ensure};

/// What a command printed, and how it ended.
#[derive(Debug)]
#[must_use = "look at the output, or at least at the exit code"]
pub struct Ran {
    /// Its exit code; -1: a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<&Output> for Ran {
    fn from(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// Gives standard output.
    ///
    /// # Errors
    /// It did not end with 0.
    pub fn ok(self) -> Result<String> {
        self.ended_with(0)?;
        Ok(self.stdout)
    }

    /// Gives both outputs, standard error last.
    ///
    /// # Errors
    /// It did not end with `code`.
    pub fn code(self, code: i32) -> Result<String> {
        self.ended_with(code)?;
        Ok(self.stdout + &self.stderr)
    }

    fn ended_with(&self, code: i32) -> Result<()> {
        let Self {
            code: found,
            stdout,
            stderr,
        } = self;
        ensure!(
            *found == code,
            "exit code {found} in place of {code}\n{stdout}\n{stderr}"
        );
        Ok(())
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            stdout,
            stderr,
        } = self;
        write!(f, "exit code {code}\n{stdout}{stderr}")
    }
}
