//! What the program says by itself: under its names, and where there is no cluster.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};

/// What the program says under a name, where there is no cluster.
fn run(name: &str, home: &Path, arguments: &[&str]) -> Result<Output> {
    let program = home.join(name);
    if !program.exists() {
        symlink(env!("CARGO_BIN_EXE_boma"), &program)?;
    }
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("KUBECONFIG", home.join("none"))
        .env("BOMA_STATE_DIR", home.join("state"))
        .output()?;
    Ok(output)
}

#[test]
fn as_a_plugin_it_is_called_by_its_name_there_and_asks_the_cluster() -> Result<()> {
    let home = tempfile::tempdir()?;
    let help = run("kubectl-boma", home.path(), &["get", "--help"])?;
    let text = String::from_utf8(help.stdout)?;
    ensure!(help.status.success(), "{text}");
    ensure!(text.contains("Usage: kubectl boma get"), "{text}");
    ensure!(text.contains("[default: kubernetes]"), "{text}");
    let wrong = run("kubectl-boma", home.path(), &["gett"])?;
    let text = String::from_utf8(wrong.stderr)?;
    ensure!(wrong.status.code() == Some(2), "{text}");
    ensure!(text.contains("Usage: kubectl boma"), "{text}");
    let away = run("kubectl-boma", home.path(), &["get"])?;
    let text = String::from_utf8(away.stderr)?;
    ensure!(away.status.code() == Some(1), "{text}");
    ensure!(text.contains("KUBECONFIG"), "{text}");
    let local = run("boma", home.path(), &["get", "--help"])?;
    let text = String::from_utf8(local.stdout)?;
    ensure!(text.contains("Usage: boma get"), "{text}");
    ensure!(text.contains("[default: local]"), "{text}");
    Ok(())
}

#[test]
fn nobody_is_answered_about_what_is_not_read() -> Result<()> {
    let home = tempfile::tempdir()?;
    let admission = ["--admission", "127.0.0.1:0"];
    for platform in ["local", "kubernetes"] {
        let serve = ["--platform", platform, "serve", "manifests"];
        let refused = run("boma", home.path(), &[&serve[..], &admission[..]].concat())?;
        let text = String::from_utf8(refused.stderr)?;
        ensure!(refused.status.code() == Some(1), "{text}");
        ensure!(text.contains("not among the sources"), "{text}");
        ensure!(
            text.contains("Name the source `custom-resources`"),
            "{text}"
        );
    }
    Ok(())
}
