//! Names say what a thing is about; a drawer for everything has no such name.

use super::Finding;
use crate::source::{self, Token};
use crate::tree::Tree;

const DRAWERS: [&str; 9] = [
    "common", "helper", "helpers", "manager", "misc", "service", "shared", "util", "utils",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let parts: Vec<&str> = path.split('/').collect();
        if parts.last() == Some(&"mod.rs") && !parts.contains(&"tests") {
            findings.push(Finding::in_file(
                path,
                "write `foo.rs` beside `foo/`, not `foo/mod.rs`",
            ));
        }
        if let Some(name) = parts
            .iter()
            .find_map(|part| drawer(part.trim_end_matches(".rs")))
        {
            findings.push(Finding::in_file(path, saying(name)));
        }
        for (name, line) in inline_modules(&source::tokens(text)) {
            if let Some(name) = drawer(name) {
                findings.push(Finding::at(path, line, saying(name)));
            }
        }
    }
    findings
}

fn saying(name: &str) -> String {
    format!("`{name}` says nothing: name it after what is in it")
}

/// The drawer's name that a module, or a crate behind its `boma-`, has.
fn drawer(name: &str) -> Option<&str> {
    let name = name.strip_prefix("boma-").unwrap_or(name);
    DRAWERS.contains(&name).then_some(name)
}

fn inline_modules<'a>(tokens: &'a [Token]) -> impl Iterator<Item = (&'a str, usize)> {
    tokens
        .windows(3)
        .filter(|three| three[0].is("mod") && three[2].is("{"))
        .map(|three| (three[1].text, three[1].line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawers_are_found_wherever_they_stand() {
        for (path, text) in [
            ("crates/boma-agent/src/utils.rs", ""),
            ("crates/boma-common/src/lib.rs", ""),
            ("crates/boma-agent/src/helpers/sql.rs", ""),
            ("crates/boma-agent/src/lib.rs", "mod manager { }"),
            ("crates/boma-agent/src/plan/mod.rs", ""),
        ] {
            assert_eq!(check(&Tree::of(&[(path, text)])).len(), 1, "{path}");
        }
    }

    #[test]
    fn names_that_say_something_are_not() {
        let tree = Tree::of(&[(
            "crates/boma-agent/src/plan.rs",
            "mod order { struct Manager; }",
        )]);
        assert_eq!(check(&tree), []);
    }
}
