//! Decoding: typed values out of trees, and every problem on the way.
//!
//! A decoder that finds a problem reports it and answers `None`; it goes on with everything else
//! first, so that one look at a file shows all that is wrong with it.

mod application;
mod database;
mod fields;
mod metadata;
pub(crate) mod rules;
mod scalars;

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use boma_problem::{Place, Problem};

use crate::limits;
use crate::origin::{SourceFile, first_line};
use crate::problems::{Code, error, quote};
use crate::syntax::{Node, Reading, Refusal, Span, Value};

pub(crate) use fields::Fields;

/// A value that can be decoded.
pub(crate) trait Decode: Sized {
    /// The value; if there is something wrong with it, none, and the problems are reported.
    fn decode(input: Input<'_>) -> Option<Self>;
}

/// What the decoders of one file share.
pub(crate) struct Context<'c> {
    pub(crate) file: &'c Arc<SourceFile>,
    pub(crate) text: &'c str,
    problems: RefCell<Vec<Problem>>,
    /// How many of them are errors, those beyond the limit included.
    errors: Cell<usize>,
    /// The fields that were asked for, by the path of their mapping.
    #[cfg(test)]
    pub(crate) asked: RefCell<std::collections::BTreeMap<String, Vec<&'static str>>>,
}

impl<'c> Context<'c> {
    pub(crate) fn new(file: &'c Arc<SourceFile>, text: &'c str) -> Self {
        Self {
            file,
            text,
            problems: RefCell::new(Vec::new()),
            errors: Cell::new(0),
            #[cfg(test)]
            asked: RefCell::default(),
        }
    }

    /// Adds a problem with its place; beyond the limit none is added.
    pub(crate) fn report(&self, problem: Problem, at: Span) {
        self.report_with(problem, at, None);
    }

    /// Adds a problem with something that stands twice, and where it stands first.
    pub(crate) fn report_again(&self, problem: Problem, at: Span, first: Span) {
        self.report_with(problem, at, Some(first));
    }

    /// Places are only made for problems that are kept: a file may have a million on one line.
    fn report_with(&self, problem: Problem, at: Span, first: Option<Span>) {
        self.errors
            .set(self.errors.get() + usize::from(problem.is_error()));
        let mut problems = self.problems.borrow_mut();
        if problems.len() < limits::MOST_PROBLEMS {
            let problem = problem.at(self.place(at));
            problems.push(match first {
                Some(first) => problem.related("first here", self.place(first)),
                None => problem,
            });
        } else if problems.len() == limits::MOST_PROBLEMS {
            let message = format!(
                "{} has more than {} problems",
                self.file.name,
                problems.len()
            );
            let more = error(Code::TooManyProblems, message)
                .hint("Mend those above first; the others are shown then.");
            problems.push(more.at(self.file.start()));
        }
    }

    /// Whether problems are still taken; work that only finds more can stop when not.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.borrow().len() > limits::MOST_PROBLEMS
    }

    /// How many errors were reported so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors.get()
    }

    fn place(&self, span: Span) -> Place {
        self.file.place(self.text, span)
    }

    /// All problems, in the order of their places.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        let more = problems.split_off(problems.len().min(limits::MOST_PROBLEMS));
        problems.sort_by_key(|problem| problem.place.as_ref().map(|at| (at.line, at.column)));
        problems.extend(more);
        problems
    }
}

/// How a node is reached from the one around it.
#[derive(Clone, Copy)]
enum Step<'i> {
    Root,
    Key(&'i Node<'i>),
    Index(usize),
}

/// A node to be decoded, and the way to it.
#[derive(Clone, Copy)]
pub(crate) struct Input<'i> {
    pub(crate) context: &'i Context<'i>,
    pub(crate) node: &'i Node<'i>,
    parent: Option<&'i Self>,
    step: Step<'i>,
}

/// A scalar as YAML 1.2's core schema reads it.
pub(crate) enum Scalar<'i> {
    Null,
    Bool(bool),
    Number(&'i str),
    Text(&'i str),
}

impl<'i> Input<'i> {
    pub(crate) fn root(context: &'i Context<'i>, node: &'i Node<'i>) -> Self {
        Self {
            context,
            node,
            parent: None,
            step: Step::Root,
        }
    }

    pub(crate) fn at_key<'s>(&'s self, key: &'s Node<'s>, node: &'s Node<'s>) -> Input<'s> {
        Input {
            context: self.context,
            node,
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    pub(crate) fn at_index<'s>(&'s self, index: usize, node: &'s Node<'s>) -> Input<'s> {
        Input {
            context: self.context,
            node,
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    /// The path of the node: `spec.accessControl.databases[0].name`; of the root nothing.
    pub(crate) fn path(&self) -> String {
        let before = self.parent.map(Input::path).unwrap_or_default();
        match self.step {
            Step::Root => before,
            Step::Index(index) => format!("{before}[{index}]"),
            Step::Key(key) => {
                let key = key.text().unwrap_or("?");
                // A path is shown within backticks; names long or odd are cut there.
                let key = quote(key);
                let key = key.trim_matches('`');
                if before.is_empty() {
                    key.to_owned()
                } else {
                    format!("{before}.{key}")
                }
            }
        }
    }

    /// Where what names the value is: its key, or where it begins.
    pub(crate) fn name_span(&self) -> Span {
        match self.step {
            Step::Key(key) => key.span,
            Step::Root | Step::Index(_) => first_line(self.node),
        }
    }

    /// Reports a problem with the value.
    pub(crate) fn report(&self, problem: Problem) {
        let at = if self.node.is_block() {
            self.name_span()
        } else {
            self.node.span
        };
        self.context.report(problem, at);
    }

    /// Reports a problem with what names the value.
    pub(crate) fn report_name(&self, problem: Problem) {
        self.context.report(problem, self.name_span());
    }

    /// Reports that the value is of the wrong type. `expected` has its article: "a list".
    pub(crate) fn wrong_type(&self, expected: &str, hint: impl Into<String>) {
        if self.refused() {
            return;
        }
        let message = format!("`{}` is {}, not {expected}", self.path(), self.found());
        self.report(error(Code::WrongType, message).hint(hint));
    }

    /// Whether the node is something that manifests do without; then that is reported.
    pub(crate) fn refused(&self) -> bool {
        let Value::Refused(refusal) = self.node.value() else {
            return false;
        };
        self.report(match refusal {
            Refusal::Tag(tag) => error(
                Code::UnsupportedYaml,
                format!("tag {} is not supported", quote(tag)),
            )
            .hint("Remove the tag."),
            Refusal::UnknownAnchor(name) => {
                let message = format!("there is no anchor {}", quote(&format!("&{name}")));
                error(Code::AliasRefused, message).hint(
                    "Put quotes around a text that begins with `*`, or define the anchor above.",
                )
            }
            Refusal::AliasOfItself => {
                error(Code::AliasRefused, "an alias stands in its own anchor")
                    .hint("Write the value out.")
            }
            Refusal::AliasTooLarge => {
                let message = format!(
                    "aliases add more than {} values, or nest too deeply",
                    limits::MOST_ALIASED
                );
                error(Code::AliasRefused, message).hint("Write the values out.")
            }
        });
        true
    }

    /// What the node is, in words.
    pub(crate) fn found(&self) -> String {
        match self.node.value() {
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
            Value::Scalar(..) => match self.scalar() {
                Some(Scalar::Bool(value)) => format!("`{value}`"),
                Some(Scalar::Number(text)) => format!("the number {}", quote(text)),
                Some(Scalar::Text(text)) => format!("the text {}", quote(text)),
                Some(Scalar::Null) | None => "empty".to_owned(),
            },
            Value::Shared(_) | Value::Refused(_) => "not a value".to_owned(),
        }
    }

    /// The node as a scalar; none if it is none.
    pub(crate) fn scalar(&self) -> Option<Scalar<'i>> {
        let Value::Scalar(text, reading) = self.node.value() else {
            return None;
        };
        let text: &str = text;
        Some(match (reading, text) {
            (Reading::Plain, _) if self.node.is_null() => Scalar::Null,
            (Reading::Plain, "true" | "True" | "TRUE") => Scalar::Bool(true),
            (Reading::Plain, "false" | "False" | "FALSE") => Scalar::Bool(false),
            (Reading::Plain, text) if scalars::is_number(text) => Scalar::Number(text),
            (Reading::Plain | Reading::Text, text) => Scalar::Text(text),
        })
    }
}

/// A list, all of its items; none if any is wrong.
impl<T: Decode> Decode for Vec<T> {
    fn decode(input: Input<'_>) -> Option<Self> {
        let Value::Sequence(items) = input.node.value() else {
            input.wrong_type("a list", "Write one entry per line, each after `- `.");
            return None;
        };
        let decode = |(index, node)| T::decode(input.at_index(index, node));
        let decoded: Vec<Option<T>> = items.iter().enumerate().map(decode).collect();
        decoded.into_iter().collect()
    }
}
