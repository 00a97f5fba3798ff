//! `boma postgres`.

use boma_postgres::programs::{Installations, SearchPaths};
use boma_problem::{Class, Problem};

use crate::cli::{ListFormat, PostgresCommand};
use crate::table::Table;
use crate::terminal::{Exit, Result, Terminal, Tone};

/// Lists the PostgreSQL installations of this machine.
pub(crate) fn run(command: &PostgresCommand, terminal: Terminal) -> Result {
    let PostgresCommand::List { output } = command;
    let paths = SearchPaths::from_environment();
    let found = Installations::discover(&paths);
    match output {
        ListFormat::Json | ListFormat::Yaml => terminal.json(&found)?,
        ListFormat::Name => {
            for installation in found.all() {
                terminal.result(&format!("{}\n", installation.version))?;
            }
        }
        ListFormat::Table => {
            let mut table = Table::new(&["VERSION", "PROGRAMS", "FOUND BY"]);
            for installation in found.all() {
                table.row([
                    installation.version.to_string(),
                    installation.bin.display().to_string(),
                    installation.origin.to_string(),
                ]);
            }
            terminal.result(&table.render())?;
            for broken in found.broken() {
                let path = broken.path.display();
                terminal.status(&format!(
                    "{} {path} {}",
                    terminal.paint_err(Tone::Waiting, "not usable:"),
                    broken.why
                ));
            }
        }
    }
    if found.all().is_empty() {
        let message = "no PostgreSQL 15, 16, 17 or 18 is installed on this machine";
        return Err(Problem::new(Class::Config, "postgres-not-installed", message)
            .hint(
                "Install one (Debian, Ubuntu: `apt-get install postgresql`; macOS: `brew install \
                 postgresql@18`), or name its directory in BOMA_POSTGRES_DIR.",
            )
            .into());
    }
    Ok(Exit::Ok)
}
