//! What dashboards and pages ask Prometheus for is what the agents and `boma serve` answer with.

use std::collections::BTreeSet;

use super::Finding;
use crate::tree::Tree;

/// Where samples are written.
const SOURCES: [&str; 2] = [
    "crates/boma-agent/src/metrics.rs",
    "crates/boma-web/src/metrics.rs",
];

/// What the name of every sample begins with.
const PREFIX: &str = "boma_";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let known: BTreeSet<&str> = SOURCES
        .iter()
        .filter_map(|source| tree.files.get(*source))
        .flat_map(|text| names(text))
        .collect();
    let asking = tree.all().filter(|(path, _)| {
        path.starts_with("integrations/grafana/") || *path == "docs/operations.md"
    });
    asking
        .flat_map(|(path, text)| {
            let lines = text.lines().enumerate();
            lines.flat_map(move |(index, line)| names(line).map(move |name| (path, index, name)))
        })
        .filter(|(_, _, name)| !known.contains(name))
        .map(|(path, index, name)| {
            Finding::at(path, index + 1, format!("nothing answers with `{name}`"))
        })
        .collect()
}

/// Names of samples within a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let is_letter = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_';
    text.match_indices(PREFIX).filter_map(move |(at, _)| {
        let before = text[..at].chars().next_back();
        let rest = &text[at..];
        let end = rest.find(|one: char| !is_letter(one)).unwrap_or(rest.len());
        let name = &rest[..end];
        (!before.is_some_and(is_letter) && name.len() > PREFIX.len()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_that_nothing_answers_with_is_found() {
        let source = "page.one(\"boma_converged\", 1); \"boma_steps_total\"";
        let asked = "rate(boma_steps_total[5m])\nsum(boma_converged) by (x_boma_y)\nboma_gone > 0";
        let tree = Tree::of(&[
            ("crates/boma-web/src/metrics.rs", source),
            ("integrations/grafana/boma.json", asked),
        ]);
        let found: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["integrations/grafana/boma.json:3: nothing answers with `boma_gone`"]
        );
    }
}
