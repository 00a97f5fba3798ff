//! Annotations of GitHub's workflows
//! (<https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>).

use std::fmt::Write as _;

use boma_problem::{Problem, Severity};

use crate::problems::is_unprintable;

/// One line for each problem, which GitHub shows beside the line of the file.
///
/// Paths are those of the problems; GitHub wants them relative to the repository.
pub fn github(problems: &[Problem]) -> String {
    let mut lines = String::new();
    for problem in problems {
        write_annotation(&mut lines, problem).expect("writing to a string should not fail");
    }
    lines
}

fn write_annotation(lines: &mut String, problem: &Problem) -> std::fmt::Result {
    let command = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    write!(lines, "::{command} ")?;
    if let Some(place) = &problem.place {
        let end = place.column + place.length;
        let (file, line, column) = (property(&place.file), place.line, place.column);
        write!(
            lines,
            "file={file},line={line},col={column},endColumn={end},"
        )?;
    }
    write!(
        lines,
        "title={}::{}",
        property(&problem.code),
        data(&problem.to_string())
    )?;
    for (what, place) in &problem.related {
        write!(lines, "%0A{}: {}", data(what), data(&place.to_string()))?;
    }
    for hint in &problem.hints {
        write!(lines, "%0A{}", data(hint))?;
    }
    writeln!(lines)
}

/// A text after the `::`. What is left in it cannot act on whoever reads the log in a terminal.
fn data(text: &str) -> String {
    let is_odd = |character: char| !matches!(character, '\r' | '\n') && is_unprintable(character);
    let text = text.replace(is_odd, "\u{fffd}");
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A text between the `::`, where two more characters divide.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
