//! Every problem code is documented in docs/errors.md, where its anchor is.
//!
//! A code is a string right after a `Class::…,`; a string in a function called `code`; a string with
//! a hyphen and nothing but words in a function called `problem`; and such a string in a call of a
//! function of the same file that has a parameter called `code`.

use std::collections::BTreeMap;

use super::Finding;
use crate::source::{self, Kind, Token};
use crate::tree::{self, Tree};

const PAGE: &str = "docs/errors.md";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let used = used(tree);
    let documented: BTreeMap<&str, usize> = tree
        .files
        .get(PAGE)
        .into_iter()
        .flat_map(|page| page.lines().enumerate())
        .filter_map(|(index, line)| {
            let code = line.strip_prefix("## `")?.strip_suffix('`')?;
            Some((code, index + 1))
        })
        .collect();
    let missing = used
        .iter()
        .filter(|(code, _)| !documented.contains_key(*code))
        .map(|(code, (path, line))| {
            Finding::at(path, *line, format!("`{code}` has no entry in {PAGE}"))
        });
    let stale = documented
        .iter()
        .filter(|(code, _)| !used.contains_key(*code))
        .map(|(code, line)| Finding::at(PAGE, *line, format!("nothing reports `{code}` any more")));
    missing.chain(stale).collect()
}

/// Every code with the first place that uses it.
fn used(tree: &Tree) -> BTreeMap<&str, (&str, usize)> {
    let mut codes = BTreeMap::new();
    for (path, text) in tree
        .rust()
        .filter(|(path, _)| path.starts_with("crates/") && !tree::is_test_file(path))
    {
        let (tokens, _) = source::without_tests(&source::tokens(text));
        let makers = makers(&tokens);
        for at in 0..tokens.len() {
            for token in codes_at(&tokens[at..], &makers) {
                codes.entry(token.text).or_insert((path, token.line));
            }
        }
    }
    codes
}

/// Names of the functions that take a `code`.
fn makers<'a>(tokens: &[Token<'a>]) -> Vec<&'a str> {
    tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| token.is("fn"))
        .filter_map(|(at, _)| {
            let name = tokens.get(at + 1)?;
            let open = at + tokens[at..].iter().position(|token| token.is("("))?;
            let parameters = &tokens[open..source::closing(tokens, open)?];
            parameters
                .windows(2)
                .any(|pair| pair[0].is("code") && pair[1].is(":"))
                .then_some(name.text)
        })
        .collect()
}

/// The codes that the construct at the start gives.
fn codes_at<'a, 'b>(here: &'b [Token<'a>], makers: &[&str]) -> Vec<&'b Token<'a>> {
    let is = |ahead: usize, text: &str| here.get(ahead).is_some_and(|token| token.is(text));
    if is(0, "Class") && is(1, "::") && is(3, ",") {
        let code = here.get(4).filter(|token| is_code(token));
        return code.into_iter().collect();
    }
    if is(0, "fn") && is(1, "code") {
        return inside(here, "{")
            .iter()
            .filter(|token| is_code(token))
            .collect();
    }
    let is_problem = is(0, "fn") && is(1, "problem");
    let is_made = makers.iter().any(|maker| is(0, maker)) && is(1, "(");
    let body = match (is_problem, is_made) {
        (true, _) => inside(here, "{"),
        (_, true) => inside(here, "("),
        _ => &[],
    };
    body.iter()
        .filter(|token| is_code(token) && token.text.contains('-'))
        .collect()
}

/// What is between the first bracket of this kind and the one that closes it.
fn inside<'a, 'b>(here: &'b [Token<'a>], bracket: &str) -> &'b [Token<'a>] {
    let open = here.iter().position(|token| token.is(bracket));
    open.and_then(|open| Some(&here[open..source::closing(here, open)?]))
        .unwrap_or_default()
}

fn is_code(token: &Token) -> bool {
    token.kind == Kind::Text
        && !token.text.is_empty()
        && token
            .text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = r#"
        fn a() { Problem::new(Class::User, "port-in-use", "text"); }
        fn code(&self) -> &'static str { match self { Self::A => "disk-full" } }
        fn b() { let (class, code) = (Class::Config, "no-key"); }
        fn problem(&self) { let code = "too-late"; Problem::new(Class::User, code, "a text-like one") }
        fn note(code: &str) { } fn c() { note("odd-one") }
        #[cfg(test)]
        mod tests { fn c() { Problem::new(Class::User, "only-a-test", "text"); } }
    "#;

    #[test]
    fn codes_without_an_entry_are_found() {
        let tree = Tree::of(&[("crates/a/src/lib.rs", CODE)]);
        let found: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "crates/a/src/lib.rs:3: `disk-full` has no entry in docs/errors.md",
                "crates/a/src/lib.rs:4: `no-key` has no entry in docs/errors.md",
                "crates/a/src/lib.rs:6: `odd-one` has no entry in docs/errors.md",
                "crates/a/src/lib.rs:2: `port-in-use` has no entry in docs/errors.md",
                "crates/a/src/lib.rs:5: `too-late` has no entry in docs/errors.md",
            ]
        );
    }

    #[test]
    fn entries_that_nothing_reports_are_found() {
        let page = "## `port-in-use`\n\n## `disk-full`\n## `no-key`\n## `too-late`\n## `gone`\n\
            ## `odd-one`\n";
        let tree = Tree::of(&[("crates/a/src/lib.rs", CODE), (PAGE, page)]);
        let found: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["docs/errors.md:6: nothing reports `gone` any more"]);
    }
}
