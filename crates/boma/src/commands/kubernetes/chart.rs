//! `boma kubernetes chart`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use boma_problem::{Class, IntoProblem, Problem};

use crate::terminal::{Exit, Result, Terminal};

/// Where Helm looks for definitions of custom resources. It makes them before all else, and neither
/// changes nor deletes them.
const DEFINITIONS: &str = "crds/definitions.yaml";

/// Why there is no chart.
#[derive(Debug, thiserror::Error)]
enum ChartError {
    /// What is there is not written over.
    #[error("directory `{}` is not empty", .0.display())]
    Taken(PathBuf),
    /// The system refused something.
    #[error("write chart `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl IntoProblem for ChartError {
    fn problem(&self) -> Problem {
        match self {
            Self::Taken(_) => Problem::from_error(Class::User, "chart-directory-taken", self)
                .hint("Name another directory, or empty this one."),
            Self::Write { .. } => Problem::from_error(Class::User, "chart-not-written", self)
                .hint("Name a directory that you may write to."),
        }
    }
}

/// Writes the chart of this version into a directory that holds nothing else.
pub(super) fn write(directory: &Path, definitions: String, terminal: Terminal) -> Result {
    let mut files = boma_kubernetes::chart();
    files.insert(DEFINITIONS.to_owned(), definitions);
    let written = write_into(directory, &files);
    written.map_err(|error| error.problem())?;
    let directory = directory.display();
    terminal.status(&format!(
        "`helm install boma {directory} --namespace boma-system --create-namespace` installs it."
    ));
    Ok(Exit::Ok)
}

fn write_into(
    directory: &Path,
    files: &BTreeMap<String, String>,
) -> std::result::Result<(), ChartError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        |source| ChartError::Write { path, source }
    };
    std::fs::create_dir_all(directory).map_err(at(directory))?;
    let mut there = std::fs::read_dir(directory).map_err(at(directory))?;
    if there.next().is_some() {
        return Err(ChartError::Taken(directory.to_owned()));
    }
    for (name, text) in files {
        let path = directory.join(name);
        let parent = path.parent().unwrap_or(directory);
        std::fs::create_dir_all(parent).map_err(at(parent))?;
        std::fs::write(&path, text).map_err(at(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_written_once_and_over_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let chart = dir.path().join("charts/boma");
        let mut files = boma_kubernetes::chart();
        files.insert(DEFINITIONS.to_owned(), String::new());
        write_into(&chart, &files).unwrap();
        assert!(chart.join("templates/deployment.yaml").is_file());
        assert!(chart.join(DEFINITIONS).is_file());
        let taken = write_into(&chart, &files).unwrap_err().problem();
        assert_eq!(taken.code, "chart-directory-taken");
        let text = format!("directory `{}` is not empty", chart.display());
        assert_eq!(taken.to_string(), text);
        let within = chart.join("values.yaml/chart");
        let refused = write_into(&within, &files).unwrap_err().problem();
        assert_eq!(refused.code, "chart-not-written");
        let text = format!("write chart `{}`: ", within.display());
        assert!(refused.to_string().starts_with(&text), "{refused}");
    }
}
