//! Every problem code is documented in docs/errors.md, where its anchor is.
//!
//! A code is a string right after a `Class::…,`, or any string in a function called `code`.

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
        for at in 0..tokens.len() {
            for token in codes_at(&tokens, at) {
                codes.entry(token.text).or_insert((path, token.line));
            }
        }
    }
    codes
}

/// The codes that the construct at `at` gives.
fn codes_at<'a, 'b>(tokens: &'b [Token<'a>], at: usize) -> Vec<&'b Token<'a>> {
    let here = &tokens[at..];
    let is = |ahead: usize, text: &str| here.get(ahead).is_some_and(|token| token.is(text));
    let text = |ahead: usize| here.get(ahead).filter(|token| token.kind == Kind::Text);
    if is(0, "Class") && is(1, "::") && is(3, ",") {
        return text(4)
            .filter(|token| is_code(token.text))
            .into_iter()
            .collect();
    }
    if is(0, "fn") && is(1, "code") {
        let Some(open) = here.iter().position(|token| token.is("{")) else {
            return Vec::new();
        };
        let end = source::closing(here, open).unwrap_or(open);
        return here[open..end]
            .iter()
            .filter(|token| token.kind == Kind::Text && is_code(token.text))
            .collect();
    }
    Vec::new()
}

fn is_code(text: &str) -> bool {
    !text.is_empty()
        && text
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
                "crates/a/src/lib.rs:2: `port-in-use` has no entry in docs/errors.md",
            ]
        );
    }

    #[test]
    fn entries_that_nothing_reports_are_found() {
        let page = "## `port-in-use`\n\n## `disk-full`\n## `no-key`\n## `gone`\n";
        let tree = Tree::of(&[("crates/a/src/lib.rs", CODE), (PAGE, page)]);
        let found: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["docs/errors.md:5: nothing reports `gone` any more"]);
    }
}
