//! YAML (and JSON, which is YAML) as trees of nodes that know where they are written.
//!
//! Nothing is refused here that a document of another tool might use: a tag, an alias that is too
//! large or leads nowhere becomes a node that says so, and only whoever decodes it complains.

mod build;

use std::borrow::Cow;
use std::rc::Rc;

use granit_parser::{Parser, StrInput};

use crate::limits;

pub(crate) use build::{Document, SyntaxError};

/// A stretch of a text: bytes from `start` to `end`, beginning at a line and column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Counted from 1.
    pub(crate) line: u32,
    /// In characters, counted from 1.
    pub(crate) column: u32,
}

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(crate) struct Node<'t> {
    pub(crate) value: Value<'t>,
    pub(crate) span: Span,
}

/// A value of a document.
#[derive(Clone, Debug)]
pub(crate) enum Value<'t> {
    /// A scalar, as its text and whether YAML may read more into it than text.
    Scalar(Cow<'t, str>, Reading),
    /// A list.
    Sequence(Vec<Node<'t>>),
    /// A mapping, in the order in which it is written, with keys that may repeat.
    Mapping(Vec<(Node<'t>, Node<'t>)>),
    /// A value with an anchor, or an alias of one.
    Shared(Rc<Shared<'t>>),
    /// Something that manifests do without.
    Refused(Refusal<'t>),
}

/// A value that can stand in several places, and how much it is written out.
#[derive(Debug)]
pub(crate) struct Shared<'t> {
    value: Value<'t>,
    /// Number of values in it, itself and what its own aliases stand for included.
    size: usize,
    /// Levels of lists and mappings in it.
    height: usize,
}

/// How a scalar is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Written plainly: `null`, `true` and `15` are not texts.
    Plain,
    /// Written in quotes or as a block, or tagged as text.
    Text,
}

/// Why a node has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal<'t> {
    /// It has a tag.
    Tag(String),
    /// It is an alias of an anchor that is not there.
    UnknownAnchor(Cow<'t, str>),
    /// It is an alias of a node that it is itself a part of, or that is not complete.
    AliasOfItself,
    /// It is an alias that would make the document too large or too deep.
    AliasTooLarge,
}

impl<'t> Node<'t> {
    /// The value itself, wherever it is written.
    pub(crate) fn value(&self) -> &Value<'t> {
        let mut value = &self.value;
        while let Value::Shared(shared) = value {
            value = &shared.value;
        }
        value
    }

    /// The text of a scalar, whatever it is to be read as.
    pub(crate) fn text(&self) -> Option<&str> {
        match self.value() {
            Value::Scalar(text, _) => Some(text),
            Value::Sequence(_) | Value::Mapping(_) | Value::Shared(_) | Value::Refused(_) => None,
        }
    }

    /// The entries of a mapping; of anything else none.
    pub(crate) fn entries(&self) -> &[(Self, Self)] {
        match self.value() {
            Value::Mapping(entries) => entries,
            Value::Scalar(..) | Value::Sequence(_) | Value::Shared(_) | Value::Refused(_) => &[],
        }
    }

    /// The items of a list; of anything else none.
    pub(crate) fn items(&self) -> &[Self] {
        match self.value() {
            Value::Sequence(items) => items,
            Value::Scalar(..) | Value::Mapping(_) | Value::Shared(_) | Value::Refused(_) => &[],
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let is_key = |entry: &&(Self, Self)| entry.0.text() == Some(key);
        self.entries().iter().find(is_key).map(|(_, value)| value)
    }

    /// Whether it is more than one word: a list or a mapping.
    pub(crate) fn is_block(&self) -> bool {
        matches!(self.value(), Value::Sequence(_) | Value::Mapping(_))
    }

    /// Whether it says nothing: an empty value, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value(), Value::Scalar(text, Reading::Plain)
            if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// The documents of a text, one after the other. A document that cannot be read does not hide
/// those after it.
pub(crate) fn documents(text: &str) -> impl Iterator<Item = Document<'_>> {
    let options = granit_parser::options! {
        emit_unresolved_aliases: true,
        flow_nesting_limit: limits::DEEPEST,
        block_nesting_limit: limits::DEEPEST,
    };
    let parser: Parser<'_, StrInput<'_>> = Parser::new_from_str_with_options(text, options);
    build::Documents::new(parser)
}
