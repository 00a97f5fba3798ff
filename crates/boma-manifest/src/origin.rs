//! Files, and places in them.

use std::fmt;
use std::sync::Arc;

use boma_problem::Place;

use crate::syntax::{self, Node, Span};

/// Longest line that a place repeats. Longer ones do not help a person, and a file of one line
/// with many mistakes would be repeated once for each.
const LONGEST_LINE: usize = 1000;

/// A file of a source: its name there and what it holds.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path, relative to the source.
    pub name: Arc<str>,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
}

impl SourceFile {
    /// A file by its name and bytes.
    pub fn new(name: impl Into<Arc<str>>, bytes: impl Into<Arc<[u8]>>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            bytes: bytes.into(),
        })
    }

    /// Whether it is JSON; everything else is YAML.
    pub(crate) fn is_json(&self) -> bool {
        let extension = self.name.rsplit('.').next().unwrap_or_default();
        extension.eq_ignore_ascii_case("json")
    }

    /// The place of a span of the file's text.
    pub(crate) fn place(&self, text: &str, span: Span) -> Place {
        let line = line_at(text, span.start);
        let end = span.end.min(line.end).max(span.start);
        let marked = text.get(span.start..end).unwrap_or_default().trim_end();
        Place {
            file: self.name.to_string(),
            line: span.line,
            column: span.column,
            length: u32::try_from(marked.chars().count()).unwrap_or(1).max(1),
            text: text
                .get(line)
                .filter(|line| line.len() <= LONGEST_LINE)
                .unwrap_or("")
                .to_owned(),
        }
    }

    /// The file as a whole, for problems that no line of it can show.
    pub(crate) fn start(&self) -> Place {
        Place {
            file: self.name.to_string(),
            line: 1,
            column: 1,
            length: 1,
            text: String::new(),
        }
    }
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.bytes.len())
    }
}

/// The line that holds a byte, without its end.
fn line_at(text: &str, byte: usize) -> std::ops::Range<usize> {
    let bytes = text.as_bytes();
    let byte = byte.min(bytes.len());
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let start = bytes[..byte]
        .iter()
        .rposition(is_break)
        .map_or(0, |index| index + 1);
    let end = bytes[byte..]
        .iter()
        .position(is_break)
        .map_or(bytes.len(), |index| byte + index);
    start..end
}

/// Where a manifest is written: its file, and which document of it. Cheap to clone.
#[derive(Clone)]
pub struct Origin {
    file: Arc<SourceFile>,
    document: usize,
}

impl Origin {
    pub(crate) fn new(file: &Arc<SourceFile>, document: usize) -> Self {
        Self {
            file: Arc::clone(file),
            document,
        }
    }

    /// The file.
    pub fn file(&self) -> &SourceFile {
        &self.file
    }

    /// Which of the file's documents, counted from 0.
    pub fn document(&self) -> usize {
        self.document
    }

    /// The place of a field, such as `spec.parameters.work_mem` or
    /// `spec.accessControl.databases[0].name`; where the field is not written, the nearest that
    /// is written around it.
    ///
    /// Nothing is kept for this: the file is read again. It is for problems, not for loops.
    pub fn place(&self, path: &str) -> Place {
        let Ok(text) = str::from_utf8(&self.file.bytes) else {
            return self.file.start();
        };
        let Some(Ok(root)) = syntax::documents(text).nth(self.document) else {
            return self.file.start();
        };
        let span = find(&root, path).unwrap_or_else(|| first_line(&root));
        self.file.place(text, span)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.file.name, self.document)
    }
}

/// Where a document begins: its first key.
pub(crate) fn first_line(root: &Node<'_>) -> Span {
    root.entries()
        .first()
        .map_or(root.span, |(key, _)| key.span)
}

/// The span of a path below a node: of the value where it is one word, else of its key.
fn find(node: &Node<'_>, path: &str) -> Option<Span> {
    let path = path.strip_prefix('.').unwrap_or(path);
    if path.is_empty() {
        return None;
    }
    if let Some((index, rest)) = leading_index(path) {
        let item = node.items().get(index)?;
        return find(item, rest).or(Some(first_line(item)));
    }
    // Keys may hold dots themselves, as labels do: the longest key that fits is meant.
    let (key, value, rest) = node
        .entries()
        .iter()
        .filter_map(|(key, value)| Some((key, value, rest_after(path, key.text()?)?)))
        .min_by_key(|(_, _, rest)| rest.len())?;
    let own = if value.is_block() {
        key.span
    } else {
        value.span
    };
    find(value, rest).or(Some(own))
}

/// `[3].name` as 3 and `.name`.
fn leading_index(path: &str) -> Option<(usize, &str)> {
    let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
    Some((index.parse().ok()?, rest))
}

/// What is left of a path after a key, if it begins with that key. Upper and lower case are the
/// same, as names of PostgreSQL's settings may be written in either.
fn rest_after<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    let (begin, rest) = path.split_at_checked(key.len())?;
    if !begin.eq_ignore_ascii_case(key) {
        return None;
    }
    (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
}
