//! `boma validate`.

use boma_engine::catalog::Basis;
use boma_manifest::PlanTable;

use crate::cli::{Global, ReportFormat, ValidateArgs};
use crate::configuration::Configuration;
use crate::session::{load, state_dir};
use crate::terminal::{Exit, Result, Terminal, Tone};

/// Checks manifests against themselves and each other. Looks at nothing that runs, and needs no
/// installation; the plans of one that is there count.
pub(crate) fn run(args: &ValidateArgs, global: &Global, terminal: Terminal) -> Result {
    let loaded = load(&args.source.source, |roots| Basis {
        plans: plans(global),
        roots,
    })?;
    match args.output {
        ReportFormat::Text => terminal.problems(&loaded.problems),
        ReportFormat::Json => terminal.result(&boma_manifest::render::json(&loaded.problems))?,
        ReportFormat::Github => {
            terminal.result(&boma_manifest::render::github(&loaded.problems))?;
        }
    }
    if loaded.has_errors() {
        return Ok(Exit::Problem);
    }
    if args.output == ReportFormat::Text {
        let (databases, applications) = (
            loaded.catalog.databases().len(),
            loaded.catalog.applications().len(),
        );
        let counted = format!(
            "{} and {} are valid.",
            counted(databases, "database"),
            counted(applications, "application")
        );
        terminal.status(&terminal.paint_err(Tone::Ok, &counted));
        if loaded.manifests.is_empty() {
            terminal.status(&format!(
                "There is no manifest in `{}`. `boma init` writes first ones.",
                loaded.root().display()
            ));
        }
    }
    Ok(Exit::Ok)
}

/// The plans that manifests may name, also where there is no installation.
pub(crate) fn plans(global: &Global) -> PlanTable {
    match state_dir(global) {
        Ok(dir) => Configuration::read(&dir).unwrap_or_default().plans(),
        Err(_) => Configuration::default().plans(),
    }
}

/// `1 database`, `2 databases`.
pub(crate) fn counted(number: usize, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}
