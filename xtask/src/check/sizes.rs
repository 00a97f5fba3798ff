//! Files stay small enough to be read in one go.

use super::Finding;
use crate::source;
use crate::tree::{self, Tree};

/// Lines that are not tests. Think at 500.
const LONGEST: usize = 800;

/// Lines of an inline `mod tests`.
const LONGEST_TESTS: usize = 200;

/// Files that may be longer, each with the reason.
const ALLOWED: [(&str, &str); 0] = [];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<Finding> = tree
        .rust()
        .filter(|(path, _)| !tree::is_test_file(path))
        .filter(|(path, _)| !ALLOWED.iter().any(|(allowed, _)| allowed == path))
        .flat_map(|(path, text)| check_file(path, text))
        .collect();
    findings.extend(
        ALLOWED
            .iter()
            .filter(|(path, _)| !tree.files.contains_key(*path))
            .map(|(path, _)| Finding::in_file(path, "gone: take it off the allow-list of sizes")),
    );
    findings
}

fn check_file(path: &str, text: &str) -> Vec<Finding> {
    let (_, test_lines) = source::without_tests(&source::tokens(text));
    let lines = text.lines().count() - test_lines;
    let mut findings = Vec::new();
    if lines > LONGEST {
        findings.push(Finding::in_file(
            path,
            format!("{lines} lines without tests, at most {LONGEST}: split it by what it is about"),
        ));
    }
    if test_lines > LONGEST_TESTS {
        let own = path.trim_end_matches(".rs");
        findings.push(Finding::in_file(
            path,
            format!(
                "{test_lines} lines of tests, at most {LONGEST_TESTS}: move them to {own}/tests.rs"
            ),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<Finding> {
        check(&Tree::of(&[(path, text)]))
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(found("a.rs", &"fn a() {}\n".repeat(800)), []);
        let [finding] = &found("a.rs", &"fn a() {}\n".repeat(801))[..] else {
            panic!("one finding");
        };
        assert!(finding.text.starts_with("801 lines"), "{finding}");
    }

    #[test]
    fn tests_do_not_count_but_belong_elsewhere_when_they_are_many() {
        let tests = |lines: usize| {
            format!(
                "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
                "fn a() {}\n".repeat(700),
                "fn t() {}\n".repeat(lines - 3)
            )
        };
        assert_eq!(found("a.rs", &tests(200)), []);
        assert_eq!(found("a.rs", &tests(201)).len(), 1);
        assert_eq!(found("a/tests.rs", &"fn t() {}\n".repeat(2000)), []);
    }
}
