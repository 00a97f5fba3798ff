//! Problems as text for people, as JSON, and as annotations of GitHub's workflows.

mod github;
mod text;

use boma_problem::Problem;
use serde::Serialize;

pub use github::github;
pub use text::{Color, text};

/// How many problems of which severity, as JSON and summaries have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Number of errors.
    pub errors: usize,
    /// Number of warnings.
    pub warnings: usize,
}

impl Count {
    /// Counts problems.
    pub fn of(problems: &[Problem]) -> Self {
        let errors = problems.iter().filter(|problem| problem.is_error()).count();
        Self {
            errors,
            warnings: problems.len() - errors,
        }
    }
}

/// "2 errors and 1 warning".
impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |count: usize, what: &str| match count {
            0 => format!("no {what}s"),
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        match (self.errors, self.warnings) {
            (0, 0) => f.write_str("no problems"),
            (errors, 0) => f.write_str(&number(errors, "error")),
            (0, warnings) => f.write_str(&number(warnings, "warning")),
            (errors, warnings) => {
                write!(
                    f,
                    "{} and {}",
                    number(errors, "error"),
                    number(warnings, "warning")
                )
            }
        }
    }
}

/// Problems as one JSON object: `{"errors": 1, "warnings": 0, "problems": […]}`.
pub fn json(problems: &[Problem]) -> String {
    #[derive(Serialize)]
    struct Report<'p> {
        #[serde(flatten)]
        count: Count,
        problems: &'p [Problem],
    }
    let report = Report {
        count: Count::of(problems),
        problems,
    };
    serde_json::to_string_pretty(&report).expect("texts and numbers should be serialisable")
}

#[cfg(test)]
mod tests;
