//! Changes in the text of a manifest that leave everything else as it was written: comments, order,
//! style.
//!
//! ```text
//!   text + change ─► tree with places ─► one stretch of the text is replaced ─► read again
//!                                                                                  │
//!              the tree that was wanted, and every other document as it was? ◄─────┘
//!                       yes: the new text                no: refused
//! ```
//!
//! What comes out was read back and compared, so that a style that nobody thought of here costs a
//! refusal, and never a manifest that says something else.

mod access;
mod expected;
mod removal;
mod stretch;
mod written;

use std::fmt;

use boma_problem::{Class, IntoProblem, Problem};

use crate::syntax;
pub use access::Attachment;
pub use removal::without;
pub use written::Written;

/// One step of a path into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The field of a mapping.
    Field(String),
    /// An item of a list, counted from 0.
    Item(usize),
}

impl Step {
    /// The path of a field: `["spec", "memory"]`.
    pub fn fields<const N: usize>(names: [&str; N]) -> Vec<Self> {
        names.map(|name| Self::Field(name.to_owned())).into()
    }

    /// The name of the field; none: it is an item.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Field(name) => Some(name),
            Self::Item(_) => None,
        }
    }
}

/// A change of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A field gets a value; whatever is missing on the way to it is made.
    Set(Vec<Step>, Written),
    /// A list gets one more item at its end; a list that is missing is made.
    Append(Vec<Step>, Written),
    /// A field or an item goes, with the comment right above it.
    Remove(Vec<Step>),
}

impl fmt::Display for Change {
    /// The path that it is about.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.path()))
    }
}

impl Change {
    fn path(&self) -> &[Step] {
        match self {
            Self::Set(path, _) | Self::Append(path, _) | Self::Remove(path) => path,
        }
    }
}

/// Why a text cannot be changed by a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It has no such document, or one that cannot be read.
    #[error("there is no document {0} that can be read")]
    NoDocument(usize),
    /// There is nothing at the path.
    #[error("there is no `{0}`")]
    Missing(String),
    /// Something else stands there than the change is for.
    #[error("`{path}` is {found}")]
    Other {
        /// Where.
        path: String,
        /// What stands there.
        found: &'static str,
    },
    /// It is shared by an anchor, so that a change would be one of other places too.
    #[error("`{0}` is an alias, or has an anchor")]
    Shared(String),
    /// It is written in a way that is not changed without changing more.
    #[error("`{0}` is written in a way that only a person can change")]
    Style(String),
}

impl IntoProblem for EditError {
    fn problem(&self) -> Problem {
        let problem = Problem::from_error(Class::User, "not-editable", self);
        match self {
            Self::Missing(_) => problem.hint("`boma describe` shows what it says now."),
            Self::NoDocument(_) | Self::Other { .. } | Self::Shared(_) | Self::Style(_) => {
                problem.hint("Change the file in an editor.")
            }
        }
    }
}

/// Changes one document of a text, counted from 0.
///
/// # Errors
/// When it cannot be done without changing anything else.
pub fn edit(text: &str, document: usize, change: &Change) -> Result<String, EditError> {
    let before = trees(text);
    let Some(Ok(root)) = before.get(document) else {
        return Err(EditError::NoDocument(document));
    };
    let style = || EditError::Style(shown(change.path()));
    let wanted = expected::changed(root, change)?;
    let after = stretch::of(text, root, change)?.into_text(text);
    let read = trees(&after);
    if read.len() != before.len() {
        return Err(style());
    }
    for (index, (old, new)) in before.iter().zip(&read).enumerate() {
        let is_right = match new {
            Ok(new) if index == document => wanted.is(new),
            Ok(_) | Err(_) => is_same(old, new),
        };
        if !is_right {
            return Err(style());
        }
    }
    Ok(after)
}

/// Whether a document says what it said.
fn is_same(old: &syntax::Document<'_>, new: &syntax::Document<'_>) -> bool {
    match (old, new) {
        (Ok(old), Ok(new)) => expected::Tree::of(old).is(new),
        (Err(_), Err(_)) => true,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}

fn trees(text: &str) -> Vec<syntax::Document<'_>> {
    syntax::documents(text).collect()
}

/// A path as people write it: `spec.accessControl.databases[0].readOnly`.
fn shown(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) if text.is_empty() => text.push_str(name),
            Step::Field(name) => text.extend([".", name]),
            Step::Item(index) => text.extend(["[", &index.to_string(), "]"]),
        }
    }
    text
}

#[cfg(test)]
mod tests;
