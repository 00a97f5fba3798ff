//! Pure code takes time, randomness and bytes as arguments (docs/architecture.md).
//!
//! A crate is held pure by its own clippy.toml as well; a module can only be held by this check.

use super::Finding;
use crate::source::{self, Token};
use crate::tree::{self, Tree};

/// Crates and modules that decide, and therefore touch nothing.
const PURE: [&str; 10] = [
    "crates/boma-problem/src",
    "crates/boma-manifest/src",
    "crates/boma-instance/src",
    "crates/boma-engine/src/catalog",
    "crates/boma-engine/src/plan",
    "crates/boma-engine/src/review",
    "crates/boma-agent/src/plan",
    "crates/boma-backup/src/format",
    "crates/boma-backup/src/retention",
    "crates/boma-backup/src/timeline",
];

/// Modules of the standard library that act. Threads that only compute are pure enough.
const ACTING: [&str; 3] = ["env", "fs", "process"];

/// Words that have no business in pure code, each with what to do instead.
const WORDS: [(&str, &str); 14] = [
    ("Instant", "take `now` as an argument"),
    ("SystemTime", "take `now` as an argument"),
    ("TcpListener", "return what is to be done"),
    ("TcpStream", "return what is to be done"),
    ("ToSocketAddrs", "return what is to be done"),
    ("UdpSocket", "return what is to be done"),
    ("UnixListener", "return what is to be done"),
    ("UnixStream", "return what is to be done"),
    ("async", "pure code waits for nothing"),
    ("getrandom", "take the random value as an argument"),
    ("new_v4", "take the identity as an argument"),
    ("now_v7", "take the identity as an argument"),
    ("rand", "take the random value as an argument"),
    ("tokio", "pure code waits for nothing"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|(path, _)| is_pure(path) && !tree::is_test_file(path))
        .flat_map(|(path, text)| check_file(path, text))
        .collect()
}

fn is_pure(path: &str) -> bool {
    PURE.iter().any(|pure| {
        path.strip_prefix(pure)
            .is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    })
}

fn check_file(path: &str, text: &str) -> Vec<Finding> {
    let (tokens, _) = source::without_tests(&source::tokens(text));
    let mut findings = Vec::new();
    for at in 0..tokens.len() {
        if let Some(text) = offence(&tokens, at) {
            findings.push(Finding::at(path, tokens[at].line, text));
        }
    }
    findings
}

fn offence(tokens: &[Token], at: usize) -> Option<String> {
    let token = &tokens[at];
    if let Some((word, instead)) = WORDS.iter().find(|(word, _)| token.is(word)) {
        return Some(format!("`{word}` in pure code: {instead}"));
    }
    let next =
        |ahead: usize, text: &str| tokens.get(at + ahead).is_some_and(|token| token.is(text));
    if (token.is("Timestamp") || token.is("Zoned")) && next(1, "::") && next(2, "now") {
        return Some("the clock in pure code: take `now` as an argument".to_owned());
    }
    if token.is("std") && next(1, "::") {
        return acting_module(&tokens[at + 2..])
            .map(|module| format!("`std::{module}` in pure code: return what is to be done"));
    }
    None
}

/// The acting module that follows `std::`, directly or in a group: `std::{fmt, fs}`.
fn acting_module<'a>(rest: &[Token<'a>]) -> Option<&'a str> {
    let acts = |token: &&Token| ACTING.iter().any(|module| token.is(module));
    let first = rest.first()?;
    if !first.is("{") {
        return Some(first).filter(acts).map(|token| token.text);
    }
    let group = &rest[..source::closing(rest, 0)?];
    group
        .windows(2)
        .filter(|pair| pair[0].is("{") || pair[0].is(","))
        .map(|pair| &pair[1])
        .find(acts)
        .map(|token| token.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn effects_in_a_plan_are_found() {
        for text in [
            "use std::fs;",
            "use std::{fmt, fs::File};",
            "fn a() { std::env::var(\"X\"); }",
            "fn a() { jiff::Timestamp::now(); }",
            "async fn a() {}",
            "use tokio::time;",
            "fn a() -> Uuid { Uuid::new_v4() }",
            "use std::time::{Duration, Instant};",
        ] {
            assert_eq!(
                found("crates/boma-engine/src/plan/order.rs", text),
                1,
                "{text}"
            );
            assert_eq!(found("crates/boma-agent/src/plan.rs", text), 1, "{text}");
        }
    }

    #[test]
    fn effects_elsewhere_and_in_tests_are_not() {
        assert_eq!(found("crates/boma-engine/src/act.rs", "use std::fs;"), 0);
        assert_eq!(found("crates/boma-engine/src/planet.rs", "use std::fs;"), 0);
        let test = "#[cfg(test)]\nmod tests { use std::fs; }";
        assert_eq!(found("crates/boma-engine/src/plan.rs", test), 0);
    }

    #[test]
    fn data_types_and_words_in_comments_are_allowed() {
        let text = "//! no std::fs here\nuse std::{fmt, net::IpAddr, time::Duration};";
        assert_eq!(found("crates/boma-instance/src/spec.rs", text), 0);
    }
}
