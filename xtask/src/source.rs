//! Enough of Rust's grammar to tell code from comments, strings and tests.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Identifier, keyword or number.
    Word,
    /// A string literal of any kind; the text is its content as written.
    Text,
    /// One character of punctuation, or `::`.
    Mark,
}

/// One token of a source file; comments, character literals and lifetimes are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// How it is written.
    pub(crate) text: &'a str,
    /// Its line, counted from 1.
    pub(crate) line: usize,
}

impl Token<'_> {
    /// Whether it is this word or mark.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Text && self.text == text
    }
}

/// Splits a source file into tokens.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer {
        source,
        at: 0,
        line: 1,
        found: Vec::new(),
    };
    while lexer.at < source.len() {
        lexer.step();
    }
    lexer.found
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
    found: Vec<Token<'a>>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn step(&mut self) {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return;
        };
        if first.is_whitespace() {
            self.skip(first.len_utf8());
        } else if rest.starts_with("//") {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.skip(block_comment(rest));
        } else if let Some((start, content, whole)) = string(rest) {
            self.push(Kind::Text, start, content);
            self.skip(whole);
        } else if first == '\'' {
            self.skip(quoted(rest));
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            self.push(Kind::Word, 0, length);
            self.skip(length);
        } else {
            let length = if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            self.push(Kind::Mark, 0, length);
            self.skip(length);
        }
    }

    fn push(&mut self, kind: Kind, start: usize, length: usize) {
        self.found.push(Token {
            kind,
            text: &self.rest()[start..start + length],
            line: self.line,
        });
    }

    fn skip(&mut self, bytes: usize) {
        self.line += self.rest()[..bytes].matches('\n').count();
        self.at += bytes;
    }
}

/// Length of the block comment at the start; they nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// A string literal at the start: where its content starts, how long that is, and the whole.
fn string(rest: &str) -> Option<(usize, usize, usize)> {
    let after_prefix = rest.trim_start_matches(['b', 'c', 'r']);
    let prefix = rest.len() - after_prefix.len();
    if prefix > 2 {
        return None;
    }
    let hashes = after_prefix.len() - after_prefix.trim_start_matches('#').len();
    let raw = rest[..prefix].contains('r');
    if (hashes > 0 && !raw) || !after_prefix[hashes..].starts_with('"') {
        return None;
    }
    let start = prefix + hashes + 1;
    let body = &rest[start..];
    let (length, end) = if raw {
        let end = format!("\"{}", "#".repeat(hashes));
        (body.find(&end).unwrap_or(body.len()), end.len())
    } else {
        (escaped_end(body, b'"'), 1)
    };
    Some((start, length, (start + length + end).min(rest.len())))
}

/// Where the first `quote` that no backslash escapes stands.
fn escaped_end(body: &str, quote: u8) -> usize {
    let mut escaped = false;
    for (at, byte) in body.bytes().enumerate() {
        if !escaped && byte == quote {
            return at;
        }
        escaped = !escaped && byte == b'\\';
    }
    body.len()
}

/// Length of the character literal or the lifetime at the start.
fn quoted(rest: &str) -> usize {
    let body = &rest[1..];
    let mut characters = body.chars();
    let first = characters.next();
    let is_literal = first == Some('\\') || characters.next() == Some('\'');
    if is_literal {
        (1 + escaped_end(body, b'\'') + 1).min(rest.len())
    } else {
        1
    }
}

/// The tokens outside of items that only tests compile, and how many lines those items span.
pub(crate) fn without_tests<'a>(tokens: &[Token<'a>]) -> (Vec<Token<'a>>, usize) {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut test_lines = 0;
    let mut at = 0;
    while at < tokens.len() {
        if let Some(length) = test_item(&tokens[at..]) {
            let last = tokens[at + length - 1].line;
            test_lines += last - tokens[at].line + 1;
            at += length;
        } else {
            kept.push(tokens[at]);
            at += 1;
        }
    }
    (kept, test_lines)
}

/// Number of tokens of the item at the start, if `#[cfg(test)]` or the like stands before it.
fn test_item(tokens: &[Token]) -> Option<usize> {
    let starts = ["#", "[", "cfg", "("];
    let is_cfg = tokens.len() > starts.len()
        && starts
            .iter()
            .zip(tokens)
            .all(|(mark, token)| token.is(mark));
    if !is_cfg {
        return None;
    }
    let end = closing(tokens, 1)?;
    let condition = &tokens[4..end];
    let tests = condition.first()?.is("test")
        || (condition.first()?.is("any") && condition.iter().any(|token| token.is("test")));
    if !tests {
        return None;
    }
    let mut at = end + 1;
    while at < tokens.len() {
        if tokens[at].is(";") {
            return Some(at + 1);
        }
        if tokens[at].is("{") {
            return closing(tokens, at).map(|end| end + 1);
        }
        at = if tokens[at].is("(") || tokens[at].is("[") {
            closing(tokens, at)? + 1
        } else {
            at + 1
        };
    }
    Some(tokens.len())
}

/// Index of the bracket that closes the one at `open`.
pub(crate) fn closing(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if ["(", "[", "{"].iter().any(|mark| token.is(mark)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|mark| token.is(mark)) {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<&str> {
        tokens(source).iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_character_literals_are_no_tokens() {
        let source = "a // std::fs\n/* b /* c */ d */ e '\\'' 'x' 'f";
        assert_eq!(words(source), ["a", "e", "f"]);
    }

    #[test]
    fn strings_keep_their_content_and_their_line() {
        let source = "\"a \\\" b\"\nr#\"c \" d\"#\nb\"e\" rest";
        let found = tokens(source);
        assert_eq!(words(source), ["a \\\" b", "c \" d", "e", "rest"]);
        assert_eq!(found[1].line, 2);
        assert!(!found[0].is("a \\\" b"));
    }

    #[test]
    fn items_that_only_tests_compile_are_taken_out() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nfn c() {}\n\
            #[cfg(any(test, feature = \"testing\"))]\npub mod fake;\n#[cfg(unix)]\nfn d() {}";
        let all = tokens(source);
        let (kept, lines) = without_tests(&all);
        let names: Vec<&str> = kept.iter().map(|token| token.text).collect();
        assert_eq!(lines, 6);
        assert!(names.contains(&"c") && names.contains(&"d"));
        assert!(!names.contains(&"b") && !names.contains(&"fake"));
    }

    #[test]
    fn a_word_that_starts_like_a_string_is_a_word() {
        assert_eq!(
            words("break r#type cr b"),
            ["break", "r", "#", "type", "cr", "b"]
        );
    }
}
