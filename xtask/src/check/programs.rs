//! Checks that other programs make. What they print, they print themselves.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Finding;
use crate::tree::Tree;

pub(super) fn fmt(root: &Path, _: &Tree) -> Result<Vec<Finding>> {
    cargo(root, &["fmt", "--all", "--check"], "run `cargo fmt --all`")
}

pub(super) fn clippy(root: &Path, _: &Tree) -> Result<Vec<Finding>> {
    let arguments = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-Dwarnings",
    ];
    cargo(root, &arguments, "see above")
}

pub(super) fn doc(root: &Path, _: &Tree) -> Result<Vec<Finding>> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args([
            "doc",
            "--quiet",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ])
        .env("RUSTDOCFLAGS", "-Dwarnings");
    run(root, command, "see above")
}

/// Lints the shell scripts; shellcheck is a convenience, so that nobody has to install it.
pub(super) fn shellcheck(root: &Path, tree: &Tree) -> Result<Vec<Finding>> {
    let scripts: Vec<&str> = tree
        .all()
        .filter(|(_, text)| text.starts_with("#!/usr/bin/env bash"))
        .map(|(path, _)| path)
        .collect();
    let mut probe = Command::new("shellcheck");
    match probe.arg("--version").output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("shell      shellcheck is not installed: scripts are not checked");
            return Ok(Vec::new());
        }
        other => other.context("start shellcheck")?,
    };
    let mut command = Command::new("shellcheck");
    command.arg("--external-sources").args(&scripts);
    run(root, command, "see above")
}

fn cargo(root: &Path, arguments: &[&str], advice: &str) -> Result<Vec<Finding>> {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments);
    run(root, command, advice)
}

fn run(root: &Path, mut command: Command, advice: &str) -> Result<Vec<Finding>> {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(OsStr::new("program"))
        .to_string_lossy()
        .into_owned();
    let status = command
        .current_dir(root)
        .status()
        .with_context(|| format!("start {program}"))?;
    let finding = Finding::in_file(&program, format!("{status}: {advice}"));
    Ok((!status.success()).then_some(finding).into_iter().collect())
}
