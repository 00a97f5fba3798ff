//! Which stretch of a text is replaced for a change, and by what.

use super::written::{Quotes, Written};
use super::{Change, EditError, Step, shown};
use crate::syntax::{Node, Value};

/// A stretch of a text, and what stands there instead.
#[derive(Debug)]
pub(super) struct Stretch {
    start: usize,
    end: usize,
    new: String,
}

impl Stretch {
    pub(super) fn into_text(self, text: &str) -> String {
        let new = if text.contains("\r\n") {
            self.new.replace('\n', "\r\n")
        } else {
            self.new
        };
        [&text[..self.start], &new, &text[self.end..]].concat()
    }

    fn insert(at: usize, new: String) -> Self {
        Self {
            start: at,
            end: at,
            new,
        }
    }
}

/// A node, and the key that it is the value of.
#[derive(Clone, Copy)]
struct Found<'n, 't> {
    key: Option<&'n Node<'t>>,
    node: &'n Node<'t>,
    /// Whether it stands within brackets, where there are no blocks.
    in_line: bool,
}

struct Text<'s> {
    text: &'s str,
    change: &'s Change,
}

pub(super) fn of(text: &str, root: &Node<'_>, change: &Change) -> Result<Stretch, EditError> {
    let text = Text { text, change };
    let path = change.path();
    let mut found = Found {
        key: None,
        node: root,
        in_line: false,
    };
    for (depth, step) in path.iter().enumerate() {
        if matches!(found.node.value, Value::Shared(_)) {
            return Err(EditError::Shared(shown(&path[..depth])));
        }
        let in_line = found.in_line || text.is_flow(found.node);
        let Some(next) = below(found.node, step, in_line) else {
            return text.add(found, &path[depth..]);
        };
        if depth + 1 == path.len() && matches!(change, Change::Remove(_)) {
            return text.remove(found, next);
        }
        found = next;
    }
    if matches!(found.node.value, Value::Shared(_)) {
        return Err(EditError::Shared(shown(path)));
    }
    match change {
        _ if found.node.is_null() => text.add(found, &[]),
        Change::Set(_, value) => Ok(text.replace(found.node, value)),
        Change::Append(_, value) => text.append(found, value),
        Change::Remove(_) => Err(text.style()),
    }
}

fn below<'n, 't>(node: &'n Node<'t>, step: &Step, in_line: bool) -> Option<Found<'n, 't>> {
    match step {
        Step::Field(name) => {
            let mut entries = node.entries().iter();
            let (key, node) = entries.find(|(key, _)| key.text() == Some(name))?;
            Some(Found {
                key: Some(key),
                node,
                in_line,
            })
        }
        Step::Item(index) => Some(Found {
            key: None,
            node: node.items().get(*index)?,
            in_line,
        }),
    }
}

fn is_mapping(node: &Node<'_>) -> bool {
    matches!(node.value, Value::Mapping(_))
}

impl Text<'_> {
    fn style(&self) -> EditError {
        EditError::Style(shown(self.change.path()))
    }

    fn replace(&self, node: &Node<'_>, value: &Written) -> Stretch {
        let quotes = match self.text.as_bytes().get(node.span.start) {
            Some(b'\'') => Quotes::Single,
            Some(b'"') => Quotes::Double,
            Some(_) | None => Quotes::Needed,
        };
        Stretch {
            start: node.span.start,
            end: self.end(node),
            new: value.flow(quotes),
        }
    }

    /// Writes what is missing below `at`: the fields of `rest`, and the value in the last of them.
    fn add(&self, at: Found<'_, '_>, rest: &[Step]) -> Result<Stretch, EditError> {
        let mut value = match self.change {
            Change::Set(_, value) => value.clone(),
            Change::Append(_, value) => Written::List(vec![value.clone()]),
            Change::Remove(path) => return Err(EditError::Missing(shown(path))),
        };
        let mut names = Vec::new();
        for step in rest {
            match step {
                Step::Field(name) => names.push(name),
                Step::Item(_) => return Err(EditError::Missing(shown(self.change.path()))),
            }
        }
        if at.node.is_null() || self.is_empty(at) {
            for name in names.into_iter().rev() {
                value = Written::Fields(vec![(name.clone(), value)]);
            }
            return self.fill(at, &value);
        }
        let mut names = names.into_iter();
        let first = names.next().ok_or_else(|| self.style())?;
        for name in names.rev() {
            value = Written::Fields(vec![(name.clone(), value)]);
        }
        let entries = at.node.entries();
        if self.is_flow(at.node) {
            let last = entries.last().map(|(key, value)| (key, value));
            return Ok(self.add_in_line(at.node, last, |quotes| {
                let field = Written::Fields(vec![(first.clone(), value.clone())]).flow(quotes);
                field[2..field.len() - 2].to_owned()
            }));
        }
        let (key, last) = entries.last().ok_or_else(|| self.style())?;
        let indent = self.indent(key).ok_or_else(|| self.style())?;
        Ok(self.after(
            self.end(last).max(key.span.end),
            &value.field(first, indent),
        ))
    }

    /// Gives a field a value that has none: `name:`, `name: ~`.
    fn fill(&self, at: Found<'_, '_>, value: &Written) -> Result<Stretch, EditError> {
        let key = at.key.ok_or_else(|| self.style())?;
        let colon = self.colon(key).ok_or_else(|| self.style())?;
        let is_written = at.node.span.end > at.node.span.start;
        let end = if is_written { self.end(at.node) } else { colon };
        let is_simple = match value {
            Written::Flag(_) | Written::Number(_) | Written::Text(_) => true,
            Written::List(items) => items.is_empty(),
            Written::Fields(fields) => fields.is_empty(),
        };
        let indent = self.indent(key).filter(|_| !at.in_line && !is_simple);
        let Some(indent) = indent else {
            return Ok(Stretch {
                start: colon,
                end,
                new: format!(" {}", value.flow(self.quotes(key))),
            });
        };
        let lines = value.field("", indent);
        let lines = lines.split_once('\n').map_or("", |(_, rest)| rest);
        // A comment behind what was there stays behind the name.
        let line_end = self.line_end(end);
        let rest = self.text[end..line_end].trim_end_matches(['\n', '\r']);
        Ok(Stretch {
            start: colon,
            end: line_end,
            new: format!("{rest}\n{lines}"),
        })
    }

    /// Whether something is `{}` or `[]`, and stands where lines of its own can take its place.
    fn is_empty(&self, found: Found<'_, '_>) -> bool {
        let is_empty = found.node.entries().is_empty() && found.node.items().is_empty();
        is_empty && self.is_flow(found.node) && !found.in_line && found.key.is_some()
    }

    fn append(&self, to: Found<'_, '_>, value: &Written) -> Result<Stretch, EditError> {
        if self.is_empty(to) {
            return self.fill(to, &Written::List(vec![value.clone()]));
        }
        let items = to.node.items();
        if self.is_flow(to.node) {
            let last = items.last().map(|item| (item, item));
            return Ok(self.add_in_line(to.node, last, |quotes| value.flow(quotes)));
        }
        let last = items.last().ok_or_else(|| self.style())?;
        let dash = self.dash(last).ok_or_else(|| self.style())?;
        let indent = self.blanks_before(dash).ok_or_else(|| self.style())?;
        Ok(self.after(self.end(last).max(dash + 1), &value.item(indent)))
    }

    /// Adds to a list or mapping in brackets, behind its last entry; on a line of its own where that
    /// has one.
    fn add_in_line(
        &self,
        node: &Node<'_>,
        last: Option<(&Node<'_>, &Node<'_>)>,
        write: impl Fn(Quotes) -> String,
    ) -> Stretch {
        let Some((begin, value)) = last else {
            let new = write(Quotes::Double);
            let new = if is_mapping(node) {
                format!("{{ {new} }}")
            } else {
                format!("[{new}]")
            };
            return Stretch {
                start: node.span.start,
                end: self.end(node),
                new,
            };
        };
        let new = write(self.quotes(begin));
        let separator = match self.blanks_before(begin.span.start) {
            Some(blanks) => format!(",\n{}", " ".repeat(blanks)),
            None => ", ".to_owned(),
        };
        Stretch::insert(self.end(value), separator + &new)
    }

    fn remove(&self, parent: Found<'_, '_>, gone: Found<'_, '_>) -> Result<Stretch, EditError> {
        let mapping = is_mapping(parent.node);
        let ends: Vec<(usize, usize)> = if mapping {
            let entries = parent.node.entries().iter();
            let end = |key: &Node<'_>, value| self.end(value).max(key.span.end);
            entries
                .map(|(key, value)| (key.span.start, end(key, value)))
                .collect()
        } else {
            let items = parent.node.items().iter();
            items
                .map(|item| (item.span.start, self.end(item)))
                .collect()
        };
        let start = gone.key.unwrap_or(gone.node).span.start;
        let index = ends.iter().position(|(begin, _)| *begin == start);
        let index = index.ok_or_else(|| self.style())?;
        if ends.len() == 1 {
            return self.empty(parent);
        }
        let (begin, end) = ends[index];
        if self.is_flow(parent.node) {
            let (start, end) = match ends.get(index + 1) {
                Some((next, _)) => (begin, *next),
                None => (ends[index - 1].1, end),
            };
            return Ok(Stretch {
                start,
                end,
                new: String::new(),
            });
        }
        let begin = if mapping {
            begin
        } else {
            self.dash(gone.node).ok_or_else(|| self.style())?
        };
        let indent = self.blanks_before(begin).ok_or_else(|| self.style())?;
        let mut start = begin - indent;
        // What is said above the first is often said of all of them.
        if index > 0 {
            start = self.comment_above(start, indent);
        }
        Ok(Stretch {
            start,
            end: self.line_end(end),
            new: String::new(),
        })
    }

    /// Takes the only entry out of a list or mapping.
    fn empty(&self, parent: Found<'_, '_>) -> Result<Stretch, EditError> {
        let key = parent.key.ok_or_else(|| self.style())?;
        let brackets = if is_mapping(parent.node) { "{}" } else { "[]" };
        Ok(Stretch {
            start: self.colon(key).ok_or_else(|| self.style())?,
            end: self.end(parent.node),
            new: format!(" {brackets}"),
        })
    }

    /// Whole lines behind the line that a byte is in.
    fn after(&self, byte: usize, lines: &str) -> Stretch {
        let end = self.line_end(byte);
        let is_open = end > 0 && !self.text[..end].ends_with('\n');
        let begin = if is_open { "\n" } else { "" };
        Stretch::insert(end, format!("{begin}{lines}"))
    }

    /// Behind the line that a byte is in, its end included; a byte at the start of a line counts as
    /// the end of the line before.
    fn line_end(&self, byte: usize) -> usize {
        if self.text[..byte].ends_with('\n') {
            return byte;
        }
        let rest = &self.text[byte..];
        rest.find('\n').map_or(self.text.len(), |at| byte + at + 1)
    }

    /// Where a value ends: a block ends with its last value, not where the next token begins.
    fn end(&self, node: &Node<'_>) -> usize {
        if self.is_flow(node) {
            return node.span.end;
        }
        match &node.value {
            Value::Mapping(entries) => entries.last().map_or(node.span.end, |(key, value)| {
                self.end(value).max(self.colon(key).unwrap_or(key.span.end))
            }),
            Value::Sequence(items) => items.last().map_or(node.span.end, |item| {
                let dash = self.dash(item).map_or(0, |dash| dash + 1);
                self.end(item).max(dash)
            }),
            Value::Scalar(..) | Value::Shared(_) | Value::Refused(_) => {
                let written = &self.text[node.span.start..node.span.end];
                node.span.start + written.trim_end().len()
            }
        }
    }

    fn is_flow(&self, node: &Node<'_>) -> bool {
        let is_block = matches!(node.value, Value::Mapping(_) | Value::Sequence(_));
        is_block && matches!(self.text.as_bytes().get(node.span.start), Some(b'{' | b'['))
    }

    /// The quotes of what stands beside.
    fn quotes(&self, beside: &Node<'_>) -> Quotes {
        match self.text.as_bytes().get(beside.span.start) {
            Some(b'"') => Quotes::Double,
            Some(_) | None => Quotes::Needed,
        }
    }

    /// Behind the colon of a key.
    fn colon(&self, key: &Node<'_>) -> Option<usize> {
        let rest = &self.text[key.span.end..];
        let blanks = rest.len() - rest.trim_start_matches(' ').len();
        let at = key.span.end + blanks;
        self.text[at..].starts_with(':').then_some(at + 1)
    }

    /// The dash of an item.
    fn dash(&self, item: &Node<'_>) -> Option<usize> {
        let before = self.text[..item.span.start].trim_end_matches([' ', '\n', '\r']);
        before.ends_with('-').then(|| before.len() - 1)
    }

    /// Blanks that a key of a block is indented by; the first of an item stands behind its dash.
    fn indent(&self, key: &Node<'_>) -> Option<usize> {
        let start = key.span.start;
        let line = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let before = &self.text[line..start];
        let is_blank = before.chars().all(|one| one == ' ' || one == '-');
        is_blank.then_some(before.len())
    }

    /// Blanks from the start of a line to a byte; none: something else stands there too.
    fn blanks_before(&self, byte: usize) -> Option<usize> {
        let line = self.text[..byte].rfind('\n').map_or(0, |at| at + 1);
        let before = &self.text[line..byte];
        before
            .bytes()
            .all(|one| one == b' ')
            .then_some(before.len())
    }

    /// Where the comment begins that stands right above a line and is indented as it.
    fn comment_above(&self, line: usize, indent: usize) -> usize {
        let mut start = line;
        loop {
            let before = &self.text[..start];
            let Some(above) = before.strip_suffix('\n') else {
                return start;
            };
            let begin = above.rfind('\n').map_or(0, |at| at + 1);
            let text = &above[begin..];
            let is_comment = text.trim_start_matches(' ').starts_with('#')
                && text.len() - text.trim_start_matches(' ').len() == indent;
            if !is_comment {
                return start;
            }
            start = begin;
        }
    }
}
