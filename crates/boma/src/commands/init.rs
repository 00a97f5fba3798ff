//! `boma init`: first manifests, to be edited and committed.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use boma_problem::{Class, Problem};

use crate::cli::InitArgs;
use crate::terminal::{Exit, Result, Terminal, Tone};

/// What goes into the manifests.
struct Names {
    organization: String,
    unit: String,
    environment: String,
    project: String,
    database: String,
    application: String,
}

impl Names {
    fn of(args: &InitArgs) -> Self {
        let project = args
            .project
            .clone()
            .unwrap_or_else(|| project_of(&args.directory));
        let named = |given: &Option<String>, ending: &str| {
            given
                .clone()
                .unwrap_or_else(|| format!("{project}-{ending}"))
        };
        Self {
            organization: args.organization.clone(),
            unit: args.unit.clone(),
            environment: args.environment.clone(),
            database: named(&args.database, "db"),
            application: named(&args.application, "api"),
            project,
        }
    }
}

/// A name for the project after its directory, where that makes one.
fn project_of(directory: &Path) -> String {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let name = absolute
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let label: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(30)
        .collect();
    let label = label.trim_matches('-');
    if label.is_empty() {
        "my-project".to_owned()
    } else {
        label.to_owned()
    }
}

/// Writes a database and an application that uses it. Existing files are left alone.
pub(crate) fn run(args: &InitArgs, terminal: Terminal) -> Result {
    let names = Names::of(args);
    let files = [
        (
            format!("database/{}.yaml", names.database),
            database(&names),
        ),
        (
            format!("application/{}.yaml", names.application),
            application(&names),
        ),
    ];
    let problems: Vec<_> = files
        .iter()
        .flat_map(|(name, text)| boma_manifest::parse(name, text.as_bytes()).problems)
        .collect();
    if problems.iter().any(Problem::is_error) {
        terminal.problems(&problems);
        return Ok(Exit::Problem);
    }
    for (name, text) in &files {
        let path = args.directory.join(name);
        write_new(&path, text).map_err(|error| refused(&path, &error))?;
        let shown = path.to_string_lossy();
        terminal.status(&format!("Wrote {}", terminal.paint_err(Tone::Id, &shown)));
    }
    let source = match args.directory.to_string_lossy().as_ref() {
        "." => String::new(),
        directory => format!(" {directory}"),
    };
    terminal.status(&format!(
        "\nSee what it would do:  boma plan{source}\n\
         Make it so:            boma apply{source}\n\
         Try the connection:    boma run {} -- sh -c 'psql \"$DATABASE_URL\" -c \"select now()\"'",
        names.application
    ));
    Ok(Exit::Ok)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)?
        .write_all(text.as_bytes())
}

fn refused(path: &Path, error: &io::Error) -> Problem {
    let problem = Problem::from_error(Class::User, "manifest-not-written", error);
    let problem = Problem {
        message: format!("write manifest `{}`", path.display()),
        causes: vec![problem.message],
        ..problem
    };
    if error.kind() == io::ErrorKind::AlreadyExists {
        problem.hint("`boma init` writes over nothing. Name another directory, or other resources with `--database` and `--application`.")
    } else {
        problem.hint("Name a directory that you may write to.")
    }
}

fn metadata(names: &Names, name: &str) -> String {
    format!(
        "metadata:\n  name: {name}\n  organization: {}\n  organizational-unit: {}\n  environment: {}\n  project: {}\n",
        names.organization, names.unit, names.environment, names.project
    )
}

fn database(names: &Names) -> String {
    format!(
        "# A PostgreSQL database. Every field of `spec` has a default; docs/manifests.md has them all.\n\
         apiVersion: lowops.manifests.v1\nkind: Database\n{}spec:\n  cpuCount: 1\n  memory: 1Gi\n  storage:\n    size: 10Gi\n",
        metadata(names, &names.database)
    )
}

fn application(names: &Names) -> String {
    format!(
        "# An application, and what it may use. Without `source` it runs elsewhere: give it its\n\
         # credentials by `boma run {} -- COMMAND`.\n\
         apiVersion: lowops.manifests.v1\nkind: Application\n{}spec:\n  accessControl:\n    databases:\n      - name: {}\n        readOnly: false\n        secretSource:\n          envVar: DATABASE_URL\n",
        names.application,
        metadata(names, &names.application),
        names.database
    )
}
