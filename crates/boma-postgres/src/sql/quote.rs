//! Quoting for SQL text: utility statements take no parameters.

/// Quotes an identifier.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", without_nul(name).replace('"', "\"\""))
}

/// Quotes a string literal, safe whatever `standard_conforming_strings` says.
pub fn literal(text: &str) -> String {
    let text = without_nul(text).replace('\'', "''");
    if text.contains('\\') {
        format!(" E'{}'", text.replace('\\', "\\\\"))
    } else {
        format!("'{text}'")
    }
}

/// Quotes identifiers and puts commas between them.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names
        .into_iter()
        .map(identifier)
        .collect::<Vec<_>>()
        .join(", ")
}

/// A zero byte would end the statement on the wire; PostgreSQL has none in names or texts.
fn without_nul(text: &str) -> String {
    text.replace('\0', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), " E'a\\\\''b'");
        assert_eq!(list(["a", "b\""]), "\"a\", \"b\"\"\"");
    }
}
