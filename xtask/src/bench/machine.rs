//! What a figure was measured on.

use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};

/// One line of Markdown: date, system, processors, memory, commit.
pub(super) fn describe() -> Result<String> {
    let cpu =
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .map_or_else(
            || "unknown memory".to_owned(),
            |kib| format!("{} GiB of memory", kib >> 20),
        );
    let system = fs::read_to_string("/etc/os-release")
        .ok()
        .and_then(|text| {
            Some(
                text.lines()
                    .find_map(|line| line.strip_prefix("PRETTY_NAME="))?
                    .trim_matches('"')
                    .to_owned(),
            )
        })
        .unwrap_or_else(|| std::env::consts::OS.to_owned());
    let cpus = thread::available_parallelism()?;
    Ok(format!(
        "Measured {} at commit {} on {system}, {cpus} × {cpu}, {memory}. Times are min / median / max.\n",
        output("date", &["+%Y-%m-%d"])?,
        output("git", &["rev-parse", "--short", "HEAD"])?,
    ))
}

/// Has written what earlier turns left to be written, so that nobody waits for what another made:
/// `syncfs`, with which Boma makes a copy durable, waits for all of the file system.
pub(super) fn settle() -> Result<()> {
    let status = Command::new("sync").status().context("start sync")?;
    ensure!(status.success(), "sync: {status}");
    Ok(())
}

/// The value of the first `name : value` line of a file in /proc.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("start {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
