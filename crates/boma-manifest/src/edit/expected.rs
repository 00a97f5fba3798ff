//! What a document says after a change: what the text is held against.

use super::{Change, EditError, Step, Written, shown};
use crate::syntax::{Node, Reading, Value};

/// What a document says, wherever and however it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    Scalar(String, Reading),
    List(Vec<Self>),
    Fields(Vec<(Self, Self)>),
    /// Something that is refused wherever it stands; its text is nobody's to change.
    Refused(String),
}

impl Tree {
    pub(super) fn of(node: &Node<'_>) -> Self {
        match node.value() {
            Value::Scalar(text, Reading::Plain) if means_more(text) => {
                Self::Scalar(text.to_string(), Reading::Plain)
            }
            Value::Scalar(text, _) => Self::text(text),
            Value::Sequence(items) => Self::List(items.iter().map(Self::of).collect()),
            Value::Mapping(entries) => Self::Fields(
                entries
                    .iter()
                    .map(|(key, value)| (Self::of(key), Self::of(value)))
                    .collect(),
            ),
            Value::Refused(refusal) => Self::Refused(format!("{refusal:?}")),
            // `value()` looks behind what is shared.
            Value::Shared(_) => Self::Refused(String::new()),
        }
    }

    /// Whether a document says this.
    pub(super) fn is(&self, node: &Node<'_>) -> bool {
        *self == Self::of(node)
    }

    fn written(value: &Written) -> Self {
        match value {
            Written::Flag(flag) => Self::Scalar(flag.to_string(), Reading::Plain),
            Written::Number(number) => Self::Scalar(number.to_string(), Reading::Plain),
            Written::Text(text) => Self::text(text),
            Written::List(items) => Self::List(items.iter().map(Self::written).collect()),
            Written::Fields(fields) => Self::Fields(
                fields
                    .iter()
                    .map(|(name, value)| (Self::text(name), Self::written(value)))
                    .collect(),
            ),
        }
    }

    fn text(text: &str) -> Self {
        Self::Scalar(text.to_owned(), Reading::Text)
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(text, Reading::Plain)
            if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"))
    }

    fn is_one_value(&self) -> bool {
        matches!(self, Self::Scalar(..))
    }

    /// The value at a path; fields that are missing are made, without a value.
    fn slot(&mut self, path: &[Step], whole: &[Step]) -> Result<&mut Self, EditError> {
        let Some((step, rest)) = path.split_first() else {
            return Ok(self);
        };
        if self.is_null() {
            *self = Self::Fields(Vec::new());
        }
        let here = || shown(&whole[..whole.len() - path.len()]);
        let next = match (step, self) {
            (Step::Field(name), Self::Fields(entries)) => {
                let name = Self::text(name);
                let found = entries.iter().position(|(key, _)| *key == name);
                let index = found.unwrap_or(entries.len());
                if found.is_none() {
                    entries.push((name, Self::Scalar(String::new(), Reading::Plain)));
                }
                &mut entries[index].1
            }
            (Step::Item(index), Self::List(items)) => items
                .get_mut(*index)
                .ok_or_else(|| EditError::Missing(shown(whole)))?,
            (Step::Field(_) | Step::Item(_), other) => {
                return Err(EditError::Other {
                    path: here(),
                    found: other.kind(),
                });
            }
        };
        next.slot(rest, whole)
    }

    fn remove(&mut self, path: &[Step]) -> Result<(), EditError> {
        let missing = || EditError::Missing(shown(path));
        let (last, before) = path.split_last().ok_or_else(missing)?;
        match (last, self.slot(before, path)?) {
            (Step::Field(name), Self::Fields(entries)) => {
                let name = Self::text(name);
                let found = entries.iter().position(|(key, _)| *key == name);
                entries.remove(found.ok_or_else(missing)?);
            }
            (Step::Item(index), Self::List(items)) if *index < items.len() => {
                items.remove(*index);
            }
            (Step::Field(_) | Step::Item(_), _) => return Err(missing()),
        }
        Ok(())
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Scalar(..) => "one value",
            Self::List(_) => "a list",
            Self::Fields(_) => "a mapping",
            Self::Refused(_) => "something that manifests do without",
        }
    }
}

/// What a document says after a change.
pub(super) fn changed(root: &Node<'_>, change: &Change) -> Result<Tree, EditError> {
    let mut tree = Tree::of(root);
    let path = change.path();
    match change {
        Change::Set(_, value) => {
            let (slot, value) = (tree.slot(path, path)?, Tree::written(value));
            let is_fitting = slot.is_null() || slot.is_one_value() && value.is_one_value();
            if !is_fitting {
                return Err(EditError::Other {
                    path: shown(path),
                    found: slot.kind(),
                });
            }
            *slot = value;
        }
        Change::Append(_, value) => {
            let (slot, value) = (tree.slot(path, path)?, Tree::written(value));
            if slot.is_null() {
                *slot = Tree::List(vec![value]);
            } else if let Tree::List(items) = slot {
                items.push(value);
            } else {
                return Err(EditError::Other {
                    path: shown(path),
                    found: slot.kind(),
                });
            }
        }
        Change::Remove(_) => tree.remove(path)?,
    }
    Ok(tree)
}

/// Whether YAML reads more into a plain text than text: nothing, yes or no, a number.
fn means_more(text: &str) -> bool {
    let words = ["", "~", "null", "true", "false"];
    words.contains(&text.to_ascii_lowercase().as_str())
        || text.parse::<f64>().is_ok()
        || text.starts_with("0x")
        || text.starts_with("0o")
        || text.trim_start_matches(['+', '-']).starts_with('.')
}
