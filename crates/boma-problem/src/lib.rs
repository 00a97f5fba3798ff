//! One type for every problem that Boma shows to a person.
//!
//! Errors are enums next to the operation that fails. Each public one turns into a [`Problem`]:
//! what happened (a chain of causes), where (a place in a manifest, if there is one), how grave it
//! is, under which stable code it is documented, and what to do now. The command line, the
//! dashboard, events and Kubernetes conditions all render this one value.
//!
//! This crate is pure: it reads no clock, no file, no environment.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who has to act, and whether trying again can help.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// What the person asked for cannot be done as asked. Retrying does not help.
    User,
    /// The machine, the installation or its configuration must change first. Retried slowly.
    Config,
    /// Likely to pass by itself. Retried soon, with backoff.
    Transient,
    /// A defect of Boma. Retried slowly; the text asks for a report.
    Internal,
}

/// Whether a problem stops what was asked for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing that depends on it is done.
    Error,
    /// Done all the same; a person should know.
    Warning,
}

/// A place in a source text: where to look, and what stands there.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Place {
    /// Path of the file, relative to its source.
    pub file: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// Number of characters to underline; at least 1.
    pub length: u32,
    /// The offending line as it stands in the file, without its end; empty when not at hand.
    pub text: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// What went wrong, where, and what to do now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Who has to act.
    pub class: Class,
    /// Stable, kebab-case name: metric label, event reason, anchor in `docs/errors.md`.
    pub code: String,
    /// What happened; lower case, no full stop, without its causes.
    pub message: String,
    /// The chain of causes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// Where in the manifests, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Other places that belong to it, each with what it has to do with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<(String, Place)>,
    /// What to do now: whole sentences; commands in backticks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

impl Problem {
    /// Makes an error of the given class under a stable code.
    pub fn new(class: Class, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            class,
            code: code.into(),
            message: message.into(),
            causes: Vec::new(),
            place: None,
            related: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Makes a problem of an error, with the whole chain of its sources as causes.
    pub fn from_error(
        class: Class,
        code: impl Into<String>,
        error: &dyn std::error::Error,
    ) -> Self {
        let mut problem = Self::new(class, code, error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some libraries repeat their source in their own text; saying it twice helps nobody.
            if problem.causes.last().unwrap_or(&problem.message) != &text {
                problem.causes.push(text);
            }
            source = cause.source();
        }
        problem
    }

    /// Turns it into a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Says where in the manifests.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Adds another place that belongs to it.
    #[must_use]
    pub fn related(mut self, what: impl Into<String>, place: Place) -> Self {
        self.related.push((what.into(), place));
        self
    }

    /// Adds what to do now.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Whether it stops what was asked for.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The message and its causes as one sentence: `start instance a: write config b: no space`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// Turns an error into what a person is shown.
pub trait IntoProblem {
    /// The problem: class, stable code, text, hints.
    fn problem(&self) -> Problem;
}

impl IntoProblem for Problem {
    fn problem(&self) -> Problem {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Self>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Layer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|layer| layer as _)
        }
    }

    #[test]
    fn a_chain_reads_as_one_sentence() {
        let error = Layer(
            "start instance a",
            Some(Box::new(Layer("no space left", None))),
        );
        let problem = Problem::from_error(Class::Transient, "start-failed", &error);
        assert_eq!(problem.to_string(), "start instance a: no space left");
    }

    #[test]
    fn a_cause_that_repeats_its_parent_is_said_once() {
        let inner = Layer(
            "no space left",
            Some(Box::new(Layer("no space left", None))),
        );
        let error = Layer("write config", Some(Box::new(inner)));
        let problem = Problem::from_error(Class::Transient, "write-failed", &error);
        assert_eq!(problem.to_string(), "write config: no space left");
    }
}
