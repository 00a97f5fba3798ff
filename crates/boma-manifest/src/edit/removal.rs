//! A whole document taken out of a text.

use super::{EditError, is_same, trees};

/// A text without one of its documents, counted from 0; nothing at all where it was the only one.
/// The comments above it within the document go with it; every other document stays as it was.
///
/// # Errors
/// When it cannot be done without changing anything else.
pub fn without(text: &str, document: usize) -> Result<String, EditError> {
    let before = trees(text);
    let Some(Ok(_)) = before.get(document) else {
        return Err(EditError::NoDocument(document));
    };
    if before.len() == 1 {
        return Ok(String::new());
    }
    let parts = parts(text);
    let style = || EditError::Style(format!("document {document}"));
    // A part may have no document in it: comments before the first marker, or between two.
    let mut counted = 0;
    let index = parts.iter().position(|part| {
        let here = trees(part).len();
        let is_it = here == 1 && counted == document;
        counted += here;
        is_it
    });
    let index = index.ok_or_else(style)?;
    let rest = parts.iter().enumerate().filter(|(at, _)| *at != index);
    let after: String = rest.map(|(_, part)| *part).collect();
    let kept = before.iter().enumerate().filter(|(at, _)| *at != document);
    let kept: Vec<_> = kept.map(|(_, tree)| tree).collect();
    let read = trees(&after);
    let is_right = kept.len() == read.len()
        && kept
            .into_iter()
            .zip(&read)
            .all(|(old, new)| is_same(old, new));
    is_right.then_some(after).ok_or_else(style)
}

/// Stretches of a text, each from one marker of a new document up to the next one. Nothing else may begin a
/// line so, not even a line of a text in several lines (YAML 1.2.2, 9.1.2).
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut begin, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix("---");
        let is_marker =
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if is_marker && at > begin {
            parts.push(&text[begin..at]);
            begin = at;
        }
        at += line.len();
    }
    parts.push(&text[begin..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# all of the shop\n---\n# orders\nkind: a\ntext: |\n  --- no marker\n---\nkind: b\n\
                        --- # last\nkind: c\n";

    #[test]
    fn the_others_stay_as_they_were() {
        for (document, gone) in [
            (0, "---\n# orders\nkind: a\ntext: |\n  --- no marker\n"),
            (1, "---\nkind: b\n"),
            (2, "--- # last\nkind: c\n"),
        ] {
            assert_eq!(without(TEXT, document).unwrap(), TEXT.replace(gone, ""));
        }
        let first = "kind: a\r\n---\r\nkind: b\r\n";
        assert_eq!(without(first, 0).unwrap(), "---\r\nkind: b\r\n");
        assert_eq!(without(first, 1).unwrap(), "kind: a\r\n");
    }

    #[test]
    fn of_a_text_with_one_document_nothing_stays() {
        assert_eq!(without("# mine\nkind: a\n", 0).unwrap(), "");
        assert_eq!(without("---\nkind: a\n", 0).unwrap(), "");
    }

    #[test]
    fn what_is_not_there_cannot_go() {
        assert_eq!(without(TEXT, 3), Err(EditError::NoDocument(3)));
        assert_eq!(without("a: [", 0), Err(EditError::NoDocument(0)));
    }

    #[test]
    fn a_style_that_nobody_thought_of_is_refused() {
        // What stands before a marker is of the document behind it.
        let text = "kind: a\n...\n%TAG ! tag:x,2000:\n---\nkind: !y b\n";
        let refused = without(text, 0).unwrap_err();
        assert!(
            refused.to_string().contains("only a person can change"),
            "{refused}"
        );
    }
}
