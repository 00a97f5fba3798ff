//! Trees from the events of the YAML parser.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};

use crate::limits;
use crate::syntax::{Node, Reading, Refusal, Shared, Span, Value};

/// One document of a text: its root, or why it cannot be read.
pub(crate) type Document<'t> = Result<Node<'t>, SyntaxError>;

/// Why a document cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: &'static str,
    pub(crate) span: Span,
}

/// An iterator over the documents of a text.
pub(crate) struct Documents<'t> {
    parser: Parser<'t, StrInput<'t>>,
    ended: bool,
}

impl<'t> Documents<'t> {
    pub(crate) fn new(parser: Parser<'t, StrInput<'t>>) -> Self {
        Self {
            parser,
            ended: false,
        }
    }

    /// Goes to the next document; false at the end of the text.
    fn find_document(&mut self) -> Result<bool, ScanError> {
        for event in self.parser.by_ref() {
            let (event, _) = event?;
            if matches!(event, Event::DocumentStart(..) | Event::StreamEnd) {
                return Ok(matches!(event, Event::DocumentStart(..)));
            }
        }
        Ok(false)
    }

    fn read(&mut self) -> Result<Option<Node<'t>>, ScanError> {
        if !self.find_document()? {
            return Ok(None);
        }
        let mut builder = Builder::default();
        for event in self.parser.by_ref() {
            let (event, span) = event?;
            if matches!(event, Event::DocumentEnd) {
                break;
            }
            builder.add(event, span);
        }
        Ok(Some(builder.root))
    }

    /// Gives up the document at hand and looks for the start of another.
    fn skip(&mut self, error: &ScanError) -> SyntaxError {
        self.ended = !matches!(self.parser.proceed_next_document(), Ok(true));
        SyntaxError {
            message: error.info(),
            hint: hint(error.kind()),
            span: point(*error.marker()),
        }
    }
}

impl<'t> Iterator for Documents<'t> {
    type Item = Document<'t>;

    fn next(&mut self) -> Option<Document<'t>> {
        if self.ended {
            return None;
        }
        match self.read().transpose() {
            None => {
                self.ended = true;
                None
            }
            Some(document) => Some(document.map_err(|error| self.skip(&error))),
        }
    }
}

/// What most often is behind an error of the parser.
fn hint(kind: &ErrorKind) -> &'static str {
    if *kind == ErrorKind::RecursionLimitExceeded {
        return "Nest less deeply: a manifest needs eight levels.";
    }
    let is_tab = [
        ErrorKind::TabNotAllowed,
        ErrorKind::TabInBlockIndentation,
        ErrorKind::TabInIndentation,
        ErrorKind::TabInPlainScalar,
        ErrorKind::TabAtBlockScalarStart,
    ]
    .contains(kind);
    if is_tab {
        "Indent with blanks instead of tabs."
    } else {
        "Mind indentation, and put quotes around texts with `: `, ` #`, `{` or `[`."
    }
}

fn offset(marker: Marker) -> usize {
    marker.byte_offset().unwrap_or_default()
}

fn point(marker: Marker) -> Span {
    let start = offset(marker);
    Span {
        start,
        end: start,
        line: u32::try_from(marker.line()).unwrap_or(u32::MAX),
        column: u32::try_from(marker.col() + 1).unwrap_or(u32::MAX),
    }
}

fn stretch(span: granit_parser::Span) -> Span {
    Span {
        end: offset(span.end),
        ..point(span.start)
    }
}

/// A list or mapping that is not complete yet.
struct Open<'t> {
    content: Content<'t>,
    span: Span,
    anchor: usize,
    /// A tag that manifests do without; the content is read and forgotten.
    tag: Option<String>,
}

enum Content<'t> {
    Sequence(Vec<Node<'t>>),
    Mapping(Vec<(Node<'t>, Node<'t>)>, Option<Node<'t>>),
}

/// A tree that grows with each event.
struct Builder<'t> {
    root: Node<'t>,
    open: Vec<Open<'t>>,
    anchors: HashMap<usize, Rc<Shared<'t>>>,
    /// How many values aliases have added.
    aliased: usize,
}

impl Default for Builder<'_> {
    fn default() -> Self {
        let nothing = Value::Scalar("".into(), Reading::Plain);
        Self {
            root: Node {
                value: nothing,
                span: Span::default(),
            },
            open: Vec::new(),
            anchors: HashMap::new(),
            aliased: 0,
        }
    }
}

impl<'t> Builder<'t> {
    fn add(&mut self, event: Event<'t>, at: granit_parser::Span) {
        let span = stretch(at);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let refused = refused_tag(tag.as_deref());
                let span = at
                    .tag_span()
                    .filter(|_| refused.is_some())
                    .map_or(span, stretch);
                let value = match (refused, tag, style) {
                    (Some(tag), ..) => Value::Refused(Refusal::Tag(tag)),
                    (None, None, ScalarStyle::Plain) => Value::Scalar(text, Reading::Plain),
                    (None, ..) => Value::Scalar(text, Reading::Text),
                };
                self.complete(value, span, anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                let content = Content::Sequence(Vec::new());
                self.open.push(Open {
                    content,
                    span,
                    anchor,
                    tag: refused_tag(tag.as_deref()),
                });
            }
            Event::MappingStart(_, anchor, tag) => {
                let content = Content::Mapping(Vec::new(), None);
                self.open.push(Open {
                    content,
                    span,
                    anchor,
                    tag: refused_tag(tag.as_deref()),
                });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(anchor) => {
                let value = self.alias(anchor);
                self.place(Node { value, span });
            }
            Event::UnresolvedAlias(name) => {
                let value = Value::Refused(Refusal::UnknownAnchor(name));
                self.place(Node { value, span });
            }
            // The rest is about the stream, or not asked for.
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..)
            | _ => {}
        }
    }

    /// Completes the innermost list or mapping.
    fn close(&mut self, at: Span) {
        let Some(open) = self.open.pop() else { return };
        let value = match (open.tag, open.content) {
            (Some(tag), _) => Value::Refused(Refusal::Tag(tag)),
            (None, Content::Sequence(items)) => Value::Sequence(items),
            (None, Content::Mapping(entries, _)) => Value::Mapping(entries),
        };
        let span = Span {
            end: at.end.max(open.span.end),
            ..open.span
        };
        self.complete(value, span, open.anchor);
    }

    fn complete(&mut self, value: Value<'t>, span: Span, anchor: usize) {
        if anchor == 0 {
            return self.place(Node { value, span });
        }
        let (size, height) = measure(&value);
        let shared = Rc::new(Shared {
            value,
            size,
            height,
        });
        self.anchors.insert(anchor, Rc::clone(&shared));
        self.place(Node {
            value: Value::Shared(shared),
            span,
        });
    }

    /// Puts a complete node where it belongs.
    fn place(&mut self, node: Node<'t>) {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = node,
            Some(Content::Sequence(items)) => items.push(node),
            Some(Content::Mapping(entries, key)) => match key.take() {
                None => *key = Some(node),
                Some(key) => entries.push((key, node)),
            },
        }
    }

    /// The value of an alias, shared with its anchor. What it would be written out is counted, so
    /// that whoever walks the tree has no more to do than for a document without aliases.
    fn alias(&mut self, anchor: usize) -> Value<'t> {
        let Some(shared) = self.anchors.get(&anchor) else {
            return Value::Refused(Refusal::AliasOfItself);
        };
        let aliased = self.aliased.saturating_add(shared.size);
        let depth = self.open.len().saturating_add(shared.height);
        if aliased > limits::MOST_ALIASED || depth > 2 * limits::DEEPEST {
            return Value::Refused(Refusal::AliasTooLarge);
        }
        self.aliased = aliased;
        Value::Shared(Rc::clone(shared))
    }
}

/// The tag, if manifests do without it. `!!str` and `!` only say that a scalar is text, and
/// `!!map` and `!!seq` what is plain to see.
fn refused_tag(tag: Option<&Tag>) -> Option<String> {
    let known = |tag: &&Tag| {
        ["str", "map", "seq"]
            .iter()
            .any(|name| tag.is_yaml_core_schema_tag(name))
            || tag.original() == "!"
    };
    tag.filter(|tag| !known(tag)).map(Tag::original)
}

/// Number of values in a value, itself included, and levels of lists and mappings in it.
fn measure(value: &Value<'_>) -> (usize, usize) {
    let below = |nodes: &mut dyn Iterator<Item = &Node<'_>>| {
        nodes
            .map(|node| measure(&node.value))
            .fold((1, 1), |(size, height), (below, levels)| {
                (below.saturating_add(size), height.max(levels + 1))
            })
    };
    match value {
        Value::Scalar(..) | Value::Refused(_) => (1, 0),
        Value::Sequence(items) => below(&mut items.iter()),
        Value::Mapping(entries) => below(&mut entries.iter().flat_map(|(key, value)| [key, value])),
        Value::Shared(shared) => (shared.size, shared.height),
    }
}
