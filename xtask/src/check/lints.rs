//! Every crate lives under the same lints.
//!
//! Clippy reads only the nearest clippy.toml and does not merge, so a crate that has its own must
//! repeat the root's.

use super::Finding;
use crate::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let root = tree.files.get("clippy.toml").map_or("", String::as_str);
    let mut findings = Vec::new();
    for (path, text) in tree.all().filter(|(path, _)| is_member(path)) {
        if path.ends_with("/Cargo.toml") && !inherits(text) {
            findings.push(Finding::in_file(
                path,
                "no `[lints]` with `workspace = true`",
            ));
        }
        if path.ends_with("/clippy.toml") {
            findings.extend(
                lines(root)
                    .filter(|wanted| !lines(text).any(|line| line == *wanted))
                    .map(|wanted| {
                        Finding::in_file(path, format!("does not repeat the root's `{wanted}`"))
                    }),
            );
        }
    }
    findings
}

fn is_member(path: &str) -> bool {
    path.starts_with("crates/") || path.starts_with("xtask/")
}

fn inherits(manifest: &str) -> bool {
    lines(manifest)
        .skip_while(|line| *line != "[lints]")
        .nth(1)
        .is_some_and(|line| line == "workspace = true")
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let tree = Tree::of(&[
            (
                "crates/a/Cargo.toml",
                "[package]\n[lints]\nworkspace = true\n",
            ),
            (
                "crates/b/Cargo.toml",
                "[package]\n[lints]\n[dependencies]\n",
            ),
            ("crates/c/Cargo.toml", "[package]\n"),
        ]);
        let places: Vec<String> = check(&tree).into_iter().map(|f| f.place).collect();
        assert_eq!(places, ["crates/b/Cargo.toml", "crates/c/Cargo.toml"]);
    }

    #[test]
    fn a_clippy_toml_that_lacks_a_root_key_is_found() {
        let tree = Tree::of(&[
            (
                "clippy.toml",
                "# why\nthreshold = 80\nbanned = [\n  \"sleep\",\n]\n",
            ),
            (
                "crates/a/clippy.toml",
                "threshold = 80\nbanned = [\n  \"sleep\",\n  \"fs\",\n]\n",
            ),
            ("crates/b/clippy.toml", "threshold = 90\nbanned = [\n]\n"),
        ]);
        let texts: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "crates/b/clippy.toml: does not repeat the root's `threshold = 80`",
                "crates/b/clippy.toml: does not repeat the root's `\"sleep\",`",
            ]
        );
    }
}
