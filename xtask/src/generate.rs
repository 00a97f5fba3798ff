//! Files that the binary itself prints: the command-line reference, and schemas of manifests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::check::Finding;
use crate::tree::Tree;

const CLI_PAGE: &str = "docs/cli.md";
const SCHEMA: &str = "schema/boma.schema.json";
const DEFINITIONS: &str = "schema/custom-resources.yaml";
/// Some of its files are written by hand; the binary holds those as they were when it was built.
const CHART: &str = "charts/boma";

/// Writes every generated file.
pub(crate) fn write(root: &Path) -> Result<()> {
    for (path, text) in files(root)? {
        let path = root.join(path);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Compares every generated file with what would be written now.
pub(crate) fn check(root: &Path, tree: &Tree) -> Result<Vec<Finding>> {
    Ok(stale(&files(root)?, tree))
}

fn stale(wanted: &BTreeMap<String, String>, tree: &Tree) -> Vec<Finding> {
    wanted
        .iter()
        .filter(|(path, text)| tree.files.get(*path) != Some(*text))
        .map(|(path, _)| Finding::in_file(path, "out of date: run `cargo xtask generate`"))
        .collect()
}

fn files(root: &Path) -> Result<BTreeMap<String, String>> {
    let binary = Binary::build(root)?;
    let schema = binary.print(&["schema"])?;
    let definitions = format!(
        "# Written by `cargo xtask generate`; do not edit.\n{}",
        binary.print(&["kubernetes", "definitions"])?
    );
    let mut files = BTreeMap::from([
        (CLI_PAGE.to_owned(), cli_page(&binary)?),
        (SCHEMA.to_owned(), schema),
        (DEFINITIONS.to_owned(), definitions),
    ]);
    files.extend(binary.chart()?);
    Ok(files)
}

/// The debug binary.
struct Binary(PathBuf);

impl Binary {
    fn build(root: &Path) -> Result<Self> {
        let output = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--package=boma",
                "--message-format=json",
            ])
            .current_dir(root)
            .stderr(Stdio::inherit())
            .output()
            .context("start cargo build")?;
        ensure!(output.status.success(), "cargo build: {}", output.status);
        let built = String::from_utf8(output.stdout)?;
        let path = built
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| message["target"]["name"] == "boma")
            .find_map(|message| message["executable"].as_str().map(PathBuf::from));
        path.map(Self).context("cargo build should name the binary")
    }

    /// What the binary prints, the same on every machine.
    fn print(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.0)
            .args(arguments)
            .env("COLUMNS", "100")
            .env("NO_COLOR", "1")
            .env_remove("BOMA_STATE_DIR")
            .output()
            .context("start boma")?;
        ensure!(
            output.status.success(),
            "boma {}: {}\n{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).context("boma should print UTF-8")
    }

    /// The Helm chart, by way of a directory beside the binary.
    fn chart(&self) -> Result<BTreeMap<String, String>> {
        let directory = self
            .0
            .with_file_name(format!("chart-{}", std::process::id()));
        let path = directory.to_str().context("a path in UTF-8")?;
        self.print(&["kubernetes", "chart", path])?;
        let files = below(&directory, CHART);
        std::fs::remove_dir_all(&directory)?;
        files
    }
}

/// The files below a directory, as they are to be below another.
fn below(directory: &Path, place: &str) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = format!("{place}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            files.extend(below(&entry.path(), &name)?);
        } else {
            files.insert(name, std::fs::read_to_string(entry.path())?);
        }
    }
    Ok(files)
}

fn cli_page(binary: &Binary) -> Result<String> {
    let main = binary.print(&["--help"])?;
    let mut page = format!(
        "# Command line\n\nWritten by `cargo xtask generate`; do not edit.\n{}",
        text(&main)
    );
    for command in commands(&main) {
        let help = binary.print(&[command, "--help"])?;
        page.push_str(&section(command, &help));
        for inner in commands(&help) {
            let help = binary.print(&[command, inner, "--help"])?;
            page.push_str(&section(&format!("{command} {inner}"), &help));
        }
    }
    Ok(page)
}

fn section(command: &str, help: &str) -> String {
    format!("\n## boma {command}\n{}", text(help))
}

/// A help text as a block, without blanks at the ends of its lines.
fn text(help: &str) -> String {
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    format!("\n```text\n{}\n```\n", lines.join("\n"))
}

/// The commands that a help text lists under `Commands:`.
fn commands(help: &str) -> Vec<&str> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_off_the_help_text() {
        let help = "Boma\n\nUsage: boma\n\nCommands:\n  init   Start\n  plan   Show\n         what\n  \
            help   Print\n\nOptions:\n  -h\n";
        assert_eq!(commands(help), ["init", "plan"]);
    }

    #[test]
    fn a_generated_file_that_differs_or_lacks_is_found() {
        let wanted = BTreeMap::from([
            ("docs/cli.md".to_owned(), "new".to_owned()),
            (SCHEMA.to_owned(), "{}".to_owned()),
        ]);
        let tree = Tree::of(&[("docs/cli.md", "old"), (SCHEMA, "{}")]);
        let found = stale(&wanted, &tree);
        assert_eq!(found.len(), 1);
        assert_eq!(stale(&wanted, &Tree::default()).len(), 2);
    }
}
