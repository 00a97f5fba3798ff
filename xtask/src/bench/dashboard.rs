//! The dashboard's own benchmark: pages and the API of a large installation, over a simulated platform.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Effort;

pub(super) fn run(root: &Path, _: Effort) -> Result<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "bench",
            "--quiet",
            "--package=boma-web",
            "--bench=dashboard",
        ])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo bench")?;
    ensure!(output.status.success(), "cargo bench: {}", output.status);
    let table = String::from_utf8(output.stdout).context("the benchmark should print UTF-8")?;
    Ok(format!(
        "### The dashboard, with 1,000 databases and 5,000 applications\n\n{table}"
    ))
}
