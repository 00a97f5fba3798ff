//! Values as they are written into a text.

/// A value to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text; quotes come with it where they are needed.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// A mapping, in the order in which it is written.
    Fields(Vec<(String, Self)>),
}

/// How values are written where they are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    /// Only where they are needed.
    Needed,
    /// `'`, as what was there before.
    Single,
    /// `"`, as JSON wants it.
    Double,
}

impl Written {
    /// A mapping.
    pub fn fields<const N: usize>(fields: [(&str, Self); N]) -> Self {
        Self::Fields(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// A value that a person has typed: what YAML reads as a number, `true` or `false` is that.
    pub fn typed(text: &str) -> Self {
        match text {
            "true" => Self::Flag(true),
            "false" => Self::Flag(false),
            _ => text
                .parse()
                .ok()
                .filter(|number: &i64| number.to_string() == text)
                .map_or_else(|| Self::Text(text.to_owned()), Self::Number),
        }
    }

    /// As a document of its own.
    pub fn document(&self) -> String {
        match self {
            Self::Fields(fields) if !fields.is_empty() => block(fields, 0),
            Self::Flag(_) | Self::Number(_) | Self::Text(_) | Self::List(_) | Self::Fields(_) => {
                format!("{}\n", self.flow(Quotes::Needed))
            }
        }
    }

    /// On one line.
    pub(super) fn flow(&self, quotes: Quotes) -> String {
        let all = |parts: Vec<String>| parts.join(", ");
        match self {
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => quoted(text, quotes),
            Self::List(items) => {
                let items = items.iter().map(|item| item.flow(quotes)).collect();
                format!("[{}]", all(items))
            }
            Self::Fields(fields) if fields.is_empty() => "{}".to_owned(),
            Self::Fields(fields) => {
                let field = |(name, value): &(String, Self)| {
                    format!("{}: {}", quoted(name, quotes), value.flow(quotes))
                };
                format!("{{ {} }}", all(fields.iter().map(field).collect()))
            }
        }
    }

    /// A field on lines of its own, each indented by `indent` blanks at least.
    pub(super) fn field(&self, name: &str, indent: usize) -> String {
        let name = quoted(name, Quotes::Needed);
        let blanks = " ".repeat(indent);
        match self {
            Self::Fields(fields) if !fields.is_empty() => {
                format!("{blanks}{name}:\n{}", block(fields, indent + 2))
            }
            Self::List(items) if !items.is_empty() => {
                let items: String = items.iter().map(|item| item.item(indent + 2)).collect();
                format!("{blanks}{name}:\n{items}")
            }
            Self::Flag(_) | Self::Number(_) | Self::Text(_) | Self::List(_) | Self::Fields(_) => {
                format!("{blanks}{name}: {}\n", self.flow(Quotes::Needed))
            }
        }
    }

    /// An item of a list on lines of its own, its dash behind `indent` blanks.
    pub(super) fn item(&self, indent: usize) -> String {
        let blanks = " ".repeat(indent);
        match self {
            Self::Fields(fields) if !fields.is_empty() => {
                let lines = block(fields, indent + 2);
                format!("{blanks}- {}", lines.trim_start_matches(' '))
            }
            Self::Flag(_) | Self::Number(_) | Self::Text(_) | Self::List(_) | Self::Fields(_) => {
                format!("{blanks}- {}\n", self.flow(Quotes::Needed))
            }
        }
    }
}

fn block(fields: &[(String, Written)], indent: usize) -> String {
    let lines = fields.iter().map(|(name, value)| value.field(name, indent));
    lines.collect()
}

/// A text, with quotes where it would not be read back as this text without.
fn quoted(text: &str, quotes: Quotes) -> String {
    let is_printable = !text.contains(char::is_control);
    match quotes {
        Quotes::Needed if is_word(text) => text.to_owned(),
        Quotes::Single if is_printable => format!("'{}'", text.replace('\'', "''")),
        Quotes::Needed | Quotes::Single | Quotes::Double => {
            serde_json::to_string(text).expect("a text should be serialisable")
        }
    }
}

/// Whether a text is a plain word for each YAML there is: it begins with a letter, and is neither
/// `null` nor one of YAML 1.1's many ways to say yes and no. Values of manifests look like that, and
/// quotes hurt none of the others.
fn is_word(text: &str) -> bool {
    let others = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf",
    ];
    let mut letters = text.chars();
    let begins = letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic());
    let goes_on = letters.all(|one| one.is_ascii_alphanumeric() || "-_./".contains(one));
    let is_quantity = is_quantity(text);
    (begins && goes_on || is_quantity) && !others.contains(&text.to_ascii_lowercase().as_str())
}

/// `20Gi`: digits, then letters; with `e` it would be a number, with `x` or `o` for some.
fn is_quantity(text: &str) -> bool {
    let digits = text.trim_end_matches(|one: char| one.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    !digits.is_empty()
        && digits.chars().all(|one| one.is_ascii_digit())
        && [
            "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "kB", "MB", "GB", "TB", "ms", "s",
            "min", "h", "d",
        ]
        .contains(&unit)
}
