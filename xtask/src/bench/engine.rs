//! The engine's own benchmark: planning without a process, a file or a server around it, and what
//! one changed file costs in a server that runs.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Effort;

pub(super) fn run(root: &Path, _: Effort) -> Result<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "bench",
            "--quiet",
            "--package=boma-engine",
            "--bench=planning",
            "--features=testing",
        ])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo bench")?;
    ensure!(output.status.success(), "cargo bench: {}", output.status);
    let table = String::from_utf8(output.stdout).context("the benchmark should print UTF-8")?;
    Ok(format!(
        "### Planning, inside of a running server\n\n{table}"
    ))
}
